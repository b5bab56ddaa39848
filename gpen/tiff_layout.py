"""Layouts of the pixels of a TIFF (TIFF 6.0, section 8): which of them are read correctly, and their names for errors."""

from __future__ import annotations

from gpen.errors import GPENError
from gpen.exif import Layout, read_entries, tiff_values

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 284, 338, 339
PHOTOMETRICS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
USUAL_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
SAMPLE_FORMATS = {2: " signed", 3: " floating-point"}


def describe_tiff(data: bytes) -> str:
    """The layout of the pixels of a TIFF, as in "16-bit RGB with 3 channels in separate planes"; "" if it has no directory."""
    entries, layout = read_entries(data)
    if not entries:
        return ""

    def value(tag: int, default: int) -> int:
        return tiff_values(entries, layout, tag, default)[0]

    kind = PHOTOMETRICS.get(value(PHOTOMETRIC, 1), f"photometric {value(PHOTOMETRIC, 1)}")
    form = SAMPLE_FORMATS.get(value(SAMPLE_FORMAT, 1), "")
    planes = " in separate planes" if value(PLANAR, 1) != 1 else ""
    method, samples = value(COMPRESSION, 1), value(SAMPLES, 1)
    compression = "" if method in USUAL_COMPRESSIONS else f" compressed by method {method}"
    file = " in a big-endian BigTIFF" if layout == Layout(">", big=True) else ""
    return f"{value(BITS, 1)}-bit{form} {kind} with {samples} channel{'s' * (samples > 1)}{planes}{compression}{file}"


def check_tiff(data: bytes) -> bool:
    """Return whether Pillow reads a TIFF as a negative, as it does where 0 is white and a channel has 16 bits.

    Raises GPENError for a layout that it reads wrongly: signed numbers, and 16 bits per channel in separate planes.
    """
    entries, layout = read_entries(data)

    def value(tag: int, default: int) -> int:
        return tiff_values(entries, layout, tag, default)[0]

    deep, planes = value(BITS, 1) > 8, value(SAMPLES, 1) > 1 and value(PLANAR, 1) != 1
    if value(SAMPLE_FORMAT, 1) not in (1, 4) or value(BITS, 1) > 16 or deep and planes:  # 1: unsigned, 4: undefined
        raise unsupported_tiff(data)
    return deep and value(PHOTOMETRIC, 1) == 0


def unsupported_tiff(data: bytes) -> GPENError:
    """The error for a TIFF that cannot be read."""
    if layout := describe_tiff(data):
        return GPENError(f"a TIFF of {layout} is not supported: save it as RGB or grey with 8 or 16 bits.")
    return GPENError("its TIFF directory is missing: it may be truncated or damaged.")
