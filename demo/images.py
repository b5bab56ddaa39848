"""Image input and output of the page: files to uint8 RGB [h, w, 3], and arrays to PNG.

The format of a file is detected from its content, not from its name. Its size in bytes and pixels is checked before it is
decoded by `gpen.images.decode`. An image of more than MAX_PIXELS is reduced while it is decoded.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import gpen.images
from gpen.errors import GPENError
from gpen.faces.alignment import Face, align, aligned_face
from gpen.images import downscale, encode, read_bytes, replace_atomically, square_crop

MAX_BYTES = 25 * 2**20  # of a file
MAX_PIXELS = 40_000_000  # of a decoded image, 120 MB as RGB; a larger one is reduced
MIN_SIDE = 16  # px
MAX_ASPECT = 8  # longer side / shorter side
MAX_COMPARED = 50  # faces of a photo whose detail is compared
CLARITY_SIDE = 128  # px, at which the detail of faces is compared
ALIGNED_TOLERANCE = 0.05  # maximum mean landmark distance from the template, relative to the side of the square


@dataclass(frozen=True)
class UploadedImage:
    """A decoded image.

    Attributes:
        pixels: uint8 RGB [h, w, 3], upright, in sRGB.
        file_pixels: number of pixels in the file; it is larger than h * w if the image was reduced.
    """

    pixels: np.ndarray
    file_pixels: int

    @property
    def reduced(self) -> bool:
        """Whether the image was reduced to MAX_PIXELS."""
        return self.file_pixels > MAX_PIXELS


def read(path: str | os.PathLike | None) -> UploadedImage:
    """Read an image file; transparent pixels become white, and an image of more than MAX_PIXELS is reduced.

    Raises GPENError, without the path on the server, if that is not possible or if the file is larger than MAX_BYTES or has more
    than gpen.images.MAX_FILE_PIXELS.
    """
    if path is None:
        raise GPENError("There is no image: choose one.")
    if not os.path.isfile(path):
        raise GPENError("The image is no longer on the server: upload it again.")
    _check_bytes(os.path.getsize(path))
    return read_data(read_bytes(Path(path)))


def read_data(data: bytes) -> UploadedImage:
    """Read the content of an image file as `read` does, in memory. Raises GPENError if that is not possible."""
    _check_bytes(len(data))
    file_pixels = 0

    def prepare(image: Image.Image) -> None:
        nonlocal file_pixels
        file_pixels = image.width * image.height
        _check_shape(image)
        _reduce(image)

    with _decoding:
        pixels = gpen.images.decode(data, "This image", check=prepare, background="white", srgb=True)
    return UploadedImage(pixels, file_pixels)


def decode(path: str | os.PathLike | None) -> np.ndarray:
    """Read an image file as `read` does and return its pixels, uint8 RGB [h, w, 3]."""
    return read(path).pixels


def read_face(path: str | os.PathLike | None, size: int) -> np.ndarray:
    """Read an image file as a square face, uint8 RGB [size, size, 3]: the central square, resized."""
    return square_crop(decode(path), size)


def find_face(path: str | os.PathLike | None, size: int, detector: Callable[[np.ndarray], list[Face]]) -> tuple[np.ndarray, int]:
    """Read the clearest face of an image file; see `align_clearest`."""
    return align_clearest(decode(path), size, detector)


def align_clearest(image: np.ndarray, size: int, detector: Callable[[np.ndarray], list[Face]]) -> tuple[np.ndarray, int]:
    """Return the clearest face of an image, aligned, and the number of faces.

    Without a face, the central square is returned. A face that is already aligned is not resampled.
    """
    if not (faces := detector(image)):
        return square_crop(image, size), 0
    face = clearest(image, faces)
    if is_aligned(image, face):
        return square_crop(image, size), len(faces)
    return align(image, face.landmarks, size)[0], len(faces)


def clearest(image: np.ndarray, faces: list[Face]) -> Face:
    """Return the face with the most detail: edge contrast at CLARITY_SIDE px, for faces of at least half the largest width."""

    def detail(face: Face) -> float:
        crop = cv2.cvtColor(align(image, face.landmarks, CLARITY_SIDE)[0], cv2.COLOR_RGB2GRAY)
        return float(cv2.Laplacian(crop, cv2.CV_32F).std()) / (float(crop.std()) + 1)

    widths = [face.box[2] - face.box[0] for face in faces]
    large = [face for face, width in zip(faces, widths, strict=True) if 2 * width >= max(widths)][:MAX_COMPARED]
    return large[0] if len(large) == 1 else max(large, key=detail)


def is_aligned(image: np.ndarray, face: Face) -> bool:
    """Return whether the landmarks are where the template has them in the central square of the image."""
    expected = aligned_face(image)
    side = expected.box[2] - expected.box[0]
    return float(np.linalg.norm(face.landmarks - expected.landmarks, axis=1).mean()) < ALIGNED_TOLERANCE * side


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise GPENError(f"This file has {size / 2**20:.0f} MB: choose one of at most {MAX_BYTES // 2**20} MB.")


def png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB [h, w, 3] as PNG."""
    return encode(image, ".png")


def data_uri(image: np.ndarray, largest: int = 320) -> str:
    """Return a PNG data URI of the image, reduced to at most `largest` px per side."""
    return "data:image/png;base64," + base64.b64encode(png(downscale(image, largest))).decode()


def save(data: bytes, folder: str | os.PathLike, name: str) -> str:
    """Write `data` to folder/HASH/name and return the path. Equal data are stored only once."""
    path = Path(folder) / hashlib.sha256(data).hexdigest() / name
    try:
        if path.stat().st_size == len(data):  # not truncated by a loss of power
            os.utime(path)  # gradio deletes cached files by age
            return str(path)
    except FileNotFoundError:
        pass
    try:
        with replace_atomically(path, durable=False) as partial:  # a slider writes several files per second
            partial.write_bytes(data)
    except OSError as error:
        raise GPENError(f"The result cannot be stored ({error.strerror}): try again in a few minutes.") from None
    return str(path)


def uploaded_path(path: str | None, folder: str | os.PathLike) -> str:
    """Return the resolved `path` if it is inside `folder`, else "", which is handled as a missing file.

    Gradio checks only the paths of values marked as files; clients can send a path without that mark.
    """
    try:
        real = os.path.realpath(path or "")
    except (ValueError, OSError):  # a null byte, or a name that is too long
        return ""
    return real if Path(real).is_relative_to(os.path.realpath(folder)) else ""


def _check_shape(image: Image.Image) -> None:
    """Raise GPENError for an image that is too small or too narrow, before its pixels are decoded."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise GPENError(f"This image has only {width} x {height} pixels: choose one of at least {MIN_SIDE} x {MIN_SIDE}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise GPENError(f"This image has {width} x {height} pixels, which is too narrow: crop it to the face.")


_decoding = threading.Lock()  # one image at a time: of gpen.images.MAX_FILE_PIXELS it takes 0.8 GB, with transparency 1.6 GB


def _reduce(image: Image.Image) -> None:
    """Reduce an opened image of more than MAX_PIXELS in place.

    The JPEG decoder itself halves the sides of an image of more than twice MAX_PIXELS, which saves memory and time.
    """
    factor = math.sqrt(MAX_PIXELS / (image.width * image.height))
    if factor >= 1:
        return
    size = math.floor(image.width * factor), math.floor(image.height * factor)
    image.draft(None, (math.ceil(size[0] / math.sqrt(2)), math.ceil(size[1] / math.sqrt(2))))
    image.thumbnail(size, reducing_gap=None)
