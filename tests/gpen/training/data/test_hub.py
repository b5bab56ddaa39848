"""Hugging Face datasets as training data, with small local datasets."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import gpen
from gpen.cli import main
from gpen.training.config import FinetuneConfig
from gpen.training.data import hub
from gpen.training.data.dataset import FacePairs
from gpen.training.finetune import finetune

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
TINY = FinetuneConfig(
    network=gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2),
    adversarial_weight=0.0, feature_matching_weight=0.0, total_images=16, batch_size=4, workers=0, save_interval=8,
)  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (20, 20)) for _ in range(6)]


@pytest.fixture
def parquet(tmp_path, images) -> str:
    """Dataset of six PNG images with a second column of images and a column of numbers."""
    png = [{"bytes": cv2.imencode(".png", image[..., ::-1])[1].tobytes(), "path": None} for image in images]
    table = datasets.Dataset.from_dict({"id": list(range(6)), "photo": png, "mirrored": png[::-1]})
    table = table.cast_column("photo", datasets.Image()).cast_column("mirrored", datasets.Image())
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "train.parquet")
    return f"hf:{tmp_path / 'parquet'}"


def read(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path))[..., ::-1] for path in sorted(folder.iterdir())]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def test_dataset_is_stored_as_a_folder_of_images_in_order(parquet, images):
    assert same(read(hub.local_folder(parquet)), images)
    assert same(read(hub.local_folder(f"{parquet}:train:mirrored")), images[::-1])
    assert same(read(hub.local_folder(f"{parquet}:train[:2]:photo")), images[:2])


def test_rows_of_a_dataset_are_named_by_their_numbers(parquet, images):
    folder = hub.local_folder(f"{parquet}:train[2:5]:photo")
    assert same(read(folder), images[2:5]) and sorted(path.stem for path in folder.iterdir()) == [
        f"0000000{k}" for k in (2, 3, 4)
    ]
    last = hub.local_folder(f"{parquet}:train[4:]:photo")
    assert same(read(last), images[4:]) and last != folder
    source = hub.named(f"{parquet}:train[2:]:photo")
    assert hub.named(source.name) == source and source.first(2) == hub.named(f"{parquet}:train[2:4]:photo")
    assert source.first(2).describe().endswith("split train, column photo, rows 2 to 3")
    assert source.describe().endswith("rows from 2") and hub.named(parquet).describe().endswith("split train, all rows")


def test_training_and_test_rows_of_celeba_hq_are_disjoint():
    training, test = hub.named("celeba-hq"), hub.named("celeba-hq-test")
    assert training.dataset == test.dataset == "bitmind/celeb-a-hq"  # 30,000 rows at 1024 px
    assert (test.start, test.stop, training.start, training.stop) == (0, 3000, 3000, None)
    assert test.first(200).stop == 200 and test.first(5000) == test and training.first(10).stop == 3010


def test_file_names_and_labels_are_kept(tmp_path, images):
    source = tmp_path / "labelled"
    for k, image in enumerate(images[:4]):
        path = source / ("cat", "dog")[k % 2] / f"photo {k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    folder = hub.local_folder(f"hf:{source}:train[1:]")
    rows = stored_rows(folder)
    assert (
        [row["file"] for row in rows] == sorted(path.name for path in folder.iterdir()) == [f"0000000{k}.png" for k in (1, 2, 3)]
    )
    assert [(Path(row["name"]).name, row["label"]) for row in rows] == [
        ("photo 2.png", "cat"),
        ("photo 1.png", "dog"),
        ("photo 3.png", "dog"),
    ]
    assert all(np.array_equal(cv2.imread(row["name"]), cv2.imread(str(folder / row["file"]))) for row in rows)


def test_imagefolder_files_are_copied_or_converted_to_png(tmp_path, images):
    source = tmp_path / "photos"
    source.mkdir()
    for name, image in zip(("a.jpg", "b.tif"), images, strict=False):
        cv2.imwrite(str(source / name), image[..., ::-1])
    kept = sorted(hub.local_folder(f"hf:{source}").iterdir())
    assert [path.name for path in kept] == ["00000000.jpg", "00000001.png"]
    assert kept[0].read_bytes() == (source / "a.jpg").read_bytes()
    assert np.array_equal(cv2.imread(str(kept[1]))[..., ::-1], images[1])
    (source / "b.tif").write_bytes((source / "b.tif").read_bytes()[:300])
    (source / "a.jpg").write_bytes((source / "a.jpg").read_bytes() + b" ")  # another copy in the cache of datasets
    with pytest.raises(gpen.GPENError, match="cannot be used"):
        hub.local_folder(f"hf:{source}:train[1:]")


def test_folders_and_environment_variables_for_known_datasets(parquet, images, tmp_path, monkeypatch):
    assert hub.local_folder(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPEN_DATASET_CELEBA_HQ", parquet.removeprefix("hf:"))
    assert same(read(hub.local_folder("celeba-hq")), images)
    (tmp_path / "ffhq").mkdir()
    assert hub.local_folder("ffhq") == Path("ffhq")  # an existing folder has priority


def test_dataset_is_read_once(parquet, images, tmp_path):
    folder = hub.local_folder(parquet)
    (tmp_path / "parquet" / "train.parquet").unlink()
    assert hub.local_folder(parquet) == folder and same(read(folder), images)


@pytest.fixture
def images_read(parquet, monkeypatch):
    """A download that broke off after four images: the images that were read, to which later reads are added."""
    real, read_now = hub._bytes, []

    def cut(item):
        if len(read_now) == 4:
            raise ConnectionError("the server hung up")
        return count(item)

    def count(item):
        read_now.append(item)
        return real(item)

    monkeypatch.setattr(hub, "_bytes", cut)
    with pytest.raises(gpen.GPENError, match="the server hung up.*try again"):
        hub.local_folder(parquet)
    monkeypatch.setattr(hub, "_bytes", count)
    return read_now


def stored_rows(folder):
    """The rows of the table beside a folder of images."""
    return [json.loads(line) for line in folder.with_name(f"{folder.name}.rows.jsonl").read_text().splitlines()]


def test_interrupted_download_is_resumed(parquet, images, images_read):
    folder = hub.local_folder(parquet)
    assert same(read(folder), images)
    assert len(images_read) == 6
    rows = stored_rows(folder)
    assert [(row["file"], row["id"]) for row in rows] == [(f"0000000{k}.png", k) for k in range(6)]


@pytest.mark.usefixtures("images_read")
def test_labels_lost_with_the_power_are_read_again(parquet, images):
    (table,) = hub.cache_folder().rglob("*.rows.jsonl")
    table.write_bytes(table.read_bytes()[:-40] + bytes(12))  # the last line is cut off and ends with zeros
    folder = hub.local_folder(parquet)
    rows = stored_rows(folder)
    assert [(row["file"], row["id"]) for row in rows] == [(f"0000000{k}.png", k) for k in range(6)] and same(read(folder), images)


@pytest.mark.slow
def test_training_on_a_dataset_matches_a_folder_and_resumes_exactly(parquet, tmp_path, monkeypatch):
    folder = hub.local_folder(parquet)
    by_name, by_path = FacePairs(parquet, TINY), FacePairs(folder, TINY)
    assert all(torch.equal(a, b) for i in (0, 7) for a, b in zip(by_name[i], by_path[i], strict=True))
    whole = finetune(parquet, tmp_path / "whole", TINY)
    finetune(parquet, tmp_path / "parts", dataclasses.replace(TINY, total_images=8))
    parts = finetune(parquet, tmp_path / "parts", TINY, resume=True)
    a, b = gpen.load(whole).state_dict(), gpen.load(parts).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("ending", "words"),
    [(":validation", "validation.*cannot be read"), (":train:id", "no column of images 'id': choose photo, mirrored"),
     (":train:a:b", "not the name of a dataset"), (":train[:0]", "selects no image"), (":train[3:3]", "selects no image")],
)  # fmt: skip
def test_invalid_dataset_name_raises_an_error(parquet, ending, words):
    with pytest.raises(gpen.GPENError, match=words) as caught:
        hub.local_folder(parquet + ending)
    assert "\n" not in str(caught.value)


def test_unreachable_hub_is_a_one_line_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "finetune", "--data", "hf:nobody/nothing", "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and printed.count("\n") == 1
    assert printed.startswith("error: ") and "nobody/nothing" in printed and "connection" in printed


@pytest.mark.slow
def test_missing_datasets_package(tmp_path):
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from gpen.training.data.hub import local_folder\n"
        "try: local_folder('hf:a/b', sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'A Hugging Face dataset needs the package datasets, which is not installed: pip install "gpen[train]".'
    )
