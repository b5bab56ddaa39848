"""Downloads from a local server with simulated faults."""

import hashlib
import http.server
import io
import os
import threading
import time

import pytest
import torch

import gpen
from gpen.models import checkpoints, download
from gpen.models.network import GPEN, Discriminator, GPENConfig

DATA = torch.randint(0, 256, (300_000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy().tobytes()
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` with the faults in `behaviour`; records (path, Range) of each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.behaviour = {"/file.bin": DATA}, [], {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_GET(self):
        server, faults = self.server, self.server.behaviour
        server.requests.append((self.path, self.headers.get("Range")))
        if len(server.requests) <= faults.get("busy", 0):
            return self.send_error(503)
        if self.path not in server.files:
            return self.send_error(404)
        content = faults.get("wrong") or server.files[self.path]
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
        if faults.get("no_ranges"):
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        piece = content[start : start + faults.get("cut", len(content))]
        for first in range(0, len(piece), faults.get("block", len(piece))):
            self.wfile.write(piece[first : first + faults.get("block", len(piece))])
            time.sleep(faults.get("delay", 0))


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.delenv("GPEN_MODELS", raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("GPEN_DOWNLOAD_URL", server.url + "/")
        yield server
        server.shutdown()


def left(folder):
    """Names of the files in a folder, without lock files."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock" and path.is_file())


def test_file_is_complete_and_downloaded_once(server, tmp_path, capsys):
    path = download.fetch(f"{server.url}/file.bin", tmp_path / "new" / "a.bin", SHA256)
    assert path.read_bytes() == DATA and left(path.parent) == ["a.bin"]
    download.fetch(f"{server.url}/file.bin", path, SHA256)
    assert len(server.requests) == 1
    download.fetch(f"{server.url}/file.bin", tmp_path / "quiet.bin", progress=False)
    assert "quiet" not in capsys.readouterr().err


def test_lost_connection_is_resumed(server, tmp_path):
    server.behaviour = {"cut": 70_000}
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin", SHA256).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, *(f"bytes={70_000 * k}-" for k in range(1, 5))]


def test_server_without_range_support(server, tmp_path):
    (tmp_path / "a.bin.partial").write_bytes(DATA[:1000])
    server.behaviour = {"no_ranges": True}
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("earlier", [DATA[:1000], DATA, b"of another version " * 40, DATA + b"more", b""])
def test_partial_file_of_another_process_is_continued_or_replaced(server, tmp_path, earlier):
    (tmp_path / "a.bin.partial").write_bytes(earlier)
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin", SHA256).read_bytes() == DATA
    if earlier == DATA[:1000]:
        assert server.requests == [("/file.bin", "bytes=1000-")]


def test_slow_server_and_timeout(server, tmp_path):
    server.behaviour = {"block": 100_000, "delay": 0.05}
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "slow.bin", SHA256).read_bytes() == DATA
    assert len(server.requests) == 1
    server.behaviour = {"block": 150_000, "delay": 0.6}
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "silent.bin", SHA256, timeout=0.2).read_bytes() == DATA
    assert server.requests[2][1] == "bytes=150000-"


def test_http_503_is_retried(server, tmp_path):
    server.behaviour = {"busy": 2}
    assert download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin", SHA256).read_bytes() == DATA


@pytest.mark.parametrize(
    ("behaviour", "name", "words", "requests"),
    [
        ({}, "absent.bin", "HTTP 404", 1),
        ({"busy": 99}, "file.bin", "HTTP 503", download.TRIES),
        ({"cut": 0}, "file.bin", "disconnected after 0 of 300000 bytes", download.TRIES),
        ({"wrong": b"<html>log in to this network</html>"}, "file.bin", "wrong file.*SHA-256", 1),
    ],
)
def test_failed_download_raises_an_error_with_instructions(server, tmp_path, behaviour, name, words, requests):
    server.behaviour = behaviour
    with pytest.raises(gpen.GPENError, match=words) as caught:
        download.fetch(f"{server.url}/{name}", tmp_path / "a.bin", SHA256)
    message = str(caught.value)
    assert f"{server.url}/{name}" in message and f"save it as {tmp_path / 'a.bin'}, or" in message
    assert message.endswith("set the environment variable GPEN_MODELS to the folder that has it.") and "\n" not in message
    assert not (tmp_path / "a.bin").exists() and len(server.requests) == requests


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file.bin", "no address", "http://", "gopher://x/y"])
def test_unreachable_server_raises_an_error(server, tmp_path, url):
    with pytest.raises(gpen.GPENError, match="cannot be downloaded"):
        download.fetch(url, tmp_path / "a.bin")
    assert left(tmp_path) == []


def test_unwritable_folder_raises_an_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(gpen.GPENError, match="cannot be downloaded"):
        download.fetch(f"{server.url}/file.bin", tmp_path / "file" / "a.bin")


def test_full_disk_raises_an_error(server, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full exists on Linux only")
    (tmp_path / "a.bin.partial").symlink_to("/dev/full")
    with pytest.raises(gpen.GPENError, match="cannot be downloaded .No space left on device.: .*GPEN_MODELS"):
        download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin", SHA256)
    assert not (tmp_path / "a.bin").exists() and len(server.requests) == 1, "a retry is useless"


def test_read_only_cache(server, small, tmp_path, monkeypatch):
    if not os.path.isdir("/proc/self"):
        pytest.skip("/proc exists on Linux only")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    server.files["/GPEN-BFR-256.pth"] = published(GPEN(small))
    with pytest.raises(gpen.GPENError, match="cannot be downloaded .*/proc/self/gpen/GPEN-BFR-256.pth, or .*GPEN_MODELS"):
        gpen.load("GPEN-BFR-256")
    (tmp_path / "GPEN-BFR-256.pth").write_bytes(server.files["/GPEN-BFR-256.pth"])
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    assert gpen.load("GPEN-BFR-256").size == 256 and not server.requests


def test_folder_with_the_name_of_a_model(small, tmp_path, monkeypatch):
    with pytest.raises(gpen.GPENError, match="is a folder"):
        gpen.load(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "GPEN-BFR-256").mkdir()
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    file = gpen.save(GPEN(small), tmp_path / "models" / "GPEN-BFR-256.safetensors")
    assert checkpoints.find("GPEN-BFR-256") == file


def published(net) -> bytes:
    file = io.BytesIO()
    torch.save(gpen.to_published(net), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return GPENConfig(size=256, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)


def test_published_model_is_downloaded_once_with_a_licence_notice(server, small, capsys, monkeypatch):
    net = GPEN(small)
    server.files["/GPEN-BFR-256.pth"] = published(net)
    server.behaviour = {"cut": len(server.files["/GPEN-BFR-256.pth"]) // 2 + 1}
    for _ in range(2):
        torch.testing.assert_close(gpen.load("GPEN-BFR-256").state_dict(), dict(net.state_dict()), rtol=0, atol=0)
    assert [path for path, _ in server.requests] == ["/GPEN-BFR-256.pth"] * 2
    assert capsys.readouterr().err.count("No licence is stated by the authors") == 1
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")
    gpen.load("GPEN-BFR-256")


def test_published_discriminator_is_downloaded(server, small):
    server.files["/GPEN-BFR-256-D.pth"] = published(Discriminator(small))
    assert gpen.load_discriminator("GPEN-BFR-256-D").config.size == 256


@pytest.mark.parametrize("wrong", ["page", "cut", "other size", "hostile"])
def test_wrong_model_is_not_kept_in_the_cache(server, small, wrong, tmp_path):
    whole = published(GPEN(small))
    hostile = b"\x80\x02cposix\nsystem\n."
    contents = {"page": b"<html>404</html>" * 9, "cut": whole[:-3000], "other size": whole, "hostile": hostile}
    name = "GPEN-BFR-512" if wrong == "other size" else "GPEN-BFR-256"
    server.files[f"/{name}.pth"] = contents[wrong]
    with pytest.raises(gpen.GPENError, match="wrong file, which was deleted") as caught:
        gpen.load(name)
    assert str(caught.value).count("\n") == 0 and left(tmp_path / "cache" / "gpen") == []


@pytest.mark.parametrize("name", checkpoints.PUBLISHED_MODELS)
def test_failed_model_download_raises_an_error_with_instructions(server, name, tmp_path, monkeypatch):
    with pytest.raises(gpen.GPENError) as caught:
        checkpoints.find(name)
    assert f"{name}.pth" in str(caught.value) and str(tmp_path / "cache" / "gpen") in str(caught.value)
    assert server.requests
    server.requests.clear()
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")
    with pytest.raises(gpen.GPENError, match="set the environment variable GPEN_MODELS"):
        checkpoints.find(name)
    assert not server.requests


def test_gpen_models_can_have_several_folders(server, small, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    gpen.save(GPEN(small), tmp_path / "b" / "GPEN-BFR-1024.safetensors")
    monkeypatch.setenv("GPEN_MODELS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert checkpoints.find("GPEN-BFR-1024") == tmp_path / "b" / "GPEN-BFR-1024.safetensors"


def test_yunet_file_is_searched_then_downloaded_and_verified(server, tmp_path, monkeypatch):
    server.files[f"/{download.YUNET_FILE}"] = b"not the detector"
    with pytest.raises(gpen.GPENError, match="SHA-256"):
        download.yunet_file()
    server.files[f"/{download.YUNET_FILE}"] = DATA
    monkeypatch.setattr(download, "YUNET_SHA256", SHA256)
    assert download.yunet_file().read_bytes() == DATA and download.yunet_file().parent == tmp_path / "cache" / "gpen"
    assert len(server.requests) == 2
    (tmp_path / download.YUNET_FILE).write_bytes(b"the user's own")
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    assert download.yunet_file() == tmp_path / download.YUNET_FILE


def test_first_verified_download_is_recorded_and_later_ones_must_be_the_same(server, small, tmp_path):
    first = published(GPEN(small))
    server.files["/GPEN-BFR-256.pth"] = first
    gpen.load("GPEN-BFR-256")
    path = tmp_path / "cache" / "gpen" / "GPEN-BFR-256.pth"
    pin = path.with_name("GPEN-BFR-256.pth.sha256")
    assert pin.read_text() == f"{hashlib.sha256(first).hexdigest()}  GPEN-BFR-256.pth\n"
    assert download.pinned_file("GPEN-BFR-256.pth") == pin

    torch.manual_seed(1)
    server.files["/GPEN-BFR-256.pth"] = other = published(GPEN(small))  # loads, but is not what was published
    path.unlink()
    with pytest.raises(gpen.GPENError, match=f"wrong file, which was deleted .its SHA-256 is .*, recorded in {pin}"):
        gpen.load("GPEN-BFR-256")
    assert not path.exists()
    server.files["/GPEN-BFR-256.pth"] = first
    gpen.load("GPEN-BFR-256")

    path.write_bytes(other)
    with pytest.raises(gpen.GPENError, match="GPEN-BFR-256.pth has changed since its download .* delete it to download it again"):
        gpen.load("GPEN-BFR-256")
    pin.write_text("not a digest")
    with pytest.raises(gpen.GPENError, match="sha256 is damaged"):
        gpen.load("GPEN-BFR-256")


def test_recorded_digest_protects_another_machine(server, small, tmp_path, monkeypatch):
    data = published(GPEN(small))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "GPEN-BFR-256.pth.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  GPEN-BFR-256.pth\n")
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path / "models"))
    torch.manual_seed(1)
    server.files["/GPEN-BFR-256.pth"] = published(GPEN(small))
    with pytest.raises(gpen.GPENError, match="wrong file.*recorded in .*models/GPEN-BFR-256.pth.sha256"):
        gpen.load("GPEN-BFR-256")
    server.files["/GPEN-BFR-256.pth"] = data
    gpen.load("GPEN-BFR-256")


def test_plain_http_is_refused_except_from_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_transfer", lambda *_: pytest.fail("a request was sent"))
    with pytest.raises(
        gpen.GPENError, match="http://mirror.example/a.bin cannot be downloaded .plain http is not encrypted: use https"
    ):
        download.fetch("http://mirror.example/a.bin", tmp_path / "a.bin")
    monkeypatch.setattr(download, "_transfer", lambda url, partial, *_: partial.write_bytes(DATA))
    for number, url in enumerate(("http://127.0.0.3:80/a", "http://[::1]/a", "http://localhost/a", "https://mirror.example/a")):
        assert download.fetch(url, tmp_path / f"{number}.bin", SHA256).read_bytes() == DATA
    monkeypatch.setenv("GPEN_ALLOW_HTTP", "1")
    assert download.fetch("http://mirror.example/a.bin", tmp_path / "a.bin", SHA256).read_bytes() == DATA


def test_redirection_to_plain_http_is_refused(server, tmp_path, monkeypatch):
    def redirect(handler):
        server.requests.append((handler.path, None))
        handler.send_response(302)
        handler.send_header("Location", "http://mirror.example/file.bin")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    monkeypatch.setattr(Handler, "do_GET", redirect)
    with pytest.raises(gpen.GPENError, match="plain http is not encrypted"):
        download.fetch(f"{server.url}/file.bin", tmp_path / "a.bin")
    assert len(server.requests) == 1 and left(tmp_path) == []
