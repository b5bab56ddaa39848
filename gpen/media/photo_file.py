"""Reading and writing photo files with their bit depth and metadata preserved.

Preserved: 16 bits per channel (PNG, TIFF), transparency, greyscale, and the bytes of EXIF, ICC profile, XMP, IPTC, resolution and
text. The EXIF orientation is applied to the pixels and set to 1; thumbnails are removed. Files are decoded by Pillow, except for
16-bit pixels, which it does not support in colour; those are decoded by OpenCV (`gpen.images.decode_16_bits`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from gpen.errors import GPENError
from gpen.exif import as_stored, orientation, update_exif
from gpen.images import (
    MPO,
    add_8_bit_change,
    decode_16_bits,
    decoding,
    read_bytes,
    register_heif,
    swap_red_and_blue,
    to_8_bits,
    upright,
)
from gpen.media import containers
from gpen.media.provenance import Provenance, marked, without_padding
from gpen.media.tiff import STRAIGHT_ALPHA, deep_layout, encode_tiff, straight_alpha, tiff_xmp
from gpen.tiff_layout import check_tiff

QUALITY = 95  # of JPEG (without chroma subsampling), and of WebP unless the file was lossless
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
    data: bytes of the file, from which the metadata are copied
    profile: ICC profile
    """

    pixels: np.ndarray
    format: str
    data: bytes = field(repr=False)
    profile: bytes | None = field(default=None, repr=False)

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
            new = add_8_bit_change(colour, _grey(before) if keep_grey else before, new)
        return replace(self, pixels=np.concatenate([new, alpha], axis=2))

    def encode(self, provenance: Provenance | None = None) -> bytes:
        """Encode the photo in its format with the metadata of the file, and with `provenance` in its XMP (not in a BMP)."""
        return ENCODERS[self.format](self, provenance)

    @property
    def keeps_profile(self) -> bool:
        """Whether the ICC profile is one for the channels of this photo (ICC.1, 7.2, colour space in the header)."""
        return bool(self.profile) and cast(bytes, self.profile)[16:20] == (b"GRAY" if self.colours == 1 else b"RGB ")


def read_photo(path: Path) -> Photo:
    """Read a photo of any format in ENCODERS, upright; the format is detected from the content.

    Raises GPENError if the file is missing, damaged, truncated or of another format.
    """
    data = read_bytes(path)
    with decoding(path, data) as image:
        return _read(image, data, path)


def _read(image: Image.Image, data: bytes, path: Path) -> Photo:
    kind = "JPEG" if image.format == MPO else image.format
    if kind not in ENCODERS:
        raise GPENError(f"{path} is a {kind} file, which cannot be written: give a JPEG, PNG, WebP, TIFF or BMP file.")
    if (count := getattr(image, "n_frames", 1)) > 1 and image.format != MPO:
        raise GPENError(f"{path} holds {count} images: save each in a separate file.")
    if kind == "TIFF":
        check_tiff(data)
    if image.mode in ("I", "F"):
        raise GPENError(f"{path} has 32 bits per channel: save it with 8 or 16.")
    tiff = cast(TiffImagePlugin.TiffImageFile, image)  # only used for TIFF
    deep = (kind == "PNG" and data[24] == 16) or (kind == "TIFF" and max(tiff.tag_v2.get(258, (1,))) == 16)
    if deep:
        image.load()  # decode all pixels, so that a truncated file is detected here
        turned = orientation(containers.png_exif(data), containers.png_xmp(list(containers.png_chunks(data))))
        pixels = _deep_pixels(data, turned if kind == "PNG" else orientation(data), kind)
    else:
        pixels = _pixels(upright(image))
    return Photo(pixels, kind, data, image.info.get("icc_profile"))


