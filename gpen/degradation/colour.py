"""Colour operators of the degradation model: conversion to grey, shift of the channels, colour jitter.

x is an image, float32, 0 to 255, [h, w, 3] (RGB) or [h, w] (grey). The four operators of the jitter are those of torchvision,
which GFPGAN (Wang et al., CVPR 2021) applies to the low-quality image in random order.
"""

from __future__ import annotations

import cv2
import numpy as np

JITTER = ("brightness", "contrast", "saturation", "hue")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, as in OpenCV's greyscale conversion


def to_grey(x: np.ndarray) -> np.ndarray:
    """Replace the three channels by their luma."""
    if x.ndim == 2:
        return x
    return cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def shift_channels(x: np.ndarray, added: tuple[float, float, float]) -> np.ndarray:
    """Add a constant to R, G and B; to a grey image its luma. Clipped to 0 to 255."""
    shift = np.array(added, np.float32)
    return np.clip(x + (shift if x.ndim == 3 else shift @ _LUMA), 0, 255)


def adjust(x: np.ndarray, operator: str, value: float) -> np.ndarray:
    """Apply one operator of the colour jitter; clipped to 0 to 255.

    brightness: factor. contrast, saturation: weight of the image in a blend with its mean grey, or with its grey version. hue:
    turn as a fraction of the circle. 1, for the hue 0, leaves the image unchanged.
    """
    if operator == "brightness":
        return np.clip(x * np.float32(value), 0, 255)
    if operator == "hue":
        return x if x.ndim == 2 else _turn_hue(x, value)
    grey = to_grey(x)  # [h, w, 3] or [h, w]
    other = grey.mean(dtype=np.float32) if operator == "contrast" else grey
    return np.clip(np.float32(value) * x + np.float32(1 - value) * other, 0, 255)


def _turn_hue(x: np.ndarray, fraction: float) -> np.ndarray:
    hsv = cv2.cvtColor(x / np.float32(255), cv2.COLOR_RGB2HSV)  # [h, w, 3]: degrees, 0 to 1, 0 to 1
    hsv[..., 0] = (hsv[..., 0] + np.float32(360 * fraction)) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * np.float32(255)
