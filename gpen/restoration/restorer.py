"""High-level interface for restoring aligned faces and the faces of whole photos.

Images are uint8 RGB [h, w, 3].
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

from gpen.engines.registry import load_engine
from gpen.errors import GPENError
from gpen.faces.alignment import DEFAULT_ALIGNMENT, Face, align, check_aligned, template
from gpen.faces.detection import Detector, check_photo, load_detector
from gpen.images import resize_to, to_image, to_tensor
from gpen.models.network import GPEN
from gpen.restoration.paste import (
    Background,
    Parser,
    RestoredFace,
    box_area,
    check_strength,
    enlarge,
    face_mask,
    match_colour,
    paste,
)
from gpen.restoration.variations import vary

BATCH = 8  # faces per forward pass; bounds memory


@dataclass(frozen=True)
class FaceResult:
    """Result for an aligned face; `image` is uint8 RGB [size, size, 3]."""

    image: np.ndarray


@dataclass(frozen=True)
class PhotoResult:
    """Result for a photo: the restored `image`, uint8 RGB, and its restored `faces`, empty if none was found or selected."""

    image: np.ndarray
    faces: list[RestoredFace] = field(default_factory=list)


class Restorer:
    """Restores faces with a network from `gpen.load`.

    strength: weight of the network output in a blend with the input, 0 to 1.
    detector: face detector, or a name or path for `gpen.faces.load_detector`.
    engine: inference engine, one of gpen.engines.ENGINES. Create a new Restorer after the weights of the network change.
    parser: face parsing model (`gpen.restoration.paste.load_parser`) for the mask of a pasted face; None: a soft ellipse.
    alignment: of the faces of photos, "ffhq" or "gpen" (see gpen.faces.alignment); None: `net.alignment`, which is "gpen" for
        the published models.
    Raises GPENError for an unknown engine or alignment.
    """

    def __init__(
        self, net: GPEN, strength: float = 1.0, detector: Detector | str | os.PathLike | None = None, engine: str = "torch",
        parser: Parser | None = None, alignment: str | None = None,
    ):  # fmt: skip
        self.net = net
        own: str = getattr(net, "alignment", DEFAULT_ALIGNMENT)  # an adapter of a network may have none
        self.alignment = alignment or own
        template(net.size, self.alignment)  # raises the error here, not for the first photo
        self.strength = strength
        self.parser = parser
        self._detector = detector
        self._engine = load_engine(net, engine)

    @functools.cached_property
    def detector(self) -> Callable[[np.ndarray], list[Face]]:
        """Face detector, loaded on first use. Raises GPENError if it cannot be loaded."""
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
        """Detect and restore the faces of a photo, uint8 RGB [h, w, 3].

        strength: of the blend, None: that of the Restorer; 0 returns the photo unchanged, as does a photo without faces.
        only: "largest", or the indices of the faces to restore; None: all.
        faces: detected faces; None: detect them.
        upscale: factor for the whole photo, 1 to 16, by bicubic interpolation or with `background`.
        background: super-resolution model, a function or a file that spandrel can load; at an upscale of 1 without a background
            no pixel outside the masks of the faces changes.
        progress: called with the number of restored faces and their total number.
        Raises GPENError for an argument out of range.
        """
        strength = self._checked(strength)
        check_photo(image)
        chosen = _select(list(self.detector(image) if faces is None else faces), only)
        base = enlarge(image, upscale, background)
        canvas, restored = base.copy(), {}
        order = sorted(range(len(chosen)), key=lambda i: box_area(chosen[i]))  # a larger face covers a smaller one
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            for i, face in zip(batch, self._restored(image, [chosen[i] for i in batch]), strict=True):
                paste(canvas, base, face, strength, upscale)
                restored[i] = face
                if progress:
                    progress(len(restored), len(order))
        return PhotoResult(canvas, [restored[i] for i in range(len(chosen))])

    def _restored(self, image: np.ndarray, faces: Sequence[Face]) -> list[RestoredFace]:
        size, in_size, alignment = self.net.size, self.net.in_size, self.alignment
        crops = [align(image, face.landmarks, size, alignment)[0] for face in faces]
        small = crops if in_size == size else [align(image, face.landmarks, in_size, alignment)[0] for face in faces]
        outputs = self._run(torch.stack([to_tensor(crop) for crop in small]))
        masks = [self.parser(crop) if self.parser else face_mask(size, alignment) for crop in crops]
        return [
            RestoredFace(face.box, face.landmarks, face.score, crop, match_colour(to_image(y), crop, mask), mask, alignment)
            for face, crop, y, mask in zip(faces, crops, outputs, masks, strict=True)
        ]

    def face(self, image: np.ndarray, strength: float | None = None) -> FaceResult:
        """Restore an aligned face, uint8 RGB [h, h, 3] of any size. Raises GPENError for any other array."""
        return FaceResult(self.faces([image], strength)[0])

    def faces(self, images: Sequence[np.ndarray], strength: float | None = None, batch: int = BATCH) -> list[np.ndarray]:
        """Restore aligned faces in batches of `batch`; the results are uint8 RGB [size, size, 3]."""
        strength = self._checked(strength)
        restored = []
        for first in range(0, len(images), batch):
            inputs = [self._to_input(image) for image in images[first : first + batch]]
            outputs = [to_image(y) for y in self._run(torch.stack([to_tensor(image) for image in inputs]))]
            restored += [_blend(x, y, strength) for x, y in zip(images[first : first + batch], outputs, strict=True)]
        return restored

    def variations(self, image: np.ndarray, n: int, seed: int = 0, reference: np.ndarray | None = None) -> list[np.ndarray]:
        """Generate n different restorations of an aligned face, uint8 RGB [size, size, 3]; see `variations.vary`."""
        plain = self.face(image, strength=1).image
        return vary(self.net, image, plain, n, seed, reference).images

    def _to_input(self, image: np.ndarray) -> np.ndarray:
        check_aligned(image)
        return resize_to(image, self.net.in_size)

    def _checked(self, strength: float | None) -> float:
        return check_strength(self.strength if strength is None else strength)

    @torch.inference_mode()
    def _run(self, x: Tensor) -> Tensor:
        return self._engine(x)


def _select(faces: list[Face], only: str | Sequence[int] | None) -> list[Face]:
    if only is None:
        return faces
    if only == "largest":
        return sorted(faces, key=box_area)[-1:]
    if isinstance(only, str) or not all(isinstance(i, (int, np.integer)) and 0 <= i < len(faces) for i in only):
        raise GPENError(f'only must be "largest" or a list of indices of faces, 0 to {len(faces) - 1}; got {only!r}.')
    return [faces[i] for i in dict.fromkeys(only)]


def _blend(original: np.ndarray, restored: np.ndarray, strength: float) -> np.ndarray:
    if strength == 1:
        return restored
    original = resize_to(original, len(restored))
    return cv2.addWeighted(original, 1 - strength, restored, strength, 0) if strength else original.copy()
