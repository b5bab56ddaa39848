"""The other tasks of GPEN's published models, on aligned faces: colourise, inpaint, a face from its segmentation map.

Each is a way in and a way out around the same network (the released code's FaceColorization, FaceInpainting, Segmentation2Face):

    colorize   grey picture -> colours; the chroma is the network's, the luma stays the input's, at the input's resolution
    inpaint    the masked pixels are painted white, as the released code does; every other pixel comes back bit for bit
    seg2face   a map of the 19 classes of CelebAMask-HQ -> a face; this network's images are in [0, 1], all others' in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from . import checkpoints
from .errors import GPENError
from .network import UnitRange
from .restore import Restorer, resize

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, on gamma-coded RGB; they sum to 1
HIDDEN = 255  # the level of masked pixels, in all three channels

PALETTE = {  # CelebAMask-HQ (Lee et al., CVPR 2020): label 0, 1, ... in this order -> RGB
    "background": (0, 0, 0), "skin": (204, 0, 0), "nose": (76, 153, 0), "eyeglasses": (204, 204, 0), "left eye": (51, 51, 255),
    "right eye": (204, 0, 204), "left brow": (0, 255, 255), "right brow": (255, 204, 204), "left ear": (102, 51, 0),
    "right ear": (255, 0, 0), "mouth": (102, 204, 0), "upper lip": (255, 255, 0), "lower lip": (0, 0, 153), "hair": (0, 0, 204),
    "hat": (255, 51, 153), "earring": (0, 204, 204), "necklace": (0, 51, 0), "neck": (255, 153, 51), "cloth": (0, 204, 0),
}  # fmt: skip
_COLOURS = np.array(list(PALETTE.values()), np.uint8)  # [19, 3]
_NEAR = 25  # half the least distance of two colours: what is nearer to one is that one, whatever JPEG did to it
_STRAY = 0.05  # share of the pixels that may be of no class's colour; resizing makes such at the borders

Run = Callable[..., np.ndarray]  # of a Restorer, an image and a mask, which is None but for inpaint


@dataclass(frozen=True)
class Task:
    """What a task does, and the names of its models, published ones first; without any it is the default model's."""

    run: Run
    models: tuple[str, ...] = ()


