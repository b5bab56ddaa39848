"""Colour operators: equal to torchvision's, neutral values, ranges, order after JPEG and resizing."""

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.degradation.colour import JITTER, adjust, shift_channels, to_grey
from gpen.degradation.degradation import Degradation

quick = settings(max_examples=40, deadline=None)
NEUTRAL = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}


def make_image(seed: int, shape: tuple[int, ...] = (12, 9, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)


images = st.builds(make_image, st.integers(0, 99), st.sampled_from([(12, 9, 3), (12, 9)]))


@quick
@given(images, st.sampled_from(JITTER), st.floats(-0.5, 0.5))
def test_results_are_in_range_and_neutral_values_change_nothing(x, operator, offset):
    y = adjust(x, operator, NEUTRAL[operator] + offset)
    assert y.shape == x.shape and y.dtype == np.float32 and -1e-3 <= y.min() and y.max() <= 255.001
    assert np.abs(adjust(x, operator, NEUTRAL[operator]) - x).max() < 0.01


@quick
@given(images, st.floats(0, 2))
def test_brightness_contrast_and_saturation_follow_their_formulas(x, value):
    grey = x if x.ndim == 2 else np.repeat((x @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, 2)
    blends = {"brightness": 0, "contrast": grey.mean(), "saturation": grey}
    for operator, other in blends.items():
        expected = np.clip(value * x + (1 - value) * other, 0, 255)
        assert np.abs(adjust(x, operator, value) - expected).max() < 0.02


@pytest.mark.parametrize("turn", [-0.4, -0.1, 0.05, 0.5])
def test_hue_is_turned_in_hsv(turn):
    x = make_image(3)
    for old, new in zip(x.reshape(-1, 3) / 255, adjust(x, "hue", turn).reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*old)
        assert np.abs(np.multiply(colorsys.hsv_to_rgb((h + turn) % 1, s, v), 255) - new).max() < 0.05


def test_shift_of_a_grey_image_is_that_of_its_luma():
    colour = to_grey(make_image(1))
    shifted = to_grey(shift_channels(colour, (20, -10, 5)))
    inside = (colour > 20) & (colour < 235)
    grey = np.repeat(shift_channels(colour[..., 0], (20, -10, 5))[..., None], 3, axis=2)
    assert np.abs(shifted - grey)[inside].max() < 0.01


def test_colours_change_after_jpeg_and_resizing():
    image = cv2.resize(make_image(5, (8, 8, 3)), (64, 64), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    plain = Degradation(blur_sigma=1, scale=2.5, noise_sigma=5, jpeg_quality=30, seed=1)
    order = ("hue", "contrast", "saturation", "brightness")
    values = {"hue": 0.1, "contrast": 0.6, "saturation": 1.4, "brightness": 1.2}
    expected = to_grey(shift_channels(plain.resized(image).astype(np.float32), (15, -20, 5)))
    shifted = replace(plain, colour_shift=(15, -20, 5), grey_input=True)
    assert np.abs(shifted.resized(image) - expected).max() <= 0.51
    jittered, expected = replace(plain, **values, jitter_order=order), plain.resized(image).astype(np.float32)
    for operator in order:
        expected = adjust(expected, operator, values[operator])
    assert np.abs(jittered.resized(image) - expected).max() <= 0.51
    assert np.array_equal(jittered.target(image), image)
    enlarged = cv2.resize(jittered(image), (64, 64), interpolation=cv2.INTER_LINEAR)  # colours changed before resizing
    assert np.abs(enlarged.astype(float) - jittered.resized(image)).mean() < 2.5
    assert not np.array_equal(replace(jittered, jitter_order=order[::-1]).resized(image), jittered.resized(image))
