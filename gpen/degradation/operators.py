"""Operators of the degradation model on arrays: translation, downsampling, JPEG, rounding, resizing back.

x is an image, float32, 0 to 255, [h, w, 3] (RGB) or [h, w] (grey).
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from PIL import Image

from gpen.errors import GPENError

DOWNSAMPLING = ("bilinear", "bicubic")
MAX_PIXELS = 2**26  # limit for the low-quality image if scale < 1
MAX_JPEG_SIDE = 65500  # px, limit of the format


def translate(x: np.ndarray, right: int, down: int) -> np.ndarray:
    """Translate by whole pixels, mirrored at the borders."""
    return x.take(_mirrored(x.shape[0], down), axis=0).take(_mirrored(x.shape[1], right), axis=1)


def _mirrored(length: int, shift: int) -> np.ndarray:
    """Source index of each shifted pixel, int [length], mirrored at both ends without repeating the edge."""
    period = max(1, 2 * (length - 1))
    return abs((np.arange(length) - shift + length - 1) % period - (length - 1))


def downsample(x: np.ndarray, scale: float, operator: str) -> np.ndarray:
    """Downsample [h, w, ...] to [int(h // scale), int(w // scale), ...], at least 1 px a side.

    operator: "bilinear" uses four neighbours at any scale, so that high frequencies alias, as in the released code of GPEN and
    of mGANprior. "bicubic" is antialiased: the cubic kernel with a = -0.5 is widened by the scale, as in MATLAB's imresize, in
    Pillow and in PULSE. Raises GPENError for an enlargement beyond MAX_PIXELS.
    """
    w, h = low_size(x, scale)
    if operator == "bilinear":
        return cv2.resize(x, (w, h), interpolation=cv2.INTER_LINEAR)
    if x.ndim == 2:
        return np.asarray(Image.fromarray(x).resize((w, h), Image.Resampling.BICUBIC))  # in the mode F, without rounding
    return np.stack([downsample(np.ascontiguousarray(x[..., c]), scale, operator) for c in range(3)], axis=-1)  # [h, w, 3]


def low_size(x: np.ndarray, scale: float) -> tuple[int, int]:
    """Size (width, height) after downsampling, truncated as in the released code. Raises GPENError beyond MAX_PIXELS."""
    h, w = (max(1, int(side // scale)) for side in x.shape[:2])
    if scale < 1 and h * w > MAX_PIXELS:
        raise GPENError(f"scale {scale:.3g} enlarges the image to {w} x {h} px: use a larger scale.")
    return w, h


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress and decompress a uint8 image. Raises GPENError for an image beyond MAX_JPEG_SIDE."""
    if max(image.shape[:2]) > MAX_JPEG_SIDE:
        raise GPENError(f"JPEG is limited to {MAX_JPEG_SIDE} px per side: use a smaller image, or no JPEG.")
    colour = image.ndim == 3
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if colour else image
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cast(np.ndarray, cv2.imdecode(data, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) if colour else decoded


def quantise(x: np.ndarray) -> np.ndarray:
    """Round to uint8, in a new array."""
    return x.copy() if x.dtype == np.uint8 else np.clip(np.rint(x), 0, 255).astype(np.uint8)


def resize_back(low_quality: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Resize a uint8 low-quality image (bilinear) to the size of `image`."""
    if low_quality.shape == image.shape:
        return low_quality
    return cv2.resize(low_quality, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
