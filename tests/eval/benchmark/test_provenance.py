"""Rows of different environments are marked, a run is locked, lines damaged by a loss of power are measured again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.benchmark import provenance
from eval.benchmark.restoration_cache import RestorationCache
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import PerImageTable, read_rows
from eval.data.lq_sets import Sample
from eval.methods.registry import load_method
from eval.metrics.weights import MetricSettings
from eval.preference.analysis import agreement
from eval.report.report import report
from gpen import environment
from gpen.errors import GPENError
from gpen.folder_lock import lock_folder


@pytest.fixture
def settings(faces_folder, tmp_path):
    return RunSettings(str(faces_folder), str(tmp_path / "run"), (), ("fsr8",), ("psnr",), size=64, limit=3, batch=2)


def marks(out: str) -> dict[tuple[str, str], str]:
    with open(Path(out, "per_image.csv"), newline="") as file:
        return {(row["image"], row["method"]): row["provenance"] for row in csv.DictReader(file)}


def recipe(out: str) -> dict:
    return json.loads(Path(out, "recipe.json").read_text())


def test_rows_of_another_batch_or_library_are_marked_and_reported(settings, monkeypatch, capsys):
    run(settings, MetricSettings(), quiet=True)
    (first,) = recipe(settings.out)["environments"]
    assert set(marks(settings.out).values()) == {first} and "environments" not in Path(settings.out, "summary.json").read_text()
    assert "Measured in" not in report([settings.out])
    run(replace(settings, methods=("bicubic",)), MetricSettings(), quiet=True)
    assert "another environment" not in capsys.readouterr().err and set(marks(settings.out).values()) == {first}

    run(replace(settings, methods=("nearest",), batch=1), MetricSettings(), quiet=True)
    assert "was measured in another environment (batch 2, now 1): its reports say so." in capsys.readouterr().err
    _, second = recipe(settings.out)["environments"]
    found = marks(settings.out)
    assert {mark for (_, method), mark in found.items() if method == "nearest"} == {second}
    assert {mark for (_, method), mark in found.items() if method != "nearest"} == {first}
    assert {entry["environments"] for entry in json.loads(Path(settings.out, "summary.json").read_text())} == {2}
    assert "Measured in 2 environments: the source code, a library, the device or the batch size changed" in report(
        [settings.out]
    )

    real = environment.package_version
    monkeypatch.setattr(environment, "package_version", lambda name: "0.1" if name == "numpy" else real(name))
    run(replace(settings, metrics=("psnr", "ssim")), MetricSettings(), quiet=True)
    assert "numpy " in capsys.readouterr().err
    *_, third = recipe(settings.out)["environments"]
    assert marks(settings.out)["face0", "bilinear"] == "+".join(sorted((first, third)))  # psnr of the first, ssim of the third
    assert agreement.read_rows(settings.out)["face0", "bilinear"].keys() == {"psnr", "ssim", "seconds"}


def test_run_of_an_older_version_counts_as_another_environment(settings):
    run(settings, MetricSettings(), quiet=True)
    path = Path(settings.out, "per_image.csv")
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines()))
    old = recipe(settings.out)
    del old["environments"]
    Path(settings.out, "recipe.json").write_text(json.dumps(old))
    run(replace(settings, methods=("bicubic",)), MetricSettings(), quiet=True)
    assert {entry["environments"] for entry in json.loads(Path(settings.out, "summary.json").read_text())} == {2}


def test_run_of_another_process_is_refused(settings):
    with lock_folder(settings.out), pytest.raises(GPENError, match="Another process writes to"):
        run(settings, MetricSettings(), quiet=True)
    run(settings, MetricSettings(), quiet=True)


def test_line_of_zeros_left_by_a_loss_of_power_is_measured_again(tmp_path):
    path = tmp_path / "per_image.csv"
    table = PerImageTable(path, ["psnr"])
    for image in "ab":
        table.append("fsr8", "bicubic", {image: {"psnr": 20.0, "seconds": 1.0}}, "one")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + b"b,fsr8,bicubic,2\0\0\0,\0\0\0,one\n")
    assert not read_rows(path).complete
    again = PerImageTable(path, ["psnr"])
    assert again.get("fsr8", "bicubic").keys() == {"a"} and again.environments("fsr8") == {"one"}
    again.append("fsr8", "bicubic", {"b": {"psnr": 20.0, "seconds": 1.0}}, "one")
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("change", ["library", "device", "batch", "code"])
def test_cached_result_of_another_environment_is_not_used(tmp_path, monkeypatch, change):
    method, device = load_method("bicubic"), "cpu"
    samples = [Sample(name, np.full((8, 8, 3), k, np.uint8), None, None) for k, name in enumerate("ab")]
    cache = RestorationCache.open(str(tmp_path), "bicubic", method, device)
    cache.put(samples, method.restore(samples, 64), 0.5)
    assert RestorationCache.open(str(tmp_path), "bicubic", method, device).get(samples, 64)
    if change == "library":
        monkeypatch.setattr(environment, "package_version", lambda name: "0.1")
    if change == "code":
        monkeypatch.setattr(environment, "code_hash", lambda *folders: "0")
    if change == "device":
        monkeypatch.setattr(environment.torch.cuda, "get_device_name", lambda device: "a GPU")
        device = "cuda"
    wanted = samples[:1] if change == "batch" else samples
    assert RestorationCache.open(str(tmp_path), "bicubic", method, device).get(wanted, 64) is None


@pytest.mark.parametrize("suffix", [".png", ".seconds"])
def test_cached_result_truncated_by_a_loss_of_power_is_restored_again(tmp_path, suffix):
    method, samples = load_method("bicubic"), [Sample("a", np.arange(192, dtype=np.uint8).reshape(8, 8, 3), None, None)]
    cache = RestorationCache.open(str(tmp_path), "bicubic", method)
    cache.put(samples, method.restore(samples, 64), 0.5)
    (file,) = tmp_path.rglob(f"*{suffix}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if suffix == ".png" else b"")
    assert cache.get(samples, 64) is None
    cache.put(samples, method.restore(samples, 64), 0.5)
    assert cache.get(samples, 64)[1] == [0.5]


def test_environment_states_libraries_device_and_batch():
    found = provenance.environment_of("cpu", 8)
    assert found["torch"] and found["device"].startswith("cpu: ") and found["batch"] == 8 and len(found["code"]) == 64
