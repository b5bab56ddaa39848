"""Token buckets by key: requests or bytes at once up to a burst, then at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from demo.server.limits.settings import Rate

MAX_KEYS = 100_000  # buckets in memory; the least recently used one, which has refilled most, is forgotten first


class TokenBuckets:
    """One token bucket for each key, full at first."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic):
        self._rate, self._clock = rate, clock
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # key -> tokens, time at which they were counted

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: Hashable, count: float = 1) -> float:
        """Take `count` tokens and return 0, or take none and return the seconds until there are enough of them.

        A count above the burst is taken from a full bucket, which then has a debt: a large body is charged when it has arrived.
        """
        now = self._clock()
        tokens, since = self._levels.pop(key, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - since) * self._rate.per_second)
        missing = min(count, self._rate.burst) - tokens
        self._levels[key] = (tokens if missing > 0 else tokens - count), now
        while len(self._levels) > MAX_KEYS or self._is_full(now):
            self._levels.popitem(last=False)
        return max(0.0, missing / self._rate.per_second)

    def _is_full(self, now: float) -> bool:
        """Return whether the least recently used bucket is full again, so that it need not be remembered."""
        tokens, since = next(iter(self._levels.values()))
        return tokens + (now - since) * self._rate.per_second >= self._rate.burst
