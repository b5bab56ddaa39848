"""Image input and output of the page: files to uint8 RGB [h, w, 3], and arrays to PNG.

The format of a file is detected from its content, not from its name. Its size in bytes and pixels is checked before it is
decoded. Only the first frame of an animation is read. 16-bit images and transparency are converted to 8-bit RGB here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gpen.errors import GPENError
from gpen.faces.alignment import Face, align, aligned_face
from gpen.images import downscale, encode, square_crop

MAX_BYTES = 25 * 2**20  # of a file
MAX_PIXELS = 40_000_000  # of an image, checked before decoding: 120 MB as RGB
MIN_SIDE = 16  # px
MAX_ASPECT = 8  # longer side / shorter side
ALIGNED_TOLERANCE = 0.05  # maximum mean landmark distance from the template, relative to the side of the square
Image.init()
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
FORMATS = [name for name in _FORMATS if name in Image.OPEN]  # older Pillow lacks AVIF


class ImageError(GPENError):
    """An image cannot be used; the message says why and what to do."""


def decode(path: str | os.PathLike | None) -> np.ndarray:
    """Read an image file as upright uint8 RGB [h, w, 3]. Raises ImageError if that is not possible."""
    path = _checked_path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks below handle what Pillow warns about
        try:
            with Image.open(path, formats=FORMATS) as pil_image:
                _check_pixels(*pil_image.size)
                return _to_rgb(_upright(pil_image))
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError("This file is not an image that can be read: choose a PNG, JPEG, WebP or GIF file.") from None
        except Image.DecompressionBombError:
            raise ImageError(f"This image is too large: reduce it to at most {MAX_PIXELS // 10**6} megapixels.") from None
        except MemoryError:
            raise ImageError("There is not enough memory for this image: reduce its size.") from None
        except Exception:  # decoders raise OSError, SyntaxError, struct.error and others on invalid data
            raise ImageError("This image is truncated or damaged: save it again or choose another one.") from None


def read_face(path: str | os.PathLike | None, size: int) -> np.ndarray:
    """Read an image file as a square face, uint8 RGB [size, size, 3]: the central square, resized."""
    return square_crop(decode(path), size)


def find_face(path: str | os.PathLike | None, size: int, detector: Callable[[np.ndarray], list[Face]]) -> tuple[np.ndarray, bool]:
    """Read the largest face of an image file, aligned, and whether a face was found.

    Without a face, the central square is returned. A face that is already aligned is not resampled.
    """
    image = decode(path)
    if not (faces := detector(image)):
        return square_crop(image, size), False
    if is_aligned(image, faces[0]):
        return square_crop(image, size), True
    return align(image, faces[0].landmarks, size)[0], True


def is_aligned(image: np.ndarray, face: Face) -> bool:
    """Return whether the landmarks are where the template has them in the central square of the image."""
    expected = aligned_face(image)
    side = expected.box[2] - expected.box[0]
    return float(np.linalg.norm(face.landmarks - expected.landmarks, axis=1).mean()) < ALIGNED_TOLERANCE * side


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
        os.utime(path)  # gradio deletes cached files by age
        return str(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)  # no request reads an incomplete file; without fsync, since these files are a cache
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


def _checked_path(path: str | os.PathLike | None) -> str | os.PathLike:
    """Return `path` if the file exists and is not too large. Raises ImageError otherwise."""
    if path is None:
        raise ImageError("There is no image: choose one.")
    try:
        size = os.path.getsize(path)
    except OSError:
        raise ImageError("The image is no longer on the server: upload it again.") from None
    if size > MAX_BYTES:
        raise ImageError(f"This file has {size / 2**20:.0f} MB: choose one of at most {MAX_BYTES // 2**20} MB.")
    return path


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"This image has {width * height / 1e6:.0f} megapixels: reduce it to at most {MAX_PIXELS // 10**6}.")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"This image has only {width} x {height} pixels: choose one of at least {MIN_SIDE} x {MIN_SIDE}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"This image has {width} x {height} pixels, which is too narrow: crop it to the face.")


def _upright(pil_image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; a damaged EXIF block is ignored."""
    pil_image.load()  # decode the pixels first: errors below then concern only the EXIF data
    try:
        return ImageOps.exif_transpose(pil_image)
    except Exception:
        return pil_image


def _to_rgb(pil_image: Image.Image) -> np.ndarray:
    """Convert any Pillow mode to uint8 RGB [h, w, 3]; transparent pixels become white."""
    if pil_image.mode.startswith("I"):  # I;16 and its byte orders; older Pillow opens a 16-bit PNG as I
        values = np.asarray(pil_image).astype(np.int64)  # [h, w]
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("This image has more than 16 bits per channel: save it with 8 or 16.")
        return np.repeat(((values * 255 + 32767) // 65535).astype(np.uint8)[..., None], 3, axis=2)
    if pil_image.mode == "F":
        raise ImageError("This image has floating-point pixels: save it with 8 or 16 bits per channel.")
    if pil_image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in pil_image.info:
        pil_image = pil_image.convert("RGBA")
        white = Image.new("RGBA", pil_image.size, "white")
        pil_image = Image.alpha_composite(white, pil_image)
    return np.array(pil_image.convert("RGB"))
