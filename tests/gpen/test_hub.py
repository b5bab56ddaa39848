"""Hugging Face datasets as training data: tiny ones made here, read by name as those of the Hub are, without any network."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import gpen
from gpen.cli import main
from gpen.training import hub
from gpen.training.config import FinetuneConfig
from gpen.training.data import FacePairs
from gpen.training.finetune import finetune

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
TINY = FinetuneConfig(
    network=gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2),
    adversarial=0.0, feature=0.0, images=16, batch=4, workers=0, save_every=8,
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
    """A dataset of six PNG images with a second column of images and one of numbers."""
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


def test_a_dataset_becomes_a_folder_of_its_images_in_order(parquet, images):
    assert same(read(hub.local_folder(parquet)), images)
    assert same(read(hub.local_folder(f"{parquet}:train:mirrored")), images[::-1])
    assert same(read(hub.local_folder(f"{parquet}:train[:2]:photo")), images[:2])


def test_files_of_an_imagefolder_keep_their_bytes_and_other_formats_become_png(tmp_path, images):
    source = tmp_path / "photos"
    source.mkdir()
    for name, image in zip(("a.jpg", "b.tif"), images, strict=False):
        cv2.imwrite(str(source / name), image[..., ::-1])
    kept = sorted(hub.local_folder(f"hf:{source}").iterdir())
    assert [path.name for path in kept] == ["00000000.jpg", "00000001.png"]
    assert kept[0].read_bytes() == (source / "a.jpg").read_bytes()
    assert np.array_equal(cv2.imread(str(kept[1]))[..., ::-1], images[1])


def test_a_folder_is_itself_and_a_known_name_can_be_given_another_dataset(parquet, images, tmp_path, monkeypatch):
    assert hub.local_folder(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPEN_DATASET_CELEBA_HQ", parquet.removeprefix("hf:"))
    assert same(read(hub.local_folder("celeba-hq")), images)
    (tmp_path / "ffhq").mkdir()
    assert hub.local_folder("ffhq") == Path("ffhq")  # a folder of that name goes first


def test_it_is_read_once(parquet, images, tmp_path):
    folder = hub.local_folder(parquet)
    (tmp_path / "parquet" / "train.parquet").unlink()
    assert hub.local_folder(parquet) == folder and same(read(folder), images)


def test_a_download_cut_off_goes_on_where_it_stopped(parquet, images, monkeypatch):
    real, read_now = hub._bytes, []

    def cut(item):
        if len(read_now) == 4:
            raise ConnectionError("the server hung up")
        read_now.append(item)
        return real(item)

    monkeypatch.setattr(hub, "_bytes", cut)
    with pytest.raises(gpen.GPENError, match="the server hung up.*try again"):
        hub.local_folder(parquet)
    monkeypatch.setattr(hub, "_bytes", lambda item: read_now.append(item) or real(item))
    assert same(read(hub.local_folder(parquet)), images)
    assert len(read_now) == 6


def test_training_sees_the_same_as_from_a_folder_and_resumes_to_the_bit(parquet, tmp_path, monkeypatch):
    folder = hub.local_folder(parquet)
    by_name, by_path = FacePairs(parquet, TINY), FacePairs(folder, TINY)
    assert all(torch.equal(a, b) for i in (0, 7) for a, b in zip(by_name[i], by_path[i], strict=True))
    whole = finetune(parquet, tmp_path / "whole", TINY)
    finetune(parquet, tmp_path / "parts", dataclasses.replace(TINY, images=8))
    parts = finetune(parquet, tmp_path / "parts", TINY, resume=True)
    a, b = gpen.load(whole).state_dict(), gpen.load(parts).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("ending", "words"),
    [(":validation", "validation.*cannot be read"), (":train:id", "no column of images 'id': choose photo, mirrored"),
     (":train:a:b", "no dataset's name"), (":train[:0]", "no image at all")],
)  # fmt: skip
def test_a_wrong_name_is_one_sentence(parquet, ending, words):
    with pytest.raises(gpen.GPENError, match=words) as caught:
        hub.local_folder(parquet + ending)
    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_one_sentence_at_the_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "finetune", "--data", "hf:nobody/nothing", "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and printed.count("\n") == 1
    assert printed.startswith("error: ") and "nobody/nothing" in printed and "connection" in printed


def test_without_the_package_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from gpen.training.hub import local_folder\n"
        "try: local_folder('hf:a/b', sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "A Hugging Face dataset needs the package datasets: pip install datasets."
