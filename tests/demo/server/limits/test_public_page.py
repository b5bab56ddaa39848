"""Failure sequences of a public page: a small page behind all limits is attacked over the network of this machine."""

import gzip
import http.server
import itertools
import json
import os
import threading
import time
from dataclasses import replace

import httpx
import pytest
import safehttpx
from gradio import processing_utils

from demo import api
from demo.server.limits.bodies import BoundedBody
from demo.server.limits.held import DROPPED
from demo.server.limits.settings import MB, Rate
from tests.demo.server.limits.conftest import send_raw

pytestmark = pytest.mark.slow
FILE = {"_type": "gradio.FileData"}
ZEROS = b"\0" * 65536
PART = b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def page(open_page):
    return open_page(json_body=MB, upload_body=4 * MB, held_bytes=20 * 1024)


@pytest.fixture
def remote(monkeypatch):
    """A server that answers with a gzip bomb; its `asked` are the paths that were requested. Gradio takes it for a public one."""
    monkeypatch.setattr(processing_utils, "PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
    monkeypatch.setattr(safehttpx, "is_public_ip", lambda address: True)
    asked, bomb = [], gzip.compress(b"\0" * (20 * MB))

    class Bomb(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(bomb)

        do_HEAD = do_GET

    server = http.server.HTTPServer(("127.0.0.1", 0), Bomb)
    server.asked = asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def zeros(count: int):
    return (ZEROS for _ in range(count // len(ZEROS)))


def chunked(parts):
    for part in parts:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"


@pytest.mark.parametrize("path", ["queue/join", "upload", "call/show", "mcp/", "component_server"])
def test_a_gigabyte_of_zeros_ends_soon(page, path):
    kind = "multipart/form-data; boundary=limit" if path in ("upload", "component_server") else "application/json"
    head = f"POST /gradio_api/{path} HTTP/1.1\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked"
    sent, answer = send_raw(page.url, head, chunked(itertools.chain([PART], zeros(2**30))), 2**30)
    assert sent < 64 * MB  # the limit, and what the buffers of the connection hold
    assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_json_of_300_megabytes_is_refused_before_it_is_sent(page):
    head = f"POST /gradio_api/queue/join HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {300 * MB}"
    sent, answer = send_raw(page.url, head, zeros(300 * MB), 300 * MB)
    assert sent < 16 * MB and answer.startswith(b"HTTP/1.1 413")
    assert page.event(page.visitor("192.0.2.2"), "show", "") != {}


def test_deeply_nested_json_is_answered(page):
    for body in ("[" * (MB - 10), '{"data": ' + "[" * 100_000 + "]" * 100_000 + ', "session_hash": "s"}'):
        answer = page.visitor("192.0.2.3").post(
            "gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 600
    assert page.visitor().get("config").status_code == 200


def test_upload_of_1000_files_is_refused_and_leaves_no_file(page):
    before = page.files.paths()
    web = page.visitor("192.0.2.4")
    answer = web.post("gradio_api/upload", files=[("files", (f"{k}.png", b"x" * 1000)) for k in range(1000)])
    assert answer.status_code == 413 and "more than 20 files" in answer.text
    assert page.files.paths() == before
    assert len(web.post("gradio_api/upload", files=[("files", (f"{k}.png", b"x")) for k in range(20)]).json()) == 20


def test_too_large_file_leaves_no_part_of_it(page):
    before = page.files.paths()
    answer = page.visitor("192.0.2.5").post("gradio_api/upload", files={"files": ("a.png", b"x" * (2 * MB))})
    assert answer.status_code == 413
    assert page.files.paths() == before


def test_addresses_are_refused_and_not_fetched(page, remote):
    address = f"http://127.0.0.1:{remote.server_port}/bomb.png"
    inner = f"{address}/gradio_api/file=/etc/passwd"
    files = [{"path": address}, {"path": address, "meta": FILE}, {"path": "", "url": address, "meta": FILE}, {"url": address},
             [{"image": {"path": address, "meta": FILE}}], {"path": "", "url": inner}, {"path": inner, "meta": FILE}]  # fmt: skip
    for file in files:
        error = page.event(page.visitor("192.0.2.6"), "name", file)["error"]
        assert error in (api.REMOTE_FILE, api.NO_FILE, api.WRONG_KIND), file
    web = page.visitor("192.0.2.6")
    for path in (f"file={address}", f"file/{address}", f"proxy={address}"):
        assert web.get(f"gradio_api/{path}").status_code == 404
    assert remote.asked == []


def test_address_of_an_uploaded_file_is_that_file(page):
    web = page.visitor("192.0.2.7")
    path = web.post("gradio_api/upload", files={"files": ("own face.png", b"x")}).json()[0]
    for file in ({"path": path, "url": f"{page.url}gradio_api/file={path}"}, {"path": f"{page.url}gradio_api/file={path}"}):
        assert page.event(web, "name", file | {"meta": FILE})["data"] == [path.rsplit("/", 1)[1]]


def call_tool(page, address: str, image: str) -> str:
    """Call the tool that has a file as its argument; return the text of its answer."""

    def ask(method: str, **params) -> dict:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"Accept": "application/json, text/event-stream", "X-Forwarded-For": address}
        answer = httpx.post(f"{page.url}gradio_api/mcp/", json=body, headers=headers, timeout=30)
        return json.loads(answer.text.split("data: ", 1)[1])["result"]

    tool = next(tool for tool in ask("tools/list")["tools"] if "Gradio File Input" in json.dumps(tool["inputSchema"]))
    (name,) = tool["inputSchema"]["properties"]
    return ask("tools/call", name=tool["name"], arguments={name: image})["content"][0]["text"]


def test_tools_fetch_nothing_and_store_images_below_the_emptied_folder(page, remote):
    assert api.REMOTE_FILE in call_tool(page, "192.0.2.8", f"http://127.0.0.1:{remote.server_port}/bomb.png")
    assert remote.asked == []
    assert "file" in call_tool(page, "192.0.2.9", "data:image/png;base64,eA==")
    assert list(page.files.folder.glob("*/file*"))


def test_tools_are_limited_per_visitor_who_calls_them(open_page):
    page = open_page(visitor_events=Rate(3, 0.001))
    image = "data:image/png;base64,eA=="
    answers = [call_tool(page, "192.0.2.30", image) for _ in range(5)]
    assert ["file" in answer for answer in answers] == [True] * 3 + [False] * 2
    assert "file" in call_tool(page, "192.0.2.31", image)


def test_random_sessions_do_not_replace_the_image_of_a_visitor(page):
    mine = page.visitor("192.0.2.10")
    key = page.event(mine, "keep", "my face", session="mine")["data"][0]
    bot = page.visitor("192.0.2.11")
    for number in range(60):
        page.event(bot, "keep", f"bot {number}", session=f"random {number}")
    assert page.event(mine, "show", key, session="mine")["data"] == ["my face"]
    assert page.event(mine, "show", key, session="after a restart of gradio's session")["data"] == ["my face"]


def test_dropped_image_is_reported_instead_of_another_face(page):
    web = page.visitor("192.0.2.12")
    keys = [page.event(web, "keep", f"face {k}")["data"][0] for k in range(page.limits.held_per_visitor + 1)]
    assert page.event(web, "show", keys[-1])["data"][0].startswith("face")
    assert page.event(web, "show", keys[0])["error"] == DROPPED


def test_new_sessions_and_forged_addresses_do_not_escape_the_limits(open_page):
    page = open_page(visitor_queue=8, visitor_events=Rate(5, 0.001), network_requests=Rate(60, 0.001))
    web = httpx.Client(base_url=page.url, timeout=30)
    statuses = []
    for number in range(8):
        headers = {"X-Forwarded-For": f"203.0.113.{number}, 192.0.2.20"}
        body = {"data": [""], "session_hash": f"random {number}"}
        statuses.append(web.post("gradio_api/call/show", json=body, headers=headers).status_code)
    assert statuses == [200] * 5 + [429] * 3
    assert web.get("config", headers={"X-Forwarded-For": "192.0.2.21"}).status_code == 200
    many = [web.get("config", headers={"X-Forwarded-For": f"9.9.9.{k}, 192.0.2.22"}).status_code for k in range(70)]
    assert many == [200] * 60 + [429] * 10  # before routing, and for pages without an event too


def test_failed_events_do_not_count_as_running_once_they_are_answered(open_page, monkeypatch):
    """Failure sequence: after an error gradio waits for a thread between the answer and the end of the event."""
    page = open_page(visitor_queue=1)
    web = page.visitor("192.0.2.14")
    monkeypatch.setattr(page.page._queue, "compute_analytics_summary", lambda records: time.sleep(0.3))  # a busy machine
    assert [page.event(web, "show", "no such key").get("error") for _ in range(5)] == [DROPPED] * 5


def test_unused_routes_are_not_served_and_every_answer_has_the_headers(page):
    web = page.visitor("192.0.2.15")
    unused = [("GET", "monitoring"), ("GET", "monitoring/summary"), ("GET", "gradio_api/deep_link?session_hash=x"),
              ("POST", "gradio_api/process_recording"), ("GET", "gradio_api/login_check"), ("GET", "docs")]  # fmt: skip
    answers = [web.request(method, path) for method, path in unused]
    assert {answer.status_code for answer in answers} == {404}
    large = web.post("gradio_api/queue/join", content=b"0" * (MB + 1))
    for answer in (*answers, large, web.get(""), web.get("config"), web.get("gradio_api/info")):
        assert "default-src 'self'" in answer.headers["content-security-policy"], answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_all_temporary_files_are_gone_after_the_age(open_page):
    page = open_page(file_interval=0.1)
    web = page.visitor("192.0.2.13")
    path = web.post("gradio_api/upload", files={"files": ("own face.png", b"x")}).json()[0]
    page.event(web, "name", {"path": path, "meta": FILE})
    (page.files.folder / "preview").mkdir()
    (page.files.folder / "preview" / "only-in-html.jpg").write_bytes(b"x")
    assert "file" in call_tool(page, "192.0.2.13", "data:image/png;base64,eA==")
    assert len({os.path.dirname(path) for path in page.files.paths() if os.path.isfile(path)}) >= 4  # .alive and three others
    page.files._limits = replace(page.limits, file_seconds=0.5)
    for _ in range(100):
        left = [path for path in page.files.paths() if not path.endswith(".alive")]
        if not left:
            break
        page.files._stop.wait(0.1)
    assert not left
    assert web.get(f"gradio_api/file={path}").status_code in (403, 404)


@pytest.fixture(scope="module")
def impatient_page(open_page):  # each page takes over the folder of uploads, so that it comes after those of `page`
    return open_page(body_grace=1.0, body_speed=1e6)


def test_slow_body_is_answered_and_leaves_no_file(impatient_page):
    page = impatient_page
    before = page.files.paths()
    head = "POST /gradio_api/upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=limit\r\nContent-Length: 1000"
    _, answer = send_raw(page.url, head, [PART], 1000)
    assert answer.startswith(b"HTTP/1.1 408")
    assert page.files.paths() == before


def test_event_is_answered_when_the_server_itself_was_late(impatient_page, monkeypatch):
    """Failure sequence: a pause of the process counted as a slow body, and closed the stream before the answer."""
    check = BoundedBody.check_declared

    def late(body, scope):
        time.sleep(1.2 * (scope["path"].endswith("queue/data")))  # longer than `body_grace`
        return check(body, scope)

    monkeypatch.setattr(BoundedBody, "check_declared", late)
    assert impatient_page.event(impatient_page.visitor("192.0.2.16"), "keep", "my face")["data"]
