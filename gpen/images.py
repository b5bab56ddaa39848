"""Image files, resizing, cropping, and conversion between uint8 arrays and tensors; atomic writing of any file.

Images are uint8 RGB [h, w, 3] unless noted otherwise; tensors are float32 [3, h, w] in [-1, 1].
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from gpen.errors import GPENError
from gpen.exif import from_text, orientation
from gpen.tiff_layout import check_tiff, unsupported_tiff

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")  # no decoder that starts another program
MPO = "MPO"  # format of Pillow for a JPEG of a camera with further images, which is read as the JPEG that it is
_BLOCK = 1 << 20  # pixels
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


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels in [0, 65535] to uint8, rounded (65535 -> 255); uint8 pixels are returned unchanged.

    Computed in blocks, so that the intermediate values of 32 bits take little memory.
    """
    if pixels.dtype == np.uint8:
        return pixels
    levels, flat = np.empty(pixels.shape, np.uint8), pixels.reshape(-1)
    for first in range(0, flat.size, _BLOCK):
        levels.reshape(-1)[first : first + _BLOCK] = (flat[first : first + _BLOCK].astype(np.uint32) + 128) // 257
    return levels


def add_8_bit_change(deep: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Add the change from `before` to `after`, both uint8, to the same pixels as uint16; unchanged ones keep their precision."""
    change = after.astype(np.int32) - before
    return (deep + 257 * change).clip(0, 65535).astype(np.uint16)


def decode_16_bits(data: bytes) -> np.ndarray:
    """Decode a PNG or TIFF of 16 bits per channel with OpenCV: uint16 [h, w, c], c = 1 (grey), 3 (RGB) or 4 (RGB and alpha).

    Pillow reduces 16-bit colour to 8 bits. OpenCV applies the orientation of a TIFF, but not that of a PNG.
    Raises GPENError if OpenCV cannot decode the data.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise GPENError("The layout of its 16-bit pixels is not supported: save it as a 16-bit PNG.")
    return swap_red_and_blue(pixels)


def swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """Convert between BGR and RGB channel order, in either direction; [h, w] becomes [h, w, 1]."""
    return pixels.reshape(*pixels.shape[:2], -1)[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels[0, 0].size]]


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
def replace_atomically(path: str | os.PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` on success and is deleted after an error.

    The temporary name is unique, so that several processes can write the same file, and short, so that it is valid for every
    valid `path`. Missing folders are created. The content is on disk before the name, see `move_durably`. durable=False does not
    wait for the disk, for a cache whose readers check the size: after a loss of power the file can be truncated.

    All packages write files with this function.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # of a new file of this user; some writers (safetensors) set a narrower one
        yield partial
        partial.chmod(mode)
        if durable:
            move_durably(partial, path)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file or folder so that after a loss of power `target` is complete, unchanged or missing, never truncated.

    The content of `source` is synchronised with the disk before the rename, and the folder of `target` after it; of a folder only
    its list of names, since its files were written with `replace_atomically`.
    """
    _synchronise(source)
    source.replace(target)
    _synchronise(target.parent)


def _synchronise(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):
        return  # Windows synchronises the names itself
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot synchronise folders
            raise
    finally:
        os.close(number)


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


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert uint8 [h, w, 3] to float32 [3, h, w] in [-1, 1]."""
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)


def to_image(x: Tensor) -> np.ndarray:
    """Convert [3, h, w] in [-1, 1] to uint8 [h, w, 3], clamped and rounded (the released code truncates)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
