"""Restored faces back into their photo: mask, colour, sharpness, and the enlargement of what is around them.

A face goes back as
    T = (1 - s) I + s (up(R) + k (I - up(C))),     k = 1 - s (1 - c),     I' <- (1 - m) I' + m T
I the photo, C the aligned crop of it, R the restored crop, up() the warp back, s the strength, m the soft mask. I - up(C) is what
the photo holds beyond the network's resolution, and c, from 0 to 1, the part of C's finest band that the network confirmed in R:
a sharp face stays sharp, grain stays at low strength and goes at full. R has C's colours in the large: skin keeps its tone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from .errors import GPENError
from .faces import similarity, warp

# The mask: a superellipse in the aligned square. In parts of its side; it reaches zero at the square's edge or before.
CENTRE = (0.5, 0.53)
AXES = (0.44, 0.45)
ROUNDNESS = 2.5  # 2 is an ellipse, infinity a box
FEATHER = 0.45  # of the axes: how far from the outline the mask becomes one
COLOUR_SIDE, COLOUR_SIGMA = 64, 5.0  # px: colours are compared on a square of this side, after a blur
# Over a spot as large as an iris, in parts of the square's side, hues may differ by so many levels. Of faces degraded as in
# training the truth differs by 10 to 20 from the input in its worst spot; an eye that turns from brown to blue, by more.
SPOT, SPOT_SHIFT = 1 / 64, 16.0
GREY = 3.0  # levels: a crop whose channels differ less than this is black and white
# CelebAMask-HQ's classes in the usual order: skin, brows, eyes, glasses, ears, earring, nose, mouth, lips
FACE_CLASSES = tuple(range(1, 14))
TILE, OVERLAP = 256, 16  # px, for a background model
MAX_UPSCALE = 16

Parser = Callable[[np.ndarray], np.ndarray]  # crop uint8 RGB [s, s, 3] -> what is face, float32 [s, s] from 0 to 1
Background = Callable[[np.ndarray], np.ndarray]  # photo uint8 RGB [h, w, 3] -> the same, larger


@dataclass(frozen=True)
class RestoredFace:
    """A face of a photo: where it is, as `faces.Face` says, and its aligned squares before and after, uint8 RGB [s, s, 3].

    `restored` is the network's result at full strength with the crop's colours; `mask`, float32 [s, s], what of it goes back.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray  # float32 [5, 2]
    score: float
    crop: np.ndarray
    restored: np.ndarray
    mask: np.ndarray


def compose(base: np.ndarray, faces: Iterable[RestoredFace], strength: float, upscale: float = 1.0) -> np.ndarray:
    """`base`, a photo enlarged `upscale` times, with the faces in it; of two that overlap the larger, the nearer one, covers.

    Raises GPENError for a strength that is not from 0 to 1.
    """
    check_strength(strength)
    canvas = base.copy()
    for face in sorted(faces, key=area):
        paste(canvas, base, face, strength, upscale)
    return canvas


def check_strength(strength: float) -> float:
    """`strength` itself. Raises GPENError unless it is from 0 to 1."""
    if not 0 <= strength <= 1:
        raise GPENError(f"strength is a number from 0 to 1; got {strength}.")
    return strength


def area(face) -> float:
    """Of the box of a Face or RestoredFace, px^2."""
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])