def run(restorer: Restorer, task: str, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Do a task with a restorer that has the task's network; see `find_model`.

    image: an aligned face, uint8 RGB [h, h, 3] of any size; for seg2face a map, uint8 [h, h] of labels 0 to 18 or [h, h, 3] of
    the palette's colours. mask: for inpaint alone, [h, h], what is not 0 is to be filled in.
    Returns uint8 RGB: [h, h, 3] from colorize and inpaint, the network's [size, size, 3] from restore and seg2face.
    Raises GPENError for another task, image, mask, or a strength below 1 in any task but restore.
    """
    do = _task(task).run
    if task != "restore" and restorer.strength != 1:
        raise GPENError(f"A strength is for restoring; leave it out for {task}.")
    if (mask is None) == (task == "inpaint"):
        raise GPENError("Inpainting needs a mask of the pixels to fill in, and no other task takes one.")
    return do(restorer, image, mask)


def local_model(task: str) -> Path | None:
    """The file of the first model for the task that is in GPEN_MODELS, the cache or assets/; None where there is none."""
    names = _task(task).models
    if not names:
        return checkpoints.find()
    return next(filter(None, map(checkpoints.local_model, names)), None)


def find_model(task: str, model: str | Path | None = None) -> Path:
    """The file of `model`, without it of the task's own, which is downloaded if need be. Raises GPENError where that fails."""
    names = _task(task).models
    if model is None and (here := local_model(task)):
        return here
    try:
        return checkpoints.find(model or names[0])
    except GPENError as error:
        if model is not None or len(names) == 1:
            raise
        own = f"train your own with `gpen train finetune --task {task}` and name its file with --model"
        raise GPENError(f"{str(error).rstrip('.')}; or {own}.") from None


def luma(image: np.ndarray) -> np.ndarray:
    """RGB [h, w, 3], 0 to 255 -> float32 [h, w], the grey that BT.601 sees in it."""
    return image.astype(np.float32) @ LUMA


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 RGB [h, w, 3] -> the same without colours, its luma in all three channels: what a colouriser is given."""
    return np.repeat(luma(image).round().astype(np.uint8)[..., None], 3, axis=2)


def with_chroma(brightness: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The luma of one picture, float [h, w], with the chroma of another, uint8 RGB [h, w, 3] -> uint8 RGB [h, w, 3].

    Chroma is what differs from the luma, R'G'B' - Y', the axes of Y'CbCr but for a linear map. Where the sum would leave the
    range of 8 bits the chroma is made smaller, never the luma, which therefore comes out to half a level.
    """
    chroma = colours.astype(np.float32) - luma(colours)[..., None]  # [h, w, 3]
    room = np.where(chroma > 0, 255 - brightness[..., None], brightness[..., None])
    share = (room / np.maximum(np.abs(chroma), 1e-6)).min(axis=2, keepdims=True).clip(0, 1)  # [h, w, 1]
    return (brightness[..., None] + share * chroma).round().clip(0, 255).astype(np.uint8)


def hide(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] with the pixels of mask [h, w] painted white: what an inpainter is given."""
    return np.where(mask.astype(bool)[..., None], np.uint8(HIDDEN), image)


def to_palette(labels: np.ndarray) -> np.ndarray:
    """uint8 labels [h, w], 0 to 18 -> uint8 RGB [h, w, 3] in the palette. Raises GPENError for another label."""
    if labels.max(initial=0) >= len(_COLOURS):
        raise GPENError(f"A segmentation map has the labels 0 to {len(_COLOURS) - 1}; this one has {labels.max()}.")
    return _COLOURS[labels]


def to_labels(image: np.ndarray) -> np.ndarray:
    """A map in the palette's colours, uint8 RGB [h, w, 3] -> uint8 labels [h, w]; the inverse of `to_palette`.

    A grey picture of levels up to 18 is taken for the labels themselves. Every other pixel gets the class of the nearest colour.
    Raises GPENError where more than 5% of the pixels are near to none: a photograph, say.
    """
    if image.max(initial=0) < len(_COLOURS) and (image == image[..., :1]).all():
        return image[..., 0]
    packed = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)  # [h, w]
    found, where, count = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], 1)  # [m, 3], each colour of the picture once
    distance = np.sqrt(((colours[:, None] - _COLOURS.astype(np.int32)) ** 2).sum(2))  # [m, 19]
    if count[distance.min(1) > _NEAR].sum() > _STRAY * packed.size:
        raise GPENError("This is no segmentation map: give labels 0 to 18, or the colours of CelebAMask-HQ's 19 classes.")
    return distance.argmin(1).astype(np.uint8)[where].reshape(packed.shape)


def _task(name: str) -> Task:
    if name not in TASKS:
        raise GPENError(f"There is no task {name!r}: choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def _restore(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    return restorer.face(image).image


def _colorize(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    _check(image)
    colours = restorer.face(grey(image)).image  # [size, size, 3]
    return with_chroma(luma(image), resize(colours, len(image)))


def _inpaint(restorer: Restorer, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    _check(image)
    if mask.shape != image.shape[:2]:
        raise GPENError(f"The mask {list(mask.shape)} is not of the picture's height and width {list(image.shape[:2])}.")
    mask = mask.astype(bool)
    side = restorer.net.in_size
    covered = resize(mask.astype(np.float32), side) > 0  # [side, side]: a pixel that the mask touches at all is hidden
    filled = resize(restorer.face(hide(resize(image, side), covered)).image, len(image))
    return np.where(mask[..., None], filled, image)


def _seg2face(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise GPENError("A segmentation map is a uint8 array of labels [h, h] or of the palette's colours [h, h, 3].")
    labels = image if image.ndim == 2 else to_labels(image)
    _check(to_palette(labels))
    side = restorer.net.in_size
    labels = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)  # between two labels there is none
    return Restorer(cast(Any, UnitRange(restorer.net))).face(to_palette(labels)).image


def _check(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise GPENError("An aligned face is a uint8 RGB array [h, w, 3].")
    if image.shape[0] != image.shape[1]:
        raise GPENError(f"An aligned face is square; got {image.shape[1]} x {image.shape[0]} pixels: crop it first.")


TASKS: dict[str, Task] = {
    "restore": Task(_restore),
    "colorize": Task(_colorize, ("GPEN-Colorization-1024", "gpen-colorize")),
    "inpaint": Task(_inpaint, ("GPEN-Inpainting-1024", "gpen-inpaint")),
    "seg2face": Task(_seg2face, ("GPEN-Seg2face-512",)),
}
