"""Admission of requests and their bodies, with an app that counts what reaches it."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from demo.server.limits.admission import DISK_FULL, AdmitRequests
from demo.server.limits.identity import SCOPE, Visitor
from demo.server.limits.settings import MB, Limits, Rate
from tests.demo.server.limits.conftest import TIMEOUT

CHUNK = b"\0" * 65536
ME, NEIGHBOUR = Visitor("me", "school"), Visitor("neighbour", "school")


class Site:
    """The middleware before an app that reads the body; `received` is the number of bytes that the app got."""

    def __init__(self, has_room=lambda: True, **limits):
        self.received, self.called = 0, 0
        self.app = AdmitRequests(self.read, Limits(**limits), [], has_room)

    async def read(self, scope, receive, send):
        self.called += 1
        async for part in Request(scope, receive).stream():
            self.received += len(part)
        await PlainTextResponse("read")(scope, receive, send)

    def post(self, path, parts=(b"",), visitor=ME, method="POST", declared=None, kind="", clock=None):
        """Send a request, one message a part; returns status and text. A part that is None never arrives."""
        headers = [(b"content-type", kind.encode())] if kind else []
        headers += [] if declared is None else [(b"content-length", str(declared).encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers, SCOPE: visitor}
        messages, answers = iter(parts), []
        self.offered = 0

        async def receive():
            part = next(messages, b"")
            if part is None:
                await asyncio.Event().wait()
            self.offered += len(part)
            return {"type": "http.request", "body": part, "more_body": bool(part)}

        async def send(message):
            answers.append(message)

        asyncio.run(asyncio.wait_for(self.app(scope, receive, send), TIMEOUT))
        starts = [answer for answer in answers if answer["type"] == "http.response.start"]
        assert len(starts) == 1
        self.headers = dict(starts[0]["headers"])
        return starts[0]["status"], b"".join(answer.get("body", b"") for answer in answers).decode()


def gigabyte():
    return (CHUNK for _ in range(2**30 // len(CHUNK)))


def test_body_with_a_large_declared_length_is_not_read():
    site = Site()
    status, text = site.post("/gradio_api/queue/join", gigabyte(), declared=300 * MB)
    assert status == 413 and "larger than 1 MB" in text and site.offered == 0 and not site.called
    assert site.headers[b"connection"] == b"close"
    assert site.post("/gradio_api/queue/join", declared="1e9")[0] == 400


LIMITS = {
    "queue/join": MB,
    "call/restore": MB,
    "run/predict": MB,
    "mcp": 12 * MB,
    "component_server": 12 * MB,
    "upload": Limits.upload_body,
}


@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_a_gigabyte_of_zeros_ends_at_the_limit_of_the_route(name, most):
    site = Site()
    status, text = site.post(f"/gradio_api/{name}", gigabyte())
    assert status == 413 and text.rstrip('"}').endswith(".") and most <= site.offered <= most + 2 * len(CHUNK)
    assert site.received <= most


def test_body_of_a_route_without_data_is_refused():
    site = Site()
    assert site.post("/config", gigabyte(), method="GET", declared=2**30)[0] == 413 and site.offered == 0
    assert site.post("/config", gigabyte(), method="GET")[0] == 413 and site.offered <= 2 * len(CHUNK)
    assert site.post("/config", method="GET") == (200, "read")


@pytest.mark.parametrize("reaction", ["raises", "answers", "waits"])
def test_the_reason_is_sent_whatever_the_route_does(reaction):
    site = Site()

    async def route(scope, receive, send):
        try:
            await Request(scope, receive).body()
        except ClientDisconnect:
            if reaction == "raises":
                raise
            if reaction == "waits":
                assert (await receive())["type"] == "http.disconnect"
        await PlainTextResponse("There was an error parsing the body.", 400)(scope, receive, send)

    site.app = AdmitRequests(route, Limits(), [], lambda: True)
    assert site.post("/gradio_api/queue/join", gigabyte())[0] == 413


def test_errors_of_a_route_are_not_hidden():
    async def route(scope, receive, send):
        raise ValueError("of the route")

    site = Site()
    site.app = AdmitRequests(route, Limits(), [], lambda: True)
    with pytest.raises(ValueError, match="of the route"):
        site.post("/gradio_api/queue/join")


def test_slow_body_ends_at_the_deadline():
    site = Site(body_grace=0.05)
    status, text = site.post("/gradio_api/upload", [b"a", None])
    assert status == 408 and "too slowly" in text
    faster = Site(body_grace=0.05, body_speed=1)
    assert faster.post("/gradio_api/upload", [b"a" * 100, b"b"]) == (200, "read")  # a body earns time by its bytes


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_files_of_an_upload_are_counted_across_parts_of_the_body(size):
    part = b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n'

    def upload(files):
        body = part * files + b"--limit--\r\n"
        return [body[k : k + size] for k in range(0, len(body), size)]

    kind = "multipart/form-data; boundary=limit"
    site = Site()
    assert site.post("/gradio_api/upload", upload(20), kind=kind) == (200, "read")
    for boundary in (kind, 'multipart/form-data; boundary="limit"'):
        status, text = site.post("/gradio_api/upload", upload(1000), kind=boundary)
        assert status == 413 and "more than 20 files" in text and site.offered < 30 * len(part) + size


def test_bytes_are_limited_per_visitor_and_per_network():
    site = Site(visitor_bytes=Rate(MB, 1), network_bytes=Rate(3 * MB, 1))
    half = [CHUNK] * 8
    assert [site.post("/gradio_api/upload", half)[0] for _ in range(3)] == [200, 200, 429]
    assert int(site.headers[b"retry-after"]) >= 1
    others = [Visitor(f"pupil {k}", "school") for k in range(9)]
    statuses = [site.post("/gradio_api/upload", half, visitor=other)[0] for other in others]
    assert statuses[0] == 200 and statuses[-1] == 429
    assert site.post("/gradio_api/upload", half, visitor=Visitor("far", "away"))[0] == 200


def test_requests_are_limited_per_network_whatever_the_visitor():
    site = Site(network_requests=Rate(5, 0.001))
    statuses = [site.post("/config", method="GET", visitor=Visitor(f"{k}", "school"))[0] for k in range(6)]
    assert statuses == [200] * 5 + [429] and site.called == 5
    assert site.post("/config", method="GET", visitor=Visitor("server", "server", is_server=True))[0] == 200
    assert site.post("/config", method="GET", visitor=Visitor("far", "away"))[0] == 200


def test_open_requests_are_limited_per_network():
    statuses = []

    async def stay_open(scope, receive, send):
        await released.wait()
        await PlainTextResponse("closed")(scope, receive, send)

    async def send(message):
        statuses.append(message.get("status"))

    async def run():
        app = AdmitRequests(stay_open, Limits(open_requests=3), [], lambda: True)
        scope = {"type": "http", "method": "GET", "path": "/gradio_api/heartbeat/x", "headers": [], SCOPE: ME}
        tasks = [asyncio.create_task(app(scope, None, send)) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 429 in statuses
        released.set()
        await asyncio.gather(*tasks)
        await app(scope, None, send)

    released = asyncio.Event()
    asyncio.run(run())
    assert statuses.count(429) == 1 and statuses.count(200) == 4


def test_uploads_are_refused_without_room_on_the_disk():
    site = Site(has_room=lambda: False)
    assert site.post("/gradio_api/upload", gigabyte()) == (507, DISK_FULL) and site.offered == 0
    assert site.post("/gradio_api/queue/join")[0] == 200


def test_upload_ends_when_others_have_filled_the_disk_meanwhile():
    """Failure sequence: uploads that began together were all accepted, and left no room for the votes."""
    site = Site(has_room=lambda: site.offered < 10 * len(CHUNK))
    site.offered = 0
    assert site.post("/gradio_api/upload", gigabyte()) == (507, DISK_FULL) and site.offered == 10 * len(CHUNK)


def test_websockets_are_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Site().app({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
