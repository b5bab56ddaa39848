"""Shared fixtures: a random network, a study, a running page, Chromium, unusual files."""

import io
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from contextlib import contextmanager
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gpen
from bench.common.harness import free_port
from demo import shell
from demo.tabs import leaderboard, rate
from eval.preference.build import StudySettings, build, from_folders
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from tests import ROOT
from tests.demo.pages import Pages

SIZE = 128  # px, image size of the network
METHODS = ("sharpest-method", "medium-method", "blurry-method")  # of the study
ADDRESS = "203.0.113.77"  # of the visitor in `client_of`
TIMEOUT = 90  # seconds, for the app and its page, also on slow machines
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    gpen.save(gpen.GPEN(gpen.GPENConfig(size=SIZE, channel_multiplier=1, narrow=0.0625)), path)
    return path


@pytest.fixture(scope="session")
def size() -> int:
    return SIZE


@pytest.fixture(scope="session")
def restorer(model_file) -> gpen.Restorer:
    return gpen.Restorer(gpen.load(model_file))


@pytest.fixture(scope="module")
def browser():
    """Chromium. Without it, browser tests are skipped, but fail in CI."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if path is None:
        reason = "Chromium was not found: install it (apt-get install chromium) to run the browser tests."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(browser):
    return Pages(browser, TIMEOUT)


@pytest.fixture
def visit(pages):
    """Opens a URL in a page that has nothing of earlier tests; see Pages.open."""
    yield pages.open
    pages.release()


@pytest.fixture
def open_app(visit, server):
    """Opens the app and waits until it is interactive, which it is after its first own event."""

    def opened(query: str = "", **settings):
        page = visit(f"{server}{query}", **settings)
        page.wait_for_selector("#before-after img")
        wait_until(page, lambda: any("queue/join" in url for url in page.asked))
        return page

    return opened


@pytest.fixture
def open_tab(visit, server):
    """Opens the app at a tab by its address, and waits until it is interactive and in the visitor's language."""

    def opened(tab: str, query: str = "", **settings):
        page = visit(f"{server}?tab={tab}{query}", **settings)
        page.wait_for_selector(f"#tab-{tab}")
        wait_until(page, lambda: any("queue/join" in url for url in page.asked))
        page.wait_for_function("document.querySelector('#about [data-in]')")
        return page

    return opened


