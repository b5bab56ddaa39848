"""Reading and writing photo files with their bit depth and metadata preserved.

Preserved: 16 bits per channel (PNG, TIFF), transparency, greyscale, EXIF, ICC profile, XMP, resolution, and the text chunks of a
PNG. The EXIF orientation is applied to the pixels and removed. Files are decoded by Pillow, except for 16-bit pixels, which it
does not support in colour; those are decoded by OpenCV (`gpen.images.decode_16_bits`).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from gpen.errors import GPENError
from gpen.images import decode_16_bits, decoding, read_bytes, swap_red_and_blue, to_8_bits, upright

QUALITY = 95  # of JPEG (without chroma subsampling), and of WebP unless the file was lossless
PNG_CHUNKS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt"}  # copied unchanged
ORIENTED = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # text chunks that may hold the orientation; not copied
TIFF_TAGS = {
    269,
    270,
    271,
    272,
    282,
    283,
    285,
    296,
    305,
    306,
    315,
    316,
    700,
    33432,
    33723,
    34377,
    34675,
}  # metadata tags, which do not describe the layout of the pixels
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TURNS = {
    1: (0, 0),
    2: (0, 1),
    3: (2, 0),
    4: (2, 1),
    5: (3, 1),
    6: (3, 0),
    7: (1, 1),
    8: (1, 0),
}  # EXIF orientation -> (quarter turns anticlockwise, mirrored)


@dataclass(frozen=True)
class Photo:
    """Content of a photo file.

    pixels: uint8 or uint16 [h, w, c], upright; c is 1 (grey), 3 (RGB) or 4 (RGB and alpha)
    format: name of the file format in Pillow
    notes: metadata to be written, with the names of Pillow: exif, icc_profile, xmp, dpi; chunks (PNG), tags (TIFF)
    data: bytes of the file
    """

    pixels: np.ndarray
    format: str
    notes: dict = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def colours(self) -> int:
        """Number of channels without alpha: 1 or 3."""
        return min(self.pixels.shape[2], 3)

    @property
    def image(self) -> np.ndarray:
        """Pixels as uint8 RGB [h, w, 3], without alpha."""
        colour = to_8_bits(self.pixels[..., : self.colours])
        return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))

    def with_image(self, after: np.ndarray, resize: Callable[[np.ndarray], np.ndarray], coloured: bool = False) -> Photo:
        """Return a copy of this photo with the pixels `after`, uint8 RGB [H, W, 3].

        resize: function that maps an image of the original size to [H, W]; applied to the alpha channel and to 16-bit pixels, to
        which the 8-bit difference of `after` is added so that unrestored regions keep their precision. coloured: a grey photo
        becomes RGB instead of staying grey.
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
        """Encode the photo in its format."""
        profile = self.notes.get("icc_profile")
        space = b"GRAY" if self.colours == 1 else b"RGB "  # colour space in the header of the profile (ICC.1, 7.2)
        if profile and profile[16:20] != space:
            return replace(self, notes={**self.notes, "icc_profile": None}).encode()
        return ENCODERS[self.format](self)


def read_photo(path: Path) -> Photo:
    """Read a photo of any format in ENCODERS, upright; the format is detected from the content.

    Raises GPENError if the file is missing, damaged, truncated or of another format.
    """
    data = read_bytes(path)
    with decoding(path, data) as image:
        return _read(image, data, path)


