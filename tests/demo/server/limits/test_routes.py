"""Allowed routes: those that the page and its clients use, and no others of gradio."""

import re

import gradio as gr
import pytest
from starlette.responses import Response
from starlette.routing import Route

from demo.server.limits import routes
from demo.server.limits.settings import Limits
from demo.tabs import rate

ALLOWED = [
    ("GET", "/"), ("HEAD", "/"), ("GET", "/config"), ("GET", "/theme.css"), ("GET", "/assets/index-1.js"),
    ("GET", "/gradio_api/info"), ("GET", "/gradio_api/queue/data"), ("GET", "/gradio_api/heartbeat/abc"),
    ("GET", "/gradio_api/file=/tmp/gradio/a b/c.png"), ("HEAD", "/gradio_api/file=C:\\gradio\\c.png"),
    ("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/call/restore/"), ("GET", "/gradio_api/call/restore/1"),
    ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/mcp/"), ("GET", "/gradio_api/mcp/schema"), ("POST", "/study/answer"), ("GET", "/preview.jpg"),
    ("GET", "/login/huggingface"), ("GET", "/login/callback"), ("GET", "/logout"), ("GET", "/rate"), ("GET", "/rate/"),
]  # fmt: skip
REFUSED = [
    ("GET", "/monitoring"), ("GET", "/monitoring/summary"), ("GET", "/gradio_api/deep_link"), ("GET", "/login"),
    ("POST", "/gradio_api/process_recording"), ("GET", "/gradio_api/proxy=https://a.hf.space/"), ("GET", "/docs"),
    ("GET", "/gradio_api/file=https://example.com/a.png"), ("GET", "/gradio_api/file=HTTP://example.com/a.png"),
    ("GET", "/gradio_api/file/https://example.com/a.png"), ("GET", "/gradio_api/file=ftp:/x"), ("POST", "/"),
    ("GET", "/rate/x"), ("POST", "/login/huggingface"),
    ("DELETE", "/gradio_api/queue/join"), ("GET", "/study/unknown/x"), ("POST", "/gradio_api/vibe-edit"), ("TRACE", "/"),
    ("GET", "/gradio_api/custom_component/a/client/b/c"), ("POST", "/gradio_api/stream/x"), ("GET", "/gradio_api/mcp/x"),
]  # fmt: skip


def own(_):
    return Response()


OWN = [Route("/study/{call}", own, methods=["POST"]), Route("/preview.jpg", own), *rate.LINKS]


def find(method: str, path: str, root: str = "") -> routes.Rule | None:
    scope = {"type": "http", "method": method, "path": root + path, "root_path": root, "headers": []}
    return routes.find(scope, routes.rules(Limits()), OWN)


@pytest.mark.parametrize("root", ["", "/gpen"])
@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_routes_of_the_page_are_allowed(method, path, root):
    assert find(method, path, root)


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_other_routes_are_not(method, path):
    assert find(method, path) is None


def test_no_body_without_need_and_files_only_by_upload():
    assert find("GET", "/config").max_body == 0 and find("POST", "/study/answer").max_body is None
    assert find("POST", "/gradio_api/queue/join").max_body == 2**20
    writing = [path for method, path in ALLOWED if find(method, path).is_upload]
    assert writing == ["/gradio_api/upload", "/gradio_api/component_server"]


@pytest.mark.slow
def test_routes_that_gradio_adds_must_be_considered():
    """A new route of a later version of gradio fails here, until it is listed as allowed or as not served."""
    with gr.Blocks() as page:
        gr.Textbox()
    app = gr.routes.App.create_app(page)
    names = {re.sub(r"\{[^}]*\}", "x", path).rstrip("/") or "/" for path in app.openapi()["paths"]}
    unused = {
        "/gradio_api/user", "/gradio_api/login_check", "/gradio_api/token", "/login", "/monitoring", "/monitoring/summary",
        "/monitoring/x", "/gradio_api/deep_link", "/gradio_api/process_recording", "/gradio_api/proxy=x", "/gradio_api/runs",
        "/gradio_api/file/x", "/gradio_api/stream/x", "/gradio_api/stream/x/close", "/gradio_api/api/x", "/openapi.json",
        "/gradio_api/stream/x/x/x/playlist.m3u8", "/gradio_api/stream/x/x/x/x.x", "/gradio_api/stream/x/x/x/playlist-file",
        "/gradio_api/custom_component/x/x/x/x", "/gradio_api/vibe-edit", "/gradio_api/undo-vibe-edit", "/gradio_api/vibe-code",
        "/gradio_api/vibe-starter-queries", "/gradio_api/run-history/connect", "/gradio_api/run-history/records",
        "/gradio_api/run-history/records/x/x/assets/x", "/gradio_api/run-history/buckets",
    }  # fmt: skip
    allowed = {name for name in names for method in ("GET", "POST") if find(method, name.replace("=x", "=/x"))}
    assert "/gradio_api/upload" in allowed and names - allowed - unused == set()
