"""What becomes of each property of a photo file when it is restored: kept, changed or dropped."""

from __future__ import annotations

import numpy as np

from gpen.exif import orientation
from gpen.images import decoding
from gpen.media import containers
from gpen.media.photo_file import Photo

NAMED = {"exif": "EXIF", "xmp": "XMP", "comment": "comment", "photoshop": "IPTC"}  # in the `info` of Pillow


def photo_properties(before: Photo, after: Photo, provenance: bool) -> dict[str, str]:
    """Each property of the file of `before` that it has, with what became of it in `after`, which was made from it.

    provenance: whether the XMP of the result says what was restored. For the report of a batch restoration.
    """
    depth = 16 if before.pixels.dtype == np.uint16 else 8
    rows = {
        "format": f"kept: {after.format}",
        "size": _change(_size(before), _size(after)),
        "bits per channel": f"kept: {depth}",
        "channels": _change(before.pixels.shape[2], after.pixels.shape[2]),
    }
    with decoding("The photo", before.data) as image:
        info, count = image.info, getattr(image, "n_frames", 1)
        exif, xmp = info.get("exif") or b"", info.get("xmp") or b""
        if image.mode == "CMYK":
            rows["colour space"] = "converted: CMYK to RGB"
    for name, title in NAMED.items():
        if info.get(name):
            rows[title] = "kept" if after.format not in ("BMP",) else "dropped: a BMP has none"
    if (turn := orientation(exif, xmp)) != 1:
        rows["orientation"] = f"applied to the pixels: {turn}"
    if before.profile:
        rows["ICC profile"] = "kept" if after.keeps_profile else "dropped: it belongs to another colour space"
    if exif and b"\xff\xd8" in exif:
        rows["thumbnail"] = "dropped: it shows the image before restoration"
    if count > 1:
        rows["further images"] = f"dropped: {count - 1}"
    if before.format == "PNG" and (other := _other_chunks(before.data)):
        rows["other chunks"] = f"dropped: {', '.join(sorted(other))}"
    rows["provenance"] = "added to XMP" if provenance and after.format != "BMP" else "none"
    return rows


def _size(photo: Photo) -> str:
    h, w = photo.pixels.shape[:2]
    return f"{w} x {h}"


def _change(old: object, new: object) -> str:
    return f"kept: {old}" if old == new else f"changed: {old} to {new}"


def _other_chunks(data: bytes) -> set[str]:
    """Names of the chunks of a PNG that are neither pixels nor among those that are copied."""
    coded = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"bKGD", b"sBIT", b"hIST"}
    return {name.decode("latin-1") for name, _ in containers.png_chunks(data)} - {
        name.decode() for name in coded | containers.PNG_CHUNKS
    }