def paste(canvas: np.ndarray, base: np.ndarray, face: RestoredFace, strength: float, upscale: float = 1.0) -> None:
    """Blend one face into `canvas`, uint8 RGB [h, w, 3], in place. Pixels where its mask is zero stay as they are.

    base: the photo without any restored face, of the canvas's size, enlarged `upscale` times; the face's numbers are the photo's.
    """
    size = len(face.restored)
    to_canvas = _enlarged(cv2.invertAffineTransform(similarity(face.landmarks, size)), upscale)  # [2, 3], from the square
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ to_canvas[:, :2].T + to_canvas[:, 2]  # [4, 2]
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip(0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if x0 >= x1 or y0 >= y1:
        return
    to_canvas[:, 2] -= (x0, y0)
    window, shape = (slice(y0, y1), slice(x0, x1)), (int(x1 - x0), int(y1 - y0))
    keep = 1 - strength * (1 - confirmed(face.crop, face.restored, face.mask))
    change = face.restored.astype(np.float32) - np.float32(keep) * face.crop
    change = warp(change, to_canvas, shape, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)  # [h', w', 3]
    mask = warp(face.mask, to_canvas, shape, cv2.BORDER_CONSTANT)[..., None]  # [h', w', 1]
    photo, now = base[window].astype(np.float32), canvas[window].astype(np.float32)
    target = ((1 - strength) * photo + strength * (change + keep * photo)).clip(0, 255)
    canvas[window] = np.rint(now + mask * (target - now)).astype(np.uint8)


def _enlarged(matrix: np.ndarray, times: float) -> np.ndarray:
    """`matrix` [2, 3] into a photo, followed by the photo's enlargement; pixel centres lie at +0.5 of the corners."""
    result = matrix * times
    result[:, 2] += (times - 1) / 2
    return result


@functools.lru_cache(maxsize=4)
def face_mask(size: int) -> np.ndarray:
    """The soft mask of an aligned face, float32 [size, size]: one on the face, zero towards the square's edge."""
    at = (np.arange(size) + 0.5) / size  # [size]
    x, y = (np.abs(at - c) / a for c, a in zip(CENTRE, AXES, strict=True))
    radius = (x[None, :] ** ROUNDNESS + y[:, None] ** ROUNDNESS) ** (1 / ROUNDNESS)  # [size, size]
    inside = ((1 - radius) / FEATHER).clip(0, 1)
    mask = (inside * inside * (3 - 2 * inside)).astype(np.float32)
    mask.flags.writeable = False  # every face shares it
    return mask


def match_colour(restored: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`restored` with the colours that `crop` has in the large within the mask; all uint8 RGB [s, s, 3], the mask [s, s].

    The difference is averaged under the mask (normalised convolution) on a small square. Of what is left, the hue in spots as
    small as an iris is bounded: no eye turns blue. A black and white crop stays so.
    """
    result = restored.astype(np.float32)
    if not mask.any():  # a parsing model saw no face: nothing goes back
        return restored
    if np.average(np.ptp(crop, axis=2), weights=mask) < GREY:
        result = np.repeat(cv2.cvtColor(restored, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.float32)
    side = min(COLOUR_SIDE, len(crop))
    weighted = np.dstack([(crop - result) * mask[..., None], mask])  # [s, s, 4]
    low = cv2.GaussianBlur(cv2.resize(weighted, (side, side), interpolation=cv2.INTER_AREA), (0, 0), COLOUR_SIGMA)
    shift: np.ndarray = low[..., :3] / np.maximum(low[..., 3:], 1e-3)
    shift = cv2.resize(shift, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # [s, s, 3]
    result = _bounded(result + shift, crop)
    return np.rint(result.clip(0, 255)).astype(np.uint8)


def _bounded(result: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """`result`, float32 [s, s, 3], its hues brought nearer to the crop's in spots where they are farther than SPOT_SHIFT."""
    change = result - crop
    change -= cv2.cvtColor(change, cv2.COLOR_RGB2GRAY)[..., None]  # brightness may change
    spots = cv2.GaussianBlur(change, (0, 0), max(SPOT * len(crop), 2.0))
    size = np.linalg.norm(spots, axis=2, keepdims=True)  # [s, s, 1]
    return result - change * (1 - SPOT_SHIFT / np.maximum(size, SPOT_SHIFT))


def confirmed(crop: np.ndarray, restored: np.ndarray, mask: np.ndarray) -> float:
    """Which part of the crop's finest band the network gave back, 0 to 1: least squares under the mask.

    Detail of a sharp face comes back, noise does not; a blurred crop has nothing there, and then it does not matter.
    """
    bands = []
    for image in (crop, restored):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)  # [s, s]
        bands.append(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))
    before, after = bands
    return float(np.clip((mask * before * after).sum() / ((mask * before * before).sum() + 1e-6), 0, 1))


