"""Depth, order of the channels, size of arrays of pixels, and tensors.

Images are uint8 RGB [h, w, 3] unless noted otherwise; tensors are float32 [3, h, w] in [-1, 1].
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_BLOCK = 1 << 20  # pixels


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels in [0, 65535] to uint8, rounded (65535 -> 255); uint8 pixels are returned unchanged.

    Computed in blocks, so that the intermediate values of 32 bits take little memory.
    """
    if pixels.dtype == np.uint8:
        return pixels
    levels, flat = np.empty(pixels.shape, np.uint8), pixels.reshape(-1)
    for first in range(0, flat.size, _BLOCK):
        levels.reshape(-1)[first : first + _BLOCK] = (flat[first : first + _BLOCK].astype(np.uint32) + 128) // 257
    return levels


def add_8_bit_change(deep: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Add the change from `before` to `after`, both uint8, to the same pixels as uint16; unchanged ones keep their precision."""
    change = after.astype(np.int32) - before
    return (deep + 257 * change).clip(0, 65535).astype(np.uint16)


def swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """Convert between BGR and RGB channel order, in either direction; [h, w] becomes [h, w, 1]."""
    return pixels.reshape(*pixels.shape[:2], -1)[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels[0, 0].size]]


def resize_to(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square image [h, h] or [h, h, c] to `size` px for the network: area averaging down, bilinear up.

    Bilinear upsampling is what GPEN was trained with.
    """
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)


def downscale(image: np.ndarray, longest: int) -> np.ndarray:
    """Resize `image` [h, w, 3] by area averaging so that its longer side is at most `longest` px."""
    h, w = image.shape[:2]
    if max(h, w) <= longest:
        return image
    size = (max(1, round(w * longest / max(h, w))), max(1, round(h * longest / max(h, w))))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def square_crop(image: np.ndarray, size: int | None = None) -> np.ndarray:
    """Crop the central square of an image [h, w, 3] and resize it to `size` px: area averaging down, bicubic up.

    For ground truth images; `resize_to` is for inputs of the network.
    """
    h, w = image.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])  # [side, side, 3]
    if size is None or size == side:
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert uint8 [h, w, 3] to float32 [3, h, w] in [-1, 1]."""
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)


def to_image(x: Tensor) -> np.ndarray:
    """Convert [3, h, w] in [-1, 1] to uint8 [h, w, 3], clamped and rounded (the released code truncates)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
