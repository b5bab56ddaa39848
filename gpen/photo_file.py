"""One photo's file: its pixels at their own depth, and what else it holds, read and written in the same format.

Kept: 16 bits a channel (PNG, TIFF), transparency, grey, EXIF, ICC profile, XMP, resolution, and the text of a PNG. EXIF's
orientation is applied to the pixels and taken out. Pixels and metadata are Pillow's, but for pixels of 16 bits, which it lacks:
those are OpenCV's.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .errors import GPENError

QUALITY = 95  # of JPEG, with the chroma at full resolution, and of WebP unless the file was lossless
PNG_CHUNKS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt"}  # copied as they are
ORIENTED = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # texts that may hold the orientation: written anew, or not
TIFF_TAGS = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 700, 33432, 33723, 34377, 34675}  # words, not pixels
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TURNS = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}  # quarters to the left, mirror


@dataclass(frozen=True)
class Photo:
    """A photo as its file has it.

    pixels: uint8 or uint16 [h, w, c], upright; c is 1 grey, 3 RGB, 4 RGB and alpha
    format: Pillow's name of the file's format
    notes: what is written back, by Pillow's names for it: exif, icc_profile, xmp, dpi; chunks of a PNG, tags of a TIFF
    data: the file itself
    """

    pixels: np.ndarray
    format: str
    notes: dict = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def colours(self) -> int:
        """Channels that are no alpha: 1 or 3."""
        return min(self.pixels.shape[2], 3)

    @property
    def image(self) -> np.ndarray:
        """uint8 RGB [h, w, 3], without alpha."""
        colour = to_8_bits(self.pixels[..., : self.colours])
        return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))

    def with_image(self, after: np.ndarray, resize: Callable[[np.ndarray], np.ndarray], coloured: bool = False) -> Photo:
        """This photo with `after`, uint8 RGB [H, W, 3], as its picture; a grey photo stays grey unless it is `coloured`.

        resize: what brought `image` to [H, W], for the alpha, and for 16 bits a channel: to those is added what `after` differs
        by from the resized picture, so that what was not restored keeps all its bits.
        """
        same = after.shape[:2] == self.pixels.shape[:2]
        pixels = self.pixels if same else resize(self.pixels).reshape(*after.shape[:2], -1)
        colour, alpha = pixels[..., : self.colours], pixels[..., self.colours :]  # [H, W, 1 or 3], [H, W, 0 or 1]
        keep_grey = self.colours == 1 and not coloured
        new = _grey(after) if keep_grey else after
        if pixels.dtype == np.uint16:
            before = self.image if same else resize(self.image)
            change = new.astype(np.int32) - (_grey(before) if keep_grey else before)
            new = (colour + 257 * change).clip(0, 65535).astype(np.uint16)
        return replace(self, pixels=np.concatenate([new, alpha], axis=2))

    def encode(self) -> bytes:
        """The photo as a file of its format."""
        profile = self.notes.get("icc_profile")
        space = b"GRAY" if self.colours == 1 else b"RGB "  # a profile's header names its colour space (ICC.1, 7.2)
        if profile and profile[16:20] != space:
            return replace(self, notes={**self.notes, "icc_profile": None}).encode()
        return ENCODERS[self.format](self)


def read_photo(path: Path) -> Photo:
    """A photo of any format in ENCODERS, upright. The content counts, not the name. Raises GPENError where that cannot be."""
    data = b""
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and many pixels
            with Image.open(io.BytesIO(data)) as picture:
                return _read(picture, data)
    except GPENError as error:
        raise GPENError(f"{path} {error}") from None
    except FileNotFoundError:
        raise GPENError(f"There is no file {path}: check the path.") from None
    except UnidentifiedImageError:
        reason = "it is empty" if not data else "it is none"
        raise GPENError(f"{path} cannot be read as an image ({reason}): give a JPEG, PNG, WebP, TIFF or BMP file.") from None
    except Image.DecompressionBombError:
        raise GPENError(f"{path} has more pixels than can be held in memory: make it smaller.") from None
    except Exception as error:  # decoders fail in many ways (OSError, SyntaxError, struct.error, ...) on damaged bytes
        raise GPENError(f"{path} cannot be read as an image ({error or type(error).__name__}): it may be cut off.") from None


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8, or uint16 whose 65535 is 255 -> uint8, rounded."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _read(picture: Image.Image, data: bytes) -> Photo:
    kind = "JPEG" if picture.format == "MPO" else picture.format  # a camera's JPEG with further pictures behind the first
    if kind not in ENCODERS:
        raise GPENError(f"is a {kind} file, and none is written: give a JPEG, PNG, WebP, TIFF or BMP file.")
    if (count := getattr(picture, "n_frames", 1)) > 1 and picture.format != "MPO":
        raise GPENError(f"holds {count} pictures: give each as a file of its own.")
    if picture.mode in ("I", "F"):
        raise GPENError("has 32 bits a channel: save it with 8 or 16.")
    tiff = cast(TiffImagePlugin.TiffImageFile, picture)  # where the kind says so
    deep = (kind == "PNG" and data[24] == 16) or (kind == "TIFF" and max(tiff.tag_v2.get(258, (1,))) == 16)
    orientation = picture.getexif().get(0x0112, 1)
    tags = _tiff_tags(tiff) if kind == "TIFF" else None
    picture.load()  # in full, so that what is cut off shows here
    upright = ImageOps.exif_transpose(picture)
    notes = {name: upright.info.get(name) for name in ("exif", "icc_profile", "xmp", "dpi", "comment")}
    if kind == "PNG":
        notes["chunks"] = _noted_chunks(data, upright.info)
    elif kind == "TIFF":
        notes["tags"] = tags
    elif kind == "WEBP":
        notes["lossless"] = _is_lossless(data)
    pixels = _deep_pixels(data, orientation if kind == "PNG" else 1) if deep else _pixels(upright)
    return Photo(pixels, kind, notes, data)


def _pixels(upright: Image.Image) -> np.ndarray:
    """uint8 [h, w, c] of any of Pillow's modes."""
    alpha = "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    pixels = np.array(upright.convert("RGBA" if alpha else "L" if upright.mode in ("1", "L") else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _deep_pixels(data: bytes, orientation: int) -> np.ndarray:
    """uint16 [h, w, c]; OpenCV turns a TIFF upright by itself, a PNG not."""
    pixels = _from_bgr(cast(np.ndarray, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)))
    turns, mirror = TURNS[orientation]
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirror else pixels)


