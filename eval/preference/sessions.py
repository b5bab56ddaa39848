"""State of a study in the memory of a process: trials given out, networks of the sessions, cached reads. Nothing is stored."""

import ipaddress
import secrets
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeVar

from eval.preference.study import Trial
from gpen.errors import GPENError

MAX_SESSIONS = 100  # sessions that one network may start in PERIOD: a school, not a script
PERIOD = 24 * 3600.0  # s
MAX_RATERS = 100_000  # in memory; the least recent are dropped first
PREFIXES = {4: 24, 6: 48}  # bits of an address that identify its network
Value = TypeVar("Value")


class TooManySessionsError(GPENError):
    """The network has started too many sessions."""

    status = 403  # not 429, after which the page tries again at once

    def __init__(self) -> None:
        super().__init__("Too many people have started this study from your network today; please try again tomorrow.")


class IssuedTrials:
    """The trials of each rater that were given out and not answered; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trials: OrderedDict[str, list[Trial]] = OrderedDict()

    def pending(self, rater: str, held: list[Trial], answered: set[str]) -> list[Trial]:
        """The trials given to a rater, with those that the page holds, without those answered."""
        with self._lock:
            given = self._trials.get(rater, [])
        every = {trial.id: trial for trial in (*given, *held)}
        return [trial for key, trial in every.items() if key not in answered]

    def keep(self, rater: str, pending: list[Trial]) -> None:
        """Remember the trials given to a rater."""
        with self._lock:
            self._trials[rater] = pending
            self._trials.move_to_end(rater)
            while len(self._trials) > MAX_RATERS:
                self._trials.popitem(last=False)


class Networks:
    """The networks from which raters started, as salted hashes of this process; limits the sessions of each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._salt, self._lock = clock, secrets.token_bytes(16), threading.Lock()
        self._network: OrderedDict[str, str] = OrderedDict()  # by rater
        self._starts: dict[str, deque[float]] = defaultdict(deque)  # by network, times of the last PERIOD

    def enter(self, rater: str, address: str | None) -> None:
        """Count the session of a rater. Raises TooManySessionsError. Sessions of this computer are not limited."""
        network = self._hash(address)
        if network is None:
            return
        with self._lock:
            now, starts = self._clock(), self._starts[network]
            while starts and starts[0] <= now - PERIOD:
                starts.popleft()
            if rater in self._network:
                return
            if len(starts) >= MAX_SESSIONS:
                raise TooManySessionsError
            starts.append(now)
            self._network[rater] = network
            if len(self._network) > MAX_RATERS:
                oldest = self._network.popitem(last=False)[1]
                if oldest not in self._network.values():
                    self._starts.pop(oldest, None)

    def groups(self) -> dict[str, list[str]]:
        """The raters of each network since the start of the process."""
        with self._lock:
            found: dict[str, list[str]] = defaultdict(list)
            for rater, network in self._network.items():
                found[network].append(rater)
        return dict(found)

    def _hash(self, address: str | None) -> str | None:
        try:
            parsed = ipaddress.ip_address(address or "127.0.0.1")
        except ValueError:
            name = str(address)
        else:
            if parsed.is_loopback:
                return None
            name = str(ipaddress.ip_network((parsed, PREFIXES[parsed.version]), strict=False))
        return blake2b(name.encode(), key=self._salt, digest_size=8).hexdigest()


class ReadCache:
    """Results of heavy reads of the store. One thread at a time computes a result; the others receive the previous one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._entries: dict[str, tuple[float, Any]] = {}
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def clear(self) -> None:
        """Forget all results."""
        self._entries.clear()

    def read(self, name: str, compute: Callable[[], Value], age: float) -> Value:
        """The result of `compute`, ready for at most `age` seconds where nobody computes it already."""
        entry, lock = self._entries.get(name), self._locks[name]
        if entry and self._clock() - entry[0] < age:
            return entry[1]
        if not lock.acquire(blocking=entry is None):
            assert entry is not None
            return entry[1]
        try:
            entry = self._entries.get(name)
            if entry is None or self._clock() - entry[0] >= age:
                value = compute()
                entry = self._entries[name] = self._clock(), value  # a slow result is kept for `age` after it is ready
            return entry[1]
        finally:
            lock.release()
