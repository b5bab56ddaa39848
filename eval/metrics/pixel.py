"""PSNR and SSIM of scikit-image, in RGB and on the luma channel.

SSIM: Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, IEEE Transactions on Image Processing 2004.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpen.errors import GPENError

WINDOW = 11  # px, of `ssim`
Images = list[np.ndarray]  # uint8 RGB [h, w, 3] each


def luma(image: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 in studio range, 16 to 235, float64 [h, w], as used in super-resolution papers."""
    from skimage.color import rgb2ycbcr

    return rgb2ycbcr(image)[..., 0]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB for a peak value of 255; infinity for identical images."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(truth, image, data_range=255))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """SSIM of the paper and of BasicSR: Gaussian window of 11 x 11 px, sigma 1.5, population covariance.

    Mean over the complete windows and over the channels of [h, w, 3] or [h, w], 0 to 255; 1 for identical images. Raises
    GPENError for images below 11 px.
    """
    # scikit-image truncates the Gaussian at a radius of 5 px = int(3.5 * 1.5 + 0.5) and crops as much at the borders
    return _ssim(image, truth, WINDOW, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def ssim_uniform(image: np.ndarray, truth: np.ndarray) -> float:
    """SSIM with a uniform window of 7 x 7 px and sample covariance, the default of scikit-image; otherwise as `ssim`."""
    return _ssim(image, truth, 7)


def _ssim(image: np.ndarray, truth: np.ndarray, window: int, **settings: Any) -> float:
    from skimage.metrics import structural_similarity

    h, w = image.shape[:2]
    if min(h, w) < window:
        raise GPENError(f"SSIM needs images of at least {window} x {window} px, not {w} x {h}; use larger images.")
    channels = -1 if image.ndim == 3 else None
    return float(structural_similarity(truth, image, channel_axis=channels, data_range=255, **settings))


def per_pair(score: Callable, convert: Callable = np.asarray) -> Callable:
    """Make the loader of a metric without weights from a function of one image pair."""

    def scorer(images: Images, targets: Images) -> list[float]:
        return [score(convert(a), convert(b)) for a, b in zip(images, targets, strict=True)]

    return lambda settings: scorer
