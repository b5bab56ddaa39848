"""Work done in threads ahead of where it is needed, in order and in bounded memory: reading, searching while a network runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """function(item) for each item, in their order, up to `depth` of them begun before the first is asked for."""
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) > depth:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:  # after an error or an interruption nothing more is begun
        for future in begun:
            future.cancel()


def one_a_thread(make: Callable[[], Callable[[T], R]]) -> Callable[[T], R]:
    """A function that calls what `make()` gives, made once in each thread: a detector keeps state and bears no second caller."""
    local = threading.local()

    def call(item: T) -> R:
        if not hasattr(local, "made"):
            local.made = make()
        return local.made(item)

    return call
