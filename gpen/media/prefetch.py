"""Parallel map with bounded prefetching: files are read and faces detected in threads while the network runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch_map(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Yield function(item) for each item, in order, with at most `depth` results computed ahead of the consumer."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # start no further work after an error or an interrupt
        for future in pending:
            future.cancel()


def per_thread(make: Callable[[], Callable[[T], R]]) -> Callable[[T], R]:
    """Return a function that calls a per-thread instance of `make()`, for objects that are not thread-safe, such as detectors."""
    local = threading.local()

    def call(item: T) -> R:
        if not hasattr(local, "function"):
            local.function = make()
        return local.function(item)

    return call
