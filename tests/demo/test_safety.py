"""Someone with bad intentions: every endpoint of the running page against wrong values and files that are none of theirs."""

import http.server
import itertools
import json
import random
import secrets
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import app
from demo import images, rate
from tests.demo.conftest import TIMEOUT

SECONDS = 10  # of fuzzing the endpoints, and half as long the routes of the study
FILE = {"_type": "gradio.FileData"}
LONG = "9\n" * 5000  # gradio's own sentences quote what came
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
    """Name -> the values with which an endpoint works: a small uploaded picture, and the defaults."""
    named = web.get("gradio_api/info").json()["named_endpoints"]
    picture = upload(web, "face.png", png())
    good = {"Image": {"path": picture, "meta": FILE}, "Textbox": "all", "Number": 1, "Checkbox": False}
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
    """The answer of an endpoint, as the server's last event or its refusal says it."""
    session = secrets.token_hex(8)  # a visitor of its own: one alone may not ask so often
    body = json.dumps({"data": data, "session_hash": session})  # NaN and Infinity travel as Python writes them
    started = web.post(f"gradio_api/call{name}", content=body, headers={"Content-Type": "application/json"})
    if started.status_code != 200:
        assert started.status_code < 500, started.text[:300]
        return started.text
    return web.get(f"gradio_api/call{name}/{started.json()['event_id']}").text


def refused(answer: str) -> bool:
    """Whether it is an error that says something, and nothing of the inside."""
    assert "Traceback" not in answer and str(app.ROOT) not in answer and "site-packages" not in answer
    if "event: error" not in answer:
        return False
    sentence = json.loads(answer.split("data: ", 1)[1].splitlines()[0])["error"]
    return bool(sentence) and len(sentence) < 1000 and "\n" not in sentence


def test_wrong_values_are_answered_by_sentences_and_the_server_lives(web, endpoints):
    drawn, end = random.Random(0), time.monotonic() + SECONDS
    places = [(name, k) for name, values in endpoints.items() for k in range(len(values))]
    cases = list(itertools.product(places, VALUES))
    drawn.shuffle(cases)
    every = [(place, value) for place in places for value in (drawn.choice(VALUES), LONG)]  # however slow the machine
    for tried, ((name, place), value) in enumerate(every + cases):
        if tried >= len(every) and time.monotonic() > end:
            break
        answer = call(web, name, [value if k == place else good for k, good in enumerate(endpoints[name])])
        assert "event: complete" in answer or "detail" in answer or refused(answer), (name, place, value, answer[:500])
    assert web.get("").status_code == 200


@pytest.mark.parametrize("count", [0, 1, 200])
def test_too_few_and_too_many_values_are_told(web, endpoints, count):
    for name in endpoints:
        if count != len(endpoints[name]):
            answer = call(web, name, [None] * count)
            assert refused(answer) or "detail" in answer, (name, answer[:300])


@pytest.mark.parametrize("how", ["as a file", "unmarked", "nested"])
def test_no_picture_of_the_server_leaves_it(web, endpoints, tmp_path, how):
    """A picture that decodes would come back if it were read: that /etc/passwd is no picture protects nothing."""
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


def test_a_link_in_the_cache_leads_nowhere(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "private.png").write_bytes(png())
    (cache / "link.png").symlink_to(tmp_path / "private.png")
    (cache / "own.png").write_bytes(png())
    assert images.uploaded_path(str(cache / "own.png"), cache) == str((cache / "own.png").resolve())
    for path in (cache / "link.png", cache / ".." / "private.png", "x\0y", "x" * 10_000, "", None):
        assert images.uploaded_path(path if path is None else str(path), cache) == ""


@pytest.mark.parametrize("marked", [True, False])
def test_the_server_fetches_nothing_from_its_own_network(web, endpoints, marked):
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
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
            address = f"http://{host}:{inner.server_port}/private.png"
            for file in ({"path": address}, {"path": "", "url": address}):
                answer = call(web, "/restore", [file | ({"meta": FILE} if marked else {})])
                assert refused(answer), answer[:300]
    finally:
        inner.shutdown()
        inner.server_close()
    assert not asked


@pytest.mark.parametrize("path", ["/etc/passwd", str(app.ROOT / "app.py"), "../" * 12 + "etc/passwd", "file:///etc/passwd",
                                  "%2e%2e/%2e%2e/etc/passwd", "http://127.0.0.1:1/", "/proc/self/environ"])  # fmt: skip
def test_no_file_outside_the_cache_is_served(web, path):
    assert web.get(f"gradio_api/file={path}").status_code in (400, 403, 404)


@pytest.mark.parametrize("name", ["../../../escaped.png", "/tmp/escaped.png", "<img src=x onerror=alert(1)>.png", "a\nb.png"])
def test_a_file_s_name_is_only_a_name(web, name):
    path = upload(web, name, png())
    assert ".." not in path and "<" not in path and "\n" not in path and not path.startswith("/tmp/escaped")
    assert "event: complete" in call(web, "/restore", [{"path": path, "meta": FILE, "orig_name": name}])


def test_bombs_are_refused_before_they_are_opened(web, files, tmp_path):
    frames = [Image.new("1", (4000, 4000))] * 3
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:], compression="group4")
    for path in (files["bomb.png"], files["100-megapixel.png"], files["text.png"], files["empty.png"]):
        start = time.monotonic()
        answer = call(web, "/photo", [{"path": upload(web, path.name, path.read_bytes()), "meta": FILE}, "all", 1, 1])
        assert refused(answer) and time.monotonic() - start < TIMEOUT
    assert images.decode(tmp_path / "frames.tiff").shape == (4000, 4000, 3)  # of many frames the first alone is read


def test_an_upload_has_a_largest_size(web):
    answer = web.post("gradio_api/upload", files={"files": ("large.png", b"\0" * (images.MAX_BYTES + 1))})
    assert answer.status_code == 413


def test_the_study_s_routes_refuse_wrong_values_by_sentences(web):
    bodies = [b"", b"{", b"[]", b"null", b"NaN", b'"x"', b"\xff\xfe", b"[" * 8000, b'{"code": ' + b"9" * 6000 + b"}"]
    fields = ("code", "n", "holding", "id", "trial", "choice", "ms")
    bodies += [json.dumps({field: value}).encode() for field in fields for value in VALUES if value != 10**400]
    drawn, end = random.Random(1), time.monotonic() + SECONDS / 2
    cases = [(name, body) for name in [*rate.ENDPOINTS, "owner/report", "owner/export/jsonl", "nothing"] for body in bodies]
    drawn.shuffle(cases)
    for name, body in cases:
        if time.monotonic() > end:
            break
        answer = web.post(f"study/{name}", content=body)
        assert answer.status_code < 500 and str(app.ROOT) not in answer.text, (name, body[:80], answer.text[:300])
        if answer.status_code != 200:
            assert "\n" not in answer.json()["error"] and answer.json()["error"].endswith(".")
    for name in ("../study.json", "..%2fstudy.json", "%2fetc%2fpasswd", "a" * 5000, "study.json"):
        assert web.get(f"study/images/{name}").status_code in (400, 404, 405)
    assert web.post("study/about", content=b"{}").status_code == 200