def _read(image: Image.Image, data: bytes, path: Path) -> Photo:
    kind = "JPEG" if image.format == "MPO" else image.format  # MPO: JPEG of a camera with additional images
    if kind not in ENCODERS:
        raise GPENError(f"{path} is a {kind} file, which cannot be written: give a JPEG, PNG, WebP, TIFF or BMP file.")
    if (count := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise GPENError(f"{path} holds {count} images: save each in a separate file.")
    if image.mode in ("I", "F"):
        raise GPENError(f"{path} has 32 bits per channel: save it with 8 or 16.")
    tiff = cast(TiffImagePlugin.TiffImageFile, image)  # only used for TIFF
    deep = (kind == "PNG" and data[24] == 16) or (kind == "TIFF" and max(tiff.tag_v2.get(258, (1,))) == 16)
    orientation = image.getexif().get(0x0112, 1)
    tags = _tiff_tags(tiff) if kind == "TIFF" else None
    turned = upright(image)  # decodes all pixels, so that a truncated file is detected here
    notes = {name: turned.info.get(name) for name in ("exif", "icc_profile", "xmp", "dpi", "comment")}
    if kind == "PNG":
        notes["chunks"] = _noted_chunks(data, turned.info)
    elif kind == "TIFF":
        notes["tags"] = tags
    elif kind == "WEBP":
        notes["lossless"] = _is_lossless(data)
    pixels = _deep_pixels(data, orientation if kind == "PNG" else 1) if deep else _pixels(turned)
    return Photo(pixels, kind, notes, data)


def _pixels(image: Image.Image) -> np.ndarray:
    """Convert an image of any Pillow mode to uint8 [h, w, c]."""
    pixels = np.array(image.convert("RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _deep_pixels(data: bytes, orientation: int) -> np.ndarray:
    """Decode uint16 [h, w, c] and apply an EXIF orientation."""
    turns, mirror = TURNS[orientation]
    pixels = np.rot90(decode_16_bits(data), turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirror else pixels)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG, (name, content) each (PNG, third edition, 5.3)."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _noted_chunks(data: bytes, info: dict) -> list[tuple[bytes, bytes]]:
    """Colour, resolution and text chunks of a PNG, without the orientation."""
    found = [(name, content) for name, content in _chunks(data) if name in PNG_CHUNKS and not content.startswith(ORIENTED)]
    if exif := info.get("exif"):
        found.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp := info.get("XML:com.adobe.xmp"):
        found.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode()))
    return found


def _tiff_tags(image: TiffImagePlugin.TiffImageFile) -> dict[int, object]:
    """Metadata tags of a TIFF, with its EXIF and GPS directories as dicts."""
    exif = image.getexif()
    inner = {tag: dict(exif.get_ifd(tag)) for tag in (EXIF_IFD, GPS_IFD)}
    return {tag: value for tag, value in image.tag_v2.items() if tag in TIFF_TAGS} | {k: v for k, v in inner.items() if v}


def _is_lossless(data: bytes) -> bool:
    """Whether a WebP is lossless: whether it has a VP8L chunk."""
    at = 12
    while at < len(data):
        if data[at : at + 4] == b"VP8L":
            return True
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return False


def _png(photo: Photo) -> bytes:
    data = cv2.imencode(".png", swap_red_and_blue(photo.pixels))[1].tobytes()
    header = 33  # signature and IHDR chunk; the order of the following chunks is free up to the pixels
    notes = [(k, v) for k, v in photo.notes["chunks"] if k != b"iCCP" or photo.notes["icc_profile"]]
    return data[:header] + b"".join(_png_chunk(*note) for note in notes) + data[header:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _tiff(photo: Photo) -> bytes:
    """Encode as TIFF 6.0 with one deflated strip; the directory is written by Pillow."""
    h, w, c = photo.pixels.shape
    strip = zlib.compress(np.ascontiguousarray(photo.pixels, photo.pixels.dtype.newbyteorder("<")).tobytes())
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags = {256: w, 257: h, 258: (8 * photo.pixels.itemsize,) * c, 259: 8, 262: 2 if c > 2 else 1, 273: 0, 274: 1, 277: c,
            278: h, 279: len(strip), **({338: 2} if c == 4 else {})}  # fmt: skip
    notes = {tag: value for tag, value in photo.notes["tags"].items() if tag != 34675 or photo.notes["icc_profile"]}
    for tag, value in sorted((notes | tags).items()):
        directory[tag] = value
    return (
        b"II*\0" + struct.pack("<I", 8) + directory.tobytes(8) + strip
    )  # Pillow adds the length of the directory to the offset of the strip


def _bmp(photo: Photo) -> bytes:
    return cv2.imencode(".bmp", swap_red_and_blue(photo.pixels))[1].tobytes()


def _by_pillow(photo: Photo) -> bytes:
    image = Image.fromarray(photo.pixels[..., 0] if photo.colours == 1 else photo.pixels)
    notes = {name: value for name, value in photo.notes.items() if value}
    file = io.BytesIO()
    image.save(file, photo.format, quality=QUALITY, subsampling=0, exact=True, **notes)  # each format ignores unknown options
    return file.getvalue()


ENCODERS = {"JPEG": _by_pillow, "PNG": _png, "WEBP": _by_pillow, "TIFF": _tiff, "BMP": _bmp}