def enlarge(image: np.ndarray, upscale: float, background: Background | str | os.PathLike | None = None) -> np.ndarray:
    """A photo uint8 RGB [h, w, 3] `upscale` times as large: bicubic, or by `background`, a function or a file for spandrel.

    What the function gives is resized to that size. Raises GPENError for an `upscale` that is not from 1 to 16.
    """
    if not 1 <= upscale <= MAX_UPSCALE:
        raise GPENError(f"upscale is a number from 1 to {MAX_UPSCALE}; got {upscale}.")
    if background is not None and not callable(background):
        background = load_background(background)
    larger = image if background is None else background(image)
    size = (round(image.shape[1] * upscale), round(image.shape[0] * upscale))
    if larger.shape[1::-1] == size:
        return larger
    how = cv2.INTER_AREA if larger.shape[1] > size[0] else cv2.INTER_CUBIC
    return cv2.resize(larger, size, interpolation=how)


def load_background(path: str | os.PathLike) -> Background:
    """A super-resolution model of any kind that spandrel reads, as a function of a photo; it works in tiles.

    Raises GPENError where the package or the file is absent or the file is no such model.
    """
    try:
        from .compat import mend_torchvision

        mend_torchvision()
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError:
        raise GPENError("A background model needs a package: pip install spandrel.") from None
    if not Path(path).is_file():
        raise GPENError(f"There is no file {path}: name the background model's file.")
    try:
        model = ModelLoader(device="cuda" if torch.cuda.is_available() else "cpu").load_from_file(path)
    except Exception as error:  # spandrel and torch raise many kinds
        reason = str(error)[:100] or type(error).__name__
        raise GPENError(f"{Path(path).name} is no super-resolution model that spandrel reads ({reason}).") from None
    if not isinstance(model, ImageModelDescriptor) or model.input_channels != 3 or model.output_channels != 3:
        raise GPENError(f"{Path(path).name} does not turn one colour picture into another: take a super-resolution model.")
    return lambda image: _tiled(model.eval(), image)


@torch.inference_mode()
def _tiled(model, image: np.ndarray) -> np.ndarray:
    """uint8 RGB [h, w, 3] -> [h * scale, w * scale, 3]; tiles see OVERLAP px around what is kept of them."""
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
    """A face parsing model of CelebAMask-HQ's 19 classes (BiSeNet and the like) as a function: crop -> soft mask of the face.

    An ONNX file: RGB with ImageNet's mean and deviation [1, 3, n, n] in, scores [1, 19, n, n] out.
    Raises GPENError where it is absent or something else.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise GPENError(f"There is no file {path}: name the parsing model's .onnx file.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's own exceptions are not public
        raise GPENError(f"{Path(path).name} is no ONNX model: export the parsing model to ONNX.") from None
    taken = session.get_inputs()[0]
    side = taken.shape[-1] if isinstance(taken.shape[-1], int) else 512

    def parse(crop: np.ndarray) -> np.ndarray:
        way = cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR
        x: np.ndarray = cv2.resize(crop, (side, side), interpolation=way)
        x = (x.astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)  # [n, n, 3]
        scores = session.run(None, {taken.name: x.transpose(2, 0, 1)[None].astype(np.float32)})[0]
        if scores.ndim != 4 or scores.shape[1] != 19:
            raise GPENError(f"{Path(path).name} gives {list(scores.shape)}: a parsing model gives scores of 19 classes.")
        face: np.ndarray = np.isin(scores[0].argmax(axis=0), FACE_CLASSES).astype(np.float32)  # [n, n]
        face = cv2.GaussianBlur(cv2.erode(face, np.ones((3, 3))), (0, 0), len(face) / 50)
        size = len(crop)
        return cv2.resize(face, (size, size), interpolation=cv2.INTER_LINEAR) * np.minimum(1, 4 * face_mask(size))

    return parse
