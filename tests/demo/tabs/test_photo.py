"""The Restore a photo tab: its endpoint called by clients, and its events."""

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import gpen
from demo import images
from demo.photo.photo_state import PhotoState
from demo.server.limits.held import HeldValues
from demo.server.limits.settings import Limits
from demo.tabs import photo
from gpen.faces.alignment import aligned_face
from gpen.faces.detection import load_detector
from tests.demo.conftest import TIMEOUT

WRONG = [float("nan"), float("inf"), 1e308, -1, 10**400, "1", None, True, [1]]


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return Client(server, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), httpx_kwargs={"timeout": TIMEOUT})


def read(path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


@pytest.mark.slow
def test_photo_endpoint_restores_and_reports_faces(client, couple):
    path, report = client.predict(handle_file(couple), api_name="/photo")
    before, after = read(couple), read(path)
    assert report["found"] == 2 and [face["number"] for face in report["faces"]] == [1, 2]
    assert report["faces"][0]["box"][0] > 200 > report["faces"][1]["box"][2]
    assert np.shape(report["faces"][0]["landmarks"]) == (5, 2) and report["faces"][1]["score"] > 0.9
    changed = (before != after).any(axis=2)
    assert changed[:, :160].any() and changed[:, 200:].any() and not changed[:20].any() and not changed[:, 400:].any()


@pytest.mark.slow
def test_faces_strength_and_upscale_arguments(client, couple):
    before = read(couple)
    path, report = client.predict(handle_file(couple), "2", 1, 1, api_name="/photo")
    assert [face["number"] for face in report["faces"]] == [2] and np.array_equal(read(path)[:, 200:], before[:, 200:])
    path, report = client.predict(handle_file(couple), "all", 0, 1, api_name="/photo")
    assert report["found"] == 2 and np.array_equal(read(path), before)
    path, _ = client.predict(handle_file(couple), "largest", 0.5, 2, api_name="/photo")
    assert read(path).shape == (520, 840, 3)


@pytest.mark.slow
def test_photo_without_face_is_returned_unchanged(client, files, photo):
    path, report = client.predict(handle_file(files["plain.png"]), api_name="/photo")
    assert report == {"found": 0, "faces": []} and np.array_equal(read(path), photo)


@pytest.mark.parametrize(
    ("values", "words"),
    [(("3", 1, 1), "has 2 faces"), (("big", 1, 1), "numbers such as"), (("all", 2, 1), "strength"), (("all", 1, 0), "upscale")],
)
@pytest.mark.slow
def test_out_of_range_argument_returns_error_message(client, couple, values, words):
    with pytest.raises(AppError, match=words):
        client.predict(handle_file(couple), *values, api_name="/photo")


@pytest.fixture
def events(restorer, monkeypatch, tmp_path):
    """Event functions of the tab by name; their results are by elem_id."""
    return make_events(restorer, monkeypatch, tmp_path)


def make_events(restorer, monkeypatch, tmp_path) -> dict:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    with gr.Blocks() as page:
        photo.tab(restorer, HeldValues(Limits()))

    def by_name(function):
        return lambda *arguments: {component.elem_id: value for component, value in function(*arguments).items()}

    return {function.name: by_name(function.fn) for function in page.fns.values() if function.fn}


def state(path, faces: int) -> PhotoState:
    return PhotoState(str(path), (512, 512), [aligned_face(np.empty((512, 512, 3), np.uint8))] * faces)


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["strength", "upscale"])
@pytest.mark.slow
def test_photo_events_reject_invalid_numbers_before_inference(restorer, astronaut, monkeypatch, tmp_path, name, value):
    monkeypatch.setattr(restorer, "_run", None)
    events = make_events(restorer, monkeypatch, tmp_path)
    visit = state(astronaut, 1)
    visit.restored = {0: None}  # as after a first result
    numbers = {"strength": 1.0, "upscale": 1} | {name: value}
    for event, arguments in (("run", []), ("again", []), ("restore_centre", []), ("make_file", [""]), ("select", [True])):
        with pytest.raises(gr.Error, match=f"{name}|megapixels"):
            events[event](visit, *arguments, *numbers.values(), False)


def test_events_without_photo_do_nothing_or_return_message(events):
    with pytest.raises(gr.Error, match="no photo"):
        events["restore_centre"](None, 1.0, 1, False)
    unchanged = [
        events["run"](None, 1.0, 1, False),
        events["again"](None, 1.0, 1, False),
        events["select"](None, True, 1.0, 1, False),
    ]
    unchanged.append(events["choose"](gr.EventData(None, {"face": 0}), None, 1.0))
    assert all(value == gr.skip() for result in unchanged for value in result.values())


@pytest.mark.parametrize("face", [-1, 1, "0", True, None, 10**400, [0]])
def test_choosing_another_value_than_a_face_changes_nothing(events, astronaut, face):
    visit = state(astronaut, 1)
    assert list(events["choose"](gr.EventData(None, {"face": face}), visit, 1.0).values()) == [gr.skip()] and visit.chosen == 0


@pytest.mark.parametrize("alignment", ["ffhq", "gpen"])
@pytest.mark.slow
def test_an_aligned_face_is_given_to_the_network_as_it_is(restorer, astronaut, monkeypatch, tmp_path, alignment):
    monkeypatch.setattr(restorer, "alignment", alignment)
    events = make_events(restorer, monkeypatch, tmp_path)
    result = events["restore_centre"](state(astronaut, 0), 1.0, 1, False)
    (visit,) = (value for value in result.values() if isinstance(value, PhotoState))
    side = len(visit.restored[0].crop)
    whole = np.array(Image.open(astronaut).resize((side, side), Image.Resampling.BOX))
    assert np.abs(visit.restored[0].crop.astype(int) - whole).max() <= 1
    assert result["photo-centre"]["visible"] is False and result["photo-face-box"]["visible"] is True


@pytest.mark.slow
def test_photo_above_forty_megapixels_is_reduced_with_a_notice(restorer, monkeypatch, tmp_path):
    Image.new("RGB", (9000, 5000), (90, 120, 150)).save(tmp_path / "large.jpg")
    events = make_events(gpen.Restorer(restorer.net, detector=lambda image: []), monkeypatch, tmp_path)
    result = events["open_photos"]([str(tmp_path / "large.jpg")])
    assert "45 megapixels" in result["photo-notice"] and "8485 × 4714 pixels" in result["photo-notice"]
    assert result["photo-size"]["visible"] is False  # no larger size is possible


def test_too_many_photos_at_once_are_rejected(events, monkeypatch):
    warnings = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_: warnings.append(message))
    assert list(events["open_photos"](["photo.png"] * 21).values()) == [gr.skip()]
    assert warnings == ["These are 21 photos: choose at most 20."]


def test_several_photos_are_listed_before_they_are_restored(events):
    result = events["open_photos"](["/cache/1/<b>.png", "/cache/2/b.png"])
    assert (
        "2 photos" in result["photo-notice"]
        and "&lt;b&gt;.png" in result["photo-notice"]
        and "cache" not in result["photo-notice"]
    )
    assert result["photo-restore"]["visible"] is True


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
