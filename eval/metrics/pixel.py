"""PSNR and SSIM of scikit-image, in RGB and on the luma channel."""

from collections.abc import Callable

import numpy as np

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
    """SSIM with a uniform 7 px window, mean over channels; 1 for identical images."""
    from skimage.metrics import structural_similarity

    channels = -1 if image.ndim == 3 else None
    return float(structural_similarity(truth, image, channel_axis=channels, data_range=255))


def per_pair(score: Callable, convert: Callable = np.asarray) -> Callable:
    """Make the loader of a metric without weights from a function of one image pair."""

    def scorer(images: Images, targets: Images) -> list[float]:
        return [score(convert(a), convert(b)) for a, b in zip(images, targets, strict=True)]

    return lambda settings: scorer
