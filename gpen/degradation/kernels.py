"""Blur kernels k of the degradation model: isotropic and anisotropic Gaussians, linear motion blur.

All kernels are float32, sum to 1 and are symmetric about their centre, so that convolution and correlation are equal.
"""

from __future__ import annotations

import math

import numpy as np

MIN_SIGMA = 1e-3  # px; lower bound that avoids division by zero; the sampled Gaussian is then a single pixel


def gaussian_profile(sigma: float, size: int | None = None) -> np.ndarray:
    """Sample a 1D Gaussian at integer pixel positions, float32 [size]. Its outer product with itself is the isotropic kernel.

    sigma: standard deviation in px. size: odd number of px; None covers 3 sigma on each side.
    """
    radius = math.ceil(3 * sigma) if size is None else size // 2
    x = np.arange(-radius, radius + 1)
    profile = np.exp(-0.5 * (x / max(sigma, MIN_SIGMA)) ** 2)  # [size]
    return (profile / profile.sum()).astype(np.float32)


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float, size: int | None = None) -> np.ndarray:
    """Sample an anisotropic Gaussian, float32 [size, size].

    sigma_x, sigma_y: standard deviations in px along the first axis and across it. angle: of the first axis, in degrees
    anticlockwise from the horizontal. size: odd number of px; None covers 3 times the larger sigma on each side.
    """
    radius = math.ceil(3 * max(sigma_x, sigma_y)) if size is None else size // 2
    y, x = np.mgrid[radius : -radius - 1 : -1, -radius : radius + 1]  # [size, size] each, y upwards
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    exponent = (along / max(sigma_x, MIN_SIGMA)) ** 2 + (across / max(sigma_y, MIN_SIGMA)) ** 2
    kernel = np.exp(-0.5 * exponent)  # [size, size]
    return (kernel / kernel.sum()).astype(np.float32)


def motion_kernel(sigma: float, angle: float, size: int | None = None) -> np.ndarray:
    """Draw an antialiased line through the centre: the kernel of linear motion blur, float32 [size, size].

    sigma: standard deviation along the line in px, comparable to that of a Gaussian; the line has the length sqrt(12) sigma.
    angle: degrees anticlockwise from the horizontal. size: odd number of px; None fits the whole line, a longer line is cut
    at the border. Points along the line are distributed bilinearly to their four neighbouring pixels.
    """
    half = math.sqrt(3) * sigma
    radius = math.ceil(half) if size is None else size // 2
    points = 8 * math.ceil(half) + 1  # at least four points per px
    t = ((np.arange(points) + 0.5) / points * 2 - 1) * half  # [points]
    x, y = t * math.cos(math.radians(angle)), -t * math.sin(math.radians(angle))  # y downwards
    inside = np.maximum(abs(x), abs(y)) <= radius
    x, y = x[inside] + radius, y[inside] + radius
    left, top = x.astype(int), y.astype(int)
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2))  # one extra row and column for neighbours of points on the border
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = abs(1 - right - (x - left)) * abs(1 - down - (y - top))  # [points]
        np.add.at(kernel, (top + down, left + right), weight)
    kernel = kernel[:-1, :-1]
    return (kernel / kernel.sum()).astype(np.float32)
