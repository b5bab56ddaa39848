"""Events of the page that follow one another within a moment.

By default, gradio drops an event while an earlier one of the same kind is processed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

# each event is processed, in order: for events with data of their own, such as a face that is clicked or a file
EACH: dict[str, Any] = {"trigger_mode": "multiple"}
# the last event is processed after the current one, with the values of the components then, but with the data of the first event
LAST: dict[str, Any] = {"trigger_mode": "always_last"}


def take(event: Callable[..., Any], upload: gr.components.Component, taken: gr.components.Component) -> Any:
    """On the `event` of an upload, move its files to the hidden component `taken`; returns the event to continue with `then`.

    The upload is emptied in the browser, not by the answer of the server, which could remove a file that was uploaded meanwhile.
    """
    return event(None, upload, [taken, upload], js="(files) => [files, null]", api_visibility="private")
