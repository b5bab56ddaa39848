"""Limits of the queue per visitor and network."""

import asyncio
import itertools
import types

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from starlette.exceptions import HTTPException

import app
from demo.server.limits.identity import SCOPE, Visitor
from demo.server.limits.queue_limits import limit_queue
from demo.server.limits.settings import Limits
from tests.clock import Clock
from tests.demo.conftest import TIMEOUT

LIMITS = Limits()


def ask(page, visitor: str, network: str = "home", session: str | None = None):
    """Push one more request, which then waits forever; returns the response of the queue."""
    body = types.SimpleNamespace(session_hash=session)
    request = types.SimpleNamespace(scope={SCOPE: Visitor(visitor, network)})
    return asyncio.run(page._queue.push(body, request, None))


@pytest.fixture
def page(monkeypatch):
    """A page whose queue accepts all requests that pass the limits; `page.line` has those that wait."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button()
    page.queue(max_size=60)
    line = page._queue.event_queue_per_concurrency_id["network"] = types.SimpleNamespace(queue=[])
    page.line = line.queue

    async def push(body, request, username):
        page.line.append(types.SimpleNamespace(request=request))
        return True, "event", "success"

    monkeypatch.setattr(page._queue, "push", push)
    return page


def test_concurrent_requests_are_limited_per_visitor_whatever_the_session(page):
    limit_queue(page, LIMITS)
    for number in range(LIMITS.visitor_queue):
        assert ask(page, "me", session=f"random {number}")[0]
    with pytest.raises(HTTPException, match="already") as refused:
        ask(page, "me", session="another")
    assert refused.value.status_code == 429 and refused.value.detail.endswith(".")
    assert ask(page, "neighbour")[0]
    page._queue.active_jobs = [None, [page.line.pop(0)]]  # running requests count like waiting ones
    with pytest.raises(HTTPException, match="already"):
        ask(page, "me")
    page._queue.active_jobs = [None, None]  # finished
    assert ask(page, "me")[0]


def test_visitors_of_one_network_leave_half_of_the_queue_to_others(page):
    limit_queue(page, LIMITS)
    with pytest.raises(HTTPException, match=r"Your network already has 32 requests"):
        for number in itertools.count():
            ask(page, f"cookie {number}")
    assert len(page.line) == LIMITS.network_queue < app.MAX_QUEUE_SIZE
    assert ask(page, "far", "away")[0]


def test_full_queue_reports_position(page):
    limit_queue(page, LIMITS)
    with pytest.raises(HTTPException, match="number 61 in the queue"):
        for number in itertools.count():
            ask(page, f"visitor {number}", f"network {number}")


def test_events_are_refused_without_room_on_the_disk(page):
    limit_queue(page, LIMITS, lambda: False)
    with pytest.raises(HTTPException, match="no room") as refused:
        ask(page, "me")
    assert refused.value.status_code == 507


def test_rate_is_limited_but_dragging_a_slider_is_allowed(page):
    clock = Clock()
    limit_queue(page, LIMITS, clock=clock)
    for _ in range(5 * 300):  # five minutes of dragging, one image every 0.2 s
        clock.now += 0.2
        assert ask(page, "drags")[0]
        page.line.clear()
    with pytest.raises(HTTPException, match=r"wait for \d+ seconds"):
        for number in range(1000):
            ask(page, "floods", session=f"random {number}")
            page.line.clear()


@pytest.mark.slow
def test_running_page_serves_concurrent_requests(server):
    with httpx.Client(base_url=f"{server}gradio_api", timeout=TIMEOUT) as web:
        for number in range(6):  # the sample takes milliseconds
            answer = web.post("/call/sample", json={"data": ["gfpgan", 1], "session_hash": f"s{number}"})
            assert answer.status_code == 200
            web.get(f"/call/sample/{answer.json()['event_id']}")
    client = Client(server, verbose=False)
    jobs = [client.submit(preset="gfpgan", seed=k, api_name="/sample") for k in range(LIMITS.visitor_queue)]
    assert all(job.result(TIMEOUT)["blur_sigma"] for job in jobs)


@pytest.mark.slow
def test_queued_events_cannot_bypass_the_queue(server):
    page = httpx.get(f"{server}config", timeout=TIMEOUT).json()
    for event in page["dependencies"]:
        if event["queue"]:
            body = {"data": [], "fn_index": event["id"], "session_hash": "past-the-queue"}
            answer = httpx.post(f"{server}gradio_api/run/predict", json=body, timeout=TIMEOUT)
            assert answer.status_code == 404, event["api_name"]
