"""Threads of the vote store, apart from those of gradio: a slow disk delays answers, not restorations."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eval.preference.storage.engines import Failure, StoreError
from gpen.errors import GPENError

THREADS = 8  # as many as the store has connections
MAX_WAITING = 128  # calls that wait for a thread; further ones are rejected and sent again by the page


class BoundedExecutor:
    """Runs functions in threads of its own, with a limit on the calls that wait.

    busy: returns the error for a call above the limit.
    """

    def __init__(
        self,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
        busy: Callable[[], GPENError] = lambda: StoreError(Failure.BUSY),
    ):
        self._busy = busy
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vote store")
        self._free = threading.BoundedSemaphore(threads + max_waiting)

    async def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a thread and return its result. Raises the error of `busy` if too many calls wait."""
        if not self._free.acquire(blocking=False):
            raise self._busy()
        future = self._pool.submit(function, *arguments)
        future.add_done_callback(lambda _: self._free.release())  # also if the client has left
        return await asyncio.wrap_future(future)
