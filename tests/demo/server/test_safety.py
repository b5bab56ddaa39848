"""Malicious requests: every endpoint with invalid values and with files of the server."""

import http.server
import itertools
import json
import random
import secrets
import threading

import httpx
import numpy as np
import pytest
from PIL import Image

import app
from demo import images
from demo.tabs import rate
from tests.demo.conftest import TIMEOUT

API_CASES, STUDY_CASES = 120, 400  # random cases of the two fuzz tests, from a fixed seed
FILE = {"_type": "gradio.FileData"}
LONG = "9\n" * 5000  # messages of gradio quote the arguments
VALUES = [
    None, True, -1, 0, 3, 0.5, 1e308, -1e308, float("nan"), float("inf"), 10**400, "", "x", LONG, "x" * 100_000,
    "<script>alert(1)</script>", "\0", "../../etc/passwd", [], [[]] * 50, {}, {"a": {"b": []}}, {"path": ""}, {"path": None},
    {"path": 5}, {"path": "/etc/passwd"}, {"path": "/dev/zero", "meta": FILE}, {"path": "x" * 5000}, {"__type__": "update"},
]  # fmt: skip


@pytest.fixture(scope="module")
def web(server):
    with httpx.Client(base_url=server, timeout=TIMEOUT) as web:
        yield web


@pytest.fixture(scope="module")
def endpoints(web) -> dict[str, list]:
    """Endpoint -> valid arguments: a small uploaded image, and the defaults."""
    named = web.get("gradio_api/info").json()["named_endpoints"]
    image = upload(web, "face.png", png())
    good = {"Image": {"path": image, "meta": FILE}, "Textbox": "all", "Number": 1, "Checkbox": False}
    assert len(named) >= 6
    return {
        name: [good.get(parameter["component"], parameter.get("parameter_default")) for parameter in endpoint["parameters"]]
        for name, endpoint in named.items()
    }


def png(level: int = 90, side: int = 64) -> bytes:
    return images.png(np.full((side, side, 3), level, np.uint8))


def upload(web, name: str, data: bytes) -> str:
    return web.post("gradio_api/upload", files={"files": (name, data)}).json()[0]


def call(web, name: str, data: list) -> str:
    """Return the last event of a call, or the response that rejects it."""
    body = json.dumps({"data": data, "session_hash": secrets.token_hex(8)})  # with NaN and Infinity as Python writes them
    started = web.post(f"gradio_api/call{name}", content=body, headers={"Content-Type": "application/json"})
    assert started.status_code != 429  # earlier calls have been answered
    if started.status_code != 200:
        assert started.status_code < 500, started.text[:300]
        return started.text
    return web.get(f"gradio_api/call{name}/{started.json()['event_id']}").text


def refused(answer: str) -> bool:
    """Return whether the response is an error with one message that reveals no server internals."""
    assert "Traceback" not in answer and str(app.ROOT) not in answer and "site-packages" not in answer
    if "event: error" not in answer:
        return False
    message = json.loads(answer.split("data: ", 1)[1].splitlines()[0])["error"]
    return bool(message) and len(message) < 1000 and "\n" not in message


@pytest.mark.slow
def test_invalid_values_return_messages_and_server_keeps_running(web, endpoints):
    rng = random.Random(0)
    places = [(name, k) for name, values in endpoints.items() for k in range(len(values))]
    cases = [(place, value) for place in places for value in (rng.choice(VALUES), LONG)]
    cases += rng.sample(list(itertools.product(places, VALUES)), API_CASES)
    for (name, place), value in cases:
        answer = call(web, name, [value if k == place else good for k, good in enumerate(endpoints[name])])
        assert "event: complete" in answer or "detail" in answer or refused(answer), (name, place, value, answer[:500])
    assert web.get("").status_code == 200


@pytest.mark.parametrize("count", [0, 1, 200])
def test_wrong_number_of_arguments_returns_message(web, endpoints, count):
    for name in endpoints:
        if count != len(endpoints[name]):
            answer = call(web, name, [None] * count)
            assert refused(answer) or "detail" in answer, (name, answer[:300])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["as a file", "unmarked", "nested"])
def test_images_outside_the_cache_cannot_be_read(web, endpoints, tmp_path, how):
    """Only a valid image would be returned if it were read; /etc/passwd would fail to decode."""
    (tmp_path / "private.png").write_bytes(png(side=32))
    cache = upload(web, "face.png", png(91)).rsplit("/", 2)[0]
    paths = [
        str(tmp_path / "private.png"), f"{cache}/../../../../../../..{tmp_path}/private.png",
        f"file://{tmp_path}/private.png", str(app.ROOT / "assets" / "playground.png"), "/proc/self/environ", "/etc/passwd",
    ]  # fmt: skip
    for name, path in itertools.product(endpoints, paths):
        file = {"as a file": {"path": path, "meta": FILE}, "unmarked": {"path": path}, "nested": [{"path": path}]}[how]
        places = [k for k, good in enumerate(endpoints[name]) if isinstance(good, dict)]
        for place in places:
            answer = call(web, name, [file if k == place else good for k, good in enumerate(endpoints[name])])
            assert refused(answer) and "root:" not in answer, (name, path, answer[:300])


