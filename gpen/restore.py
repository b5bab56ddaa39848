"""Restorer: what a program calls to restore faces. Images are uint8 RGB [h, w, 3] here; only inside are they tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .errors import GPENError
from .network import GPEN


@dataclass(frozen=True)
class FaceResult:
    """One aligned face: `image` is the restored one, uint8 RGB [size, size, 3]."""

    image: np.ndarray


class Restorer:
    """Restores faces with a network from `gpen.load`.

    strength: 1 gives the network's result, 0 the input (resized to the network's size), between them a blend.
    """

    def __init__(self, net: GPEN, strength: float = 1.0):
        self.net = net
        self.strength = strength

    def face(self, image: np.ndarray, strength: float | None = None) -> FaceResult:
        """Restore an aligned face: uint8 RGB [h, w, 3], square, any size. Raises GPENError on anything else."""
        return FaceResult(self.faces([image], strength)[0])

    def faces(self, images: Sequence[np.ndarray], strength: float | None = None, batch: int = 8) -> list[np.ndarray]:
        """Restore aligned faces, `batch` at a time: uint8 RGB, each [size, size, 3] of the network."""
        strength = self.strength if strength is None else strength
        if not 0 <= strength <= 1:
            raise GPENError(f"strength is a number from 0 to 1; got {strength}.")
        restored = []
        for first in range(0, len(images), batch):
            inputs = [_fitted(image, self.net.in_size) for image in images[first : first + batch]]
            outputs = [to_image(y) for y in self._run(torch.stack([to_tensor(image) for image in inputs]))]
            restored += [_blend(x, y, strength) for x, y in zip(images[first : first + batch], outputs, strict=True)]
        return restored

    @torch.inference_mode()
    def _run(self, x: Tensor) -> Tensor:
        first = next(self.net.parameters())
        return self.net(x.to(first.device, first.dtype))


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [h, w, 3] -> float32 [3, h, w] in [-1, 1]."""
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)


def to_image(x: Tensor) -> np.ndarray:
    """[3, h, w] in [-1, 1] -> uint8 [h, w, 3], rounded (the released code truncates)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """A square image to side x side: area-averaged when it shrinks, bilinear (as GPEN was trained) when it grows."""
    if image.shape[0] == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_LINEAR)


def square(image: np.ndarray, size: int | None = None) -> np.ndarray:
    """The central square of `image` [h, w, 3], as [size, size, 3] if there is a size.

    It shrinks by area and grows by bicubic interpolation: this makes originals, not inputs of the network.
    """
    h, w = image.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])  # [side, side, 3]
    if size in (None, side):
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def _fitted(image: np.ndarray, side: int) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise GPENError("An aligned face is a uint8 RGB array [h, w, 3].")
    if image.shape[0] != image.shape[1]:
        raise GPENError(f"An aligned face is square; got {image.shape[1]} x {image.shape[0]} pixels: crop it first.")
    return resize(image, side)


def _blend(original: np.ndarray, restored: np.ndarray, strength: float) -> np.ndarray:
    if strength == 1:
        return restored
    original = resize(original, len(restored))
    return cv2.addWeighted(original, 1 - strength, restored, strength, 0) if strength else original.copy()
