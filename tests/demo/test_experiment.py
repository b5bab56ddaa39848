"""The numbers of the page and what is done with them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import controls, experiment, images
from gpen.degradation import PRESETS, Degradation
from gpen.errors import GPENError


@pytest.fixture
def face(photo, size):
    return images.square_crop(photo, size)


def test_with_every_step_off_bilinear_is_the_original(restorer, face):
    result = experiment.run(restorer, face, Degradation())
    assert (result.degraded == face).all() and list(result.steps) == ["original", "resized"]
    assert result.scores["Bilinear"]["psnr"] == float("inf")


def test_an_experiment_shows_what_the_network_makes_of_the_degraded_face(restorer, face):
    degradation = Degradation(blur_sigma=1.0, scale=4, noise_sigma=5, jpeg_quality=50, seed=3)
    result = experiment.run(restorer, face, degradation)
    assert (result.degraded == degradation.resized(face)).all()
    assert (result.restored == restorer.face(result.degraded).image).all()
    error = (result.degraded.astype(float) - face) ** 2
    assert result.scores["Bilinear"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=1e-3)


def test_a_grey_degradation_is_measured_against_the_grey_face(restorer, face):
    result = experiment.run(restorer, face, Degradation(grey=True))
    assert (result.target[..., 0] == result.target[..., 1]).all()
    assert result.scores["Bilinear"]["psnr"] == float("inf")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_controls_show_what_a_preset_draws(preset, size):
    for seed in range(20):
        drawn = experiment.sample(preset, seed, size)
        if drawn.scale is not None and drawn.scale < experiment.MIN_SCALE:
            continue
        *updates, keep, extras = controls.write(drawn)
        assert keep["visible"] == bool(extras)
        shown = controls.read(extras, *(update["value"] for update in updates))
        # what a kind of blur does not have, and "off" written as 0, make no difference to the image
        image = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
        assert (shown.resized(image) == drawn.resized(image)).all()


@given(
    degradation=st.builds(
        Degradation,
        blur_sigma=st.none() | st.floats(0.1, 200),
        blur_kind=st.sampled_from(["isotropic", "anisotropic", "motion"]),
        blur_angle=st.floats(-360, 360),
        kernel_size=st.none() | st.integers(0, 1000).map(lambda half: 2 * half + 1),
        scale=st.none() | st.floats(experiment.MIN_SCALE, 10_000),
        noise_sigma=st.none() | st.floats(0.1, 255),
        jpeg_quality=st.none() | st.integers(1, 100),
        haze=st.none() | st.floats(0, 1),
        shift=st.none() | st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
        grey=st.booleans(),
        grey_target=st.booleans(),
        seed=st.integers(0, 2**53 - 1),
    )
)
def test_parameters_survive_the_file(degradation):
    assert experiment.from_json(experiment.to_json(degradation)) == degradation


@given(scale=st.floats(experiment.MIN_SCALE, 10_000), sigma=st.floats(0, 200))
def test_a_slider_reaches_every_number_that_a_file_may_hold(scale, sigma):
    updates = dict(zip(controls.NAMES, controls.write(Degradation(blur_sigma=sigma, scale=scale)), strict=False))
    for name, value in (("scale", scale), ("blur_sigma", sigma)):
        assert updates[name]["value"] == value <= updates[name]["maximum"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"[1]", "JSON object"),
        (b'{"blur": 3}', "no parameter 'blur'"),
        (b'{"scale": "large"}', "scale must be a number"),
        (b'{"scale": NaN}', "scale must be a number"),
        (b'{"scale": 0.02}', "at least 0.5"),
        (b'{"jpeg_quality": 1e400}', "jpeg_quality must be"),
        (b" " * (experiment.MAX_JSON_BYTES + 1), "too large"),
    ],
)
def test_a_file_of_something_else_gives_one_sentence(data, words):
    with pytest.raises(GPENError, match=words) as caught:
        experiment.from_json(data)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_the_file_is_what_the_command_line_reads():
    degradation = Degradation(scale=3.5, seed=2)
    assert Degradation.from_dict(json.loads(experiment.to_json(degradation))) == degradation


def test_a_seed_of_hand_typed_nonsense_is_refused(size):
    with pytest.raises(GPENError, match="seed"):
        experiment.sample("gpen-release", 1.5, size)
