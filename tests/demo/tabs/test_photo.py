"""The Photo tab: its functions, its endpoint called by clients, and its use in a browser."""

import re

import cv2
import gradio as gr
import numpy as np
import pytest
import skimage.data
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from demo import images
from demo.tabs import photo
from gpen.errors import GPENError
from gpen.faces.alignment import aligned_face
from gpen.faces.detection import load_detector
from tests.demo.conftest import TIMEOUT


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def couple(tmp_path_factory):
    """A photo with two faces, the larger one on the right."""
    head = skimage.data.astronaut()[18:196, 136:314]
    image = np.full((260, 420, 3), 120, np.uint8)
    image[60:180, 20:140] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    image[40:218, 200:378] = head
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return Client(server, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), httpx_kwargs={"timeout": TIMEOUT})


def read(path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def test_photo_endpoint_restores_and_reports_faces(client, couple):
    path, report = client.predict(handle_file(couple), api_name="/photo")
    before, after = read(couple), read(path)
    assert report["found"] == 2 and [face["number"] for face in report["faces"]] == [1, 2]
    assert report["faces"][0]["box"][0] > 200 > report["faces"][1]["box"][2]
    assert np.shape(report["faces"][0]["landmarks"]) == (5, 2) and report["faces"][1]["score"] > 0.9
    changed = (before != after).any(axis=2)
    assert changed[:, :160].any() and changed[:, 200:].any() and not changed[:20].any() and not changed[:, 400:].any()


def test_faces_strength_and_upscale_arguments(client, couple):
    before = read(couple)
    path, report = client.predict(handle_file(couple), "2", 1, 1, api_name="/photo")
    assert [face["number"] for face in report["faces"]] == [2] and np.array_equal(read(path)[:, 200:], before[:, 200:])
    path, report = client.predict(handle_file(couple), "all", 0, 1, api_name="/photo")
    assert report["found"] == 2 and np.array_equal(read(path), before)
    path, _ = client.predict(handle_file(couple), "largest", 0.5, 2, api_name="/photo")
    assert read(path).shape == (520, 840, 3)


def test_photo_without_face_is_returned_unchanged(client, files, photo):
    path, report = client.predict(handle_file(files["plain.png"]), api_name="/photo")
    assert report == {"found": 0, "faces": []} and np.array_equal(read(path), photo)


@pytest.mark.parametrize(
    ("values", "words"),
    [(("3", 1, 1), "has 2 faces"), (("big", 1, 1), "numbers such as"), (("all", 2, 1), "strength"), (("all", 1, 0), "upscale")],
)
def test_out_of_range_argument_returns_error_message(client, couple, values, words):
    with pytest.raises(AppError, match=words):
        client.predict(handle_file(couple), *values, api_name="/photo")


def test_excessive_upscaling_is_rejected_before_decoding(restorer):
    large = photo.PhotoState("not read", (6000, 4000), [])
    with pytest.raises(GPENError, match="384 megapixels"):
        photo.restore_faces(restorer, large, [], 1.0, 4)


WRONG = [float("nan"), float("inf"), 1e308, -1, 10**400, "1", None, True, [1]]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["strength", "upscale"])
def test_photo_events_reject_invalid_numbers_before_inference(restorer, astronaut, monkeypatch, name, value):
    monkeypatch.setattr(restorer, "_run", None)
    with gr.Blocks() as page:
        photo.tab(restorer)
    events = {function.name: function.fn for function in page.fns.values()}
    visit = photo.PhotoState(str(astronaut), (512, 512), [aligned_face(np.empty((512, 512, 3), np.uint8))], displayed=[0])
    numbers = {"strength": 1.0, "upscale": 1} | {name: value}
    for event, arguments in (("run", [[0]]), ("again", []), ("as_aligned", [])):
        with pytest.raises(gr.Error, match=f"{name}|megapixels"):
            events[event](visit, *arguments, *numbers.values())


@pytest.mark.parametrize("alignment", ["ffhq", "gpen"])
def test_an_aligned_face_is_given_to_the_network_as_it_is(restorer, astronaut, monkeypatch, tmp_path, alignment):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(restorer, "alignment", alignment)
    with gr.Blocks() as page:
        photo.tab(restorer)
    events = {function.name: function.fn for function in page.fns.values()}
    visit, *_ = events["as_aligned"](photo.PhotoState(str(astronaut), (512, 512), []), 1.0, 1)
    whole = cv2.resize(read(astronaut), (len(visit.restored[0].crop),) * 2, interpolation=cv2.INTER_AREA)
    assert np.abs(visit.restored[0].crop.astype(int) - whole).max() <= 1


def test_events_without_photo_return_message(restorer):
    with gr.Blocks() as page:
        photo.tab(restorer)
    events = {function.name: function.fn for function in page.fns.values()}
    for event, arguments in (("run", [[0]]), ("as_aligned", [])):
        with pytest.raises(gr.Error, match="no photo"):
            events[event](None, *arguments, 1.0, 1)


