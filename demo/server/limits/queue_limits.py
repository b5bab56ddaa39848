"""Limits of the queue per visitor and network, so that all visitors are served.

A request above a limit is rejected with status 429 and a message. Waiting requests are counted from gradio's queue. The session
in a request is chosen by the client and has no influence.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.requests import Request

from demo.server import gradio_patches
from demo.server.limits.admission import DISK_FULL
from demo.server.limits.buckets import TokenBuckets
from demo.server.limits.identity import visitor_of
from demo.server.limits.settings import Limits


def limit_queue(
    page: gr.Blocks,
    limits: Limits,
    has_room: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
) -> gr.Blocks:
    """Limit the events of each visitor and the length of the queue. Call it after page.queue()."""
    events = TokenBuckets(limits.visitor_events, clock)

    def check(request: Request) -> None:
        visitor = visitor_of(request.scope)
        queued = [visitor_of(other.scope) for other in gradio_patches.queued_requests(page)]
        mine, nearby = Counter(other.name for other in queued), Counter(other.network for other in queued)
        if mine[visitor.name] >= limits.visitor_queue:
            raise _busy(f"You already have {limits.visitor_queue} requests waiting or running: wait until one is finished.")
        if nearby[visitor.network] >= limits.network_queue:
            raise _busy(f"Your network already has {limits.network_queue} requests waiting or running: try again in a minute.")
        length, max_length = gradio_patches.queue_size(page)
        if max_length is not None and length >= max_length:
            raise _busy(f"The server is busy: you would be number {length + 1} in the queue. Try again in a minute.")
        if not has_room():
            raise HTTPException(507, DISK_FULL)
        if seconds := events.take(visitor.name):
            raise _busy(f"You have sent too many requests within a minute: wait for {seconds + 0.5:.0f} seconds.")

    gradio_patches.record_no_statistics(page)
    gradio_patches.mark_answered_events(page)
    gradio_patches.before_enqueue(page, check)
    return page


def _busy(sentence: str) -> HTTPException:
    return HTTPException(429, sentence)
