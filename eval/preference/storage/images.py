"""The images of a study: PNG files under the hash of their content, which reveal neither the method nor the source file."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.images import ReadableFile, encode, read_image, write_atomically


def store_image(image: np.ndarray, out: Path) -> str:
    """Write an image, uint8 RGB [h, w, 3], to the study `out`; returns its path relative to the study."""
    data = encode(image)
    name = f"images/{hashlib.sha256(data).hexdigest()[:20]}.png"
    if not (out / name).exists():
        write_atomically(out / name, data)
    return name


def store_input(path: ReadableFile | None, like: np.ndarray, out: Path) -> str | None:
    """Write the input, each pixel enlarged to a square; returns its path, None without an input.

    An interpolated input would be the same image as the result of that interpolation. Raises GPENError if the aspect ratios of
    the input and of the results, `like`, are different.
    """
    if path is None:
        return None
    image, (h, w) = read_image(path), like.shape[:2]
    if abs(image.shape[1] * h - image.shape[0] * w) > 2 * max(h, w):  # tolerance for rounded sizes
        raise GPENError(
            f"{path} has {size_of(image)} px, not the aspect ratio of the results, {size_of(like)} px; "
            "give the input of these results."
        )
    return store_image(cv2.resize(image, (w, h), interpolation=cv2.INTER_NEAREST), out)


def size_of(image: np.ndarray) -> str:
    """Width and height of an image as text."""
    return f"{image.shape[1]} x {image.shape[0]}"
