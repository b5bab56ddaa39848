"""Runs with several processes, tasks without ground truth, the cache of restored images, memory."""

import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from eval.__main__ import main
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import FeatureStore, PerImageTable, merge_parts
from eval.data.faces import Faces
from eval.methods.registry import METHODS, Method
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.images import read_image
from tests.eval.benchmark.processes import ENVIRONMENT, FEW, MANY, WAITING, assert_constant_memory, write_noise

METRICS = ("psnr", "squeezenet_fd")
PROCESS = (
    WAITING
    + """
data, out, squeezenet, stop = sys.argv[1:]
wait_after(int(stop))
run(RunSettings(data, out, ("bicubic",), ("fsr8", "bfr"), ("psnr", "squeezenet_fd"), size=64, batch=2, keep=True),
    MetricSettings(squeezenet=squeezenet), quiet=True)
"""
)


def start(count, *arguments):
    """Start `count` processes with the environment of `accelerate launch`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = ENVIRONMENT | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *map(str, arguments)], env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(count)
    ]


def measured(out):
    """The rows without the time and the environment, in the order of the file."""
    lines = (out / "per_image.csv").read_text().splitlines()
    return [line.rsplit(",", 2)[0] for line in lines]


def figures(out):
    return {
        (entry["task"], entry["method"], entry["metric"]): entry["mean"]
        for entry in json.loads((out / "summary.json").read_text())
        if entry["metric"] in METRICS
    }


@pytest.mark.slow
def test_killed_processes_resume_with_the_table_of_one_process(faces_folder, squeezenet_npz, tmp_path):
    pytest.importorskip("accelerate")
    settings = RunSettings(
        str(faces_folder), str(tmp_path / "one"), ("bicubic",), ("fsr8", "bfr"), METRICS, size=64, batch=2, keep=True
    )
    run(settings, MetricSettings(squeezenet=str(squeezenet_npz)), quiet=True)

    out = tmp_path / "two"
    processes = start(2, faces_folder, out, squeezenet_npz, 3)  # of four batches each
    parts = [out / "parts" / rank / "per_image.csv" for rank in "01"]
    deadline = time.monotonic() + 280
    while not all(part.is_file() and "bicubic" in part.read_text() for part in parts):
        assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    survived = {line for part in parts for line in part.read_text().splitlines()[1:]}
    assert not (out / "summary.json").exists()

    processes = start(2, faces_folder, out, squeezenet_npz, 0)
    assert [process.wait(timeout=280) for process in processes] == [0, 0]
    assert measured(out) == measured(tmp_path / "one")
    assert survived <= set((out / "per_image.csv").read_text().splitlines())  # including the times: nothing was computed twice
    whole, parts = figures(tmp_path / "one"), figures(out)
    known = [key for key, value in whole.items() if value is not None]
    assert parts.keys() == whole.keys() and [key for key in parts if parts[key] is not None] == known
    assert [parts[key] for key in known] == pytest.approx([whole[key] for key in known], rel=1e-5, abs=1e-6)
    assert not (out / "parts").exists()
    for path in (tmp_path / "one" / "restored").rglob("*.png"):
        assert (out / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


def test_merge_can_be_repeated(tmp_path):
    for rank in range(2):
        part = tmp_path / "parts" / str(rank)
        PerImageTable(part / "per_image.csv", ["psnr"]).append(
            "fsr8", "bicubic", {f"face{rank}": {"psnr": 20.0 + rank, "seconds": 1}}
        )
        store = FeatureStore(part / "features.sqlite")
        store.add("inception", "fsr8", "bicubic", [f"face{rank}"], np.full((1, 3), rank))
        store.update_peaks("fsr8", "bicubic", {"memory_mib": 100.0 + rank})
        store.close()
    (tmp_path / "parts" / "2").mkdir()  # a process without results
    first = tmp_path / "parts" / "0"
    kept = {path.name: path.read_bytes() for path in first.iterdir()}
    merge_parts(tmp_path)
    first.mkdir(parents=True)  # as after a kill before the part was removed
    for name, content in kept.items():
        (first / name).write_bytes(content)
    merge_parts(tmp_path)
    assert PerImageTable(tmp_path / "per_image.csv", []).get("fsr8", "bicubic") == {
        "face0": {"psnr": 20, "seconds": 1},
        "face1": {"psnr": 21, "seconds": 1},
    }
    store = FeatureStore(tmp_path / "features.sqlite")
    assert {image: vector.tolist() for image, vector in store.get("inception", "fsr8", "bicubic").items()} == {
        "face0": [0, 0, 0],
        "face1": [1, 1, 1],
    }
    assert store.peaks("fsr8", "bicubic") == {"memory_mib": 101}


def test_wild(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "run"
    folder.mkdir()
    face = astronaut()[18:196, 136:314]
    cv2.imwrite(str(folder / "small.png"), cv2.resize(face, (40, 40))[..., ::-1])
    cv2.imwrite(str(folder / "wide.png"), astronaut()[:200, :300, ::-1])
    arguments = ["run", "wild", "--data", str(folder), "--out", str(out), "--size", "64", "--keep"]
    assert main([*arguments, "--methods", "bicubic", "--metrics", "psnr,niqe_fitted"]) == 0
    text = capsys.readouterr().out
    assert "### wild, n = 2" in text and "ground-truth |" not in text and "NIQE (fitted on faces) ↓" in text
    entries = json.loads((out / "summary.json").read_text())
    assert {(entry["method"], entry["metric"]) for entry in entries if "mib" not in entry["metric"]} == {
        (method, metric) for method in ("bilinear", "bicubic") for metric in ("niqe_fitted", "seconds", "images_per_second")
    }
    small, wide = (read_image(out / "lq" / "wild" / f"{name}.png") for name in ("small", "wide"))
    np.testing.assert_array_equal(small, read_image(folder / "small.png"))  # unchanged
    assert wide.shape == (64, 64, 3)
    assert read_image(out / "restored" / "wild" / "bicubic" / "small.png").shape == (64, 64, 3)
    for methods, metrics, message in (
        ("nonblind-wiener", "niqe_fitted", "needs the degradation"),
        ("bicubic", "psnr", "has no ground truth"),
    ):
        assert main([*arguments[:5], str(tmp_path / "none"), "--methods", methods, "--metrics", metrics]) == 2
        assert message in capsys.readouterr().err


def test_tasks_with_different_metrics(faces_folder, tmp_path):
    settings = RunSettings(str(faces_folder), str(tmp_path), ("bicubic",), ("fsr8",), ("psnr", "niqe_fitted"), size=64, limit=2)
    run(settings, MetricSettings(), quiet=True)
    run(replace(settings, tasks=("wild",)), MetricSettings(), quiet=True)
    assert all("nan" not in line for line in measured(tmp_path))
    found = {(entry["task"], entry["metric"]) for entry in json.loads((tmp_path / "summary.json").read_text())}
    assert ("fsr8", "psnr") in found and ("wild", "niqe_fitted") in found and ("wild", "psnr") not in found


@pytest.mark.slow
def test_restoration_cache(faces_folder, tmp_path, monkeypatch):
    settings = RunSettings(
        str(faces_folder),
        str(tmp_path / "first"),
        ("bicubic",),
        ("fsr8",),
        ("psnr",),
        size=64,
        batch=3,
        cache=str(tmp_path / "cache"),
    )
    run(settings, MetricSettings(), quiet=True)

    def fail(samples, size):
        raise AssertionError("restored a second time")

    monkeypatch.setitem(METHODS, "bicubic", lambda argument, device: Method(fail))
    run(replace(settings, out=str(tmp_path / "second"), metrics=("psnr", "ssim")), MetricSettings(), quiet=True)
    first, second = ((tmp_path / name / "per_image.csv").read_text().splitlines()[1:] for name in ("first", "second"))
    assert [line.split(",")[3] for line in first] == [line.split(",")[3] for line in second]  # psnr
    times = [[line.split(",")[-2] for line in lines if ",bicubic," in line] for lines in (first, second)]
    assert times[0] == times[1]  # the time of the original computation
    for changed in ({"seed": 1, "tasks": ("bfr",)}, {"size": 32}):  # another input or another size is computed again
        with pytest.raises(AssertionError, match="a second time"):
            run(
                replace(settings, out=str(tmp_path / "third"))
                if not changed
                else replace(settings, out=str(tmp_path / f"third{len(str(changed))}"), **changed),
                MetricSettings(),
                quiet=True,
            )


def test_sample_faces(tmp_path, capsys):
    faces = Faces.open("samples", 64)
    assert faces.names == list(SAMPLES)
    assert all((faces.load(name) == SAMPLES[name].load(64)).all() for name in faces.names)
    assert Faces.open("samples", 64, limit=1).names == faces.names[:1]
    assert main(["run", "fsr", "--out", str(tmp_path), "--methods", "bicubic", "--metrics", "psnr", "--size", "64"]) == 0
    assert "| bicubic " in capsys.readouterr().out


def test_dataset_of_the_hub(faces_folder, monkeypatch):
    from gpen.training.data import hub

    monkeypatch.setattr(hub, "local_folder", lambda name: {"hf:someone/faces": faces_folder}[name])
    assert Faces.open("hf:someone/faces", 64).names == Faces.open(faces_folder, 64).names


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_is_independent_of_the_number_of_images(tmp_path):
    runs = [
        {"data": str(write_noise(tmp_path / name, count)), "out": str(tmp_path / f"{name}-run"), "tasks": ["fsr8"]}
        for name, count in (("few", FEW), ("many", MANY))
    ]
    assert_constant_memory(*runs)


def test_damaged_recipe(faces_folder, tmp_path):
    settings = RunSettings(str(faces_folder), str(tmp_path), ("bicubic",), ("fsr8",), ("psnr",), size=64, limit=2)
    run(settings, MetricSettings(), quiet=True)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(GPENError, match="damaged"):
        run(settings, MetricSettings(), quiet=True)
