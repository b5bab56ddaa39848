"""What one visitor may ask of gradio's queue: a few requests at once and a bounded number a minute, which leaves room for all.

A visitor is a session, of a page or of gradio_client; a program that names none is its address. (The tools of MCP share one
session.) Who it is is kept as a number, salted anew at every start, for a minute and in memory only. Who asks too much is told so
in a sentence, with status 429; the requests that wait are counted by the queue itself, so that nothing here can be forgotten.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator

import gradio as gr
from starlette.exceptions import HTTPException

AT_ONCE = 4  # requests waiting or running: of a control that is moved the page sends one, and the next when it is answered
A_MINUTE = 600  # a slider that is dragged without a pause asks 200 to 300 times where the network takes 0.2 s
MINUTE = 60.0  # s


class Pace:
    """Counts what each visitor asked within the last minute and forgets whoever asked nothing."""

    def __init__(self, most: int = A_MINUTE, period: float = MINUTE, clock=time.monotonic):
        self._most, self._period, self._clock = most, period, clock
        self._times: dict[int, deque[float]] = {}  # by visitor, who asked last comes last

    def __len__(self) -> int:
        return len(self._times)

    def wait(self, visitor: int) -> float:
        """Seconds until this visitor may ask again; 0 is now, and then the question counts."""
        now = self._clock()
        self._forget(now)
        times = self._times.get(visitor, deque())
        while times and times[0] + self._period <= now:
            times.popleft()
        if len(times) >= self._most:
            return times[0] + self._period - now
        times.append(now)
        self._times.pop(visitor, None)
        self._times[visitor] = times
        return 0.0

    def _forget(self, now: float) -> None:
        while self._times:
            visitor, times = next(iter(self._times.items()))
            if times[-1] + self._period > now:
                return
            del self._times[visitor]


def bound(page: gr.Blocks, pace: Pace | None = None) -> gr.Blocks:
    """The page, its queue bounded for each visitor and in all; after page.queue()."""
    queue, pace = page._queue, Pace() if pace is None else pace
    push = queue.push

    async def bounded(body, request, username):
        who = _visitor(body.session_hash, request)
        if sum(_visitor(_session(event), event.request) == who for event in _events(queue)) >= AT_ONCE:
            raise HTTPException(429, f"You have {AT_ONCE} requests here already, waiting or running: please wait for one.")
        if queue.max_size is not None and len(queue) >= queue.max_size:
            raise HTTPException(429, f"Busy: you would be number {len(queue) + 1} in the queue. Please try again in a minute.")
        if wait := pace.wait(who):
            raise HTTPException(429, f"You have asked very often within a minute: please wait for {wait + 0.5:.0f} seconds.")
        return await push(body=body, request=request, username=username)

    queue.push = bounded
    return page


def _events(queue) -> Iterator:
    for line in queue.event_queue_per_concurrency_id.values():
        yield from line.queue
    for running in queue.active_jobs:
        yield from running or ()


def _session(event) -> str | None:
    """The session that the event came with: gradio names one that has none after the event."""
    return None if event.session_hash == event._id else event.session_hash


def _visitor(session: str | None, request) -> int:
    return hash(("session", session) if session else ("address", _address(request)))


def _address(request) -> str:
    """Where the request comes from; a Space stands behind a proxy, which names it in a header."""
    named = request.headers.get("x-forwarded-for") if "SPACE_ID" in os.environ else None
    return named.split(",")[0].strip() if named else request.client.host if request.client else ""
