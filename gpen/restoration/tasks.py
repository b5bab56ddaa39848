"""Tasks of the published GPEN models on aligned faces: restoration, colorization, inpainting, segmentation map to face.

All tasks use the same network with different pre- and postprocessing (FaceColorization, FaceInpainting and Segmentation2Face of
the released code):

    restore    low-quality face -> high-quality face
    colorize   grey face -> colour face; chroma of the network output, luma of the input at its own resolution
    inpaint    masked pixels are set to white in the input, as in the released code; all other pixels of the result are those of
               the input
    seg2face   segmentation map with the 19 classes of CelebAMask-HQ -> face; images of this network are in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.faces.alignment import check_aligned
from gpen.images import resize_to
from gpen.models import checkpoints
from gpen.models.network import UnitRange
from gpen.restoration.restorer import Restorer

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, for gamma-encoded RGB; sums to 1
MASKED = 255  # value of masked pixels in all channels

PALETTE = {  # CelebAMask-HQ (Lee et al., CVPR 2020): class -> RGB, in the order of the labels 0, 1, ...
    "background": (0, 0, 0), "skin": (204, 0, 0), "nose": (76, 153, 0), "eyeglasses": (204, 204, 0), "left eye": (51, 51, 255),
    "right eye": (204, 0, 204), "left brow": (0, 255, 255), "right brow": (255, 204, 204), "left ear": (102, 51, 0),
    "right ear": (255, 0, 0), "mouth": (102, 204, 0), "upper lip": (255, 255, 0), "lower lip": (0, 0, 153), "hair": (0, 0, 204),
    "hat": (255, 51, 153), "earring": (0, 204, 204), "necklace": (0, 51, 0), "neck": (255, 153, 51), "cloth": (0, 204, 0),
}  # fmt: skip
_COLOURS = np.array(list(PALETTE.values()), np.uint8)  # [19, 3]
_MAX_DISTANCE = 25  # half the minimum distance of two colours of the palette; tolerates JPEG artefacts
_MAX_STRAY = 0.05  # fraction of pixels that may have no colour of the palette, such as interpolated pixels at borders

Run = Callable[..., np.ndarray]  # (Restorer, image, mask) -> image; the mask is None except for inpaint


@dataclass(frozen=True)
class Task:
    """Function of a task and the names of its models, published ones first; () is the default model."""

    run: Run
    models: tuple[str, ...] = ()


def run(restorer: Restorer, task: str, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Run a task with a restorer that has the network of the task; see `find_model`.

    image: an aligned face, uint8 RGB [h, h, 3] of any size; for seg2face a segmentation map, uint8 labels [h, h] from 0 to 18 or
    colours of the palette [h, h, 3]. mask: for inpaint only, [h, h], nonzero where pixels are to be filled in.
    Returns uint8 RGB, [h, h, 3] for colorize and inpaint, [size, size, 3] for restore and seg2face. Raises GPENError for an
    unknown task, an invalid image or mask, or a strength below 1 in any task except restore.
    """
    function = _task(task).run
    if task != "restore" and restorer.strength != 1:
        raise GPENError(f"A strength below 1 is supported by the task restore only; remove it for {task}.")
    if (mask is None) == (task == "inpaint"):
        raise GPENError("The task inpaint needs a mask of the pixels to fill in; no other task has a mask.")
    return function(restorer, image, mask)


def local_model(task: str) -> Path | None:
    """Find the file of the first model for the task in GPEN_MODELS, the cache or assets/; None if there is none."""
    names = _task(task).models
    if not names:
        return checkpoints.find()
    return next(filter(None, map(checkpoints.local_model, names)), None)


def find_model(task: str, model: str | Path | None = None) -> Path:
    """Find the file of `model`, or of a model for the task, which is downloaded if necessary. Raises GPENError if that fails."""
    names = _task(task).models
    if model is None and (here := local_model(task)):
        return here
    try:
        return checkpoints.find(model or names[0])
    except GPENError as error:
        if model is not None or len(names) == 1:
            raise
        own = f"train your own with `gpen train finetune --task {task}` and give its file with --model"
        raise GPENError(f"{str(error).rstrip('.')}; or {own}.") from None


def luma(image: np.ndarray) -> np.ndarray:
    """BT.601 luma of RGB [h, w, 3], 0 to 255 -> float32 [h, w]."""
    return image.astype(np.float32) @ LUMA


def grey(image: np.ndarray) -> np.ndarray:
    """Convert uint8 RGB [h, w, 3] to grey: its luma in all three channels; the input of colorize."""
    return np.repeat(luma(image).round().astype(np.uint8)[..., None], 3, axis=2)


