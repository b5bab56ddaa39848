"""HTML of the playground: formula, steps, error maps and scores."""

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import experiment, figures, images
from gpen.degradation.degradation import Degradation


@pytest.fixture(scope="module")
def result(restorer, photo, size):
    face = images.square_crop(photo, size)
    return experiment.run(restorer, face, Degradation(blur_sigma=1.0, scale=2, noise_sigma=5, jpeg_quality=50))


def test_formula_colours_enabled_terms():
    text = figures.formula(Degradation(blur_sigma=2.5, scale=4, noise_sigma=8, jpeg_quality=40))
    assert re.findall(r'class="term (\w+)"', text) == ["jpeg", "blur", "scale", "noise"]
    assert "2.5" in text and "↓4" in text and "σ=8" in text and "<sub>40</sub>" in text
    assert '<b class="term scale">↓4 bicubic</b>' in figures.formula(Degradation(scale=4, downsampling="bicubic"))
    assert 'class="term' not in figures.formula(Degradation())


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic", "motion"])
def test_every_blur_kind_is_coloured_in_formula(kind):
    assert 'class="term blur"' in figures.formula(Degradation(blur_sigma=12.25, blur_kind=kind, blur_angle=-33))


def test_steps_are_embedded_as_png(result):
    found = re.findall(r'src="data:image/png;base64,([^"]+)" width="(\d+)"', figures.steps(result))
    assert len(found) == len(result.steps) == 6
    for (data, width), image in zip(found, result.steps.values(), strict=True):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert int(width) == image.shape[1] and (decoded[..., ::-1] == image).all()


def test_every_step_has_a_caption(restorer, photo, size):
    degradation = Degradation(1.0, scale=2, noise_sigma=5, jpeg_quality=50, grey=True, shift=(1, 1), haze=0.9, brightness=0.7)
    made = figures.steps(experiment.run(restorer, images.square_crop(photo, size), degradation))
    assert made.count("<figure>") == 10 and "colours changed" in made


@given(st.integers(0, 255), st.integers(0, 255))
def test_error_map_is_monotonic(a, b):
    low, high = sorted((a, b))
    dark, light = figures.error_map(np.array([[low, high]], np.float32))[0].astype(int).sum(axis=1)
    assert dark <= light
    if high >= figures.ERROR_SCALE:
        assert light == figures.error_map(np.array([[255]], np.float32)).astype(int).sum()


def test_error_of_identical_images_is_black(result):
    error = figures.absolute_error(result.target, result.target)
    assert error.max() == 0 and figures.error_map(error).max() < 5


@pytest.mark.parametrize(
    ("bilinear", "gpen", "winners"),  # of psnr, ssim, lpips_alex
    [
        ((20.0, 0.5, 0.4), (25.0, 0.4, 0.2), ["25.00", "0.5000", "0.2000"]),
        ((20.0, 0.5, 0.1), (20.0, 0.5, 0.2), ["0.1000"]),
        ((float("inf"), 1.0, "no file"), (9.0, 0.2, "no file"), ["∞", "1.0000"]),
    ],
)
def test_better_method_is_bold_unless_tied(result, bilinear, gpen, winners):
    bilinear, gpen = (dict(zip(experiment.METRICS, values, strict=True)) for values in (bilinear, gpen))
    table = figures.table(replace(result, scores={"Bilinear": bilinear, "GPEN": gpen}))
    assert sorted(re.findall(r'<td class="best"><b>([^<]+)</b>', table)) == sorted(winners)
    assert table.count("higher is better") == 2 and table.count("lower is better") == 1
    assert table.count("for this one face") == 1
    assert "this one face" not in figures.table(replace(result, scores={"Bilinear": gpen, "GPEN": gpen}))  # nothing is bold


def test_missing_metric_shows_reason_as_escaped_text(result):
    scores = {"psnr": 1.0, "ssim": 0.1, "lpips_alex": "needs <a file>; fetch it"}
    table = figures.table(replace(result, scores={"Bilinear": scores, "GPEN": scores}))
    assert "LPIPS is not available" in table and "needs &lt;a file&gt;; fetch it" in table


def test_metric_seen_in_training_is_marked_with_a_note(result, monkeypatch):
    assert "Seen in training" not in figures.table(result)
    seen = replace(figures.METRICS["lpips_alex"], seen_in_training=True)
    monkeypatch.setitem(figures.METRICS, "lpips_alex", seen)
    table = figures.table(result)
    assert "LPIPS †" in table and "PSNR †" not in table and table.count("† Seen in training: ") == 1
