"""PSNR and SSIM, scikit-image's own, in RGB and in Y."""

from collections.abc import Callable

import numpy as np

Images = list[np.ndarray]  # uint8 RGB [h, w, 3] each


def luma(image: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 in studio range, 16 to 235, float64 [h, w]: what super-resolution papers call Y."""
    from skimage.color import rgb2ycbcr

    return rgb2ycbcr(image)[..., 0]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """In dB, of values up to 255; infinity for identical images."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(truth, image, data_range=255))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """At most 1, for identical images; 7 px uniform window; the mean over channels."""
    from skimage.metrics import structural_similarity

    channels = -1 if image.ndim == 3 else None
    return float(structural_similarity(truth, image, channel_axis=channels, data_range=255))


def each(score: Callable, convert: Callable = np.asarray) -> Callable:
    """A loader of a metric that needs no weights and takes one pair at a time."""

    def scorer(images: Images, truths: Images) -> list[float]:
        return [score(convert(a), convert(b)) for a, b in zip(images, truths, strict=True)]

    return lambda settings: scorer
