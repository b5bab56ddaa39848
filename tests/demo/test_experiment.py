"""Parameters of the page: experiments, controls and JSON files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import components, experiment, images
from gpen.degradation.colour import JITTER
from gpen.degradation.degradation import PRESETS, Degradation
from gpen.errors import GPENError


@pytest.fixture
def face(photo, size):
    return images.square_crop(photo, size)


def test_no_degradation_leaves_face_unchanged(restorer, face):
    result = experiment.run(restorer, face, Degradation())
    assert (result.degraded == face).all() and list(result.steps) == ["original", "resized"]
    assert result.scores["Bilinear"]["psnr"] == float("inf")


def test_experiment_restores_the_degraded_face(restorer, face):
    degradation = Degradation(blur_sigma=1.0, scale=4, noise_sigma=5, jpeg_quality=50, seed=3)
    result = experiment.run(restorer, face, degradation)
    assert (result.degraded == degradation.resized(face)).all()
    assert (result.restored == restorer.face(result.degraded).image).all()
    assert not (result.restored[..., 0] == result.restored[..., 1]).all()
    error = (result.degraded.astype(float) - face) ** 2
    assert result.scores["Bilinear"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=1e-3)


def test_input_is_the_last_step(restorer, face):
    degradation = Degradation(scale=4, colour_shift=(30, 0, -30), hue=0.1)
    result = experiment.run(restorer, face, degradation)
    assert (result.degraded == degradation.resized(face)).all() and (result.target == face).all()


def test_grey_degradation_is_compared_with_grey_face(restorer, face):
    result = experiment.run(restorer, face, Degradation(grey=True))
    assert (result.target[..., 0] == result.target[..., 1]).all()
    assert result.scores["Bilinear"]["psnr"] == float("inf")


def test_result_of_a_grey_face_is_grey(restorer, face):
    grey = np.repeat(face[..., :1], 3, axis=2)
    for image, degradation in ((face, Degradation(grey=True, scale=2)), (grey, Degradation(noise_sigma=9, jpeg_quality=30))):
        restored = experiment.run(restorer, image, degradation).restored
        assert (restored == restored[..., :1]).all()


def test_face_is_resized_to_the_network(restorer, photo, size):
    large = images.square_crop(photo, 2 * size)
    assert experiment.run(restorer, large, Degradation()).target.shape == (size, size, 3)


@given(st.sampled_from(experiment.LOOKS), st.integers(0, 2**53 - 1), st.sampled_from([128, 256, 512, 1024]))
@pytest.mark.slow
def test_sampled_damage_looks_like_its_name_and_fits_the_sliders(look, seed, size):
    sampled = experiment.sample_look(look, seed, size)
    assert look.accepts(sampled, size) and sampled == experiment.sample_look(look, seed, size)
    updates = dict(zip(components.CONTROL_NAMES, components.write(sampled), strict=False))
    for name, (low, high) in experiment.SLIDER_RANGES.items():
        assert (updates[name]["minimum"], updates[name]["maximum"]) == (low, high)


@given(st.integers(0, 10_000), st.sampled_from([128, 256, 512]))
@pytest.mark.slow
def test_kinds_of_damage_differ_for_the_same_seed(seed, size):
    sampled = [experiment.sample_look(look, seed, size) for look in experiment.LOOKS]
    assert len({(d.blur_sigma, d.scale, d.noise_sigma, d.jpeg_quality, d.grey) for d in sampled}) == len(sampled)


@given(st.sampled_from(sorted(PRESETS)), st.integers(0, 10_000))
def test_parameters_within_the_sliders_are_a_fixed_point(preset, seed):
    limited = experiment.within_sliders(experiment.sample(preset, seed, 256))
    assert experiment.within_sliders(limited) == limited
    for name, (low, high) in experiment.SLIDER_RANGES.items():
        value = getattr(limited, name)
        assert not value or low <= value <= high


@pytest.mark.parametrize("preset", PRESETS)
def test_controls_represent_sampled_presets(preset, size):
    for seed in range(20):
        drawn = experiment.sample(preset, seed, size)
        if drawn.scale is not None and drawn.scale < experiment.MIN_SCALE:
            continue
        *updates, keep, extras = components.write(drawn)
        assert keep["visible"] == bool(extras)
        shown = components.read(extras, *(update["value"] for update in updates))
        # parameters that a blur kind does not use, and 0 for "off", do not affect the image
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
        grey_input=st.booleans(),
        hue=st.none() | st.floats(-0.5, 0.5),
        jitter_order=st.permutations(JITTER).map(tuple),
        seed=st.integers(0, 2**53 - 1),
    )
)
def test_json_round_trip_preserves_parameters(degradation):
    assert experiment.from_json(experiment.to_json(degradation)) == degradation


@given(scale=st.floats(experiment.MIN_SCALE, 10_000), sigma=st.floats(0, 200))
def test_slider_range_covers_every_valid_value(scale, sigma):
    updates = dict(zip(components.CONTROL_NAMES, components.write(Degradation(blur_sigma=sigma, scale=scale)), strict=False))
    for name, value in (("scale", scale), ("blur_sigma", sigma)):
        assert updates[name]["minimum"] <= updates[name]["value"] == value <= updates[name]["maximum"]


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
def test_invalid_parameters_file_raises_one_line_error(data, words):
    with pytest.raises(GPENError, match=words) as caught:
        experiment.from_json(data)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_parameters_file_matches_degradation_format():
    degradation = Degradation(scale=3.5, seed=2)
    assert Degradation.from_dict(json.loads(experiment.to_json(degradation))) == degradation


def test_fractional_seed_is_rejected(size):
    with pytest.raises(GPENError, match="seed"):
        experiment.sample("gpen-release", 1.5, size)
