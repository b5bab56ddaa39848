"""Pasting restored faces into their photo: mask, colour transfer, preservation of detail, upscaling of the background.

A face is blended into the photo I as
    T = (1 - s) I + s (up(R) + k (I - up(C))),     k = 1 - s (1 - c),     I' <- (1 - m) I' + m T
with the aligned crop C, the restored crop R, the inverse warp up(), the strength s and the soft mask m. I - up(C) is the detail
of the photo beyond the resolution of the network; c in [0, 1] is the fraction of the highest frequency band of C that is present
in R. Detail of a sharp face is therefore kept, and noise is removed at full strength. The low-frequency colours of R are those of
C.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from gpen.errors import GPENError
from gpen.faces.alignment import DEFAULT_ALIGNMENT, Face, alignment_matrix, fit_similarity, template, warp
from gpen.images import resize_to
from gpen.optional import import_optional

if TYPE_CHECKING:  # an optional dependency
    from spandrel import ImageModelDescriptor

# The mask is a superellipse in the FFHQ-aligned square, in units of its side; it is zero at the border of the square. In another
# alignment it covers the same part of a face.
CENTRE = (0.5, 0.53)
AXES = (0.44, 0.45)
ROUNDNESS = 2.5  # exponent: 2 is an ellipse, infinity a rectangle
FEATHER = 0.45  # width of the transition from 0 to 1, relative to the axes
COLOUR_SIDE, COLOUR_SIGMA = 64, 5.0  # px: size and blur of the image on which colours are compared
# Standard deviation of the blur, relative to the side of the square (about the size of an iris), and maximum local hue
# difference, of 255. For faces degraded as in training the largest local difference between ground truth and input is 10 to 20;
# it is larger for an eye that changes from brown to blue.
LOCAL_SIGMA, MAX_HUE_SHIFT = 1 / 64, 16.0
GREY = 3.0  # of 255: a crop with a smaller mean difference between its channels is considered greyscale
# Classes of CelebAMask-HQ: skin, brows, eyes, glasses, ears, earring, nose, mouth, lips
FACE_CLASSES = tuple(range(1, 14))
TILE, OVERLAP = 256, 16  # px, of the tiles of a background model
MAX_UPSCALE = 16

Parser = Callable[[np.ndarray], np.ndarray]  # crop uint8 RGB [s, s, 3] -> face mask float32 [s, s] in [0, 1]
Background = Callable[[np.ndarray], np.ndarray]  # photo uint8 RGB [h, w, 3] -> upscaled photo


@dataclass(frozen=True)
class RestoredFace:
    """A restored face of a photo: box, landmarks and score as in `faces.Face`, and its aligned crops.

    crop: aligned crop of the photo, uint8 RGB [s, s, 3]. restored: the network output at full strength with the colours of the
    crop, uint8 RGB [s, s, 3]. mask: blending mask, float32 [s, s]. alignment: of the crops, a key of alignment.ALIGNMENTS.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray  # float32 [5, 2]
    score: float
    crop: np.ndarray
    restored: np.ndarray
    mask: np.ndarray
    alignment: str = DEFAULT_ALIGNMENT


def compose(base: np.ndarray, faces: Iterable[RestoredFace], strength: float, upscale: float = 1.0) -> np.ndarray:
    """Paste faces into `base`, the photo enlarged `upscale` times; a larger face covers a smaller one.

    Raises GPENError for a strength outside 0 to 1.
    """
    check_strength(strength)
    canvas = base.copy()
    for face in sorted(faces, key=box_area):
        paste(canvas, base, face, strength, upscale)
    return canvas


def check_strength(strength: float) -> float:
    """Return `strength`. Raises GPENError unless it is from 0 to 1."""
    if not 0 <= strength <= 1:
        raise GPENError(f"strength must be a number from 0 to 1; got {strength}.")
    return strength


def box_area(face: Face | RestoredFace) -> float:
    """Area of the box of a face in px^2."""
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])


