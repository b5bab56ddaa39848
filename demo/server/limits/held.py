"""Values of visitors in memory, such as their face: bounded per visitor and in all, and never mistaken for another value.

The page holds the key of a value, a random number, in an invisible textbox. Gradio's own state is found by a session that the
client chooses, and is replaced by its initial value when it is dropped, so that a slider would show the sample face instead of
the visitor's. Here a dropped value is an error that asks to upload the image again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.server import gradio_patches
from demo.server.limits.identity import Visitor, visitor_of
from demo.server.limits.settings import Limits
from gpen.errors import GPENError

DROPPED = (
    "The server no longer has your image: it keeps images for a limited time and a limited number of visitors. Upload it again."
)
_SMALL = 1024  # bytes assumed for a value that does not say how many it has


@dataclass
class _Entry:
    value: Any
    visitor: Visitor
    session: str
    size: int
    used: float  # time of the last use, seconds


class HeldValues:
    """Values by key, least recently used first."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self._limits, self._clock = limits, clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._pinned: dict[str, Any] = {}
        self._keys: dict[int, str] = {}  # id of a value in memory -> its key
        self._converters: dict[int, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}  # by the id of a component
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def component(self, default: Any = None) -> gr.Textbox:
        """Return an invisible component for events, with a value of any type; it has the value `default` at first."""
        box = gr.Textbox("" if default is None else self.pin(default), visible=False)
        self._converters[box._id] = self._from_page, self._to_page
        return box

    def attach(self, page: gr.Blocks) -> None:
        """Let the events of the page have the values instead of the keys. Call it when all components exist."""
        gradio_patches.convert_values(page, self._converters)

    def _from_page(self, key: Any) -> Any:
        return self.get(key) if key else None

    def _to_page(self, value: Any) -> str:
        return "" if value is None else self.put(value)

    def pin(self, value: Any) -> str:
        """Return a key of a value of the page itself, which is never dropped."""
        with self._lock:
            key = self._keys.setdefault(id(value), secrets.token_hex(16))
            self._pinned[key] = value
            return key

    def put(self, value: Any) -> str:
        """Return the key of a value of the visitor whose event is running."""
        request = gradio_patches.current_request()
        visitor, session = visitor_of(request.scope if request else {}), gradio_patches.current_session() or ""
        with self._lock:
            key = self._keys.get(id(value))
            if key is None:
                key = self._keys[id(value)] = secrets.token_hex(16)
                size = int(getattr(value, "nbytes", _SMALL))
                self._entries[key] = _Entry(value, visitor, session, size, self._clock())
                self._drop_surplus(visitor)
            elif key in self._entries:
                self._touch(key)
            return key

    def get(self, key: object) -> Any:
        """Return a value. Raises GPENError if it was dropped."""
        key = str(key)
        with self._lock:
            if key in self._pinned:
                return self._pinned[key]
            self.drop_old()
            if key not in self._entries:
                raise GPENError(DROPPED)
            self._touch(key)
            return self._entries[key].value

    def forget(self, session: str | None) -> None:
        """Drop the values of a session, whose page was closed."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if entry.session == session]:
                self._drop(key)

    def drop_old(self) -> None:
        """Drop the values that were not used for the time of the limits."""
        with self._lock:
            while self._entries:
                key, entry = next(iter(self._entries.items()))
                if self._clock() - entry.used <= self._limits.held_seconds:
                    return
                self._drop(key)

    def _touch(self, key: str) -> None:
        self._entries[key].used = self._clock()
        self._entries.move_to_end(key)

    def _drop(self, key: str) -> None:
        del self._keys[id(self._entries.pop(key).value)]

    def _drop_surplus(self, visitor: Visitor) -> None:
        """Drop the oldest values of a visitor who has too many, then of the network that has most."""
        self.drop_old()
        mine = [key for key, entry in self._entries.items() if entry.visitor.name == visitor.name]
        for key in mine[: -self._limits.held_per_visitor]:
            self._drop(key)
        sizes: Counter[str] = Counter()
        for entry in self._entries.values():
            sizes[entry.visitor.network] += entry.size
        while sizes.total() > self._limits.held_bytes:
            largest = sizes.most_common(1)[0][0]
            key = next(key for key, entry in self._entries.items() if entry.visitor.network == largest)
            sizes[largest] -= self._entries[key].size
            self._drop(key)