def _pixels(image: Image.Image) -> np.ndarray:
    """Convert an image of any Pillow mode to uint8 [h, w, c]."""
    pixels = np.array(image.convert("RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _deep_pixels(data: bytes, orientation: int, kind: str) -> np.ndarray:
    """Decode uint16 [h, w, c] and apply an EXIF orientation."""
    white_zero, extra = deep_layout(data) if kind == "TIFF" else (False, STRAIGHT_ALPHA)
    turns, mirror = TURNS[orientation]
    pixels = np.rot90(decode_16_bits(as_stored(data) if kind == "TIFF" else data), turns)
    pixels = pixels[:, ::-1] if mirror else pixels
    if pixels.shape[2] == 4:
        pixels = straight_alpha(pixels, extra)
    return np.ascontiguousarray(65535 - pixels if white_zero else pixels)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def _jpeg(photo: Photo, provenance: Provenance | None) -> bytes:
    h, w = photo.pixels.shape[:2]
    notes = containers.jpeg_notes(photo.data, w, h)
    if not photo.keeps_profile:
        notes = [note for note in notes if not note[1].startswith(containers.ICC)]
    return containers.join_jpeg(_by_pillow(photo, quality=QUALITY, subsampling=0), _marked_jpeg(notes, provenance))


def _marked_jpeg(notes: list[tuple[int, bytes]], provenance: Provenance | None) -> list[tuple[int, bytes]]:
    """Segments of a JPEG with the mark in their XMP; what is beyond the limit of a segment is an extension of the XMP."""
    place = next((i for i, (_, content) in enumerate(notes) if content.startswith(containers.XMP)), None)
    xmp = b"" if place is None else notes[place][1][len(containers.XMP) :]
    new, extension, room = marked(xmp, provenance), [], containers.MAX_SEGMENT - len(containers.XMP)
    if len(new) > room:
        new = marked(without_padding(xmp), provenance)
    if len(new) > room and provenance:
        if any(content.startswith(containers.EXTENDED_XMP) for _, content in notes):  # only one extension is allowed
            new = marked(without_padding(xmp), None)
        else:
            new, guid, rest = provenance.mark_extended(xmp)
            extension = containers.extended_xmp(guid, rest)
    if new == xmp:
        return notes
    if place is None:  # behind the JFIF segment
        place = sum(marker == containers.APP0 for marker, _ in notes[:1])
        notes = [*notes[:place], (containers.APP1, b""), *notes[place:]]
    segments = [(containers.APP1, content) for content in (containers.XMP + new, *extension)]
    return [*notes[:place], *segments, *notes[place + 1 :]]


def _png(photo: Photo, provenance: Provenance | None) -> bytes:
    h, w = photo.pixels.shape[:2]
    notes = containers.png_notes(photo.data, w, h)
    if not photo.keeps_profile:
        notes = [note for note in notes if note[0] != b"iCCP"]
    xmp = containers.png_xmp(notes)
    if (new := marked(xmp, provenance)) != xmp:
        notes = containers.replace_png_xmp(notes, new)
    return containers.join_png(cv2.imencode(".png", swap_red_and_blue(photo.pixels))[1].tobytes(), notes)


def _tiff(photo: Photo, provenance: Provenance | None) -> bytes:
    xmp = marked(tiff_xmp(photo.data), provenance)
    return encode_tiff(photo.pixels, photo.data, photo.keeps_profile, xmp or None)


def _bmp(photo: Photo, provenance: Provenance | None) -> bytes:
    return cv2.imencode(".bmp", swap_red_and_blue(photo.pixels))[1].tobytes()


def _with_options(photo: Photo, provenance: Provenance | None) -> bytes:
    """Encode with Pillow, which takes the bytes of EXIF, XMP and ICC profile as options (WebP, AVIF, HEIF)."""
    h, w = photo.pixels.shape[:2]
    with decoding("The photo", photo.data) as image:
        exif, xmp = image.info.get("exif") or b"", image.info.get("xmp") or b""
    exif, xmp = update_exif(exif, w, h), marked(containers.update_xmp(xmp), provenance)
    notes = {"exif": exif, "xmp": xmp, "icc_profile": photo.profile if photo.keeps_profile else b""}
    lossless = photo.format == "WEBP" and containers.is_lossless(photo.data)
    notes = {name: value for name, value in notes.items() if value}
    return _by_pillow(photo, quality=QUALITY, lossless=lossless, exact=True, **notes)


def _by_pillow(photo: Photo, **options: object) -> bytes:
    image = Image.fromarray(photo.pixels[..., 0] if photo.colours == 1 else photo.pixels)
    file = io.BytesIO()
    image.save(file, photo.format, **options)
    return file.getvalue()


ENCODERS: dict[str, Callable[[Photo, Provenance | None], bytes]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _with_options,
    "TIFF": _tiff,
    "BMP": _bmp,
    "AVIF": _with_options,
    "HEIF": _with_options,
}


def is_writable(suffix: str) -> bool:
    """Whether the suffix of an image, in lower case, is that of a format that can be written."""
    register_heif()
    return Image.registered_extensions().get(suffix) in (*ENCODERS, MPO)
