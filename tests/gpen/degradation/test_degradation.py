"""Degradation model: identity, order of steps, sizes, ranges, determinism, JSON."""

import json
import math
import os
import subprocess
import sys
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.degradation.colour import JITTER
from gpen.degradation.degradation import BLUR_KINDS, MAX_SEED, Degradation
from gpen.degradation.operators import DOWNSAMPLING
from gpen.degradation.presets import PRESETS
from gpen.errors import GPENError
from tests import ROOT

quick = settings(max_examples=40, deadline=None)


def make_image(height: int, width: int, colour: bool = True, seed: int = 0) -> np.ndarray:
    """Smooth random image with texture, uint8 [h, w, 3] or [h, w]."""
    rng = np.random.default_rng(seed)
    shape = (9, 9, 3) if colour else (9, 9)
    coarse = rng.uniform(20, 235, shape).astype(np.float32)
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = 8 * rng.standard_normal(coarse.shape, np.float32)
    return np.clip(np.rint(coarse + texture), 0, 255).astype(np.uint8)


def optional(strategy):
    return st.none() | strategy


random_images = st.builds(make_image, st.integers(16, 90), st.integers(16, 90), st.booleans(), st.integers(0, 99))
degradations = st.builds(
    Degradation,
    blur_sigma=optional(st.floats(0, 12)),
    blur_kind=st.sampled_from(BLUR_KINDS),
    blur_sigma_y=optional(st.floats(0, 12)),
    blur_angle=st.floats(-360, 360),
    kernel_size=optional(st.integers(0, 30).map(lambda n: 2 * n + 1)),
    scale=optional(st.floats(0.2, 200)),
    downsampling=st.sampled_from(DOWNSAMPLING),
    noise_sigma=optional(st.floats(0, 255)),
    jpeg_quality=optional(st.integers(1, 100)),
    grey=st.booleans(),
    shift=optional(st.tuples(*[st.integers(-200, 200)] * 2)),
    haze=optional(st.floats(0, 1)),
    colour_shift=optional(st.tuples(*[st.floats(-255, 255)] * 3)),
    grey_input=st.booleans(),
    brightness=optional(st.floats(0, 10)),
    contrast=optional(st.floats(0, 10)),
    saturation=optional(st.floats(0, 10)),
    hue=optional(st.floats(-0.5, 0.5)),
    jitter_order=st.permutations(JITTER).map(tuple),
    seed=st.integers(0, MAX_SEED),
)


# --- results


@quick
@given(random_images)
@pytest.mark.slow
def test_no_steps_is_the_identity(image):
    off = Degradation()
    for result in (off(image), off.resized(image), off.target(image)):
        assert np.array_equal(result, image) and result is not image
    assert list(off.steps(image)) == ["original", "resized"]


