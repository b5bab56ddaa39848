"""The Restore a photo tab in a browser."""

import base64
import io
import re
import threading
import zipfile

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from demo import shell
from demo.photo import photo_state
from demo.server.limits.held import HeldValues
from demo.server.limits.settings import Limits
from demo.tabs import photo
from tests.demo.accessibility import assert_accessible
from tests.demo.conftest import TIMEOUT, wait_until

pytestmark = pytest.mark.browser
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PASTE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const clipboard = new DataTransfer();
  clipboard.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: clipboard }));
}"""


@pytest.fixture
def open_photo(open_tab):
    """Opens the tab with a photo and waits for its result."""

    def opened(path, **settings):
        page = open_tab("photo", **settings)
        page.set_input_files("#photo-upload input[type=file]", path)
        page.wait_for_selector("#photo-report >> text=restored in")
        return page

    return opened


def source(page, name: str) -> str:
    """Address of the restored image of a comparison."""
    return page.get_attribute(f"#{name} img >> nth=1", "src")


def wait_for_change(page, name: str, old: str) -> None:
    page.wait_for_function(f"old => (document.querySelectorAll('#{name} img')[1]?.src ?? old) !== old", arg=old)


def assert_framed(page, name: str) -> None:
    """Assert that the frames of the faces cover the photo, which leaves room for the controls on the screen."""
    photo, frames = (page.locator(f"#photo-whole .{part}").bounding_box() for part in (name, "photo-frames"))
    assert photo == pytest.approx(frames, abs=1) and photo["height"] <= 0.53 * page.viewport_size["height"]


def downloaded(page) -> bytes:
    with page.expect_download() as waiting:
        page.click("#photo-download")
    return waiting.value.path().read_bytes()


def test_face_is_chosen_on_the_photo_by_number_and_by_keyboard(open_photo, couple):
    page = open_photo(couple)
    title, chosen = page.locator("#photo-title h2"), page.locator("#photo-numbers [aria-checked=true]")
    assert title.inner_text() == "Face 1 of 2" and page.locator("#photo-numbers button").count() == 2
    old = source(page, "photo-face")
    page.click(".photo-frame >> nth=1")
    page.wait_for_selector("#photo-title >> text=Face 2 of 2")
    wait_for_change(page, "photo-face", old)
    assert chosen.get_attribute("aria-label") == "Face 2" and page.locator(".photo-frame.chosen").inner_text() == "2"
    page.click("#photo-numbers button >> nth=0")
    page.wait_for_selector("#photo-title >> text=Face 1 of 2")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#photo-title >> text=Face 2 of 2")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Face 2"
    page.keyboard.press("Home")
    page.wait_for_selector("#photo-title >> text=Face 1 of 2")


def test_strength_and_selection_change_faces_and_the_marked_download(open_photo, couple):
    page = open_photo(couple)
    faces, photo = source(page, "photo-face"), source(page, "photo-whole")
    page.locator("#photo-strength input[type=range]").evaluate(
        "slider => { slider.value = 0.4; slider.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    wait_for_change(page, "photo-face", faces)
    wait_for_change(page, "photo-whole", photo)
    half = source(page, "photo-whole")
    page.click("text=Only this face")
    page.wait_for_selector("#photo-numbers [data-face='1'][data-skipped]")
    wait_for_change(page, "photo-whole", half)
    data = downloaded(page)
    after, before = np.array(Image.open(io.BytesIO(data))), np.array(Image.open(couple))
    changed = (after != before).any(axis=2)
    assert changed[:, 200:].any() and not changed[:, :190].any()  # the larger face is on the right
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    page.click("#photo-another")
    page.wait_for_selector("#photo-upload")


def test_texts_are_in_the_language_of_the_visitor(open_tab, couple, astronaut):
    page = open_tab("photo", locale="de-DE")
    page.wait_for_selector("#photo-hint >> text=Bis zu 20 Fotos auf einmal")
    page.wait_for_selector("#photo-sample >> text=Beispielfoto ausprobieren")
    page.set_input_files("#photo-upload input[type=file]", couple)
    page.wait_for_selector("#photo-report >> text=2 Gesichter in")
    page.wait_for_selector("#photo-title >> text=Gesicht 1 von 2")
    page.wait_for_selector("#photo-download >> text=Restauriertes Foto")
    assert page.locator("#photo-face [aria-label='Gesicht: Trennlinie zwischen Beschädigt und Restauriert']").count() == 1
    assert page.get_attribute("#photo-whole img >> nth=1", "alt") == "Das ganze Foto mit restaurierten Gesichtern"
    assert page.get_attribute("#photo-numbers button >> nth=1", "aria-label") == "Gesicht 2"
    page.click("#photo-another")
    page.set_input_files("#photo-upload input[type=file]", [couple, astronaut])
    page.wait_for_selector("#photo-restore >> text=Alle Fotos restaurieren")
    assert page.inner_text("#photo-notice h2") == "2 Fotos"
    words = set(re.findall("[a-z]+", page.inner_text("#tab-photo").lower()))
    assert "fotos" in words and not words & {"photo", "photos", "face", "faces", "restore", "restored"}


def test_several_photos_give_a_zip_file_with_all_names(open_tab, couple, astronaut, files):
    page = open_tab("photo")
    assert ".heic" in page.get_attribute("#photo-upload input[type=file]", "accept")
    page.set_input_files("#photo-upload input[type=file]", [couple, astronaut, files["plain.png"]])
    page.click("#photo-restore >> text=Restore all photos")
    page.wait_for_selector("#photo-notice >> text=3 of 3 photos are in the ZIP file")
    assert re.findall("2 faces|One face|unchanged", page.inner_text("#photo-notice")) == ["2 faces", "One face", "unchanged"]
    with zipfile.ZipFile(io.BytesIO(downloaded(page))) as file:
        assert file.namelist() == ["couple.png", "astronaut.png", "plain.png"]


def test_phone_has_large_buttons_and_no_horizontal_scroll(open_photo, couple):
    page = open_photo(couple, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button in page.locator("#photo-numbers button").all():
        assert min(button.bounding_box()["width"], button.bounding_box()["height"]) >= 24
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("photo-stage", "photo-controls", "photo-whole")]
    assert tops == sorted(tops)


def test_full_screen_shows_the_whole_photo(open_photo, couple):
    page = open_photo(couple)
    page.click("#photo-whole .compare-expand")
    frame = page.locator("#photo-whole .compare-view").bounding_box()
    assert frame["width"] > 1000 and frame["x"] >= 0 and frame["y"] >= 0 and frame["y"] + frame["height"] <= 900
    assert frame["width"] / frame["height"] == pytest.approx(420 / 260, abs=0.01)
    assert page.locator(".photo-frames").is_hidden()
    page.keyboard.press("Escape")
    page.wait_for_selector(".photo-frames", state="visible")


def test_photo_without_face_offers_its_centre(open_tab, files):
    page = open_tab("photo")
    page.set_input_files("#photo-upload input[type=file]", files["plain.png"])
    page.wait_for_selector("#photo-notice >> text=the central square of the photo is then given to the network")
    assert_framed(page, "photo-plain")
    page.click("#photo-centre")
    page.wait_for_selector("#photo-face img")
    assert_framed(page, "compare-view")
    assert page.locator("[data-testid=toast-body]").count() == 0


def test_invalid_photo_shows_error_and_pasted_photo_works(open_tab, files, couple):
    page = open_tab("photo")
    page.set_input_files("#photo-upload input[type=file]", files["text.png"])
    page.wait_for_selector("[data-testid=toast-body] >> text=cannot be read as an image")
    page.evaluate(PASTE, base64.b64encode(couple.read_bytes()).decode())
    page.wait_for_selector("#photo-numbers [role=radio]")


@pytest.fixture(scope="module")
def own_address(restorer):
    """URL of the tab in this process, whose functions a test can replace."""
    with gr.Blocks(analytics_enabled=False) as page:
        held = HeldValues(Limits())
        photo.tab(restorer, held)
        held.attach(page)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **shell.launch_settings([]))
    yield url
    page.close()


@pytest.fixture
def hold(monkeypatch):
    """hold(name, held): calls of a function of photo_state wait if held(arguments) is true; returns two events.

    The first event is set when a call waits; the second one ends the wait.
    """
    waits, may_continue = threading.Event(), threading.Event()

    def held_calls(name, held):
        function = getattr(photo_state, name)

        def waiting(*arguments):
            if held(arguments):
                waits.set()
                assert may_continue.wait(TIMEOUT)
            return function(*arguments)

        monkeypatch.setattr(photo_state, name, waiting)
        return waits, may_continue

    yield held_calls
    may_continue.set()


def test_photo_that_follows_a_refused_one_within_a_moment_is_opened(visit, own_address, files, couple, hold):
    reads, may_continue = hold("find_faces", lambda arguments: arguments[1].endswith(files["text.png"].name))
    page = visit(own_address)
    page.set_input_files("#photo-upload input[type=file]", files["text.png"])
    assert reads.wait(TIMEOUT)
    with page.expect_response("**/upload*"):
        page.evaluate(PASTE, base64.b64encode(couple.read_bytes()).decode())
    page.wait_for_function("new Promise(resolve => requestAnimationFrame(() => setTimeout(() => resolve(true))))")
    may_continue.set()
    page.wait_for_selector("#photo-numbers [role=radio]")
    page.wait_for_selector("#photo-report >> text=2 faces restored in")


def test_last_face_that_is_chosen_within_a_moment_is_shown(visit, own_address, couple, hold):
    page = visit(own_address)
    page.set_input_files("#photo-upload input[type=file]", couple)
    page.wait_for_selector("#photo-report >> text=2 faces restored in")
    chosen = []
    restores, may_continue = hold("run_network", lambda arguments: chosen.append(arguments[2]) or True)
    page.click("#photo-numbers button >> nth=1")
    assert restores.wait(TIMEOUT)
    page.click("#photo-numbers button >> nth=0")
    may_continue.set()
    wait_until(page, lambda: chosen == [[1], [0]])
    page.wait_for_selector("#photo-title >> text=Face 1 of 2")


@pytest.mark.slow
def test_result_has_no_accessibility_violation(open_photo, couple):
    assert_accessible(open_photo(couple, reduced_motion="reduce"))
