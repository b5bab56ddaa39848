"""Restoration without learning: denoising by non-local means and by total variation; deconvolution by two oracles.

The denoisers know nothing but the picture: they work at its own size, with a strength that follows from the noise estimated in
it, and enlarge the result. The oracles are told the blur kernel of the degradation, which no method of the field is: they bound
what deconvolution alone can do, and are never compared with blind methods without that word.

    non-local means   A. Buades, B. Coll, J.-M. Morel, CVPR 2005           scikit-image
    total variation   A. Chambolle, 2004                                   scikit-image
    Wiener            N. Wiener, 1949; with the Laplacian as prior         scikit-image
    Richardson-Lucy   W. Richardson, 1972; L. Lucy, 1974                   scikit-image
    Telea             A. Telea, 2004: holes filled from their borders      OpenCV
    noise             J. Immerkaer, 1996, for the mask; D. Donoho and I. Johnstone, 1994, for the median
"""

import math
from typing import cast

import cv2
import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, richardson_lucy, wiener

from eval.frozen import Sample
from gpen.degradation import Degradation
from gpen.kernels import gaussian_kernel, motion_kernel

NLM_STRENGTH = 0.8  # h over sigma, scikit-image's advice for its fast mode
TV_STRENGTH = 1.0  # weight over sigma
WIENER_NOISE = 2.0  # levels of 255, at least: borders, rounding and JPEG are errors too
SMOOTHEST = 10.0  # balance of Wiener's filter, at most: in a picture of few pixels texture passes for noise
TELEA_RADIUS = 3  # px, that each filled pixel is drawn from
RL_STEPS = 10  # more sharpen further, and the noise with it
ROUNDING = 1 / math.sqrt(12)  # levels of 255: the noise that rounding to 8 bits leaves in any picture
MEDIAN = 0.6745  # of the absolute value of standard normal noise
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def non_local_means(sample: Sample, size: int) -> np.ndarray:
    """Denoised at its own size, then enlarged (bicubic): uint8 RGB [size, size, 3]."""
    sigma = noise_sigma(sample.lq) / 255
    x = sample.lq / np.float32(255)  # [h, w, 3]
    denoised = denoise_nl_means(x, h=NLM_STRENGTH * sigma, sigma=sigma, patch_size=5, patch_distance=6, channel_axis=-1)
    return _enlarged(denoised.reshape(x.shape), size)  # scikit-image drops the axes of a single pixel


def total_variation(sample: Sample, size: int) -> np.ndarray:
    """Denoised at its own size, then enlarged (bicubic): uint8 RGB [size, size, 3]."""
    weight = TV_STRENGTH * noise_sigma(sample.lq) / 255
    return _enlarged(denoise_tv_chambolle(sample.lq / np.float32(255), weight=weight, channel_axis=-1), size)


def telea(sample: Sample, size: int) -> np.ndarray:
    """What the mask hides, filled in from its borders inwards: uint8 RGB [size, size, 3], Sample.lq being of that size."""
    return cv2.inpaint(sample.lq, cast(np.ndarray, sample.mask).astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA)


def oracle_wiener(sample: Sample, size: int) -> np.ndarray:
    """Enlarged (bicubic), then deconvolved with the true kernel: uint8 RGB [size, size, 3].

    The balance between data and smoothness is the noise's power spectral density over the variance of the picture's Laplacian,
    both estimated. Enlarging by s keeps the noise's variance but packs it into 1 / s^2 of the band.
    """
    x = _enlarged_float(sample.lq / np.float32(255), size)
    noise = max(noise_sigma(sample.lq), WIENER_NOISE) / 255 * size / len(sample.lq)
    balance = min(SMOOTHEST, noise**2 / max(cv2.Laplacian(x, cv2.CV_32F).var(), 1e-8))
    return _deconvolved(x, cast(Degradation, sample.degradation), lambda plane, k: wiener(plane, k, balance, clip=False))


def oracle_richardson_lucy(sample: Sample, size: int) -> np.ndarray:
    """Enlarged (bicubic), then deconvolved with the true kernel in RL_STEPS steps: uint8 RGB [size, size, 3]."""
    x = np.clip(_enlarged_float(sample.lq / np.float32(255), size), 1e-3, 1)
    degradation = cast(Degradation, sample.degradation)
    return _deconvolved(x, degradation, lambda plane, k: richardson_lucy(plane, k, RL_STEPS, filter_epsilon=1e-3))


def noise_sigma(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
) -> float:
    """Standard deviation of the noise, of 255, estimated from the picture alone; the mean over its channels.

    A difference of two Laplacians cancels smooth structure and leaves 6 sigma of white noise; the median looks past edges.
    Texture counts as noise: the estimate errs upwards on small, sharp pictures. It is ROUNDING at least, and below 3 px a side.
    """
    if min(image.shape[:2]) < 3:
        return ROUNDING
    residual = cv2.filter2D(image.astype(np.float32), -1, _IMMERKAER)[1:-1, 1:-1]  # [h - 2, w - 2, 3]
    return max(ROUNDING, float(np.median(abs(residual), axis=(0, 1)).mean() / MEDIAN / 6))


def blur_kernel(degradation: Degradation) -> np.ndarray | None:
    """The kernel k of a degradation, float32 [k, k], sum 1; None where it has no blur."""
    d = degradation
    if d.blur_sigma is None:
        return None
    if d.blur_kind == "motion":
        return motion_kernel(d.blur_sigma, d.blur_angle, d.kernel_size)
    across = d.blur_sigma if d.blur_kind == "isotropic" or d.blur_sigma_y is None else d.blur_sigma_y
    return gaussian_kernel(d.blur_sigma, across, d.blur_angle, d.kernel_size)


def _deconvolved(x: np.ndarray, degradation: Degradation, deconvolve) -> np.ndarray:
    """`deconvolve(plane [h, w], kernel)` of each channel of x [size, size, 3], mirrored at the borders on the way."""
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
    """[h, w, 3] of 0 to 1 -> uint8 of 0 to 255, rounded."""
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
