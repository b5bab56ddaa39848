"""Inputs of the tasks of other models: squares, painted drawings, and masks, read from uploaded files."""

from __future__ import annotations

from typing import Any

import cv2
import gradio as gr
import numpy as np

from demo import images, languages
from demo.server import gradio_patches
from gpen.errors import GPENError
from gpen.restoration import tasks

BRUSH = "#ff00aa"  # any opaque colour except white: transparent pixels are decoded as white
MAX_DRAWINGS = 8  # of all visitors in memory between their upload and their use, some milliseconds
MAX_SIDE = 2048  # px; larger faces are reduced, which does not affect any network here


def read_square(path: str | None, task: str) -> np.ndarray:
    """Read an image file as a square, uint8 RGB [h, h, 3], of at most MAX_SIDE px.

    Labels of segmentation maps are not interpolated.
    """
    image = images.square_crop(images.decode(path))
    if len(image) <= MAX_SIDE:
        return image
    if task == "seg2face":
        return cv2.resize(image, (MAX_SIDE, MAX_SIDE), interpolation=cv2.INTER_NEAREST)
    return images.square_crop(image, MAX_SIDE)


def read_drawing(paths: list[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and the painted layers from their files, the image first.

    Returns the image as in `read_square`, and the mask, bool [h, h].
    """
    if not paths:
        raise GPENError("There is no image: choose one, then paint over the region to fill in.")
    image, *layers = (images.decode(path) for path in paths)
    painted = np.zeros(image.shape[:2], np.uint8)
    for layer in layers:
        if layer.shape == image.shape:
            painted |= (layer < 250).any(2)
    if not painted.any():
        raise GPENError("Nothing is painted: paint over the region to fill in.")
    return _squares(image, painted)


def read_with_mask(path: str | None, mask: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and a mask of equal size, white in the region to fill in.

    Returns the same as `read_drawing`.
    """
    image = images.decode(path)
    if mask is None:
        raise GPENError("There is no mask: pass an image of the same size, white in the region to fill in and black elsewhere.")
    white = tasks.luma(images.decode(mask)) > 127
    if white.shape != image.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (white.shape, image.shape)]
        raise GPENError(f"The mask has {sizes[0]} pixels and the image {sizes[1]}: both must have the same size.")
    image, white = _squares(image, white.astype(np.uint8))
    if not white.any():
        raise GPENError("The mask is black in the central square of the image: make the region to fill in white.")
    return image, white


def _squares(image: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the central squares of an image and of a mask, as in `read_drawing`.

    The mask is uint8 [h, w], non-zero where marked.
    """
    image, marked = images.square_crop(image), images.square_crop(marked)
    if len(image) > MAX_SIDE:
        image, marked = (images.square_crop(x, MAX_SIDE) for x in (image, (marked > 0) * np.uint8(255)))
    return image, marked > 0


def drawing_editor(image: str) -> gr.ImageEditor:
    """Return an image editor that passes the paths of its files for `read_drawing`.

    The files are not decoded by gradio.
    """
    component = gr.ImageEditor(
        {"background": image, "layers": [], "composite": None}, label=languages.text("variations.image"),
        type="filepath", format="png", sources=["upload", "clipboard"], layers=False, transforms=(),
        brush=gr.Brush(colors=[BRUSH], color_mode="fixed"), elem_id="inpaint-image", buttons=[],
    )  # fmt: skip

    def files(payload: Any) -> list[str] | None:
        stored = gradio_patches.editor_payload(component, payload)
        if stored is None or stored.background is None:
            return None
        parts = [part for part in (stored.background, *stored.layers) if part is not None]
        folder = gradio_patches.upload_folder()
        return [_kept(part) if isinstance(part, bytes) else images.uploaded_path(part.path, folder) for part in parts]

    gradio_patches.set_preprocess(component, files)
    gradio_patches.bound_editor_storage(component, MAX_DRAWINGS)
    return component


def _kept(data: bytes) -> str:
    return images.save(data, gradio_patches.upload_folder(), "drawing.png")
