"""The More tasks tab: variations, painted masks, API endpoints, and messages without a model."""

import os
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import gpen
from demo import images
from demo.tabs import variations_and_color as tab
from gpen.restoration import tasks
from tests.demo.conftest import TIMEOUT


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


def test_task_without_model_explains_how_to_get_it(restorer, models):
    with gr.Blocks() as page:
        tab.tab(restorer)
    about = {block.elem_id: block.value for block in page.blocks.values() if isinstance(block, gr.HTML)}
    assert about["about-colorize"] == f"<p>{tab.DESCRIPTIONS['colorize']}</p>"
    assert "GPEN-Inpainting-1024.pth" in about["about-inpaint"] and "--task inpaint" in about["about-inpaint"]
    assert "GPEN-Seg2face-512.pth" in about["about-seg2face"] and "train" not in about["about-seg2face"]
    ids = {getattr(block, "elem_id", None) for block in page.blocks.values()}
    assert "colorize-result" in ids and not {"inpaint-result", "seg2face-result"} & ids


def test_description_names_bundled_model(restorer, models, model_file):
    own = models.parent / "assets" / "gpen-inpaint.safetensors"
    own.parent.mkdir()
    own.write_bytes(model_file.read_bytes())
    with gr.Blocks() as page:
        tab.tab(restorer)
    about = {block.elem_id: block.value for block in page.blocks.values() if isinstance(block, gr.HTML)}
    assert (
        about["about-inpaint"].startswith(f"<p>{tab.DESCRIPTIONS['inpaint']}")
        and "this project trained" in about["about-inpaint"]
    )
    assert "this project trained" not in about["about-colorize"]


@pytest.fixture(scope="module")
def tab_client(restorer, tmp_path_factory):
    """A page with only this tab; it looks for the models in GPEN_MODELS at each call."""
    with gr.Blocks() as page:
        tab.tab(restorer)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    yield Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), httpx_kwargs={"timeout": TIMEOUT})
    page.close()


@pytest.fixture
def all_models(models, model_file):
    for name in ("GPEN-Inpainting-1024", "GPEN-Seg2face-512"):
        (models / f"{name}.safetensors").write_bytes(model_file.read_bytes())


def lossless(path: str) -> np.ndarray:
    return cv2.imread(path)[..., ::-1]


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


@pytest.mark.parametrize("task", tab.TASK_TITLES)
def test_api_explains_how_to_get_missing_model(tab_client, models, files, task):
    (models / "GPEN-Colorization-1024.safetensors").unlink()
    given = [handle_file(files["plain.png"])] * (2 if task == "inpaint" else 1)
    names = tasks.TASKS[task].models
    with pytest.raises(AppError, match=f"{names[0]}.pth.*GPEN_MODELS") as caught:
        tab_client.predict(*given, api_name=f"/{task}")
    assert not {"\n", "<", "&"} & set(str(caught.value))


def test_invalid_task_inputs_return_messages(tab_client, all_models, files, photo, tmp_path):
    image, fractions = handle_file(files["plain.png"]), tmp_path / "fractions.tiff"
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(fractions)
    black = handle_file(save(tmp_path, "black.png", np.zeros_like(photo)))
    small = handle_file(save(tmp_path, "small.png", np.full((40, 40, 3), 255, np.uint8)))
    cases = [
        ("/colorize", [handle_file(files["text.png"])], "not an image"),
        ("/colorize", [handle_file(fractions)], "floating-point"),
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
    labels = np.zeros((tab.MAX_SIDE + 152, tab.MAX_SIDE + 152, 1), np.uint8)
    labels[::2] = 18
    large = tab.read_square(save(tmp_path, "map.png", labels.repeat(3, 2)), "seg2face")
    assert len(large) == tab.MAX_SIDE and set(np.unique(large)) == {0, 18}


def test_tasks_with_model_return_before_and_after(restorer, photo):
    face = images.square_crop(photo)
    before, after = tab.run_task("colorize", restorer, face)
    assert np.array_equal(before, tasks.grey(face)) and np.array_equal(after, tasks.run(restorer, "colorize", face))
    mask = np.zeros(face.shape[:2], bool)
    mask[20:50, 30:60] = True
    before, after = tab.run_task("inpaint", restorer, face, mask)
    assert (before[mask] == 255).all() and np.array_equal(after[~mask], face[~mask])
    assert not np.array_equal(after[mask], face[mask])
    labels = np.random.default_rng(0).integers(0, 19, (40, 40), dtype=np.uint8)
    before, after = tab.run_task("seg2face", restorer, tasks.to_palette(labels))
    assert before.shape == after.shape == (restorer.net.size, restorer.net.size, 3)
    assert set(np.unique(tasks.to_labels(before))) == set(np.unique(labels))


def test_read_drawing_returns_image_and_painted_mask(tmp_path, photo):
    layer = np.zeros((*photo.shape[:2], 4), np.uint8)
    layer[60:90, 40:80] = (255, 0, 170, 255)
    layer[100, 100] = (255, 0, 170, 40)  # soft border of the brush
    paths = [save(tmp_path, "image.png", photo), save(tmp_path, "layer.png", layer)]
    face, mask = tab.read_drawing(paths)
    assert np.array_equal(face, images.square_crop(photo)) and mask.dtype == bool
    assert np.array_equal(mask, images.square_crop((layer[..., 3:] > 0).repeat(3, 2).astype(np.uint8))[..., 0] > 0)
    blank = save(tmp_path, "blank.png", np.zeros_like(layer))
    for given, words in ((None, "choose one"), (paths[:1], "Nothing is painted"), ([paths[0], blank], "Nothing is painted")):
        with pytest.raises(gpen.GPENError, match=words):
            tab.read_drawing(given)


def test_large_drawing_is_reduced(tmp_path):
    side = tab.MAX_SIDE + 100
    layer = np.zeros((side, side, 4), np.uint8)
    layer[10, 10:500] = (255, 0, 170, 255)
    face, mask = tab.read_drawing(
        [save(tmp_path, "large.png", np.full((side, side, 3), 90, np.uint8)), save(tmp_path, "layer.png", layer)]
    )
    assert face.shape == (tab.MAX_SIDE, tab.MAX_SIDE, 3) and mask.shape == face.shape[:2] and mask.any()
    assert tab.read_square(str(tmp_path / "large.png"), "colorize").shape == face.shape
    mask = np.zeros((side, side, 3), np.uint8)
    mask[side // 2, side // 2 :] = 255
    masked, hole = tab.read_with_mask(str(tmp_path / "large.png"), save(tmp_path, "mask.png", mask))
    assert masked.shape == face.shape and hole.shape == face.shape[:2] and hole.any() and not hole[: tab.MAX_SIDE // 3].any()


def test_editor_returns_paths_without_decoding(tmp_path):
    with gr.Blocks():
        editor = tab._editor(tab._save(np.zeros((8, 8, 3), np.uint8), "face"))
    folder = Path(gr.utils.get_upload_folder())
    paths = (folder / "bomb.png", folder / "layer.png", tmp_path / "other.png")
    image, layer, other = (gr.FileData(path=str(path)) for path in paths)
    payload = editor.data_model(background=image, layers=[layer, other])
    inside = [os.path.realpath(image.path), os.path.realpath(layer.path)]
    assert editor.preprocess(payload) == [*inside, ""]  # files that were not uploaded are rejected
    assert editor.preprocess(None) is None and editor.preprocess(editor.data_model()) is None
