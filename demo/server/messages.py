"""Error messages of the page: without paths of the server, and shown as text."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from demo.server.limits import work
from gpen.errors import GPENError

P = ParamSpec("P")
R = TypeVar("R")
# an absolute path of at least two parts, not a URL and not a division such as 1/2/3: /tmp/gradio/face.png, C:\Users\me\face.png
_PATH = re.compile(r"(?<![\w:/.\\])(?:[A-Za-z]:\\|~?/)(?:[^\s/\\'\"<>;,]+[/\\]+)+(?P<name>[^\s/\\'\"<>;,]*)")


def without_paths(text: str) -> str:
    """Replace each absolute path in a text by the name of its file."""
    return _PATH.sub(lambda found: found["name"], text)


def public_message(error: Exception) -> str:
    """Return the message of an error as HTML text without paths; quotes are not escaped, as API clients receive it too."""
    return html.escape(without_paths(str(error)), quote=False)


def show_user_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate an event function: a GPENError is shown as a message on the page, without a traceback.

    The work of the function is limited in time, see `demo.server.limits.work`.
    """

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            with work.time_limit():
                return function(*arguments, **named)
        except GPENError as error:
            raise gr.Error(public_message(error), duration=20, print_exception=False) from None

    return wrapper
