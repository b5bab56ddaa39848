"""eval.data.faces and eval.data.lq_sets: folders of faces and LQ sets."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eval.data.faces import Faces
from eval.data.lq_sets import (
    BFR_TASKS,
    FSR_TASKS,
    TASKS,
    build_lq_set,
    degradation_for,
    mask_for,
    task_description,
    task_label,
)  # fmt: skip
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.images import read_image
from tests import ROOT


def test_folder_with_several_formats(faces_folder):
    faces = Faces.open(faces_folder, size=64)
    assert faces.names == [f"face{i}" for i in range(7)]
    images = [faces.load(name) for name in faces.names]
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in images)
    png = np.array(Image.open(faces_folder / "face0.png"))
    np.testing.assert_array_equal(images[0], png)
    assert Faces.open(faces_folder, size=64, limit=3).names == faces.names[:3]


def test_faces_are_reduced_by_area(faces_folder):
    whole, small = Faces.open(faces_folder, 64).load("face0"), Faces.open(faces_folder, 32).load("face0")
    means = whole.astype(float).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 0.5


def test_content_of_a_folder(tmp_path):
    grey = np.full((80, 120), 90, np.uint8)
    grey[:, :20] = grey[:, 100:] = 0  # a wide image, of which the centre square is used
    (tmp_path / "part").mkdir()
    cv2.imwrite(str(tmp_path / "part" / "wide.png"), grey)
    cv2.imwrite(str(tmp_path / "twice.png"), grey)
    cv2.imwrite(str(tmp_path / "twice.jpg"), grey)
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((40, 40, 4), 65535 // 2, np.uint16))
    Image.new("CMYK", (40, 40), (0, 0, 0, 0)).save(tmp_path / "cmyk.tif")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    faces = Faces.open(tmp_path, size=40)
    assert faces.names == ["cmyk", "deep", "part/wide", "twice.jpg", "twice.png"]
    assert (faces.load("part/wide") == 90).all()
    assert (faces.load("cmyk") == 255).all()
    assert faces.load("deep").shape == (40, 40, 3)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n cut off", b"GIF89a"])
def test_invalid_file(content, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(GPENError, match=r"bad\.png cannot be read as an image"):
        read_image(path)


def test_invalid_folders_and_sizes(tmp_path, faces_folder):
    for folder, size, limit, message in (
        (tmp_path / "none", 64, None, "is not a folder"),
        (tmp_path, 64, None, "contains no images"),
        (faces_folder, 8, None, "--size 8"),
        (faces_folder, 64, 0, "--limit 0"),
    ):
        with pytest.raises(GPENError, match=message):
            Faces.open(folder, size, limit)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([*FSR_TASKS, *BFR_TASKS]), st.text(min_size=1, max_size=8), st.integers(0, 99))
def test_degradation_is_a_function_of_name_task_and_seed(task, name, seed):
    one = degradation_for(task, name, 128, seed)
    assert one == degradation_for(task, name, 128, seed) == Degradation.from_dict(one.to_dict())
    assert one != degradation_for(task, name + "x", 128, seed)
    assert one != degradation_for(task, name, 128, seed + 1)


def test_tasks(faces_folder, tmp_path):
    faces = Faces.open(faces_folder, 64, limit=2)
    for task, side in (("fsr4-bilinear", 16), ("fsr16-bilinear", 4), ("fsr64-bilinear", 1)):
        sample = build_lq_set(task, faces, tmp_path / task, seed=0).sample("face0")
        np.testing.assert_allclose(sample.lq, cv2.resize(sample.truth.astype(float), (side, side)), atol=0.51)
    for task, side in (("fsr4", 16), ("fsr16", 4), ("fsr64", 1)):
        sample = build_lq_set(task, faces, tmp_path / task, seed=0).sample("face0")
        pillow = Image.fromarray(sample.truth).resize((side, side), Image.Resampling.BICUBIC)  # antialiased, rounded twice
        np.testing.assert_allclose(sample.lq, np.asarray(pillow), atol=3)
    bfr, scaled = (degradation_for(task, "face0", 64, 0) for task in ("bfr", "bfr-gpen-release-scaled"))
    assert bfr == replace(Degradation.sample("gpen-release", seed=bfr.seed, size=64), grey=False)
    assert 0.8 <= bfr.scale <= 8 and 0.1 <= scaled.scale <= 1


def test_operator_of_super_resolution_is_named():
    assert task_label("fsr8") == "fsr8 (bicubic, antialiased)"
    assert task_label("fsr8-bilinear") == "fsr8-bilinear (bilinear, not antialiased)"
    assert task_label("bfr-gfpgan") == "bfr-gfpgan"
    assert task_description("fsr16") == "downsampled by 16: bicubic, antialiased"
    assert "preset gpen-release," in task_description("bfr") and all(len(task_description(task)) > 8 for task in TASKS)


def test_colorize_and_inpaint(faces_folder, tmp_path):
    faces = Faces.open(faces_folder, 64, limit=2)
    grey = build_lq_set("colorize", faces, tmp_path / "colorize", seed=0).sample("face0")
    assert (grey.lq == grey.lq[..., :1]).all() and np.array_equal(grey.truth, faces.load("face0")) and grey.mask is None
    holed = build_lq_set("inpaint", faces, tmp_path / "inpaint", seed=0).sample("face1")
    assert holed.mask.any() and not holed.mask.all()
    assert (holed.lq[holed.mask] == 255).all() and np.array_equal(holed.lq[~holed.mask], holed.truth[~holed.mask])
    again = build_lq_set("inpaint", faces, tmp_path / "inpaint", seed=0).sample("face1")  # read from the folder
    assert np.array_equal(again.mask, holed.mask) and np.array_equal(again.lq, holed.lq)
    assert not np.array_equal(mask_for("face1", 64, 0), mask_for("face0", 64, 0))
    assert not np.array_equal(mask_for("face1", 64, 0), mask_for("face1", 64, 1))


@pytest.mark.slow
def test_lq_set_is_equal_in_every_process(faces_folder, tmp_path):
    faces = Faces.open(faces_folder, 64)
    build_lq_set("bfr", faces, tmp_path / "here", seed=3)
    code = (
        "import sys; from pathlib import Path\n"
        "from eval.data.faces import Faces\nfrom eval.data.lq_sets import build_lq_set\n"
        "build_lq_set('bfr', Faces.open(sys.argv[1], 64), Path(sys.argv[2]), seed=3)"
    )
    subprocess.run(
        [sys.executable, "-c", code, faces_folder, tmp_path / "there"],
        check=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
    )
    for name in ["params.json", *(f"{name}.png" for name in faces.names)]:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_stored_degradations_reproduce_the_images(faces_folder, tmp_path):
    faces = Faces.open(faces_folder, 64)
    lq_set = build_lq_set("bfr", faces, tmp_path, seed=0)
    params = json.loads((tmp_path / "params.json").read_text())
    for name, entry in params["images"].items():
        png = (tmp_path / f"{name}.png").read_bytes()
        assert hashlib.sha256(png).hexdigest() == entry["sha256"]
        degradation = Degradation.from_dict(entry["degradation"])
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), degradation(faces.load(name)))
        np.testing.assert_array_equal(lq_set.sample(name).truth, degradation.target(faces.load(name)))


def test_extension_of_an_lq_set(faces_folder, tmp_path):
    build_lq_set("bfr", Faces.open(faces_folder, 64, limit=3), tmp_path / "grown", seed=0)
    build_lq_set("bfr", Faces.open(faces_folder, 64), tmp_path / "grown", seed=0)
    build_lq_set("bfr", Faces.open(faces_folder, 64), tmp_path / "whole", seed=0)
    grown, whole = ((tmp_path / run / "params.json").read_bytes() for run in ("grown", "whole"))
    assert grown == whole
    with pytest.raises(GPENError, match="built with seed 0, not 1"):
        build_lq_set("bfr", Faces.open(faces_folder, 64), tmp_path / "grown", seed=1)


def test_changed_file_is_an_error(faces_folder, tmp_path):
    lq_set = build_lq_set("fsr8", Faces.open(faces_folder, 64, limit=2), tmp_path, seed=0)
    cv2.imwrite(str(tmp_path / "face0.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(GPENError, match="has changed since the LQ set was built"):
        lq_set.sample("face0")
    lq_set.faces.files["face1"] = faces_folder / "face5.tiff"
    with pytest.raises(GPENError, match="is not the source of"):
        lq_set.sample("face1")


@pytest.mark.parametrize("task", ["bfr", "bfr-gpen-release-scaled", "bfr-gfpgan"])
def test_no_grey_images(task):
    """Training has them (GPEN 20 %, GFPGAN 1 %), evaluation does not."""
    made = [degradation_for(task, f"face{k}", 64, 0) for k in range(300)]
    preset = task.removeprefix("bfr-") if task != "bfr" else "gpen-release"
    sampled = [Degradation.sample(preset, d.seed, 64) for d in made]
    assert any(d.grey or d.grey_input for d in sampled) and not any(d.grey or d.grey_input for d in made)
    assert made == [replace(d, grey=False, grey_input=False) for d in sampled]


def test_set_of_another_version_is_an_error(faces_folder, tmp_path):
    faces = Faces.open(faces_folder, 64, limit=2)
    build_lq_set("fsr8", faces, tmp_path, seed=0)
    path = tmp_path / "params.json"
    path.write_text(path.read_text().replace('"bicubic"', '"bilinear"', 1))
    with pytest.raises(GPENError, match="built by another version, with another degradation of face0; choose another --out"):
        build_lq_set("fsr8", faces, tmp_path, seed=0)


# --- datasets of the Hub, as local files, without a network


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """hf:FOLDER with 12 faces in three files, of which the last is invalid."""
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "dataset"
    folder.mkdir()
    images = [np.full((40, 40, 3), 10 * k, np.uint8) for k in range(12)]
    png = [{"bytes": cv2.imencode(".png", image)[1].tobytes(), "path": None} for image in images]
    for k in range(3):
        table = datasets.Dataset.from_dict({"image": png[4 * k : 4 * k + 4]}).cast_column("image", datasets.Image())
        table.to_parquet(folder / f"train-{k}.parquet")
    (folder / "train-2.parquet").write_bytes(b"a file that must not be read")
    return f"hf:{folder}"


def test_limit_of_streamed_images(dataset):
    faces = Faces.open(dataset, 40, limit=2)
    assert faces.names == ["00000000", "00000001"] and [faces.load(name).max() for name in faces.names] == [0, 10]
    assert Faces.open(f"{dataset}:train[:1]:image", 40, limit=2).names == ["00000000"]
    with pytest.raises(GPENError, match="cannot be read"):
        Faces.open(dataset, 40)


def test_downloaded_dataset_is_not_downloaded_again(dataset, tmp_path):
    source = tmp_path / "dataset"
    (source / "train-2.parquet").write_bytes((source / "train-0.parquet").read_bytes())
    whole = Faces.open(dataset, 40)
    for file in source.iterdir():
        file.unlink()
    assert len(whole.names) == 12
    assert list(Faces.open(dataset, 40, limit=3).files.values()) == list(whole.files.values())[:3]


def test_run_with_a_dataset_name(dataset, tmp_path, monkeypatch):
    from eval.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPEN_DATASET_CELEBA_HQ", dataset)
    command = ["run", "fsr", "--data", "celeba-hq", "--limit", "2", "--methods", "nearest", "--metrics", "psnr", "--size", "40"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "lq" / "fsr8").glob("*.png")) == ["00000000.png", "00000001.png"]
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["data"].startswith("2 images of ") and recipe["data"].endswith("split train, rows 0 to 1")