def with_chroma(brightness: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Combine the luma `brightness`, float [h, w], with the chroma of `colours`, uint8 RGB [h, w, 3] -> uint8 RGB [h, w, 3].

    Chroma is R'G'B' - Y', a linear transform of CbCr. Where the sum would exceed the range of 8 bits, the chroma is scaled down,
    so that the luma is exact up to rounding.
    """
    chroma = colours.astype(np.float32) - luma(colours)[..., None]  # [h, w, 3]
    room = np.where(chroma > 0, 255 - brightness[..., None], brightness[..., None])
    share = (room / np.maximum(np.abs(chroma), 1e-6)).min(axis=2, keepdims=True).clip(0, 1)  # [h, w, 1]
    return (brightness[..., None] + share * chroma).round().clip(0, 255).astype(np.uint8)


def apply_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Set the pixels of uint8 [h, w, 3] where mask [h, w] is nonzero to white: the input of inpaint."""
    return np.where(mask.astype(bool)[..., None], np.uint8(MASKED), image)


def to_palette(labels: np.ndarray) -> np.ndarray:
    """Convert labels, uint8 [h, w] from 0 to 18, to colours of the palette, uint8 RGB [h, w, 3]. Raises GPENError for others."""
    if labels.max(initial=0) >= len(_COLOURS):
        raise GPENError(f"The labels of a segmentation map must be 0 to {len(_COLOURS) - 1}; got {labels.max()}.")
    return _COLOURS[labels]


def to_labels(image: np.ndarray) -> np.ndarray:
    """Convert a map in colours of the palette, uint8 RGB [h, w, 3], to labels, uint8 [h, w]; the inverse of `to_palette`.

    Each pixel has the class of the nearest colour. A grey image with values up to 18 is interpreted as labels. Raises GPENError
    if more than 5% of the pixels are not close to any colour, as in a photo.
    """
    if image.max(initial=0) < len(_COLOURS) and (image == image[..., :1]).all():
        return image[..., 0]
    packed = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)  # [h, w]
    found, where, count = np.unique(packed, return_inverse=True, return_counts=True)
    red, green, blue = found >> 16, found >> 8 & 255, found & 255  # [m] each, unique colours of the image
    labels, least = np.zeros(len(found), np.uint8), np.full(len(found), np.iinfo(np.int32).max, np.int32)
    for label, (r, g, b) in enumerate(_COLOURS.astype(np.int32)):  # one class at a time: a photo has millions of colours
        distance = (red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2  # [m], squared
        labels[distance < least] = label
        np.minimum(least, distance, out=least)
    if count[least > _MAX_DISTANCE**2].sum() > _MAX_STRAY * packed.size:
        raise GPENError(
            "The image is not a segmentation map: give labels from 0 to 18, or colours of the 19 classes of CelebAMask-HQ."
        )
    return labels[where].reshape(packed.shape)


def _task(name: str) -> Task:
    if name not in TASKS:
        raise GPENError(f"There is no task {name!r}: choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def _restore(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    return restorer.face(image).image


def _colorize(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    check_aligned(image)
    colours = restorer.face(grey(image)).image  # [size, size, 3]
    return with_chroma(luma(image), resize_to(colours, len(image)))


def _inpaint(restorer: Restorer, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    check_aligned(image)
    if mask.shape != image.shape[:2]:
        raise GPENError(f"The mask has the shape {list(mask.shape)}, but the image has {list(image.shape[:2])}: resize the mask.")
    mask = mask.astype(bool)
    side = restorer.net.in_size
    small_mask = resize_to(mask.astype(np.float32), side) > 0  # [side, side]; includes partially masked pixels
    filled = resize_to(restorer.face(apply_mask(resize_to(image, side), small_mask)).image, len(image))
    return np.where(mask[..., None], filled, image)


def _seg2face(restorer: Restorer, image: np.ndarray, mask: None) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise GPENError("A segmentation map must be a uint8 array of labels [h, h] or of colours of the palette [h, h, 3].")
    labels = image if image.ndim == 2 else to_labels(image)
    check_aligned(to_palette(labels))
    side = restorer.net.in_size
    labels = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)  # labels cannot be interpolated
    return Restorer(cast(Any, UnitRange(restorer.net))).face(to_palette(labels)).image


TASKS: dict[str, Task] = {
    "restore": Task(_restore),
    "colorize": Task(_colorize, ("GPEN-Colorization-1024", "gpen-colorize")),
    "inpaint": Task(_inpaint, ("GPEN-Inpainting-1024", "gpen-inpaint")),
    "seg2face": Task(_seg2face, ("GPEN-Seg2face-512",)),
}
