"""Downsampling operators: definition, mean, aliasing."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.degradation.operators import DOWNSAMPLING, downsample

quick = settings(max_examples=30, deadline=None)


def noise(height: int, width: int, colour: bool) -> np.ndarray:
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(height * width).uniform(0, 255, shape).astype(np.float32)


@quick
@given(st.integers(8, 60), st.integers(8, 60), st.booleans(), st.floats(0.5, 12), st.sampled_from(DOWNSAMPLING))
def test_size_and_constants(height, width, colour, scale, operator):
    x = noise(height, width, colour)
    size = (max(1, int(height // scale)), max(1, int(width // scale)))
    y = downsample(x, scale, operator)
    assert y.shape == size + x.shape[2:] and y.dtype == np.float32
    assert np.abs(downsample(np.full_like(x, 77), scale, operator) - 77).max() < 1e-3


@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_operators_equal_their_definitions(scale):
    x = noise(64, 48, colour=True)
    tensor = torch.from_numpy(x).permute(2, 0, 1)[None]  # [1, 3, h, w]
    size = (64 // scale, 48 // scale)
    bicubic = F.interpolate(tensor, size, mode="bicubic", antialias=True, align_corners=False)  # a = -0.5 with antialias
    bilinear = F.interpolate(tensor, size, mode="bilinear", antialias=False, align_corners=False)
    for operator, expected in (("bicubic", bicubic), ("bilinear", bilinear)):
        assert np.abs(downsample(x, scale, operator) - expected[0].permute(1, 2, 0).numpy()).max() < 0.01


def test_bicubic_is_not_rounded():
    y = downsample(noise(32, 32, colour=False), 4, "bicubic")
    assert np.abs(y - np.rint(y)).max() > 0.1


def test_only_bilinear_aliases():
    """Stripes of 2 px cannot be represented after downsampling by 4; the mean of the image is 127.5."""
    stripes = np.tile(np.repeat(np.float32([0, 0, 255, 255]), 1), (64, 16))
    assert np.abs(downsample(stripes, 4, "bicubic")[:, 2:-2] - 127.5).max() < 12
    shifted = np.roll(stripes, 1, axis=1)
    assert np.abs(downsample(shifted, 4, "bilinear") - 127.5).max() > 100
    assert np.abs(cv2.resize(shifted, (16, 16), interpolation=cv2.INTER_AREA) - 127.5).max() < 1
