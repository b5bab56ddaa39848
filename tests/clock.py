"""A clock that a test sets, in place of time.time or time.monotonic."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Called, it returns `now`, seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now
