"""Benchmark runs: files, resuming after a kill, methods, report, command line."""

import csv
import json
import math
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

import gpen
from eval.__main__ import main
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import PerImageTable
from eval.data.faces import Faces
from eval.data.lq_sets import build_lq_set
from eval.methods.registry import load_method
from eval.metrics.statistics import bootstrap_interval
from eval.metrics.weights import MetricSettings
from eval.report.report import report
from eval.report.tables import COSTS
from gpen.errors import GPENError
from gpen.images import read_image
from gpen.training.monitoring.frechet import frechet_distance
from tests.eval.benchmark.processes import ENVIRONMENT, WAITING

METRICS = ("psnr", "ssim", "squeezenet", "squeezenet_fd")


def table(out):
    """The rows of per_image.csv without the time, sorted."""
    with open(out / "per_image.csv", newline="") as file:
        return sorted(tuple(value for name, value in row.items() if name != "seconds") for row in csv.DictReader(file))


def summary(out):
    entries = json.loads((out / "summary.json").read_text())
    return {(entry["task"], entry["method"], entry["metric"]): entry for entry in entries}


@pytest.fixture(scope="module")
def files(squeezenet_npz):
    return MetricSettings(squeezenet=str(squeezenet_npz), identity_model="")


@pytest.fixture(scope="module")
def whole(faces_folder, files, tmp_path_factory):
    """A run with two tasks and all images kept; returns its settings."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run_settings = RunSettings(
        str(faces_folder), str(out), ("bicubic",), ("fsr8", "bfr"), (*METRICS, "identity"), size=64, keep=True, batch=2
    )
    missing = run(run_settings, files, quiet=True)
    assert list(missing) == ["identity"]
    return run_settings


def test_files_of_a_run(whole):
    out = Path(whole.out)
    rows = table(out)
    assert len(rows) == len(set(rows)) == 7 * 2 * 3  # images, tasks, methods with the input and the ground truth
    header = (out / "per_image.csv").read_text().splitlines()[0]
    assert header == "image,task,method,psnr,ssim,squeezenet,seconds,provenance"
    entries = summary(out)
    assert {key[:2] for key in entries} == {(t, m) for t in ("fsr8", "bfr") for m in ("bilinear", "bicubic", "ground-truth")}
    for (_, _, metric), entry in entries.items():
        assert {"task", "method", "metric", "mean", "low", "high", "n"} <= entry.keys()
        assert entry["n"] == 7
        if metric == "squeezenet_fd":
            assert entry["low"] is None and "512 dimensions" in entry["note"]
        elif metric == "memory_mib":
            assert entry["low"] is None and entry["mean"] > 50  # a process with torch
        elif entry["mean"] is not None:
            assert entry["low"] <= entry["mean"] <= entry["high"]
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["settings"]["size"] == 64 and len(recipe["weights"]["squeezenet"][0]["sha256"]) == 64
    assert "--identity-model" in recipe["missing"]["identity"]


def test_summary_agrees_with_the_kept_images(whole, faces_folder, files):
    out, faces = Path(whole.out), Faces.open(faces_folder, 64)
    lq_set = build_lq_set("bfr", faces, out / "lq" / "bfr", seed=0)
    pairs = [
        (read_image(out / "restored" / "bfr" / "bicubic" / f"{name}.png"), lq_set.sample(name).truth) for name in faces.names
    ]
    values = np.array([peak_signal_noise_ratio(truth, image, data_range=255) for image, truth in pairs])
    base = [float(row[3]) for row in table(out) if row[1:3] == ("bfr", "bilinear")]
    entry = summary(out)["bfr", "bicubic", "psnr"]
    assert entry["mean"] == pytest.approx(values.mean(), abs=1e-9)
    assert (entry["low"], entry["high"]) == pytest.approx(bootstrap_interval(values))
    assert entry["baseline"] == "bilinear" and entry["diff"] == pytest.approx((values - base).mean())
    assert (entry["diff_low"], entry["diff_high"]) == pytest.approx(bootstrap_interval(values - base))

    from eval.metrics.squeezenet import SqueezeNet

    net = SqueezeNet(files.squeezenet)
    a, b = (net.features(list(side)) for side in zip(*pairs, strict=True))
    measured = summary(out)["bfr", "bicubic", "squeezenet_fd"]["mean"]
    assert measured == pytest.approx(frechet_distance(a, b), rel=1e-3)


def test_rows_of_input_and_ground_truth(whole):
    entries = summary(Path(whole.out))
    for task in ("fsr8", "bfr"):
        truth, bilinear = (
            {metric: entries[task, method, metric] for metric in METRICS} for method in ("ground-truth", "bilinear")
        )
        assert truth["psnr"]["mean"] is None and "infinite" in truth["psnr"]["note"]
        assert truth["ssim"]["mean"] == pytest.approx(1) and truth["squeezenet"]["mean"] == 0
        assert truth["squeezenet_fd"]["mean"] == pytest.approx(0, abs=1e-4)
        assert bilinear["psnr"]["mean"] < 40 and bilinear["squeezenet"]["diff"] == 0


@pytest.mark.slow
def test_rerun_and_extension_of_a_run(whole, files, tmp_path):
    out = Path(whole.out)
    rows, before = (out / "per_image.csv").read_bytes(), (out / "summary.json").read_bytes()
    run(whole, files, quiet=True)
    assert (out / "per_image.csv").read_bytes() == rows and (out / "summary.json").read_bytes() == before

    grown = replace(whole, out=str(tmp_path / "grown"), keep=False)
    run(replace(grown, tasks=("fsr8",), methods=("bilinear",), metrics=("psnr",), limit=3), files, quiet=True)
    run(replace(grown, tasks=("fsr8",), metrics=("ssim",)), files, quiet=True)  # psnr continues, ssim is new
    run(replace(grown, tasks=("bfr",), metrics=METRICS), files, quiet=True)
    run(replace(grown, metrics=METRICS), files, quiet=True)
    assert table(Path(grown.out)) == table(out)
    recipe = json.loads(Path(grown.out, "recipe.json").read_text())
    earlier = [call["settings"]["metrics"] for call in recipe["earlier"]]
    assert earlier == [["psnr"], ["ssim"], [*METRICS]]


PROCESS = (
    WAITING
    + """