@quick
@given(random_images, degradations)
def test_dtype_and_shape_of_the_results(image, degradation):
    before = image.copy()
    low_quality, resized, target = degradation(image), degradation.resized(image), degradation.target(image)
    s = degradation.scale or 1
    size = tuple(max(1, int(side // s)) for side in image.shape[:2])
    assert low_quality.shape == size + image.shape[2:]
    assert resized.shape == target.shape == image.shape
    assert low_quality.dtype == resized.dtype == target.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.slow
@pytest.mark.parametrize("colour", [True, False])
def test_large_image(colour):
    image = make_image(4096, 4096, colour)
    degradation = Degradation(blur_sigma=40, scale=16.5, noise_sigma=10, jpeg_quality=50)
    assert degradation(image).shape[:2] == (248, 248)
    assert cv2.PSNR(degradation.resized(image), image) > 20


@quick
@given(random_images, degradations)
def test_steps_are_the_active_ones_and_end_with_the_result(image, degradation):
    steps = degradation.steps(image)
    switches = {
        "grey": degradation.grey,
        "shifted": degradation.shift is not None,
        "hazy": degradation.haze is not None,
        "blurred": degradation.blur_sigma is not None,
        "downsampled": degradation.scale is not None,
        "noisy": degradation.noise_sigma is not None,
        "jpeg": degradation.jpeg_quality is not None,
    }
    colours = [getattr(degradation, name) is not None for name in ("colour_shift", *JITTER)]
    last = ["resized", "recoloured"] if any(colours) or degradation.grey_input else ["resized"]
    assert list(steps) == ["original", *(name for name, on in switches.items() if on), *last]
    assert np.array_equal(steps["original"], image)
    assert np.array_equal(steps[last[-1]], degradation.resized(image))
    assert all(step.dtype == np.uint8 and step.ndim == image.ndim for step in steps.values())
    if len(last) == 1:
        assert np.array_equal(list(steps.values())[-2], degradation(image))


def test_steps_match_the_formula():
    """Compare with a direct implementation: blur, bilinear downsampling, noise, rounding, JPEG."""
    image = make_image(120, 90)
    degradation = Degradation(blur_sigma=2, kernel_size=13, scale=3.3, noise_sigma=8, jpeg_quality=70, seed=5)
    noise = 8 * np.random.default_rng([2, 5]).standard_normal((36, 27, 3), np.float32)
    x = np.arange(-6, 7)
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 2**2))
    blurred = cv2.filter2D(image.astype(np.float32), -1, (kernel / kernel.sum()).astype(np.float32))
    small = cv2.resize(blurred, (int(90 // 3.3), int(120 // 3.3)), interpolation=cv2.INTER_LINEAR)
    rounded = np.clip(np.rint(small + noise), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", rounded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    difference = np.abs(degradation(image).astype(int) - expected)
    assert difference.mean() < 0.02  # the two implementations of blur may round values near .5 differently
    noisy = Degradation(noise_sigma=8, seed=5)(image)
    noise_first = Degradation(blur_sigma=2, kernel_size=13, scale=3.3, jpeg_quality=70)(noisy)
    assert np.abs(noise_first.astype(int) - expected).mean() > 1


def test_noise_has_the_given_deviation_and_is_independent_per_channel():
    image = np.full((200, 200, 3), 128, np.uint8)
    noise = Degradation(noise_sigma=10)(image).astype(float) - 128
    assert abs(noise.mean()) < 0.2 and abs(noise.std() - 10) < 0.2
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.03


def test_jpeg_preserves_channel_order():
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200
    assert np.abs(Degradation(jpeg_quality=95)(image).astype(int) - image).max() < 6


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(
    ("name", "values"),
    [("blur_sigma", [0.5, 1, 2, 4]), ("noise_sigma", [2, 5, 10, 20]), ("jpeg_quality", [95, 70, 40, 10])],
)
def test_psnr_decreases_with_the_strength_of_a_step(name, values, colour):
    images = [make_image(96, 96, colour, seed) for seed in range(4)]
    harsher = [Degradation(**{name: value}) for value in values]
    means = [np.mean([cv2.PSNR(degradation(image), image) for image in images]) for degradation in harsher]
    assert means == sorted(means, reverse=True)


def test_grey_target():
    image = make_image(40, 40)
    grey = Degradation(grey=True)
    assert np.array_equal(grey(image)[..., 0], grey(image)[..., 2])
    assert np.array_equal(grey.target(image), grey(image))
    assert np.abs(grey.target(image)[..., 0] - image @ [0.299, 0.587, 0.114]).max() <= 0.51
    assert np.array_equal(Degradation(grey_input=True).target(image), image)


def test_shift_haze_and_colour_shift():
    image = make_image(40, 50)
    padded = np.pad(image, ((3, 3), (5, 5), (0, 0)), mode="reflect")
    assert np.array_equal(Degradation(shift=(5, -3))(image), padded[6:, :50])
    assert np.abs(Degradation(haze=0.7)(image) - (0.7 * image + 0.3 * 255)).max() <= 0.51
    recoloured = Degradation(colour_shift=(20, 0, -10.0))(image)
    assert np.array_equal(recoloured, np.clip(image + np.array([20, 0, -10]), 0, 255))


@quick
@given(random_images, st.floats(0, 10), st.floats(-360, 360), st.booleans())
def test_anisotropic_with_equal_sigmas_is_isotropic(image, sigma, angle, narrow):
    isotropic = Degradation(blur_sigma=sigma, kernel_size=21 if narrow else None)
    anisotropic = replace(isotropic, blur_kind="anisotropic", blur_angle=angle)
    assert np.abs(isotropic(image).astype(int) - anisotropic(image)).max() <= 1


# --- determinism


@quick
@given(random_images, degradations)
def test_degradation_is_deterministic(image, degradation):
    assert np.array_equal(degradation(image), Degradation(**degradation.to_dict())(image.copy(order="F")))


@quick
@given(st.integers(0, MAX_SEED), st.integers(0, MAX_SEED), st.booleans())
def test_noise_depends_only_on_seed_and_shape(seed, other_seed, colour):
    def noise(seed, level, **settings):
        image = np.full((40, 30, 3) if colour else (40, 30), level, np.uint8)
        return Degradation(noise_sigma=12, seed=seed, **settings)(image).astype(int) - level

    # equal except for values near .5, which may be rounded differently at another level
    assert np.abs(noise(seed, 100) - noise(seed, 140, blur_sigma=2, shift=(3, 1))).max() <= 1
    assert (np.abs(noise(seed, 100) - noise(other_seed, 100)).max() > 1) == (seed != other_seed)


SCRIPT = """
import hashlib, json, sys
import numpy as np
from gpen.degradation.degradation import Degradation
from gpen.degradation.presets import PRESETS
image = (np.indices((80, 64)).sum(0) * 7 % 256).astype(np.uint8)
image = np.stack([image, image.T.reshape(80, 64), 255 - image], -1)
for name in sorted(PRESETS):
    d = Degradation.sample(name, seed=7, size=256)
    print(name, json.dumps(d.to_dict()), hashlib.sha256(d.resized(image).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_results_are_equal_across_processes():
    runs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and len(runs[0].splitlines()) == len(PRESETS)


# --- JSON and invalid values


@quick
@given(degradations)
def test_json_round_trip(degradation):
    text = json.dumps(degradation.to_dict(), allow_nan=False)
    assert Degradation.from_dict(json.loads(text)) == degradation
    assert {field.name for field in fields(Degradation)} == set(json.loads(text))


def test_formula_shows_the_active_steps():
    assert Degradation().formula() == "I_d = resize(I)"
    full = Degradation(blur_sigma=4, scale=8, noise_sigma=10, jpeg_quality=40)
    assert full.formula() == "I_d = resize(JPEG_40((I ∗ k(σ=4)) ↓8 + n(σ=10)))"
    assert "line(σ=4, 30°)" in replace(full, blur_kind="motion", blur_angle=30).formula()
    recoloured = replace(full, downsampling="bicubic", colour_shift=(9, 0, -9), grey_input=True, hue=0.1, contrast=1.5)
    inner = "resize(JPEG_40((I ∗ k(σ=4)) ↓8 bicubic + n(σ=10)))"
    assert recoloured.formula() == f"I_d = hue(contrast(grey({inner} + (9, 0, -9)); 1.5); 0.1)"
    assert "k(σ=4×2, 30°)" in replace(full, blur_kind="anisotropic", blur_angle=30, blur_sigma_y=2).formula()


def is_valid_message(error: pytest.ExceptionInfo) -> bool:
    text = str(error.value)
    return text.endswith(".") and "\n" not in text and 20 < len(text) < 300


NUMBERS = {
    "blur_sigma": (-1, 201),
    "blur_sigma_y": (-1, 201),
    "blur_angle": (-361, 361),
    "kernel_size": (-1, 2003),
    "scale": (0, 10001),
    "noise_sigma": (-0.1, 256),
    "jpeg_quality": (0, 101),
    "haze": (-0.1, 1.1),
    "brightness": (-0.1, 10.1),
    "contrast": (-0.1, 10.1),
    "saturation": (-0.1, 10.1),
    "hue": (-0.51, 0.51),
    "seed": (-1, MAX_SEED + 1),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_invalid_numbers_raise_an_error_with_the_parameter(name):
    for value in (*NUMBERS[name], math.nan, math.inf, -math.inf, 10**5000, "4", True, [4], {"a": 1}, 4j):
        with pytest.raises(GPENError, match=name) as error:
            Degradation(**{name: value})
        assert is_valid_message(error)


@pytest.mark.parametrize(
    "values",
    [
        {"kernel_size": 4},
        {"jpeg_quality": 40.5},
        {"seed": None},
        {"blur_angle": None},
        {"grey": 1},
        {"blur_kind": "box"},
        {"blur_kind": None},
        {"blur_kind": ["motion"]},
        {"grey_input": None},
        {"downsampling": "nearest"},
        {"downsampling": None},
        {"jitter_order": "hue"},
        {"jitter_order": ["hue"] * 4},
        {"jitter_order": [["hue"], 1, None, {}]},
        {"colour_shift": [1, 2]},
        {"colour_shift": "red"},
        {"colour_shift": [1, 2, math.nan]},
        {"shift": [1.5, 2]},
        {"shift": [1, 2, 3]},
        {"shift": {"x": 1, "y": 2}},
        {"shift": [[1], 2]},
        {"blur": 3},
        {"": 3},
        {1: 3},
        {None: 3},
        {"__class__": "x"},
        {"x" * 10000: 1},
        {"scale": "9" * 10000},
        [],
        None,
        "text",
        3,
        [["scale", 4]],
    ],
)
def test_invalid_json_raises_an_error(values):
    with pytest.raises(GPENError) as error:
        Degradation.from_dict(values)
    assert is_valid_message(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@quick
@given(st.dictionaries(st.sampled_from(sorted(Degradation().to_dict())), json_values, max_size=4))
def test_any_json_gives_a_degradation_or_an_error(values):
    try:
        degradation = Degradation.from_dict(values)
    except GPENError as error:
        assert str(error).endswith(".")
    else:
        assert Degradation.from_dict(json.loads(json.dumps(degradation.to_dict()))) == degradation


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20, 3), np.float32),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20), np.uint16),
        np.zeros((0, 20, 3), np.uint8),
        np.zeros((20, 20, 1), np.uint8),
        np.zeros(20, np.uint8),
        None,
    ],
)
def test_invalid_arrays_raise_an_error(image):
    for use in (Degradation(), Degradation().resized, Degradation().steps, Degradation().target):
        with pytest.raises(GPENError) as error:
            use(image)
        assert is_valid_message(error)


def test_too_large_results_raise_an_error():
    with pytest.raises(GPENError, match="larger scale") as error:
        Degradation(scale=0.01)(make_image(512, 512))
    assert is_valid_message(error)
    with pytest.raises(GPENError, match="JPEG") as error:
        Degradation(jpeg_quality=50)(np.zeros((1, 70000), np.uint8))
    assert is_valid_message(error)
