"""Blur kernels: sum, symmetry, standard deviations, angles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.degradation.kernels import gaussian_kernel, gaussian_profile, motion_kernel

quick = settings(max_examples=40, deadline=None)
sigmas, angles = st.floats(0, 15), st.floats(-360, 360)
sizes = st.none() | st.integers(0, 25).map(lambda n: 2 * n + 1)


@quick
@given(sigmas, sigmas, angles, sizes)
def test_kernels_sum_to_one_and_are_symmetric(sigma, sigma_y, angle, size):
    for kernel in (gaussian_kernel(sigma, sigma_y, angle, size), motion_kernel(sigma, angle, size)):
        assert kernel.shape[0] == kernel.shape[1] == (size or kernel.shape[0]) and kernel.shape[0] % 2 == 1
        assert kernel.min() >= 0 and kernel.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)


def moments(kernel: np.ndarray, angle: float) -> tuple[float, float]:
    """Standard deviations in px along `angle` (anticlockwise, y up) and across it."""
    radius = len(kernel) // 2
    y, x = np.mgrid[radius : -radius - 1 : -1, -radius : radius + 1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return tuple(math.sqrt((kernel * axis**2).sum()) for axis in (x * cos + y * sin, y * cos - x * sin))


@quick
@given(st.floats(2, 15), angles)
def test_motion_kernel_is_a_line_with_the_given_deviation_and_angle(sigma, angle):
    along, across = moments(motion_kernel(sigma, angle), angle)
    assert along == pytest.approx(sigma, rel=0.05)
    assert across < 0.71  # width of bilinear interpolation


@quick
@given(st.floats(1, 8), st.floats(1, 8), angles)
def test_anisotropic_kernel_has_the_given_deviations(sigma, sigma_y, angle):
    along, across = moments(gaussian_kernel(sigma, sigma_y, angle), angle)
    assert along == pytest.approx(sigma, rel=0.03) and across == pytest.approx(sigma_y, rel=0.03)


@quick
@given(sigmas, angles, sizes)
def test_isotropic_kernel_is_separable(sigma, angle, size):
    profile = gaussian_profile(sigma, size)
    assert np.allclose(gaussian_kernel(sigma, sigma, angle, size), np.outer(profile, profile), atol=1e-6)
