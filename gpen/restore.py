"""Restorer: what a program calls to restore faces, aligned ones or those of a whole photo.

Images are uint8 RGB [h, w, 3] here; only inside are they tensors.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from .engines import load_engine
from .errors import GPENError
from .faces import Detector, Face, align, check, load_detector
from .network import GPEN
from .paste import Background, Parser, RestoredFace, area, check_strength, enlarge, face_mask, match_colour, paste

BATCH = 8  # faces that go through the network at once: memory does not grow with their number


@dataclass(frozen=True)
class FaceResult:
    """One aligned face: `image` is the restored one, uint8 RGB [size, size, 3]."""

    image: np.ndarray


@dataclass(frozen=True)
class PhotoResult:
    """A whole photo: `image` is the restored one, uint8 RGB; `faces` those restored in it, none if none was found or chosen."""

    image: np.ndarray
    faces: list[RestoredFace] = field(default_factory=list)


class Restorer:
    """Restores faces with a network from `gpen.load`.

    strength: 1 gives the network's result, 0 the input (resized to the network's size), between them a blend.
    detector: finds the faces of a photo: a function of an image, or a name or path for `gpen.faces.load_detector`.
    engine: what runs the network, one of gpen.engines.ENGINES. Make a new Restorer when the network's weights have changed.
    parser: says which pixels of an aligned crop are face (`gpen.paste.load_parser`); without it a soft oval is pasted.
    """

    def __init__(
        self, net: GPEN, strength: float = 1.0, detector: Detector | str | os.PathLike | None = None, engine: str = "torch",
        parser: Parser | None = None,
    ):  # fmt: skip
        self.net = net
        self.strength = strength
        self.parser = parser
        self._detector = detector
        self._engine = load_engine(net, engine)

    @functools.cached_property
    def detector(self) -> Callable[[np.ndarray], list[Face]]:
        """Loaded when the first photo needs it. Raises GPENError where it cannot be."""
        return self._detector if callable(self._detector) else load_detector(self._detector or "mtcnn")

    def photo(
        self,
        image: np.ndarray,
        strength: float | None = None,
        only: str | Sequence[int] | None = None,
        upscale: float = 1.0,
        faces: Sequence[Face] | None = None,
        background: Background | str | os.PathLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> PhotoResult:
        """Find every face of a photo, uint8 RGB [h, w, 3], restore it, put it back.

        strength: 0 gives the photo back bit for bit. Without a face it comes back likewise, and result.faces is empty.
        only: "largest", or the indices of the faces to restore; faces: those found before, else they are searched for.
        upscale: of the whole photo, bicubic or by `background`, a function or a super-resolution file that spandrel reads;
            at 1 without a background no pixel outside the faces' masks changes.
        progress: called with the number of faces done and that of all.
        Raises GPENError for anything out of range.
        """
        strength = self._checked(strength)
        check(image)
        chosen = _chosen(list(self.detector(image) if faces is None else faces), only)
        base = enlarge(image, upscale, background)
        canvas, restored = base.copy(), {}
        order = sorted(range(len(chosen)), key=lambda i: area(chosen[i]))  # a larger, nearer face covers a smaller one
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            for i, face in zip(batch, self._restored(image, [chosen[i] for i in batch]), strict=True):
                paste(canvas, base, face, strength, upscale)
                restored[i] = face
                if progress:
                    progress(len(restored), len(order))
        return PhotoResult(canvas, [restored[i] for i in range(len(chosen))])

    def _restored(self, image: np.ndarray, faces: Sequence[Face]) -> list[RestoredFace]:
        size = self.net.size
        crops = [align(image, face.landmarks, size)[0] for face in faces]
        small = [align(image, face.landmarks, self.net.in_size)[0] for face in faces] if self.net.in_size != size else crops
        outputs = self._run(torch.stack([to_tensor(crop) for crop in small]))
        masks = [self.parser(crop) if self.parser else face_mask(size) for crop in crops]
        return [
            RestoredFace(face.box, face.landmarks, face.score, crop, match_colour(to_image(y), crop, mask), mask)
            for face, crop, y, mask in zip(faces, crops, outputs, masks, strict=True)
        ]

    def face(self, image: np.ndarray, strength: float | None = None) -> FaceResult:
        """Restore an aligned face: uint8 RGB [h, w, 3], square, any size. Raises GPENError on anything else."""
        return FaceResult(self.faces([image], strength)[0])

    def faces(self, images: Sequence[np.ndarray], strength: float | None = None, batch: int = BATCH) -> list[np.ndarray]:
        """Restore aligned faces, `batch` at a time: uint8 RGB, each [size, size, 3] of the network."""
        strength = self._checked(strength)
        restored = []
        for first in range(0, len(images), batch):
            inputs = [_fitted(image, self.net.in_size) for image in images[first : first + batch]]
            outputs = [to_image(y) for y in self._run(torch.stack([to_tensor(image) for image in inputs]))]
            restored += [_blend(x, y, strength) for x, y in zip(images[first : first + batch], outputs, strict=True)]
        return restored

    def variations(self, image: np.ndarray, n: int, seed: int = 0, reference: np.ndarray | None = None) -> list[np.ndarray]:
        """n answers for an aligned face, each uint8 RGB [size, size, 3]: see gpen.variations.vary, also for what it raises."""
        from .variations import vary  # late: it builds on this module

        return vary(self, image, n, seed, reference).images

    def _checked(self, strength: float | None) -> float:
        return check_strength(self.strength if strength is None else strength)

    @torch.inference_mode()
    def _run(self, x: Tensor) -> Tensor:
        return self._engine(x)


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


def _chosen(faces: list[Face], only: str | Sequence[int] | None) -> list[Face]:
    if only is None:
        return faces
    if only == "largest":
        return sorted(faces, key=area)[-1:]
    if isinstance(only, str) or not all(isinstance(i, (int, np.integer)) and 0 <= i < len(faces) for i in only):
        raise GPENError(f'only is "largest" or a list of the faces\' indices, 0 to {len(faces) - 1}; got {only!r}.')
    return [faces[i] for i in dict.fromkeys(only)]


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