def wait_until(page, condition) -> None:
    """Wait until `condition()` is true while the page continues."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"timeout while waiting for {condition.__code__.co_names}"
        page.wait_for_timeout(50)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A pairwise study of four items and three methods.

    A session has five trials, with a pause after three.
    """
    folder = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(0)
    for item in range(4):
        face = cv2.resize(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
        for method, sigma in (("truth", 0), ("input", 6), ("sharpest-method", 0.5), ("medium-method", 2), ("blurry-method", 4)):
            (folder / method).mkdir(exist_ok=True)
            image = cv2.GaussianBlur(face, (0, 0), sigma) if sigma else face
            cv2.imwrite(str(folder / method / f"{item}.png"), image)
    sources = from_folders({name: folder / name for name in METHODS}, folder / "input", folder / "truth")
    settings = StudySettings(title="Which is <i>better</i>?", session=5, pause=3, gold_every=5, training=1)
    return build(sources, folder / "built", settings).folder


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Serves the Rate and the Leaderboard tab of a study; returns its URL and the survey."""
    pages = []

    def served(folder) -> tuple[str, Survey]:
        votes = tmp_path_factory.mktemp("votes") / "votes.sqlite"
        survey = Survey(Study.open(folder), VoteStore.open(f"sqlite:///{votes}"))
        with gr.Blocks(analytics_enabled=False) as page:
            shell.header()
            with shell.tab_bar():
                with shell.tab("rate"):
                    rate.tab(survey)
                with shell.tab("leaderboard"):
                    leaderboard.tab(survey)
        pages.append(page)
        settings = shell.launch_settings(rate.routes(survey))
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **settings)
        return url, survey

    yield served
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def pairwise(serve, study):
    return serve(study)


@pytest.fixture(scope="session")
def server(model_file, study, tmp_path_factory):
    """URL of `python app.py`, started as by a user, with the random network and the study."""
    with serve_app(model_file, study, tmp_path_factory.mktemp("server")) as (url, _):
        yield url


def client_of(routes: list) -> TestClient:
    """A client of these routes, without gradio and without a network."""
    return TestClient(Starlette(routes=routes), client=(ADDRESS, 4711))


@contextmanager
def serve_app(model_file: Path, study: Path, folder: Path, **variables: str):
    """Run `python app.py` with the files in `folder`; yields its URL and the process."""
    port = free_port()
    environment = os.environ | {
        "GPEN_MODEL": str(model_file), "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "cache"), "TORCH_HOME": str(folder / "torch"),
        "GPEN_MODELS": str(model_file.parent), "GPEN_STUDY": str(study), "GPEN_VOTES": str(folder / "votes.sqlite"),
    } | variables  # fmt: skip
    for name in ("SPACE_ID", "DATABASE_URL"):
        environment.pop(name, None)
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        _wait(f"http://127.0.0.1:{port}/", process, log)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 2 * TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=TIMEOUT).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"python app.py did not serve {url}:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A smooth, asymmetric colour image, uint8 RGB [180, 150, 3]."""
    y, x = np.mgrid[0:180, 0:150]
    return np.stack([240 - y, 60 + x, 128 + 60 * np.sin(x / 9)], axis=2).astype(np.uint8)


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def couple(tmp_path_factory):
    """A photo with two faces, the larger one on the right."""
    head = skimage.data.astronaut()[18:196, 136:314]
    image = np.full((260, 420, 3), 120, np.uint8)
    image[60:180, 20:140] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    image[40:218, 200:378] = head
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory, photo) -> dict[str, Path]:
    """Unusual image files by name."""
    folder = tmp_path_factory.mktemp("files")
    image = Image.fromarray(photo)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate clockwise to display
    frames = [Image.fromarray(np.full((40, 40, 3), level, np.uint8)) for level in (200, 100, 0)]
    names = (
        "plain.png", "16-bit.png", "16-bit colour.png", "cmyk.jpg", "rgba.png", "palette.png", "turned.jpg",
        "moving.gif", "grey.png", "text.png", "empty.png", "1x1.png", "cut-off.jpg",
        "strip.png", "bomb.png", "webp.txt",
    )  # fmt: skip
    made = {name: folder / name for name in names}
    image.save(made["plain.png"])
    Image.fromarray(photo[..., 0].astype(np.uint16) * 257).save(made["16-bit.png"])
    _write_png(made["16-bit colour.png"], photo.astype(np.uint16) * 257)
    image.convert("CMYK").save(made["cmyk.jpg"], quality=95)
    clear = np.zeros(photo.shape[:2], np.uint8)
    Image.fromarray(np.dstack([photo, clear])).save(made["rgba.png"])
    image.quantize(256).save(made["palette.png"])
    image.transpose(Image.Transpose.ROTATE_90).save(made["turned.jpg"], exif=exif, quality=95)
    frames[0].save(made["moving.gif"], save_all=True, append_images=frames[1:], duration=50)
    image.convert("L").save(made["grey.png"])
    made["text.png"].write_text("This is not an image.")
    made["empty.png"].touch()
    image.resize((1, 1)).save(made["1x1.png"])
    made["cut-off.jpg"].write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    image.resize((400, 20)).save(made["strip.png"])
    Image.new("1", (40_000, 40_000)).save(made["bomb.png"])
    image.save(made["webp.txt"], "WEBP", lossless=True)
    return made


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write uint16 RGB [h, w, 3] as a 16-bit PNG, which Pillow can read but not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    h, w = image.shape[:2]
    header = w.to_bytes(4, "big") + h.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
