"""The blur kernel k of the degradation model: isotropic and anisotropic Gaussians, motion along a line.

All are float32, sum to 1 and are symmetric about their centre, so that convolution and correlation agree.
"""

from __future__ import annotations

import math

import numpy as np

MIN_SIGMA = 1e-3  # px; stands for 0, at which the sampled Gaussian is a single point


def gaussian_profile(sigma: float, size: int | None = None) -> np.ndarray:
    """A Gaussian sampled at whole pixels, [size]. An isotropic kernel is its outer product with itself.

    sigma in px; size is odd, None covers 3 sigma to each side.
    """
    radius = math.ceil(3 * sigma) if size is None else size // 2
    x = np.arange(-radius, radius + 1)
    profile = np.exp(-0.5 * (x / max(sigma, MIN_SIGMA)) ** 2)  # [size]
    return (profile / profile.sum()).astype(np.float32)


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float, size: int | None = None) -> np.ndarray:
    """A Gaussian whose first axis lies `angle` degrees anticlockwise from the horizontal, [size, size].

    The sigmas are in px, along the first axis and across it; size is odd, None covers 3 of the larger sigma
    to each side.
    """
    radius = math.ceil(3 * max(sigma_x, sigma_y)) if size is None else size // 2
    y, x = np.mgrid[radius : -radius - 1 : -1, -radius : radius + 1]  # [size, size] each, y upwards
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    exponent = (along / max(sigma_x, MIN_SIGMA)) ** 2 + (across / max(sigma_y, MIN_SIGMA)) ** 2
    kernel = np.exp(-0.5 * exponent)  # [size, size]
    return (kernel / kernel.sum()).astype(np.float32)


def motion_kernel(sigma: float, angle: float, size: int | None = None) -> np.ndarray:
    """A line through the centre, `angle` degrees anticlockwise from the horizontal, [size, size].

    Its length sqrt(12) sigma gives it the standard deviation sigma along itself, so that sigma compares with
    a Gaussian's. Points set closely along it share their weight among the four pixels around them, which
    antialiases it. size is odd, None holds the whole line; a longer line is cut at the kernel's border.
    """
    half = math.sqrt(3) * sigma
    radius = math.ceil(half) if size is None else size // 2
    points = 8 * math.ceil(half) + 1  # at least four a pixel
    t = ((np.arange(points) + 0.5) / points * 2 - 1) * half  # [points]
    x, y = t * math.cos(math.radians(angle)), -t * math.sin(math.radians(angle))  # y downwards
    inside = np.maximum(abs(x), abs(y)) <= radius
    x, y = x[inside] + radius, y[inside] + radius
    left, top = x.astype(int), y.astype(int)
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2))  # one more, for neighbours of points on the border
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = abs(1 - right - (x - left)) * abs(1 - down - (y - top))  # [points]
        np.add.at(kernel, (top + down, left + right), weight)
    kernel = kernel[:-1, :-1]
    return (kernel / kernel.sum()).astype(np.float32)