def _from_bgr(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's order of channels and the usual one, either way; [h, w] becomes [h, w, 1]."""
    return pixels.reshape(*pixels.shape[:2], -1)[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels[0, 0].size]]


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, (name, content) each (PNG, third edition, 5.3)."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _noted_chunks(data: bytes, info: dict) -> list[tuple[bytes, bytes]]:
    """What a PNG says of colours, resolution and in words, the orientation taken out of it."""
    found = [(name, content) for name, content in _chunks(data) if name in PNG_CHUNKS and not content.startswith(ORIENTED)]
    if exif := info.get("exif"):
        found.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp := info.get("XML:com.adobe.xmp"):
        found.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode()))
    return found


def _tiff_tags(picture: TiffImagePlugin.TiffImageFile) -> dict[int, object]:
    """What a TIFF says besides its pixels, the EXIF and GPS directories within it as dicts."""
    exif = picture.getexif()
    inner = {tag: dict(exif.get_ifd(tag)) for tag in (EXIF_IFD, GPS_IFD)}
    return {tag: value for tag, value in picture.tag_v2.items() if tag in TIFF_TAGS} | {k: v for k, v in inner.items() if v}


def _is_lossless(data: bytes) -> bool:
    """Whether a WebP holds lossless pixels: a VP8L chunk among those of the RIFF file."""
    at = 12
    while at < len(data):
        if data[at : at + 4] == b"VP8L":
            return True
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return False


def _png(photo: Photo) -> bytes:
    data = cv2.imencode(".png", _from_bgr(photo.pixels))[1].tobytes()
    header = 33  # the signature and the chunk IHDR; what follows may come in any order before the pixels
    notes = [(k, v) for k, v in photo.notes["chunks"] if k != b"iCCP" or photo.notes["icc_profile"]]
    return data[:header] + b"".join(_png_chunk(*note) for note in notes) + data[header:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _tiff(photo: Photo) -> bytes:
    """One strip, deflated, behind its directory, which is Pillow's (TIFF 6.0)."""
    h, w, c = photo.pixels.shape
    strip = zlib.compress(np.ascontiguousarray(photo.pixels, photo.pixels.dtype.newbyteorder("<")).tobytes())
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags = {256: w, 257: h, 258: (8 * photo.pixels.itemsize,) * c, 259: 8, 262: 2 if c > 2 else 1, 273: 0, 274: 1, 277: c,
            278: h, 279: len(strip), **({338: 2} if c == 4 else {})}  # fmt: skip
    notes = {tag: value for tag, value in photo.notes["tags"].items() if tag != 34675 or photo.notes["icc_profile"]}
    for tag, value in sorted((notes | tags).items()):
        directory[tag] = value
    return b"II*\0" + struct.pack("<I", 8) + directory.tobytes(8) + strip  # Pillow adds its own length to the strip's offset


def _bmp(photo: Photo) -> bytes:
    return cv2.imencode(".bmp", _from_bgr(photo.pixels))[1].tobytes()


def _by_pillow(photo: Photo) -> bytes:
    picture = Image.fromarray(photo.pixels[..., 0] if photo.colours == 1 else photo.pixels)
    notes = {name: value for name, value in photo.notes.items() if value}
    file = io.BytesIO()
    picture.save(file, photo.format, quality=QUALITY, subsampling=0, exact=True, **notes)  # each takes what it knows
    return file.getvalue()


ENCODERS = {"JPEG": _by_pillow, "PNG": _png, "WEBP": _by_pillow, "TIFF": _tiff, "BMP": _bmp}
