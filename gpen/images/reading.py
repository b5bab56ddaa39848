"""Reading of image files with Pillow: one reader for all packages. Images are uint8 RGB [h, w, 3]."""

from __future__ import annotations

import functools
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from gpen.errors import GPENError
from gpen.exif import from_text, orientation
from gpen.images.pixels import swap_red_and_blue, to_8_bits
from gpen.tiff_layout import check_tiff, unsupported_tiff

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")  # no decoder that starts another program
MPO = "MPO"  # format of Pillow for a JPEG of a camera with further images, which is read as the JPEG that it is
MAX_FILE_PIXELS = 200_000_000  # of an image in a file, the size of the largest photos of phones
Image.MAX_IMAGE_PIXELS = MAX_FILE_PIXELS // 2  # Pillow does not open an image of more than twice as many pixels
Image.init()
cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # its messages about unusual files would be printed beside those of gpen
FORMATS = [name for name in _FORMATS if name in Image.OPEN]  # older versions of Pillow lack AVIF
TRANSPOSITIONS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1")  # bytes 4 to 12 of a file (ISO/IEC 23008-12)


class ReadableFile(Protocol):
    """A file that can be read: a Path, or a member of an archive. str(file) names it in messages."""

    def read_bytes(self) -> bytes: ...


def read_image(path: str | os.PathLike | ReadableFile) -> np.ndarray:
    """Read an image file of one of FORMATS, detected from its content: uint8 RGB [h, w, 3], upright, without alpha.

    The EXIF orientation is applied, 16 bits per channel are reduced to 8, and the first frame of an animation is returned.
    Raises GPENError if the file is missing, damaged, truncated or not an image.
    """
    file = Path(path) if isinstance(path, str | os.PathLike) else path
    return decode(read_bytes(file), str(file))


def decode(
    data: bytes,
    name: str | os.PathLike = "The file",
    *,
    check: Callable[[Image.Image], None] | None = None,
    background: str | None = None,
    srgb: bool = False,
) -> np.ndarray:
    """Decode the bytes of an image file as `read_image` does.

    name: of the file, for error messages. check: called with the opened image before its pixels are decoded; it may raise
    GPENError. background: colour behind transparent pixels; None: the alpha channel is dropped. srgb: convert the colours from
    the ICC profile of the file to sRGB; False: the values of the file, as benchmarks read them.
    """
    with decoding(name, data) as image:
        if check is not None:
            check(image)
        negative = image.format == "TIFF" and check_tiff(data)
        image = upright(image)
        rgb = to_rgb(to_srgb(image) if srgb else image, background)
        return 255 - rgb if negative else rgb


def upright(image: Image.Image) -> Image.Image:
    """Decode the pixels and apply the orientation in the EXIF data, or else in the XMP; invalid metadata are ignored."""
    image.load()
    if image.format == "TIFF":  # Pillow has turned it
        return image
    text = image.info.get("Raw profile type exif") or ""
    exif = image.info.get("exif") or from_text(text.encode("latin-1", "replace"))
    xmp = image.info.get("xmp") or b""
    turn = TRANSPOSITIONS.get(orientation(exif, xmp))
    return image if turn is None else image.transpose(turn)


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert the colours of an image from its embedded ICC profile to sRGB; without a valid profile it is returned unchanged."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower().replace(" ", ""):
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):  # the profile is damaged or belongs to another colour space
        return image
    return converted or image


def to_rgb(image: Image.Image, background: str | None = None) -> np.ndarray:
    """Convert an image of any Pillow mode to uint8 RGB [h, w, 3]. Raises GPENError for 32-bit pixels.

    background: colour behind transparent pixels; None: the alpha channel is dropped.
    """
    if image.mode.startswith("I"):  # 16-bit grey; older versions of Pillow open it in the mode I
        levels = np.asarray(image)  # [h, w]
        if levels.min() < 0 or levels.max() > 65535:
            raise GPENError("The image has more than 16 bits per channel: save it with 8 or 16.")
        return np.repeat(to_8_bits(levels)[..., None], 3, axis=2)
    if image.mode == "F":
        raise GPENError("The image has 32 bits per channel: save it with 8 or 16.")
    if background is not None and image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def decode_16_bits(data: bytes) -> np.ndarray:
    """Decode a PNG or TIFF of 16 bits per channel with OpenCV: uint16 [h, w, c], c = 1 (grey), 3 (RGB) or 4 (RGB and alpha).

    Pillow reduces 16-bit colour to 8 bits. OpenCV applies the orientation of a TIFF, but not that of a PNG.
    Raises GPENError if OpenCV cannot decode the data.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise GPENError("The layout of its 16-bit pixels is not supported: save it as a 16-bit PNG.")
    return swap_red_and_blue(pixels)


def image_size(file: ReadableFile) -> tuple[int, int]:
    """(width, height) in px, as stored, without decoding the pixels. Raises GPENError as `read_image` does."""
    with decoding(str(file), read_bytes(file)) as image:
        return image.size


def read_bytes(path: ReadableFile) -> bytes:
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
    heif = register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata and large images
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                yield image
    except GPENError as error:
        raise error if name in str(error) else GPENError(f"{name} cannot be used: {error}") from None
    except UnidentifiedImageError:
        if data[4:12] in HEIF and not heif:
            raise GPENError(f'{name} is a HEIC image: pip install "gpen[heif]", or save it as JPEG.') from None
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise GPENError(f"{name} cannot be used: {unsupported_tiff(data)}") from None
        reason = "unknown format" if data else "it is empty"
        raise GPENError(f"{name} cannot be read as an image ({reason}): give a JPEG, PNG, WebP, TIFF or BMP file.") from None
    except Image.DecompressionBombError:
        raise GPENError(f"{name} has more than {MAX_FILE_PIXELS // 10**6} megapixels: make it smaller.") from None
    except MemoryError:
        raise GPENError(f"There is not enough memory to decode {name}: make it smaller.") from None
    except Exception as error:  # decoders raise many types (OSError, SyntaxError, struct.error, ...) on damaged data
        reason = re.sub(r" \(-?\d+ bytes not processed\)", "", " ".join(str(error).split())) or type(error).__name__
        raise GPENError(f"{name} cannot be read as an image ({reason}): it may be truncated or damaged.") from None


@functools.cache
def register_heif() -> bool:
    """Let Pillow open HEIC images if the optional package pillow-heif is installed; return whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    FORMATS.append("HEIF")
    return True
