"""Request limits per visitor, so that all visitors are served.

A visitor is a session of the page or of gradio_client, or the address of a client without a session (all MCP tools share
one session). Visitors are identified by a salted hash that is kept in memory for one minute. Requests above a limit are
rejected with status 429 and a message. Waiting requests are counted from gradio's queue.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.requests import Request

from demo.server import gradio_patches

MAX_CONCURRENT = 4  # requests waiting or running; the page itself sends the next slider value after the last response
MAX_PER_MINUTE = 600  # requests; dragging a slider without a pause sends 200 to 300 if the network takes 0.2 s
WINDOW = 60.0  # s


class RateLimiter:
    """Sliding-window rate limiter: at most `max_requests` requests per visitor in `period` seconds."""

    def __init__(self, max_requests: int = MAX_PER_MINUTE, period: float = WINDOW, clock: Callable[[], float] = time.monotonic):
        self._max_requests, self._period, self._clock = max_requests, period, clock
        self._times: dict[int, deque[float]] = {}  # visitor -> times of requests, most recent visitor last

    def __len__(self) -> int:
        return len(self._times)

    def retry_after(self, visitor: int) -> float:
        """Return the seconds until the visitor may send a request; 0 means now, and counts the request."""
        now = self._clock()
        self._forget(now)
        times = self._times.get(visitor, deque())
        while times and times[0] + self._period <= now:
            times.popleft()
        if len(times) >= self._max_requests:
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


def limit_requests(page: gr.Blocks, limiter: RateLimiter | None = None) -> gr.Blocks:
    """Limit the requests of each visitor and the length of the queue. Call it after page.queue()."""
    limiter = RateLimiter() if limiter is None else limiter

    def check(session: str | None, request: Request) -> None:
        visitor = _visitor(session, request)
        if sum(_visitor(*queued) == visitor for queued in gradio_patches.queued_requests(page)) >= MAX_CONCURRENT:
            message = f"You already have {MAX_CONCURRENT} requests waiting or running: wait until one is finished."
            raise HTTPException(429, message)
        length, max_length = gradio_patches.queue_size(page)
        if max_length is not None and length >= max_length:
            message = f"The server is busy: you would be number {length + 1} in the queue. Try again in a minute."
            raise HTTPException(429, message)
        if seconds := limiter.retry_after(visitor):
            message = f"You have sent too many requests within a minute: wait for {seconds + 0.5:.0f} seconds."
            raise HTTPException(429, message)

    gradio_patches.before_enqueue(page, check)
    return page


def _visitor(session: str | None, request: Request) -> int:
    return hash(("session", session) if session else ("address", _address(request)))


def _address(request: Request) -> str:
    """Return the address of the client; a Space is behind a proxy, which names it in a header."""
    named = request.headers.get("x-forwarded-for") if "SPACE_ID" in os.environ else None
    return named.split(",")[0].strip() if named else request.client.host if request.client else ""