wait_after(4)  # of eight batches
settings = RunSettings(sys.argv[1], sys.argv[2], ("bicubic",), ("fsr8", "bfr"), tuple(sys.argv[4:]), size=64,
                       keep=True, batch=2)
run(settings, MetricSettings(squeezenet=sys.argv[3], identity_model=""), quiet=True)
"""
)


@pytest.mark.slow
def test_killed_run_resumes(whole, faces_folder, files, tmp_path):
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", PROCESS, faces_folder, out, files.squeezenet, *METRICS], env=ENVIRONMENT)
    deadline = time.monotonic() + 100
    while not (out / "per_image.csv").is_file() or (out / "per_image.csv").read_text().count("bicubic") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived = table(out)
    assert 0 < len(survived) < 42 and not (out / "summary.json").exists()
    with open(out / "per_image.csv", "a") as file:
        file.write("face6,fsr8,bicubic,17.")  # an incomplete write

    run(replace(whole, out=str(out)), files, quiet=True)
    rows = table(out)
    assert set(survived) <= set(rows)
    for row, other in zip(rows, table(Path(whole.out)), strict=True):  # the batches differ, and with them the last digits
        assert (row[:3], row[-1]) == (other[:3], other[-1])
        assert [float(value) for value in row[3:-1]] == pytest.approx([float(value) for value in other[3:-1]], rel=1e-5)
    uninterrupted = summary(Path(whole.out))
    for key, entry in summary(out).items():
        if key[2] not in COSTS:
            assert entry == pytest.approx(uninterrupted[key])


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_truncated_table_keeps_complete_lines(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "per_image.csv"
    rows = PerImageTable(path, ["psnr"])
    names = st.text('ab,é" /', min_size=1, max_size=5)
    values = data.draw(st.dictionaries(names, st.floats(0, 60)))
    written = {name: {"psnr": value, "seconds": 0.5} for name, value in values.items()}
    for name, row in written.items():
        rows.append("fsr8", "a,b", {name: row})
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    kept = PerImageTable(path, ["psnr"]).get("fsr8", "a,b")
    ends = max(0, content[:cut].count(b"\n") - 1)  # without the header
    assert kept == dict(list(written.items())[:ends])
    again = PerImageTable(path, ["psnr"])
    again.append("fsr8", "a,b", written)
    assert PerImageTable(path, ["psnr"]).get("fsr8", "a,b") == written
    assert path.read_bytes().count(b"\n") == len(written) + 1


def test_interpolations_and_gpen(faces_folder, tmp_path):
    lq_set = build_lq_set("fsr8", Faces.open(faces_folder, 64), tmp_path / "lq", seed=0)
    samples = [lq_set.sample(name) for name in ("face0", "face1")]
    names = ("nearest", "bilinear", "bicubic", "lanczos", "ground-truth")
    results = {name: load_method(name).restore(samples, 64) for name in names}
    np.testing.assert_array_equal(results["bilinear"][0], samples[0].degradation.resized(samples[0].truth))
    np.testing.assert_array_equal(results["nearest"][1], samples[1].lq.repeat(8, axis=0).repeat(8, axis=1))
    np.testing.assert_array_equal(results["ground-truth"][1], samples[1].truth)
    assert len({image[0].tobytes() for image in results.values()}) == 5

    net = gpen.GPEN(gpen.GPENConfig(size=64, narrow=0.03125))
    gpen.save(net, tmp_path / "tiny.safetensors")
    method = load_method(f"gpen:{tmp_path / 'tiny.safetensors'}")
    x = np.stack([sample.degradation.resized(sample.truth) for sample in samples]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        y = gpen.load(tmp_path / "tiny.safetensors")(torch.from_numpy(x) / 127.5 - 1)
    expected = ((y.clamp(-1, 1) + 1) * 127.5).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(np.stack(method.restore(samples, 64)), expected, atol=0.51)
    assert method.weights == tmp_path / "tiny.safetensors"
    assert method.restore(samples, 128)[0].shape == (128, 128, 3)


def test_other_weight_file_is_an_error(whole, faces_folder, files, tmp_path):
    model, out = tmp_path / "tiny.safetensors", tmp_path / "run"
    once = replace(whole, out=str(out), methods=(f"gpen:{model}",), tasks=("fsr8",), metrics=("psnr",), limit=2)
    config = gpen.GPENConfig(size=64, narrow=0.03125)
    gpen.save(gpen.GPEN(config), model)
    run(once, files, quiet=True)
    assert list((out / "restored" / "fsr8").glob("gpen*/face1.png"))
    gpen.save(gpen.GPEN(config), model)  # other random weights
    with pytest.raises(GPENError, match="another weight file of gpen"):
        run(once, files, quiet=True)
    with pytest.raises(GPENError, match="measured with seed 0, not 1"):
        run(replace(once, methods=("bicubic",), seed=1), files, quiet=True)


@pytest.mark.slow
def test_command_line(faces_folder, squeezenet_npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GPEN_IDENTITY_MODEL", raising=False)
    out = str(tmp_path / "run")
    arguments = [
        "run",
        "bfr",
        "--preset",
        "codeformer-2",
        "--data",
        str(faces_folder),
        "--out",
        out,
        "--methods",
        "bilinear,lanczos",
        "--size",
        "64",
        "--limit",
        "2",
        "--squeezenet",
        str(squeezenet_npz),
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for part in (
        "### bfr-codeformer-2, n = 2",
        "difference to bilinear",
        "- Missing: lpips_alex needs",
        "PSNR (RGB) ↑",
        "SqueezeNet distance ↓ †",
        "† Seen in training: ",
    ):
        assert part in text
    assert main(["report", out]) == 0
    assert capsys.readouterr().out == text == report([out]) + "\n"
    mean = summary(Path(out))["bfr-codeformer-2", "lanczos", "psnr"]["mean"]
    assert re.search(rf"\| lanczos +\| +{mean:.2f} \[", text)
    assert (Path(out) / "summary.md").read_text() == text


@pytest.mark.parametrize(
    "change, message",
    [
        (["--methods", "bilnear"], "Unknown method 'bilnear'"),
        (["--methods", "bilinear:x"], "Unknown method 'bilinear:x'"),
        (["--methods", "gpen:none.pth"], "none.pth"),
        (["--metrics", "pnsr"], "Unknown metric 'pnsr'"),
        (["--tasks", "fsr9"], "Unknown task 'fsr9'"),
        (["--tasks", "bfr"], "is not a task of run fsr"),
        (["--preset", "gfpgan"], "--preset is an option of run bfr"),
        (["--data", "/none"], "is not a folder"),
        (["--size", "9"], "--size 9"),
        (["--batch", "0"], "--batch 0"),
        (["--device", "tpu9"], "--device tpu9"),
    ],
)
def test_invalid_arguments(change, message, faces_folder, tmp_path, capsys):
    out = tmp_path / "run"
    basic = ["run", "fsr", "--data", str(faces_folder), "--out", str(out), "--methods", "bilinear"]
    assert main(basic + change) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not out.exists()


@pytest.mark.parametrize("given", [[], ["--data", "samples"]])
def test_a_run_says_which_faces_it_uses(given, tmp_path, capsys):
    options = "--tasks fsr4 --methods bilinear --metrics psnr --size 32 --limit 1".split()
    assert main(["run", "fsr", *given, *options, "--out", str(tmp_path / "run")]) == 0
    assert "Faces: 1 of samples (the sample faces of this package; choose others with --data), 32 px" in capsys.readouterr().err


def test_report_of_missing_and_damaged_runs(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "is not a finished run" in capsys.readouterr().err
    (tmp_path / "summary.json").write_text("[")
    assert main(["report", str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_summary_has_no_nan(whole):
    text = (Path(whole.out) / "summary.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert all(math.isfinite(entry["n"]) for entry in json.loads(text))
