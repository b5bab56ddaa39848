"""Request limits per visitor."""

import asyncio
import types

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

import app
from demo.server import rate_limit
from tests.demo.conftest import TIMEOUT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 30)), max_size=200), st.integers(1, 5))
def test_rate_limit_holds_and_retry_after_is_sufficient(asked, most):
    clock, passed = Clock(), {}
    limiter = rate_limit.RateLimiter(most, 60.0, clock)
    for visitor, pause in asked:
        clock.now += pause
        mine = [at for at in passed.get(visitor, []) if at + 60 > clock.now]
        wait = limiter.retry_after(visitor)
        assert (wait > 0) == (len(mine) == most) and wait <= 60 + 1e-6
        if wait:
            clock.now += wait + 1e-6
            assert limiter.retry_after(visitor) == 0
        passed.setdefault(visitor, []).append(clock.now)


def test_inactive_visitors_are_forgotten():
    clock = Clock()
    limiter = rate_limit.RateLimiter(3, 60.0, clock)
    for visitor in range(1000):
        limiter.retry_after(visitor)
    clock.now = 61.0
    limiter.retry_after(-1)
    assert len(limiter) == 1


def ask(page, session: str | None, address: str = "203.0.113.7", proxy: str = ""):
    """Push one more request, which then waits forever; returns the response of the queue."""
    body = types.SimpleNamespace(session_hash=session)
    client, headers = types.SimpleNamespace(host=proxy or address), {"x-forwarded-for": f"{address}, 10.0.0.2"}
    request = types.SimpleNamespace(client=client, headers=headers)
    return asyncio.run(page._queue.push(body, request, None))


@pytest.fixture
def page(monkeypatch):
    """A page whose queue accepts all requests that pass the limits."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button()
    page.queue(max_size=10)
    line = page._queue.event_queue_per_concurrency_id["network"] = types.SimpleNamespace(queue=[])

    async def push(body, request, username):
        name = f"event-{len(line.queue)}"
        line.queue.append(types.SimpleNamespace(_id=name, session_hash=body.session_hash or name, request=request))
        return True, name, "success"

    monkeypatch.setattr(page._queue, "push", push)
    return page


@pytest.mark.parametrize(("first", "second"), [(("mine",), ("theirs",)), ((None, "203.0.113.7"), (None, "203.0.113.8"))],
                         ids=["sessions", "addresses"])  # fmt: skip
def test_concurrent_requests_are_limited_per_visitor(page, first, second):
    rate_limit.limit_requests(page)
    for _ in range(rate_limit.MAX_CONCURRENT):
        assert ask(page, *first)[0]
    with pytest.raises(HTTPException, match="already") as refused:
        ask(page, *first)
    assert refused.value.status_code == 429 and refused.value.detail.endswith(".") and "203." not in refused.value.detail
    assert ask(page, *second)[0]
    line = page._queue.event_queue_per_concurrency_id["network"].queue
    page._queue.active_jobs = [None, [line.pop(0)]]  # running requests count like waiting ones
    with pytest.raises(HTTPException, match="already"):
        ask(page, *first)
    page._queue.active_jobs = [None, None]  # finished
    assert ask(page, *first)[0]


def test_addresses_behind_proxy_are_distinguished_on_a_space(page, monkeypatch):
    rate_limit.limit_requests(page)
    monkeypatch.setenv("SPACE_ID", "me/faces")
    for number in range(2 * rate_limit.MAX_CONCURRENT):
        assert ask(page, None, f"203.0.113.{number}", proxy="10.0.0.1")[0]
    monkeypatch.delenv("SPACE_ID")  # the header is not trusted elsewhere
    with pytest.raises(HTTPException, match="already"):
        for number in range(rate_limit.MAX_CONCURRENT + 1):
            ask(page, None, f"203.0.113.{number}", proxy="10.0.0.1")


def test_full_queue_reports_position(page):
    rate_limit.limit_requests(page)
    for number in range(10):
        ask(page, f"session {number}")
    with pytest.raises(HTTPException, match="number 11 in the queue"):
        ask(page, "one more")


def test_rate_is_limited_but_dragging_a_slider_is_allowed(page):
    clock = Clock()
    rate_limit.limit_requests(page, rate_limit.RateLimiter(clock=clock))
    line = page._queue.event_queue_per_concurrency_id["network"].queue
    for _ in range(5 * 300):  # five minutes of dragging, one image every 0.2 s
        clock.now += 0.2
        assert ask(page, "drags")[0]
        line.clear()
    with pytest.raises(HTTPException, match=r"wait for \d+ seconds"):
        for _ in range(rate_limit.MAX_PER_MINUTE + 1):
            ask(page, "floods")
            line.clear()


def test_running_page_serves_concurrent_requests(server):
    with httpx.Client(base_url=f"{server}gradio_api", timeout=TIMEOUT) as web:
        asked = [web.post("/call/sample", json={"data": ["gfpgan", 1], "session_hash": f"s{k}"}) for k in range(6)]
        assert all(answer.status_code == 200 for answer in asked)
    client = Client(server, verbose=False)
    jobs = [client.submit(preset="gfpgan", seed=k, api_name="/sample") for k in range(rate_limit.MAX_CONCURRENT)]
    assert all(job.result(TIMEOUT)["blur_sigma"] for job in jobs)


def test_queued_events_cannot_bypass_the_queue(server):
    page = httpx.get(f"{server}config", timeout=TIMEOUT).json()
    for event in page["dependencies"]:
        if event["queue"]:
            body = {"data": [], "fn_index": event["id"], "session_hash": "past-the-queue"}
            answer = httpx.post(f"{server}gradio_api/run/predict", json=body, timeout=TIMEOUT)
            assert answer.status_code == 404, event["api_name"]
    assert app.MAX_QUEUE_SIZE > rate_limit.MAX_CONCURRENT
