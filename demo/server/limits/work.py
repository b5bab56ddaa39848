"""Time limit of an event, and its end when the visitor has left; checked between batches of faces and calls of the detector."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from demo.server import gradio_patches
from demo.server.limits.settings import Limits
from gpen.errors import GPENError
from gpen.faces.detection import Detector

LEFT = "The page was closed: the work for it was stopped."
_end: ContextVar[tuple[float, float] | None] = ContextVar("end", default=None)  # time at which the work ends, and its seconds


@contextmanager
def time_limit(seconds: float = Limits.event_seconds) -> Iterator[None]:
    """Let `check` raise an error after so many seconds; an inner limit replaces the outer one."""
    token = _end.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _end.reset(token)


def check() -> None:
    """Raise GPENError if the time limit of this event has passed or if its visitor has left the page."""
    end = _end.get()
    if end is not None and time.monotonic() > end[0]:
        raise GPENError(f"This took longer than {end[1]:.0f} seconds and was stopped: use fewer faces or a smaller image.")
    if gradio_patches.visitor_has_left():
        raise GPENError(LEFT)


def checked_detector(detector: Callable[[Any], list]) -> Callable[[Any], list]:
    """Return the detector with a check before each call of its network."""
    if not isinstance(detector, Detector):
        return detector
    return dataclasses.replace(detector, network=_checked(detector.network), rescore=_checked(detector.rescore))


def _checked(function: Callable | None) -> Any:
    if function is None:
        return None

    def checked(*arguments: Any) -> Any:
        check()
        return function(*arguments)

    return checked
