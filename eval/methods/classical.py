"""Restoration without learning: denoising, inpainting, and deconvolution as a non-blind baseline.

The denoisers use only the image: they process it at its own size, with a strength that depends on the estimated noise, and
enlarge the result. The deconvolutions nonblind-wiener and nonblind-rl are non-blind baselines, which use the true blur kernel of
the degradation and are not comparable with blind methods.

    non-local means   A. Buades, B. Coll, J.-M. Morel, CVPR 2005           scikit-image
    total variation   A. Chambolle, 2004                                   scikit-image
    Wiener            N. Wiener, 1949; with the Laplacian as prior         scikit-image
    Richardson-Lucy   W. Richardson, 1972; L. Lucy, 1974                   scikit-image
    Telea             A. Telea, 2004: inpainting                           OpenCV
    noise             J. Immerkaer, 1996, for the mask; D. Donoho and I. Johnstone, 1994, for the median
"""

import math
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, richardson_lucy, wiener

from eval.data.lq_sets import Sample
from gpen.degradation.degradation import Degradation
from gpen.degradation.kernels import gaussian_kernel, motion_kernel

NLM_STRENGTH = 0.8  # h / sigma, recommended by scikit-image for the fast mode
TV_STRENGTH = 1.0  # weight / sigma
WIENER_NOISE = 2.0  # minimum noise, 0-255: accounts for borders, rounding and JPEG
MAX_BALANCE = 10.0  # of the Wiener filter: in images of few pixels texture is estimated as noise
TELEA_RADIUS = 3  # px, neighbourhood of each inpainted pixel
RL_STEPS = 10  # more steps also amplify the noise
ROUNDING = 1 / math.sqrt(12)  # 0-255: noise of rounding to 8 bits
MEDIAN = 0.6745  # median of the absolute value of standard normal noise
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def non_local_means(sample: Sample, size: int) -> np.ndarray:
    """Denoise at the original size, then enlarge (bicubic): uint8 RGB [size, size, 3]."""
    sigma = noise_sigma(sample.lq) / 255
    x = sample.lq / np.float32(255)  # [h, w, 3]
    denoised = denoise_nl_means(x, h=NLM_STRENGTH * sigma, sigma=sigma, patch_size=5, patch_distance=6, channel_axis=-1)
    return _enlarged(denoised.reshape(x.shape), size)  # scikit-image removes the axes of a single pixel


def total_variation(sample: Sample, size: int) -> np.ndarray:
    """Denoise at the original size, then enlarge (bicubic): uint8 RGB [size, size, 3]."""
    weight = TV_STRENGTH * noise_sigma(sample.lq) / 255
    return _enlarged(denoise_tv_chambolle(sample.lq / np.float32(255), weight=weight, channel_axis=-1), size)


def telea(sample: Sample, size: int) -> np.ndarray:
    """Inpaint the masked pixels from their border: uint8 RGB [size, size, 3]; Sample.lq has this size."""
    return cv2.inpaint(sample.lq, cast(np.ndarray, sample.mask).astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA)


def nonblind_wiener(sample: Sample, size: int) -> np.ndarray:
    """Enlarge (bicubic), then deconvolve with the true kernel: uint8 RGB [size, size, 3].

    The balance between data and smoothness is the power spectral density of the noise divided by the variance of the Laplacian of
    the image, both estimated. Enlarging by s preserves the variance of the noise but concentrates it in 1 / s^2 of the band.
    """
    x = _enlarged_float(sample.lq / np.float32(255), size)
    noise = max(noise_sigma(sample.lq), WIENER_NOISE) / 255 * size / len(sample.lq)
    balance = min(MAX_BALANCE, noise**2 / max(cv2.Laplacian(x, cv2.CV_32F).var(), 1e-8))
    return _deconvolved(x, cast(Degradation, sample.degradation), lambda plane, k: wiener(plane, k, balance, clip=False))


def nonblind_richardson_lucy(sample: Sample, size: int) -> np.ndarray:
    """Enlarge (bicubic), then deconvolve with the true kernel: uint8 RGB [size, size, 3]."""
    x = np.clip(_enlarged_float(sample.lq / np.float32(255), size), 1e-3, 1)
    degradation = cast(Degradation, sample.degradation)
    return _deconvolved(x, degradation, lambda plane, k: richardson_lucy(plane, k, RL_STEPS, filter_epsilon=1e-3))


def noise_sigma(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
) -> float:
    """Standard deviation of the noise, 0-255, estimated from the image; mean over the channels.

    The difference of two Laplacians removes smooth structure and leaves 6 sigma of white noise; the median is robust to edges.
    Texture counts as noise, so that the estimate is too high for small, sharp images. At least ROUNDING, and ROUNDING below 3 px
    a side.
    """
    if min(image.shape[:2]) < 3:
        return ROUNDING
    residual = cv2.filter2D(image.astype(np.float32), -1, _IMMERKAER)[1:-1, 1:-1]  # [h - 2, w - 2, 3]
    return max(ROUNDING, float(np.median(abs(residual), axis=(0, 1)).mean() / MEDIAN / 6))


def blur_kernel(degradation: Degradation) -> np.ndarray | None:
    """The blur kernel of a degradation, float32 [k, k], sum 1; None without blur."""
    d = degradation
    if d.blur_sigma is None:
        return None
    if d.blur_kind == "motion":
        return motion_kernel(d.blur_sigma, d.blur_angle, d.kernel_size)
    across = d.blur_sigma if d.blur_kind == "isotropic" or d.blur_sigma_y is None else d.blur_sigma_y
    return gaussian_kernel(d.blur_sigma, across, d.blur_angle, d.kernel_size)


def _deconvolved(x: np.ndarray, degradation: Degradation, deconvolve: Callable) -> np.ndarray:
    """Apply `deconvolve(plane [h, w], kernel)` to each channel, with mirrored borders."""
    kernel = blur_kernel(degradation)
    if kernel is None:
        return _to_uint8(x)
    border = min(len(kernel) // 2 + 8, len(x) - 1)
    padded = np.pad(x, [(border, border), (border, border), (0, 0)], mode="reflect")
    planes = [deconvolve(padded[..., c], kernel)[border:-border, border:-border] for c in range(3)]
    return _to_uint8(np.stack(planes, axis=-1))


def _enlarged(x: np.ndarray, size: int) -> np.ndarray:
    return _to_uint8(_enlarged_float(x, size))


def _enlarged_float(x: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(x.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def _to_uint8(x: np.ndarray) -> np.ndarray:
    """[h, w, 3] in [0, 1] -> uint8 in [0, 255], rounded."""
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
