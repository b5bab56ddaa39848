"""TIFF files: the metadata of a file, its 16-bit layouts, and encoding of a single image with that metadata (TIFF 6.0)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from gpen.exif import (
    EXIF_IFD,
    GPS_IFD,
    ORIENTATION,
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    Entry,
    integer_entry,
    read_entries,
    tiff_values,
    write_directory,
)
from gpen.media.containers import update_photoshop, update_xmp
from gpen.tiff_layout import BITS, EXTRA_SAMPLES, PHOTOMETRIC, SAMPLES, check_tiff, unsupported_tiff

XMP, IPTC, PHOTOSHOP, PROFILE, WORKING_LAYERS, C2PA = 700, 33723, 34377, 34675, 37724, 52545
# Tags of the layout of the pixels, which belong to one encoding of them, and those of other images in the file.
PIXELS = {*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 317, 320, *range(321, 330), *range(332, 335), 336, 338,
          *range(339, 348), *range(512, 522), *range(529, 533), ORIENTATION}  # fmt: skip
OLD_IMAGES = {330: "further images", WORKING_LAYERS: "layers of Photoshop", C2PA: "C2PA manifest"}
STRAIGHT_ALPHA, PREMULTIPLIED_ALPHA = 2, 1  # values of ExtraSamples


def metadata(entries: dict[int, Entry]) -> dict[int, Entry]:
    """The entries that do not describe the layout of the pixels or hold other images."""
    return {tag: entry for tag, entry in entries.items() if tag not in PIXELS and tag not in OLD_IMAGES}


def deep_layout(data: bytes) -> tuple[bool, int]:
    """Of a TIFF of 16 bits per channel: whether 0 is white, and the kind of its fourth channel (ExtraSamples), 0 if unknown.

    Raises GPENError for a layout that OpenCV does not decode correctly: separate planes, grey with alpha, CMYK and others.
    """
    negative = check_tiff(data)
    entries, layout = read_entries(data)
    photometric, samples, extra = (
        tiff_values(entries, layout, tag, default)[0] for tag, default in ((PHOTOMETRIC, 1), (SAMPLES, 1), (EXTRA_SAMPLES, 0))
    )
    if samples not in {0: (1,), 1: (1,), 2: (3, 4)}.get(photometric, ()):
        raise unsupported_tiff(data)
    return negative, extra


def straight_alpha(pixels: np.ndarray, extra: int) -> np.ndarray:
    """Pixels, uint16 [h, w, 4], with alpha that the colours are not multiplied by; without a channel that is no alpha.

    extra: the kind of the fourth channel (ExtraSamples).
    """
    if extra == STRAIGHT_ALPHA:
        return pixels
    colour, alpha = pixels[..., :3], pixels[..., 3:]  # [h, w, 3], [h, w, 1]
    if extra != PREMULTIPLIED_ALPHA:
        return colour
    straight = np.minimum((colour.astype(np.uint64) * 65535 + alpha // 2) // np.maximum(alpha, 1), 65535)
    return np.concatenate([straight.astype(np.uint16), alpha], axis=2)


def encode_tiff(pixels: np.ndarray, data: bytes, keep_profile: bool, xmp: bytes | None) -> bytes:
    """Encode pixels, uint8 or uint16 [h, w, c], with the metadata of the TIFF `data`: one deflated strip, in its byte order.

    keep_profile: whether the ICC profile is kept. xmp: replaces the XMP of `data` unless None.
    """
    h, w, c = pixels.shape
    entries, layout = read_entries(data)
    order = layout.order
    kept = {tag: entry for tag, entry in metadata(entries).items() if tag != PROFILE or keep_profile}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in kept and kept[tag].children is None:  # its directory is damaged
            del kept[tag]
    if EXIF_IFD in kept:
        inner = dict(kept[EXIF_IFD].children or {})
        inner |= {tag: integer_entry(order, value) for tag, value in ((PIXEL_WIDTH, w), (PIXEL_HEIGHT, h)) if tag in inner}
        kept[EXIF_IFD] = Entry(4, 1, b"", children=inner)
    if PHOTOSHOP in kept:
        kept[PHOTOSHOP] = _bytes_entry(kept[PHOTOSHOP].kind, update_photoshop(kept[PHOTOSHOP].value))
    if xmp is not None:
        kept[XMP] = _bytes_entry(1, xmp)
    strip = zlib.compress(pixels.astype(f"{order}u{pixels.itemsize}").tobytes())
    tags = {256: w, 257: h, 259: 8, PHOTOMETRIC: 2 if c > 2 else 1, 273: 8, 274: 1, SAMPLES: c, 278: h, 279: len(strip)}
    layout_entries = {tag: integer_entry(order, value) for tag, value in tags.items()}
    layout_entries[BITS] = integer_entry(order, *(8 * pixels.itemsize,) * c)
    if c == 4:
        layout_entries[EXTRA_SAMPLES] = integer_entry(order, STRAIGHT_ALPHA)
    start = 8 + len(strip) + len(strip) % 2
    header = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, start)
    return header + strip.ljust(start - 8, b"\0") + write_directory(kept | layout_entries, order, start)


def tiff_xmp(data: bytes) -> bytes:
    """The XMP of a TIFF, for an upright image; empty if there is none."""
    entries, _ = read_entries(data)
    return update_xmp(entries[XMP].value) if XMP in entries else b""


def _bytes_entry(kind: int, value: bytes) -> Entry:
    kind = kind if kind in (1, 7) else 7
    return Entry(kind, len(value), value)