def paste(canvas: np.ndarray, base: np.ndarray, face: RestoredFace, strength: float, upscale: float = 1.0) -> None:
    """Blend one face into `canvas`, uint8 RGB [h, w, 3], in place. Pixels where its mask is zero are unchanged.

    base: the photo without restored faces, enlarged `upscale` times to the size of the canvas. The box and landmarks of the face
    are in px of the original photo.
    """
    size = len(face.restored)
    from_crop = cv2.invertAffineTransform(alignment_matrix(face.landmarks, size, face.alignment))  # [2, 3]
    to_canvas = _scaled(from_crop, upscale)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ to_canvas[:, :2].T + to_canvas[:, 2]  # [4, 2]
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip(0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if x0 >= x1 or y0 >= y1:
        return
    to_canvas[:, 2] -= (x0, y0)
    window, shape = (slice(y0, y1), slice(x0, x1)), (int(x1 - x0), int(y1 - y0))
    keep = 1 - strength * (1 - retained_detail(face.crop, face.restored, face.mask))
    change = face.restored.astype(np.float32) - np.float32(keep) * face.crop
    change = warp(change, to_canvas, shape, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)  # [h', w', 3]
    mask = warp(face.mask, to_canvas, shape, cv2.BORDER_CONSTANT)[..., None]  # [h', w', 1]
    photo, current = base[window].astype(np.float32), canvas[window].astype(np.float32)
    target = ((1 - strength) * photo + strength * (change + keep * photo)).clip(0, 255)
    canvas[window] = np.rint(current + mask * (target - current)).astype(np.uint8)


def _scaled(matrix: np.ndarray, times: float) -> np.ndarray:
    """Compose the affine `matrix` [2, 3] with a scaling of the target image; pixel centres are at +0.5."""
    result = matrix * times
    result[:, 2] += (times - 1) / 2
    return result


@functools.lru_cache(maxsize=4)
def face_mask(size: int, alignment: str = DEFAULT_ALIGNMENT) -> np.ndarray:
    """Soft mask of an aligned face, float32 [size, size]: one on the face, zero at the border; read-only."""
    position = (np.arange(size) + 0.5) / size  # [size]
    from_ffhq, _ = fit_similarity(template(size) + 0.5, template(size, alignment) + 0.5)  # [2, 3]; the rotation is below 0.01 deg
    scale, middle = from_ffhq[0, 0], from_ffhq[:, :2] @ CENTRE + from_ffhq[:, 2] / size
    x, y = (np.abs(position - c) / (scale * a) for c, a in zip(middle, AXES, strict=True))
    radius = (x[None, :] ** ROUNDNESS + y[:, None] ** ROUNDNESS) ** (1 / ROUNDNESS)  # [size, size]
    inside = ((1 - radius) / FEATHER).clip(0, 1)
    mask = (inside * inside * (3 - 2 * inside)).astype(np.float32)
    mask.flags.writeable = False  # shared by all faces through the cache
    return mask


def match_colour(restored: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Transfer the low-frequency colours of `crop` to `restored`; both uint8 RGB [s, s, 3], mask [s, s].

    The difference is averaged within the mask by normalised convolution at low resolution. The remaining local hue difference is
    limited to MAX_HUE_SHIFT, which prevents changes of the eye colour. The result of a greyscale crop is greyscale.
    """
    result = restored.astype(np.float32)
    if not mask.any():  # the parsing model found no face
        return restored
    if np.average(np.ptp(crop, axis=2), weights=mask) < GREY:
        result = np.repeat(cv2.cvtColor(restored, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.float32)
    side = min(COLOUR_SIDE, len(crop))
    weighted = np.dstack([(crop - result) * mask[..., None], mask])  # [s, s, 4]
    low = cv2.GaussianBlur(cv2.resize(weighted, (side, side), interpolation=cv2.INTER_AREA), (0, 0), COLOUR_SIGMA)
    shift: np.ndarray = low[..., :3] / np.maximum(low[..., 3:], 1e-3)
    shift = cv2.resize(shift, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # [s, s, 3]
    result = _limit_hue_shift(result + shift, crop)
    return np.rint(result.clip(0, 255)).astype(np.uint8)


def _limit_hue_shift(result: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Limit the local hue difference of `result`, float32 [s, s, 3], to `crop` to MAX_HUE_SHIFT."""
    change = result - crop
    change -= cv2.cvtColor(change, cv2.COLOR_RGB2GRAY)[..., None]  # without the difference in brightness
    local = cv2.GaussianBlur(change, (0, 0), max(LOCAL_SIGMA * len(crop), 2.0))
    size = np.linalg.norm(local, axis=2, keepdims=True)  # [s, s, 1]
    return result - change * (1 - MAX_HUE_SHIFT / np.maximum(size, MAX_HUE_SHIFT))


def retained_detail(crop: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> float:
    """Fraction, 0 to 1, of the highest frequency band of `crop` that is present in `restored`.

    The least-squares coefficient within the mask: high for the detail of a sharp face, low for noise, and without effect for a
    blurred crop.
    """
    bands = []
    for image in (crop, restored):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)  # [s, s]
        bands.append(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))
    before, after = bands
    return float(np.clip((mask * before * after).sum() / ((mask * before * before).sum() + 1e-6), 0, 1))


def enlarge(image: np.ndarray, upscale: float, background: Background | str | os.PathLike | None = None) -> np.ndarray:
    """Upscale a photo, uint8 RGB [h, w, 3], by bicubic interpolation or with a super-resolution model.

    upscale: factor from 1 to 16. background: a function, or the file of a model that spandrel can load; its result is resized to
    the requested size. Raises GPENError for any other factor.
    """
    if not 1 <= upscale <= MAX_UPSCALE:
        raise GPENError(f"upscale must be a number from 1 to {MAX_UPSCALE}; got {upscale}.")
    if background is not None and not callable(background):
        background = load_background(background)
    larger = image if background is None else background(image)
    size = (round(image.shape[1] * upscale), round(image.shape[0] * upscale))
    if larger.shape[1::-1] == size:
        return larger
    interpolation = cv2.INTER_AREA if larger.shape[1] > size[0] else cv2.INTER_CUBIC
    return cv2.resize(larger, size, interpolation=interpolation)


def load_background(path: str | os.PathLike) -> Background:
    """Load any super-resolution model supported by spandrel as a function of a photo; it is applied in tiles.

    Raises GPENError if spandrel or the file is missing, or the file is not a super-resolution model.
    """
    from gpen.compat import patch_torchvision

    patch_torchvision()
    spandrel = import_optional("spandrel", "photo", "A background model")
    if not Path(path).is_file():
        raise GPENError(f"There is no file {path}: check the path of the background model.")
    try:
        model = spandrel.ModelLoader(device="cuda" if torch.cuda.is_available() else "cpu").load_from_file(path)
    except Exception as error:  # spandrel and torch raise many types of exceptions
        reason = str(error)[:100] or type(error).__name__
        raise GPENError(
            f"{Path(path).name} is not a super-resolution model that spandrel can load ({reason}): use another model."
        ) from None
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.input_channels != 3 or model.output_channels != 3:
        raise GPENError(f"{Path(path).name} does not map an RGB image to an RGB image: use a super-resolution model.")
    return lambda image: _tiled(model.eval(), image)


@torch.inference_mode()
def _tiled(model: ImageModelDescriptor, image: np.ndarray) -> np.ndarray:
    """Apply a model in tiles with OVERLAP px of context: uint8 RGB [h, w, 3] -> [h * scale, w * scale, 3]."""
    (h, w), scale = image.shape[:2], model.scale
    result = np.empty((h * scale, w * scale, 3), np.uint8)
    for y in range(0, h, TILE):
        for x in range(0, w, TILE):
            top, left = max(y - OVERLAP, 0), max(x - OVERLAP, 0)
            tile = image[top : y + TILE + OVERLAP, left : x + TILE + OVERLAP].astype(np.float32) / 255
            out = model(torch.from_numpy(tile.transpose(2, 0, 1))[None].to(model.device))[0]  # [3, h', w'] in [0, 1]
            out = (out.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            place = result[y * scale : (y + TILE) * scale, x * scale : (x + TILE) * scale]
            place[:] = out[(y - top) * scale :, (x - left) * scale :][: place.shape[0], : place.shape[1]]
    return result


def load_parser(path: str | os.PathLike) -> Parser:
    """Load a face parsing model for the 19 classes of CelebAMask-HQ (such as BiSeNet) as a function: crop -> soft face mask.

    path: an ONNX file with the input RGB [1, 3, n, n], normalised with the mean and standard deviation of ImageNet, and the
    output logits [1, 19, n, n]. Raises GPENError if the file is missing or is not an ONNX model.
    """
    onnxruntime = import_optional("onnxruntime", "onnx", "A parsing model")
    if not Path(path).is_file():
        raise GPENError(f"There is no file {path}: check the path of the parsing model.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception:  # the exceptions of onnxruntime are not public
        raise GPENError(f"{Path(path).name} is not an ONNX model: export the parsing model to ONNX.") from None
    model_input = session.get_inputs()[0]
    side = model_input.shape[-1] if isinstance(model_input.shape[-1], int) else 512

    def parse(crop: np.ndarray) -> np.ndarray:
        x = resize_to(crop, side)
        x = (x.astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)  # [n, n, 3]
        scores = session.run(None, {model_input.name: x.transpose(2, 0, 1)[None].astype(np.float32)})[0]
        if scores.ndim != 4 or scores.shape[1] != 19:
            raise GPENError(
                f"{Path(path).name} returns {list(scores.shape)}: a parsing model returns logits of 19 classes, [1, 19, n, n]."
            )
        face: np.ndarray = np.isin(scores[0].argmax(axis=0), FACE_CLASSES).astype(np.float32)  # [n, n]
        face = cv2.GaussianBlur(cv2.erode(face, np.ones((3, 3))), (0, 0), len(face) / 50)
        size = len(crop)
        return cv2.resize(face, (size, size), interpolation=cv2.INTER_LINEAR) * np.minimum(1, 4 * face_mask(size))

    return parse
