"""Request limits per visitor: a few concurrent requests and a maximum rate, so that all visitors are served.

A visitor is a session of the page or of gradio_client, or the address of a client without a session (all MCP tools share
one session). Visitors are identified by a salted hash that is kept in memory for one minute. Requests above a limit are
rejected with status 429 and a message. Waiting requests are counted from gradio's queue.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator

import gradio as gr
from starlette.exceptions import HTTPException

AT_ONCE = 4  # requests waiting or running; the page itself sends the next slider value after the last response
A_MINUTE = 600  # requests; dragging a slider without a pause sends 200 to 300 if the network takes 0.2 s
MINUTE = 60.0  # s


class Pace:
    """Sliding-window rate limiter: at most `most` requests per visitor in `period` seconds."""

    def __init__(self, most: int = A_MINUTE, period: float = MINUTE, clock=time.monotonic):
        self._most, self._period, self._clock = most, period, clock
        self._times: dict[int, deque[float]] = {}  # visitor -> times of requests, most recent visitor last

    def __len__(self) -> int:
        return len(self._times)

    def wait(self, visitor: int) -> float:
        """Return the seconds until the visitor may send a request; 0 means now, and counts the request."""
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
    """Limit the queue of the page, for each visitor and in total. Call it after page.queue()."""
    queue, pace = page._queue, Pace() if pace is None else pace
    push = queue.push

    async def bounded(body, request, username):
        who = _visitor(body.session_hash, request)
        if sum(_visitor(_session(event), event.request) == who for event in _events(queue)) >= AT_ONCE:
            raise HTTPException(429, f"You already have {AT_ONCE} requests waiting or running: wait until one is finished.")
        if queue.max_size is not None and len(queue) >= queue.max_size:
            raise HTTPException(
                429, f"The server is busy: you would be number {len(queue) + 1} in the queue. Try again in a minute."
            )
        if wait := pace.wait(who):
            raise HTTPException(429, f"You have sent too many requests within a minute: wait for {wait + 0.5:.0f} seconds.")
        return await push(body=body, request=request, username=username)

    queue.push = bounded
    return page


def _events(queue) -> Iterator:
    for line in queue.event_queue_per_concurrency_id.values():
        yield from line.queue
    for running in queue.active_jobs:
        yield from running or ()


def _session(event) -> str | None:
    """Return the session of an event; gradio uses the id of the event as its session if there is none."""
    return None if event.session_hash == event._id else event.session_hash


def _visitor(session: str | None, request) -> int:
    return hash(("session", session) if session else ("address", _address(request)))


def _address(request) -> str:
    """Return the address of the client; a Space is behind a proxy, which names it in a header."""
    named = request.headers.get("x-forwarded-for") if "SPACE_ID" in os.environ else None
    return named.split(",")[0].strip() if named else request.client.host if request.client else ""