def test_symbolic_links_out_of_the_cache_are_rejected(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "private.png").write_bytes(png())
    (cache / "link.png").symlink_to(tmp_path / "private.png")
    (cache / "own.png").write_bytes(png())
    assert images.uploaded_path(str(cache / "own.png"), cache) == str((cache / "own.png").resolve())
    for path in (cache / "link.png", cache / ".." / "private.png", "x\0y", "x" * 10_000, "", None):
        assert images.uploaded_path(path if path is None else str(path), cache) == ""


@pytest.mark.slow
def test_server_fetches_no_address(web, endpoints):
    asked = []

    class Private(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png())

    inner = http.server.HTTPServer(("127.0.0.1", 0), Private)
    threading.Thread(target=inner.serve_forever, daemon=True).start()
    try:
        for name, host in itertools.product(endpoints, ("127.0.0.1", "localhost")):
            address = f"http://{host}:{inner.server_port}/private.png"
            places = [k for k, good in enumerate(endpoints[name]) if isinstance(good, dict)]
            for place, file in itertools.product(places, ({"path": address, "meta": FILE}, {"path": "", "url": address})):
                answer = call(web, name, [file if k == place else good for k, good in enumerate(endpoints[name])])
                assert refused(answer) and "does not fetch" in answer, answer[:300]
    finally:
        inner.shutdown()
        inner.server_close()
    assert not asked


@pytest.mark.parametrize("path", ["/etc/passwd", str(app.ROOT / "app.py"), "../" * 12 + "etc/passwd", "file:///etc/passwd",
                                  "%2e%2e/%2e%2e/etc/passwd", "http://127.0.0.1:1/", "/proc/self/environ"])  # fmt: skip
def test_files_outside_the_cache_are_not_served(web, path):
    assert web.get(f"gradio_api/file={path}").status_code in (400, 403, 404)


@pytest.mark.parametrize("name", ["../../../escaped.png", "/tmp/escaped.png", "<img src=x onerror=alert(1)>.png", "a\nb.png"])
def test_file_names_cannot_contain_paths_or_markup(web, name):
    path = upload(web, name, png())
    assert ".." not in path and "<" not in path and "\n" not in path and not path.startswith("/tmp/escaped")
    assert "event: complete" in call(web, "/restore", [{"path": path, "meta": FILE, "orig_name": name}])


def test_decompression_bombs_are_rejected_before_decoding(web, files, tmp_path):
    frames = [Image.new("1", (4000, 4000))] * 3
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:], compression="group4")
    for path in (files["bomb.png"], files["text.png"], files["empty.png"]):
        answer = call(web, "/photo", [{"path": upload(web, path.name, path.read_bytes()), "meta": FILE}, "all", 1, 1])
        assert refused(answer)
    assert images.decode(tmp_path / "frames.tiff").shape == (4000, 4000, 3)  # only the first frame is read


def test_upload_size_is_limited(web):
    answer = web.post("gradio_api/upload", files={"files": ("large.png", b"\0" * (images.MAX_BYTES + 1))})
    assert answer.status_code == 413


@pytest.mark.slow
def test_study_routes_reject_invalid_values_with_messages(web):
    bodies = [b"", b"{", b"[]", b"null", b"NaN", b'"x"', b"\xff\xfe", b"[" * 8000, b'{"code": ' + b"9" * 6000 + b"}"]
    fields = ("code", "n", "holding", "id", "trial", "choice", "ms")
    bodies += [json.dumps({field: value}).encode() for field in fields for value in VALUES if value != 10**400]
    rng = random.Random(1)
    cases = [(name, body) for name in [*rate.ENDPOINTS, "owner/report", "owner/export/jsonl", "nothing"] for body in bodies]
    for name, body in rng.sample(cases, STUDY_CASES):
        answer = web.post(f"study/{name}", content=body)
        assert answer.status_code < 500 and str(app.ROOT) not in answer.text, (name, body[:80], answer.text[:300])
        if answer.status_code != 200:
            assert "\n" not in answer.json()["error"] and answer.json()["error"].endswith(".")
    for name in ("../study.json", "..%2fstudy.json", "%2fetc%2fpasswd", "a" * 5000, "study.json"):
        assert web.get(f"study/images/{name}").status_code in (400, 404, 405)
    assert web.post("study/about", content=b"{}").status_code == 200
