"""Image files, resizing, cropping, and conversion between uint8 arrays and tensors; atomic writing of any file.

Images are uint8 RGB [h, w, 3] unless noted otherwise; tensors are float32 [3, h, w] in [-1, 1].
"""

from __future__ import annotations

import io
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gpen.errors import GPENError

ASTRONAUT_CROP = (18, 136, 178)  # top, left, side in px: the roughly FFHQ-aligned face of scikit-image's astronaut


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image file of any format that Pillow supports: uint8 RGB [h, w, 3], upright, without alpha.

    The EXIF orientation is applied, 16 bits per channel are reduced to 8, and the first frame of an animation is returned.
    Raises GPENError if the file is missing, damaged, truncated or not an image.
    """
    path = Path(path)
    return decode(read_bytes(path), path)


def decode(data: bytes, name: str | os.PathLike = "The file") -> np.ndarray:
    """Decode the bytes of an image file as `read_image` does. name: of the file, for error messages."""
    with decoding(name, data) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an image of any Pillow mode to uint8 RGB [h, w, 3]; alpha is dropped. Raises GPENError for 32-bit pixels."""
    if image.mode.startswith("I"):  # 16-bit grey; older versions of Pillow open it in the mode I
        levels = np.asarray(image).astype(np.int64)  # [h, w]
        if levels.min() < 0 or levels.max() > 65535:
            raise GPENError("The image has more than 16 bits per channel: save it with 8 or 16.")
        return np.repeat(((levels + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise GPENError("The image has 32 bits per channel: save it with 8 or 16.")
    return np.array(image.convert("RGB"))


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises GPENError if it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise GPENError(f"There is no file {path}: check the path.") from None
    except OSError as error:
        raise GPENError(f"{path} cannot be read ({error.strerror or error}): check the path and its permissions.") from None


@contextmanager
def decoding(name: str | os.PathLike, data: bytes) -> Iterator[Image.Image]:
    """Open an image with Pillow; errors within the context, such as that of a truncated file, are raised as GPENError.

    name: of the file, for error messages.
    """
    name = os.fspath(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata and large images
            with Image.open(io.BytesIO(data)) as image:
                yield image
    except GPENError as error:
        raise error if name in str(error) else GPENError(f"{name} cannot be used: {error}") from None
    except UnidentifiedImageError:
        reason = "unknown format" if data else "it is empty"
        raise GPENError(f"{name} cannot be read as an image ({reason}): give a JPEG, PNG, WebP, TIFF or BMP file.") from None
    except Image.DecompressionBombError:
        raise GPENError(
            f"{name} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels: make it smaller."
        ) from None
    except Exception as error:  # decoders raise many types (OSError, SyntaxError, struct.error, ...) on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GPENError(f"{name} cannot be read as an image ({reason}): it may be truncated.") from None


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encode an image, uint8 RGB [h, w, 3], in the format of a file suffix. Raises GPENError for an unknown suffix."""
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise GPENError(f"The suffix {suffix!r} is not that of an image format: use .png.")
    return data.tobytes()


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image, uint8 RGB [h, w, 3], atomically in the format of the suffix. Raises GPENError for an unknown suffix."""
    path = Path(path)
    try:
        data = encode(image, path.suffix)
    except GPENError:
        raise GPENError(f"{path} does not have the suffix of an image format: use .png.") from None
    write_atomically(path, data)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file so that it is complete or unchanged after an interruption at any time; missing folders are created."""
    with replace_atomically(path) as partial:
        partial.write_bytes(data)


@contextmanager
def replace_atomically(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` on success and is deleted after an error.

    The temporary name is unique, so that several processes can write the same file, and short, so that it is valid for every
    valid `path`. Missing folders are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def resize_to(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square image [h, h] or [h, h, c] to `size` px for the network: area averaging down, bilinear up.

    Bilinear upsampling is what GPEN was trained with.
    """
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)


def downscale(image: np.ndarray, longest: int) -> np.ndarray:
    """Resize `image` [h, w, 3] by area averaging so that its longer side is at most `longest` px."""
    h, w = image.shape[:2]
    if max(h, w) <= longest:
        return image
    size = (max(1, round(w * longest / max(h, w))), max(1, round(h * longest / max(h, w))))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def square_crop(image: np.ndarray, size: int | None = None) -> np.ndarray:
    """Crop the central square of an image [h, w, 3] and resize it to `size` px: area averaging down, bicubic up.

    For ground truth images; `resize_to` is for inputs of the network.
    """
    h, w = image.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])  # [side, side, 3]
    if size is None or size == side:
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def astronaut_face(size: int | None = None) -> np.ndarray:
    """Face of scikit-image's astronaut photo (NASA, public domain), uint8 RGB [size, size, 3]; None: 178 px, not resized."""
    import skimage.data  # an optional dependency

    top, left, side = ASTRONAUT_CROP
    return square_crop(skimage.data.astronaut()[top : top + side, left : left + side], size)


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert uint8 [h, w, 3] to float32 [3, h, w] in [-1, 1]."""
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)


def to_image(x: Tensor) -> np.ndarray:
    """Convert [3, h, w] in [-1, 1] to uint8 [h, w, 3], clamped and rounded (the released code truncates)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
