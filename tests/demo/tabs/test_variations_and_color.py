"""The tab Variations and colour: variations, painted masks, API endpoints, and messages without a model."""

import os
import re
from pathlib import Path

import cv2
import gradio as gr
import hypothesis
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hypothesis import strategies as st
from PIL import Image

import gpen
from demo import images, languages
from demo.server.limits.held import HeldValues
from demo.server.limits.settings import Limits
from demo.tabs import face_tasks, task_inputs, variations
from demo.tabs import variations_and_color as tab
from gpen.restoration import tasks
from gpen.restoration.variations import Variations
from tests.demo.accessibility import assert_accessible
from tests.demo.conftest import TIMEOUT

TAG = re.compile("<[^>]+>")


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return Client(server, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), httpx_kwargs={"timeout": TIMEOUT})


@pytest.fixture
def models(tmp_path, monkeypatch, model_file):
    """GPEN_MODELS with only a colourisation model; assets/ is empty and downloads are disabled."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "GPEN-Colorization-1024.safetensors").write_bytes(model_file.read_bytes())
    monkeypatch.setenv("GPEN_MODELS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")
    monkeypatch.setattr("gpen.models.checkpoints.ASSETS", tmp_path / "assets")
    return folder


def save(folder, name: str, image: np.ndarray) -> str:
    """Write uint8 RGB or RGBA as PNG; returns the path."""
    code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    cv2.imwrite(str(folder / name), cv2.cvtColor(image, code))
    return str(folder / name)


def test_variations_match_package(client, files, photo, restorer, size):
    paths, figures = client.predict(handle_file(files["plain.png"]), 2, 3, None, api_name="/variations")
    expected = restorer.variations(images.square_crop(photo, size), 2, seed=3)
    for path, image in zip(paths, expected, strict=True):
        assert np.abs(cv2.imread(path)[..., ::-1].astype(int) - image).max() <= 2  # threads may round differently
    assert len(figures["fits"]) == 2 and min(figures["fits"]) >= figures["own_fit"] - 1 and figures["diversity"] > 0


@pytest.mark.slow
def test_variations_have_defaults_and_accept_reference(client, files):
    paths, plain = client.predict(image=handle_file(files["plain.png"]), api_name="/variations")
    assert len(paths) == 4
    _, styled = client.predict(
        image=handle_file(files["plain.png"]), reference=handle_file(files["turned.jpg"]), api_name="/variations"
    )
    assert styled["diversity"] != plain["diversity"]


@pytest.mark.parametrize(("values", "words"), [({"n": 9}, "1 to 8 variations"), ({"n": 1.5}, "1 to 8"), ({"seed": -1}, "seed")])
def test_invalid_number_returns_error_message(client, files, values, words):
    with pytest.raises(AppError, match=words):
        client.predict(image=handle_file(files["plain.png"]), api_name="/variations", **values)


def build(restorer) -> dict:
    """Return the components of the tab by elem_id."""
    held = HeldValues(Limits())
    with gr.Blocks() as page:
        tab.tab(restorer, held)
    return {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}


@pytest.mark.slow
def test_tasks_without_model_are_hidden_and_named_in_one_line(restorer, models):
    shown = build(restorer)
    assert languages.english("variations.colorize.about") in shown["about-colorize"].value and "colorize-result" in shown
    assert not {"tab-inpaint", "tab-seg2face", "inpaint-result", "seg2face-result"} & set(shown)
    line = TAG.sub("", shown["missing-tasks"].value)
    assert "GPEN-Inpainting-1024.pth adds Fill in; GPEN-Seg2face-512.pth adds Segmentation map to face." in line
    assert "Colourise" not in line and shown["missing-tasks"].value.count("<p>") == 1


@pytest.mark.slow
def test_labels_are_translated(restorer, models, all_models):
    shown = build(restorer)
    names = ("face", "n", "seed", "style", "download")
    labels = [shown[f"variations-{name}"].label for name in names] + [shown[f"{task}-image"].label for task in face_tasks.NAMES]
    labels += [shown[f"tab-{task}"].label for task in face_tasks.NAMES] + [shown["colorize-strength"].label]
    labels += [shown[f"{name}-go"].value for name in ("variations", *face_tasks.NAMES)]
    assert all("variations." in str(label) for label in labels), labels


@pytest.mark.slow
def test_no_line_if_every_task_has_a_model(restorer, models, all_models):
    shown = build(restorer)
    assert not shown["missing-tasks"].visible and {"tab-inpaint", "tab-seg2face", "tab-colorize"} <= set(shown)
    assert not shown["inpaint-strength"].visible and shown["colorize-strength"].visible


def test_description_names_bundled_model(restorer, models, model_file):
    own = models.parent / "assets" / "gpen-inpaint.safetensors"
    own.parent.mkdir()
    own.write_bytes(model_file.read_bytes())
    assert "this project trained; GPEN-Inpainting-1024.pth in a folder" in face_tasks.about("inpaint")
    assert "this project trained" not in face_tasks.about("colorize")


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(strength=st.floats(0, 1), seed=st.integers(0, 1000))
def test_colour_strength_scales_the_chroma_and_keeps_the_luminance(strength, seed):
    coloured = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    grey = tasks.grey(coloured)
    faded = face_tasks.fade(grey, coloured, strength)
    assert np.abs(tasks.luma(faded) - tasks.luma(coloured)).max() <= 1.5
    chroma = [image.astype(float) - tasks.luma(image)[..., None] for image in (faded, coloured)]
    assert np.abs(chroma[0] - strength * chroma[1]).max() <= 2
    assert np.array_equal(face_tasks.fade(grey, coloured, 0), grey)
    assert np.array_equal(face_tasks.fade(grey, coloured, 1), coloured)


def test_note_says_how_much_variations_differ_without_repeating_scores(photo):
    base = photo.astype(int)
    far = Variations([photo, np.clip(base + 20, 0, 255).astype(np.uint8)], photo, [30.01, 30.04], 30.0)
    text = TAG.sub("", variations.note(far))
    assert "hardly" not in text and "with 30.0 dB, the variations with 30.0 dB." in text
    assert variations.note(far).startswith('<p role="status">')
    near = Variations([photo, np.clip(base + 1, 0, 255).astype(np.uint8)], photo, [30.0, 31.04], 30.0)
    text = variations.note(near)
    assert "hardly differ, by 1.0 on the scale 0 to 255" in text and "30.0 to 31.0 dB" in text


@pytest.mark.slow
def test_thumbnails_have_names_and_no_scores(restorer):
    shown = build(restorer)
    thumbnails = shown["variations-gallery"].value
    assert 'data-text="variations.variation" data-values="{&quot;number&quot;: 2}">Variation 2<' in thumbnails
    assert re.findall(r">([^<>]+)</span></button>", thumbnails) == [
        "Default output", "Variation 1", "Variation 2", "Variation 3", "Variation 4", "Where they differ",
    ]  # fmt: skip
    assert thumbnails.count('aria-pressed="true"') == 1 and "dB" not in thumbnails
    assert "Variation 1 of the face" in shown["variations-view"].value


@pytest.fixture(scope="module")
def tab_client(restorer, tmp_path_factory):
    """A page with only this tab; it looks for the models in GPEN_MODELS at each call."""
    held = HeldValues(Limits())
    with gr.Blocks() as page:
        tab.tab(restorer, held)
        held.attach(page)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    yield Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), httpx_kwargs={"timeout": TIMEOUT})
    page.close()


@pytest.fixture
def all_models(models, model_file):
    for name in ("GPEN-Inpainting-1024", "GPEN-Seg2face-512"):
        (models / f"{name}.safetensors").write_bytes(model_file.read_bytes())


def lossless(path: str) -> np.ndarray:
    return cv2.imread(path)[..., ::-1]


@pytest.mark.slow
def test_api_runs_tasks(tab_client, all_models, restorer, photo, tmp_path):
    face = images.square_crop(photo)
    image = handle_file(save(tmp_path, "image.png", photo))
    coloured = lossless(tab_client.predict(image, api_name="/colorize"))
    assert np.abs(coloured.astype(int) - tasks.run(restorer, "colorize", face)).max() <= 2  # threads may round differently
    mask = np.zeros_like(photo)
    mask[60:90, 40:80] = 255
    filled = lossless(tab_client.predict(image, handle_file(save(tmp_path, "mask.png", mask)), api_name="/inpaint"))
    hole = images.square_crop(mask)[..., 0] > 0
    assert np.array_equal(filled[~hole], face[~hole]) and not np.array_equal(filled[hole], face[hole])
    assert np.abs(filled.astype(int) - tasks.run(restorer, "inpaint", face, hole)).max() <= 2
    labels = np.repeat(np.random.default_rng(0).integers(0, 19, (8, 8), dtype=np.uint8), 5, 0).repeat(5, 1)
    expected = tasks.run(restorer, "seg2face", labels)
    for map_ in (tasks.to_palette(labels), labels[..., None].repeat(3, 2)):
        made = lossless(tab_client.predict(handle_file(save(tmp_path, "map.png", map_)), api_name="/seg2face"))
        assert np.abs(made.astype(int) - expected).max() <= 2


def test_task_endpoints_are_documented(tab_client):
    described = tab_client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    for name, inputs in (("/colorize", ["image"]), ("/inpaint", ["image", "mask"]), ("/seg2face", ["image"])):
        assert [parameter["parameter_name"] for parameter in described[name]["parameters"]] == inputs
        assert described[name]["description"]


@pytest.mark.parametrize("task", face_tasks.NAMES)
def test_api_explains_how_to_get_missing_model(tab_client, models, files, task):
    (models / "GPEN-Colorization-1024.safetensors").unlink()
    given = [handle_file(files["plain.png"])] * (2 if task == "inpaint" else 1)
    names = tasks.TASKS[task].models
    with pytest.raises(AppError, match=f"{names[0]}.pth.*GPEN_MODELS") as caught:
        tab_client.predict(*given, api_name=f"/{task}")
    assert not {"\n", "<", "&"} & set(str(caught.value))


@pytest.mark.slow
def test_invalid_task_inputs_return_messages(tab_client, all_models, files, photo, tmp_path):
    image, fractions = handle_file(files["plain.png"]), tmp_path / "fractions.tiff"
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(fractions)
    black = handle_file(save(tmp_path, "black.png", np.zeros_like(photo)))
    small = handle_file(save(tmp_path, "small.png", np.full((40, 40, 3), 255, np.uint8)))
    cases = [
        ("/colorize", [handle_file(files["text.png"])], "cannot be read as an image"),
        ("/colorize", [handle_file(fractions)], "32-bit floating-point grey"),
        ("/colorize", [None], "no image"),
        ("/inpaint", [image, None], "no mask"),
        ("/inpaint", [None, image], "no image"),
        ("/inpaint", [image, small], "40 x 40 pixels and the image 150 x 180"),
        ("/inpaint", [image, black], "mask is black"),
        ("/seg2face", [image], "not a segmentation map"),
    ]
    for name, given, words in cases:
        with pytest.raises(AppError, match=words):
            tab_client.predict(*given, api_name=name)


def test_large_segmentation_map_keeps_labels(tmp_path):
    labels = np.zeros((task_inputs.MAX_SIDE + 152, task_inputs.MAX_SIDE + 152, 1), np.uint8)
    labels[::2] = 18
    large = task_inputs.read_square(save(tmp_path, "map.png", labels.repeat(3, 2)), "seg2face")
    assert len(large) == task_inputs.MAX_SIDE and set(np.unique(large)) == {0, 18}


def test_tasks_with_model_return_before_and_after(restorer, photo):
    face = images.square_crop(photo)
    before, after = face_tasks.run_task("colorize", restorer, face)
    assert np.array_equal(before, tasks.grey(face)) and np.array_equal(after, tasks.run(restorer, "colorize", face))
    mask = np.zeros(face.shape[:2], bool)
    mask[20:50, 30:60] = True
    before, after = face_tasks.run_task("inpaint", restorer, face, mask)
    assert (before[mask] == 255).all() and np.array_equal(after[~mask], face[~mask])
    assert not np.array_equal(after[mask], face[mask])
    labels = np.random.default_rng(0).integers(0, 19, (40, 40), dtype=np.uint8)
    before, after = face_tasks.run_task("seg2face", restorer, tasks.to_palette(labels))
    assert before.shape == after.shape == (restorer.net.size, restorer.net.size, 3)
    assert set(np.unique(tasks.to_labels(before))) == set(np.unique(labels))


def test_read_drawing_returns_image_and_painted_mask(tmp_path, photo):
    layer = np.zeros((*photo.shape[:2], 4), np.uint8)
    layer[60:90, 40:80] = (255, 0, 170, 255)
    layer[100, 100] = (255, 0, 170, 40)  # soft border of the brush
    paths = [save(tmp_path, "image.png", photo), save(tmp_path, "layer.png", layer)]
    face, mask = task_inputs.read_drawing(paths)
    assert np.array_equal(face, images.square_crop(photo)) and mask.dtype == bool
    assert np.array_equal(mask, images.square_crop((layer[..., 3:] > 0).repeat(3, 2).astype(np.uint8))[..., 0] > 0)
    blank = save(tmp_path, "blank.png", np.zeros_like(layer))
    for given, words in ((None, "choose one"), (paths[:1], "Nothing is painted"), ([paths[0], blank], "Nothing is painted")):
        with pytest.raises(gpen.GPENError, match=words):
            task_inputs.read_drawing(given)


@pytest.mark.slow
def test_large_drawing_is_reduced(tmp_path):
    side = task_inputs.MAX_SIDE + 100
    layer = np.zeros((side, side, 4), np.uint8)
    layer[10, 10:500] = (255, 0, 170, 255)
    face, mask = task_inputs.read_drawing(
        [save(tmp_path, "large.png", np.full((side, side, 3), 90, np.uint8)), save(tmp_path, "layer.png", layer)]
    )
    assert face.shape == (task_inputs.MAX_SIDE, task_inputs.MAX_SIDE, 3) and mask.shape == face.shape[:2] and mask.any()
    assert task_inputs.read_square(str(tmp_path / "large.png"), "colorize").shape == face.shape
    mask = np.zeros((side, side, 3), np.uint8)
    mask[side // 2, side // 2 :] = 255
    masked, hole = task_inputs.read_with_mask(str(tmp_path / "large.png"), save(tmp_path, "mask.png", mask))
    assert (
        masked.shape == face.shape and hole.shape == face.shape[:2] and hole.any() and not hole[: task_inputs.MAX_SIDE // 3].any()
    )


@pytest.mark.browser
def test_variations_are_compared_and_accessible(open_tab):
    page = open_tab("variations", reduced_motion="reduce")
    page.wait_for_selector("#variations-view .compare-view")
    page.click("#variations-gallery button:has-text('Variation 3')")
    page.wait_for_selector("#variations-view img[alt='Variation 3 of the face']", state="attached")
    assert page.get_attribute("#variations-gallery [aria-pressed=true]", "data-index") == "4"
    page.click("#tab-colorize-button")
    page.wait_for_selector("#colorize-result .compare-view")
    old = page.get_attribute("#colorize-result img >> nth=1", "src")
    page.focus("#colorize-strength input[type=range]")
    page.keyboard.press("Home")
    page.wait_for_function("old => document.querySelectorAll('#colorize-result img')[1].getAttribute('src') !== old", arg=old)
    assert_accessible(page)


def test_editor_returns_paths_without_decoding(tmp_path):
    with gr.Blocks():
        editor = task_inputs.drawing_editor(variations.save(np.zeros((8, 8, 3), np.uint8), "face"))
    folder = Path(gr.utils.get_upload_folder())
    paths = (folder / "bomb.png", folder / "layer.png", tmp_path / "other.png")
    image, layer, other = (gr.FileData(path=str(path)) for path in paths)
    payload = editor.data_model(background=image, layers=[layer, other])
    inside = [os.path.realpath(image.path), os.path.realpath(layer.path)]
    assert editor.preprocess(payload) == [*inside, ""]  # files that were not uploaded are rejected
    assert editor.preprocess(None) is None and editor.preprocess(editor.data_model()) is None
