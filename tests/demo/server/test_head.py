"""The head of the page: own title and link preview, compression, and streams that are not compressed."""

import gzip
import json
import re

import httpx
import pytest
from PIL import Image

from demo.languages import english
from demo.server import head
from tests.demo.conftest import TIMEOUT

pytestmark = pytest.mark.slow  # starts the app


@pytest.fixture(scope="module")
def web(server):
    with httpx.Client(base_url=server, timeout=TIMEOUT) as web:
        yield web


def metadata(page: str) -> dict[str, str]:
    return dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', page))


def test_title_description_and_preview_are_of_the_project(web):
    page = web.get("/").text
    before = page.split("<body")[0]
    found = metadata(before)
    assert re.findall(r"<title>(.*?)</title>", before) == [english("page.title")]
    assert found["description"] == found["og:description"] == english("page.description")
    assert len(re.findall('og:image"', before)) == 1 and '<html\n\tlang="en"' in before
    tags = "".join(re.findall(r"<(?:meta|link).*?>", before, re.S))
    assert "githubusercontent" not in tags and "radio.app" not in tags and "@" not in tags
    image = web.get(found["og:image"])
    assert image.headers["content-type"] == "image/jpeg" and len(image.content) < 200_000
    width, height = int(found["og:image:width"]), int(found["og:image:height"])
    assert Image.open(head.PREVIEW).size == (width, height) == head.PREVIEW_SIZE


def test_icon_and_manifest_are_of_the_project(web):
    assert web.get("/favicon.ico").text == head.ICON.read_text()
    manifest = web.get("/manifest.json").json()
    assert manifest["name"] == english("page.title") and manifest["icons"][0]["src"].endswith("pwa_icon")


def test_address_of_the_preview_is_that_of_the_visitor(web):
    asked = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": 'faces.example.org"><script>'}
    found = metadata(web.get("/", headers=asked).text)
    assert found["og:image"] == f"https://faces.example.org&quot;&gt;&lt;script&gt;/{head.PREVIEW.name}"
    assert metadata(web.get("/").text)["og:url"] == str(web.base_url)


@pytest.mark.parametrize("path", [*head.COMPRESSED, "/theme.css"])
def test_pages_are_compressed(web, path):
    with web.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers.get("content-length", len(raw))) == len(raw) < len(gzip.decompress(raw))
    plain = web.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    if path == "/":
        assert plain.text.rstrip().endswith("</html>") and int(plain.headers["content-length"]) == len(plain.content)


def test_event_streams_are_not_compressed(web):
    name, parameters = "/sample", ["gpen-release", 0]
    started = web.post(f"/gradio_api/call{name}", json={"data": parameters}).json()
    with web.stream("GET", f"/gradio_api/call{name}/{started['event_id']}", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers and answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    assert "event: complete" in lines and json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))


def test_other_methods_and_paths_are_unchanged(web):
    assert web.head("/").status_code == 200 and web.head("/").content == b""
    assert web.get("/none").status_code == 404
