"""TIFF files: the metadata of a file, its 16-bit layouts, and encoding of a single image with that metadata (TIFF 6.0)."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from gpen.errors import GPENError
from gpen.exif import (
    EXIF_IFD,
    GPS_IFD,
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    Entry,
    Layout,
    integer_entry,
    read_directory,
    read_layout,
    write_directory,
)
from gpen.media.containers import update_photoshop, update_xmp

XMP, PHOTOSHOP, PROFILE = 700, 34377, 34675
# Tags that do not describe the layout of the pixels.
METADATA = {269, 270, 271, 272, 282, 283, 285, 296, 301, 305, 306, 315, 316, 318, 319, XMP, 33432, 33723, PHOTOSHOP, PROFILE,
            40091, 40092, 40093, 40094, 40095, EXIF_IFD, GPS_IFD}  # fmt: skip
BITS, PHOTOMETRIC, SAMPLES, PLANAR = 258, 262, 277, 284
WHITE_IS_ZERO, PHOTOMETRICS = 0, {0: "grey", 1: "grey", 2: "RGB", 5: "CMYK", 6: "YCbCr", 8: "Lab"}


def read_entries(data: bytes) -> tuple[dict[int, Entry], Layout]:
    """The entries of the first directory, with those of EXIF and GPS; none if the data are not a TIFF."""
    try:
        layout, offset = read_layout(data)
        return read_directory(data, layout, offset, (EXIF_IFD, GPS_IFD))[0], layout
    except (ValueError, struct.error):
        return {}, Layout("<")


def is_white_zero(data: bytes) -> bool:
    """Whether 0 is white in a TIFF of 16 bits per channel.

    Raises GPENError for a layout that OpenCV does not decode correctly: separate planes, grey with alpha, CMYK and others.
    """
    entries, layout = read_entries(data)

    def value(tag: int, default: int) -> int:
        return layout.integers(entries[tag])[0] if tag in entries else default

    photometric, samples = value(PHOTOMETRIC, 1), value(SAMPLES, 1)
    supported = {0: (1,), 1: (1,), 2: (3, 4)}.get(photometric, ())
    if samples not in supported or samples > 1 and value(PLANAR, 1) != 1:
        kind = PHOTOMETRICS.get(photometric, f"photometric {photometric}")
        planes = " in separate planes" if value(PLANAR, 1) != 1 else ""
        raise GPENError(f"16-bit {kind} with {samples} channels{planes} is not supported: save it as 16-bit RGB or grey.")
    return photometric == WHITE_IS_ZERO


def encode_tiff(pixels: np.ndarray, data: bytes, keep_profile: bool, xmp: bytes | None) -> bytes:
    """Encode pixels, uint8 or uint16 [h, w, c], with the metadata of the TIFF `data`: one deflated strip, in its byte order.

    keep_profile: whether the ICC profile is kept. xmp: replaces the XMP of `data` unless None.
    """
    h, w, c = pixels.shape
    entries, layout = read_entries(data)
    order = layout.order
    kept = {tag: entry for tag, entry in entries.items() if tag in METADATA and (tag != PROFILE or keep_profile)}
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
        layout_entries[338] = integer_entry(order, 2)  # unassociated alpha
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