def test_changing_strength_reuses_cached_faces(restorer, astronaut, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    face = aligned_face(np.empty((512, 512, 3), np.uint8))
    visits = [photo.PhotoState(str(astronaut), (512, 512), [face]) for _ in range(photo.MAX_CACHED_PHOTOS + 1)]
    calls = []
    monkeypatch.setattr(restorer, "_run", lambda x, run=restorer._run: calls.append(len(x)) or run(x))
    before, half = photo.restore_faces(restorer, visits[0], [0], 0.5, 1)
    _, full = photo.restore_faces(restorer, visits[0], [0], 1.0, 1)
    assert calls == [1] and not np.array_equal(half, full) and np.array_equal(before, read(astronaut))
    for visit in visits[1:]:
        visit.cache_faces({0: visits[0].restored.get(0)})
    assert visits[0].restored == {} and visits[1].restored


def test_sample_photo_has_one_face(restorer, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert len(photo.find_faces(restorer, photo.sample_photo()).faces) == 1


def test_find_face_returns_largest_aligned_face_or_centre(couple, files, tmp_path):
    detect = load_detector()
    face, found = images.find_face(couple, 128, detect)
    (again,) = detect(face)
    assert found and images.is_aligned(face, again)
    Image.fromarray(face).save(tmp_path / "aligned.png")
    kept, found = images.find_face(tmp_path / "aligned.png", 128, detect)
    assert found and np.array_equal(kept, face)  # aligned faces are not resampled
    centre, found = images.find_face(files["plain.png"], 128, detect)
    assert not found and np.array_equal(centre, images.read_face(files["plain.png"], 128))


@pytest.fixture
def open_tab(open_app):
    def opened(width: int, height: int = 900):
        page = open_app(viewport={"width": width, "height": height})
        page.click("button[role=tab]:has-text('Photo')")
        page.wait_for_selector("#photo-upload")
        return page

    return opened


def wait_for_another(page, old: str) -> str:
    last = "[...document.querySelectorAll('#photo-slider img')].at(-1)?.src"
    page.wait_for_function(f"old => {last} && {last} !== old", arg=old)
    return page.evaluate(last)


@pytest.mark.browser
def test_upload_select_restore_compare_and_download(open_tab, couple):
    page = open_tab(1400)
    page.set_input_files("#photo-upload input[type=file]", couple)
    page.wait_for_selector("#found .face")
    assert page.locator("#found .face").count() == 2
    page.click("#found .face >> nth=1")
    page.wait_for_selector("#photo-restore:has-text('one face')")
    assert page.locator("#found .face >> nth=1").get_attribute("aria-pressed") == "false"
    page.click("#photo-restore")
    first = wait_for_another(page, "")
    assert re.search(r"\.png$", first)
    page.wait_for_selector("#photo-faces .thumbnail-item")
    assert page.locator("#photo-faces .thumbnail-item").count() == 1
    with page.expect_download() as download:
        page.click("#photo-download")
    after, before = read(download.value.path()), read(couple)
    assert np.array_equal(after[:, :190], before[:, :190]) and not np.array_equal(after, before)
    page.locator("#photo-strength input[type=range]").evaluate(
        "slider => { slider.value = 0.4; slider.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    wait_for_another(page, first)
    page.click("#photo-another")
    page.wait_for_selector("#photo-upload")


@pytest.mark.browser
def test_photo_without_face_offers_aligned_restoration(open_tab, files):
    page = open_tab(1400)
    page.set_input_files("#photo-upload input[type=file]", files["plain.png"])
    page.wait_for_selector("#found >> text=No face was found")
    page.click("#photo-aligned")
    wait_for_another(page, "")
    assert page.locator("[data-testid=toast-body]").count() == 0


@pytest.mark.browser
def test_invalid_photo_shows_error_and_next_upload_works(open_tab, files, couple):
    page = open_tab(1400)
    page.set_input_files("#photo-upload input[type=file]", files["text.png"])
    page.wait_for_selector("[data-testid=toast-body] >> text=not an image")
    page.set_input_files("#photo-upload input[type=file]", couple)
    page.wait_for_selector("#found .face")


@pytest.mark.browser
def test_photo_tab_fits_phone_screen(open_tab, couple):
    page = open_tab(390, 844)
    page.set_input_files("#photo-upload input[type=file]", couple)
    page.wait_for_selector("#found .face")
    page.click("#found [data-pick=largest]")
    page.click("#photo-restore")
    wait_for_another(page, "")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tops = [page.locator(f"#{name}").bounding_box()["y"] for name in ("stage", "photo-controls", "photo-faces")]
    assert tops == sorted(tops)
