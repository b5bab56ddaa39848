"""Reading of images: each ground truth is decoded once per run, in constant memory; incomplete files are refused everywhere."""

import re
import sys
from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

import demo.images
from eval.__main__ import main
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.data import decoded, faces
from eval.data.decoded import DecodedImages
from eval.data.faces import Faces
from eval.data.paired import Pairs
from eval.methods.external import ResultFolder
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.folder_lock import LOCK_FILE
from gpen.images import read_image
from gpen.media.photo_file import read_photo
from gpen.training.data.dataset import check_images, list_images, read_face
from tests import ROOT
from tests.eval.benchmark.processes import FEW, MANY, assert_constant_memory, write_noise

SIZE = 64


def truths(folder, count):
    folder.mkdir()
    for i in range(count):
        crop = astronaut()[9 * i : 9 * i + 192, 130 + 10 * i : 322 + 10 * i]
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)[..., ::-1])
    return folder


@pytest.fixture
def decodings(monkeypatch):
    """How often each file of a ground truth was decoded."""
    counts = Counter()

    def counted(file):
        counts[file.name] += 1
        return read_image(file)

    monkeypatch.setattr(faces, "read_image", counted)
    return counts


@pytest.mark.parametrize(("tasks", "metrics"), [
    (("fsr8",), ("psnr",)), (("fsr8", "bfr", "paired"), ("psnr", "ssim", "psnr_y", "ssim_uniform")),
])  # fmt: skip
@pytest.mark.slow
def test_each_ground_truth_is_decoded_once_per_run(tasks, metrics, decodings, tmp_path):
    data, lq = truths(tmp_path / "hq", 5), truths(tmp_path / "lq", 5)
    methods = ("bicubic", "nearest", "lanczos", "nlm")
    given = {"lq": str(lq)} if "paired" in tasks else {}
    settings = RunSettings(str(data), str(tmp_path / "run"), methods, tasks, metrics, SIZE, batch=2, **given)
    run(settings, MetricSettings(), quiet=True)
    assert decodings == {f"{i}.png": 1 for i in range(5)}  # n, for m methods, k metrics and all tasks
    decodings.clear()
    run(settings, MetricSettings(), quiet=True)  # nothing is missing
    assert not decodings
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")) == [LOCK_FILE]


@pytest.mark.slow
def test_a_full_disk_costs_time_only(decodings, tmp_path, monkeypatch):
    data, tables = truths(tmp_path / "hq", 4), []
    for name in ("free", "full"):
        settings = RunSettings(str(data), str(tmp_path / name), ("bicubic",), ("bfr",), ("psnr",), SIZE)
        run(settings, MetricSettings(), quiet=True)
        rows = (tmp_path / name / "per_image.csv").read_text().splitlines()
        tables.append([row.rsplit(",", 2)[0] for row in rows])  # without the time and the environment
        disk = SimpleNamespace(free=2 * 3 * SIZE**2 / decoded.FREE)  # room for two images
        monkeypatch.setattr(decoded.shutil, "disk_usage", lambda folder, disk=disk: disk)
    assert tables[0] == tables[1]
    assert decodings["0.png"] == decodings["1.png"] == 2 and decodings["3.png"] > 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=12), st.integers(0, 5))
def test_stored_images_equal_the_decoded_ones(tmp_path_factory, names, limit):
    images = {name: np.random.default_rng(ord(name)).integers(0, 256, (40, 40, 3), dtype=np.uint8) for name in "abcd"}
    calls = Counter()
    store = DecodedImages(tmp_path_factory.mktemp("store"), 40)
    store._limit = limit

    def decode(name):
        calls[name] += 1
        return images[name]

    for name in names:
        np.testing.assert_array_equal(store.get(name, decode), images[name])
    kept = list(dict.fromkeys(names))[:limit]
    assert all(calls[name] == 1 for name in kept)
    assert all(calls[name] == names.count(name) for name in set(names) - set(kept))
    store.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_of_a_paired_run_is_independent_of_the_number_of_images(tmp_path):
    data, lq = (str(write_noise(tmp_path / side, MANY)) for side in ("hq", "lq"))
    runs = [
        {"data": data, "lq": lq, "out": str(tmp_path / f"{count}"), "tasks": ["paired"], "limit": count} for count in (FEW, MANY)
    ]
    assert_constant_memory(*runs)


# --- one reader


@pytest.fixture(params=[".jpg", ".png", ".webp", ".tif", ".bmp"])
def incomplete(request, tmp_path):
    """A folder with one image, of which the last third is missing."""
    path = tmp_path / "faces" / f"0{request.param}"
    truths(path.parent, 1)
    data = cv2.imencode(request.param, cv2.imread(str(path.parent / "0.png")))[1].tobytes()
    (path.parent / "0.png").unlink()
    path.write_bytes(data[: 2 * len(data) // 3])
    return path


READERS = {
    "gpen.images": read_image,
    "gpen restore": read_photo,
    "training": lambda path: read_face(path, SIZE),
    "check of the training images": lambda path: check_images(list_images(path.parent), skip_bad=False),
    "evaluation": lambda path: Faces.open(path.parent, SIZE).load("0"),
    "results of a method": lambda path: ResultFolder.open(path.parent).load("0"),
    "page": demo.images.decode,
    "page, faces": lambda path: demo.images.read_face(path, SIZE),
}


@pytest.mark.parametrize("reader", READERS)
def test_incomplete_files_are_refused_everywhere(reader, incomplete):
    with pytest.raises(GPENError) as error:
        READERS[reader](incomplete)
    assert str(error.value).count("\n") == 0


def test_image_files_are_opened_by_one_module_only():
    opened = re.compile(r"Image\.open\(|imread\(|imdecode\(|decode_example\(")
    own = {"gpen/images/reading.py", "gpen/degradation/operators.py"}  # the second decodes the JPEG that it has encoded
    sources = [path for package in ("gpen", "eval", "demo", "bench") for path in (ROOT / package).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in sources if opened.search(path.read_text())}
    assert found == own


def test_incomplete_files_stop_a_run_before_the_first_method(tmp_path, capsys):
    data, lq = truths(tmp_path / "hq", 3), truths(tmp_path / "lq", 3)
    path = lq / "2.png"
    path.write_bytes(path.read_bytes()[:-300])
    assert Pairs.open(lq, data).faces.size == SIZE  # its header is complete
    command = ["run", "paired", "--lq", str(lq), "--gt", str(data), "--methods", "nearest", "--metrics", "psnr"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert "2.png cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "run" / "per_image.csv").exists()
