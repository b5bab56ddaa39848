"""Figures of a run: drawn from its files, and in one sentence where those lack something."""

import json

import numpy as np
import pytest

from eval import figures
from eval.benchmark import RunSettings, run
from eval.weights import MetricSettings
from gpen.errors import GPENError

METHODS = ("bilinear", "nearest", "tv")


@pytest.fixture(scope="module")
def finished(faces_folder, squeezenet_npz, tmp_path_factory):
    """A run of two tasks of super-resolution and one of blind restoration, its pictures kept."""
    out = tmp_path_factory.mktemp("figures") / "run"
    for tasks in (("fsr4", "fsr8"), ("bfr",)):
        settings = RunSettings(str(faces_folder), str(out), METHODS, tasks, ("psnr", "squeezenet"), size=64, keep=True)
        run(settings, MetricSettings(squeezenet=str(squeezenet_npz)), quiet=True)
    return out


def test_every_figure_is_written(finished, tmp_path, capsys):
    assert figures.main([str(finished), "--out", str(tmp_path)]) == 0
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert {"grid-bfr", "trade-off-fsr4", "strength-fsr-psnr", "strength-bfr-squeezenet"} <= names
    assert len(capsys.readouterr().out.split()) == len(names)


def test_the_grid_ends_with_the_truth_and_zooms_into_each_face(finished):
    figure = figures.grid(finished, "fsr8", images=["face0", "face3"])
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["bilinear (the input)", *METHODS[1:], "ground-truth"]
    sides = [axis.images[0].get_array().shape[0] for axis in figure.axes]
    assert sides.count(64) == sides.count(16) == 2 * len(titles)
    assert sum(text.get_text().endswith("dB") for axis in figure.axes for text in axis.texts) == 2 * len(METHODS)


def test_the_lines_pass_through_the_means_of_the_summary(finished):
    (axis,) = figures.strength(finished, "psnr", "scale", ["fsr4", "fsr8"]).axes
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    summary = json.loads((finished / "summary.json").read_text())
    for method in METHODS[1:]:
        means = [entry["mean"] for entry in summary if entry["method"] == method and entry["metric"] == "psnr"]
        np.testing.assert_allclose(drawn[method], means[:2])
    assert axis.get_ylabel().endswith("↑")


def test_a_difference_to_the_baseline_is_paired(finished):
    (axis,) = figures.strength(finished, "psnr", "scale", ["fsr4"], baseline="bilinear").axes
    table = figures.rows(finished, ["fsr4"]).pivot(index="image", columns="method", values="psnr")
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    np.testing.assert_allclose(drawn["tv"], (table["tv"] - table["bilinear"]).mean())


def test_many_strengths_are_binned(finished):
    (axis,) = figures.strength(finished, "psnr", "noise_sigma", ["bfr"]).axes
    assert all(len(line.get_xdata()) <= 2 * figures.BINS for line in axis.lines)


def test_the_trade_off_has_a_named_point_a_method(finished):
    (axis,) = figures.trade_off(finished, "fsr8").axes
    assert {text.get_text() for text in axis.get_legend().texts} == {"bilinear (the input)", *METHODS[1:]}
    assert axis.get_xlabel().startswith("PSNR") and axis.get_ylabel().startswith("SqueezeNet")


def test_a_method_keeps_its_colour(finished):
    every = figures.strength(finished, "psnr", tasks=["fsr4", "fsr8"]).axes[0]
    one = figures.strength(finished, "psnr", tasks=["fsr4", "fsr8"], methods=["tv"]).axes[0]
    assert [line.get_color() for line in every.lines if line.get_label() == "tv"] == [one.lines[0].get_color()]


@pytest.mark.parametrize(("draw", "words"), [
    (lambda run: figures.rows("nowhere"), "holds no run"),
    (lambda run: figures.grid(run, "fsr16"), "no task 'fsr16'; choose from"),
    (lambda run: figures.grid(run, "fsr8", ["gpen"]), "no method 'gpen'"),
    (lambda run: figures.grid(run, "fsr8", images=["face9"]), "no image 'face9'"),
    (lambda run: figures.strength(run, "ssim"), "no ssim per image; choose from psnr"),
    (lambda run: figures.strength(run, parameter="blur_sigma", tasks=["fsr4"]), "has a blur_sigma"),
    (lambda run: figures.strength(run, baseline="gpen"), "no gpen to take differences to"),
    (lambda run: figures.trade_off(run, "fsr8", perception="lpips_vgg"), "no lpips_vgg"),
])  # fmt: skip
def test_what_is_not_there_is_named(finished, draw, words):
    with pytest.raises(GPENError, match=words) as error:
        draw(finished)
    assert "\n" not in str(error.value)


def test_pictures_that_were_not_kept_are_asked_for(finished, tmp_path):
    (tmp_path / "per_image.csv").write_bytes((finished / "per_image.csv").read_bytes())
    with pytest.raises(GPENError, match="--keep"):
        figures.grid(tmp_path, "fsr8")
