"""Figures of a run and their errors."""

import json

import numpy as np
import pytest

from eval.__main__ import main
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.metrics.weights import MetricSettings
from eval.report import figures
from gpen.errors import GPENError

METHODS = ("bilinear", "nearest", "tv")


@pytest.fixture(scope="module")
def finished(faces_folder, squeezenet_npz, tmp_path_factory):
    """A run with three super-resolution tasks and one blind task, with its images."""
    out = tmp_path_factory.mktemp("figures") / "run"
    for tasks in (("fsr4", "fsr8", "fsr8-bilinear"), ("bfr",)):
        settings = RunSettings(str(faces_folder), str(out), METHODS, tasks, ("psnr", "squeezenet"), size=64, keep=True)
        run(settings, MetricSettings(squeezenet=str(squeezenet_npz)), quiet=True)
    return out


@pytest.mark.slow
def test_write_all(finished, tmp_path, capsys):
    assert main(["figures", str(finished), "--out", str(tmp_path)]) == 0
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert {"grid-bfr", "trade-off-fsr4", "strength-fsr-bicubic-psnr", "strength-bfr-squeezenet"} <= names
    assert not any(name.startswith("strength-fsr-bilinear") for name in names)  # one task is no curve
    assert len(capsys.readouterr().out.split()) == len(names)


def test_grid(finished):
    figure = figures.grid(finished, "fsr8", images=["face0", "face3"])
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["bilinear", *METHODS[1:], "ground-truth"]
    sides = [axis.images[0].get_array().shape[0] for axis in figure.axes]
    assert sides.count(64) == sides.count(16) == 2 * len(titles)
    assert sum(text.get_text().endswith("dB") for axis in figure.axes for text in axis.texts) == 2 * len(METHODS)


def test_lines_agree_with_the_summary(finished):
    (axis,) = figures.strength(finished, "psnr", "scale", ["fsr4", "fsr8"]).axes
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    summary = json.loads((finished / "summary.json").read_text())
    for method in METHODS[1:]:
        means = [entry["mean"] for entry in summary if entry["method"] == method and entry["metric"] == "psnr"]
        np.testing.assert_allclose(drawn[method], means[:2])
    assert axis.get_ylabel().endswith("↑")


def test_difference_to_the_baseline(finished):
    (axis,) = figures.strength(finished, "psnr", "scale", ["fsr4"], baseline="bilinear").axes
    table = figures.rows(finished, ["fsr4"]).pivot(index="image", columns="method", values="psnr")
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    np.testing.assert_allclose(drawn["tv"], (table["tv"] - table["bilinear"]).mean())


def test_bins(finished):
    (axis,) = figures.strength(finished, "psnr", "noise_sigma", ["bfr"]).axes
    assert all(len(line.get_xdata()) <= 2 * figures.BINS for line in axis.lines)


def test_trade_off(finished):
    (axis,) = figures.trade_off(finished, "fsr8").axes
    assert {text.get_text() for text in axis.get_legend().texts} == {"bilinear (the input)", *METHODS[1:]}
    assert axis.get_xlabel().startswith("PSNR") and axis.get_ylabel().startswith("SqueezeNet")


def test_colours_are_constant(finished):
    every = figures.strength(finished, "psnr", tasks=["fsr4", "fsr8"]).axes[0]
    one = figures.strength(finished, "psnr", tasks=["fsr4", "fsr8"], methods=["tv"]).axes[0]
    assert [line.get_color() for line in every.lines if line.get_label() == "tv"] == [one.lines[0].get_color()]


@pytest.mark.parametrize(("draw", "words"), [
    (lambda run: figures.rows("nowhere"), "is not a run"),
    (lambda run: figures.grid(run, "fsr16"), "no task 'fsr16'; choose from"),
    (lambda run: figures.grid(run, "fsr8", ["gpen"]), "no method 'gpen'"),
    (lambda run: figures.grid(run, "fsr8", images=["face9"]), "no image 'face9'"),
    (lambda run: figures.strength(run, "ssim"), "no values of ssim; choose from psnr"),
    (lambda run: figures.strength(run, parameter="blur_sigma", tasks=["fsr4"]), "has blur_sigma"),
    (lambda run: figures.strength(run, baseline="gpen"), "no baseline gpen"),
    (lambda run: figures.trade_off(run, "fsr8", perception="lpips_vgg"), "no values of lpips_vgg"),
])  # fmt: skip
def test_unknown_names(finished, draw, words):
    with pytest.raises(GPENError, match=words) as error:
        draw(finished)
    assert "\n" not in str(error.value)


def test_images_that_were_not_kept(finished, tmp_path):
    (tmp_path / "per_image.csv").write_bytes((finished / "per_image.csv").read_bytes())
    with pytest.raises(GPENError, match="--keep"):
        figures.grid(tmp_path, "fsr8")
