"""Properties of a photo file, read from its bytes, and what became of each property of a file when it was restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from PIL import Image, TiffTags
from PIL.JpegImagePlugin import get_sampling

from gpen.exif import EXIF_IFD, GPS_IFD, Entry, has_thumbnail, orientation, read_entries, tiff_values
from gpen.images import MPO, decoding
from gpen.media import containers, tiff
from gpen.media.provenance import GENERATED, source_type
from gpen.tiff_layout import BITS, SAMPLES

PRESENT = "yes"  # value of a property that a file has or has not
CHANNELS = {
    "1": "grey", "L": "grey", "I;16": "grey", "I;16B": "grey", "LA": "grey, alpha", "P": "palette", "PA": "palette, alpha",
    "RGB": "RGB", "RGBA": "RGB, alpha", "RGBX": "RGB", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "Lab",
}  # fmt: skip
PNG_CHANNELS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey, alpha", 6: "RGB, alpha"}  # by colour type (PNG, 11.2.1)
CHROMA = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # of JpegImagePlugin.get_sampling
# Codes of ITU-T H.273, tables 2 and 3; 2 is unspecified
PRIMARIES = {1: "BT.709", 5: "BT.601, 625 lines", 6: "BT.601, 525 lines", 9: "BT.2020", 12: "Display P3"}
TRANSFERS = {1: "BT.709", 6: "BT.601", 8: "linear", 13: "sRGB", 14: "BT.2020", 15: "BT.2020", 16: "PQ", 18: "HLG"}


def colour_name(names: dict[int, str], code: int) -> str:
    """The name of a code of ITU-T H.273; "" if it is unspecified."""
    return names.get(code, "" if code == 2 else f"code {code} of ITU-T H.273")


def describe_photo(data: bytes) -> dict[str, str]:
    """Each property that an image file has, for `compare`. Raises GPENError if the file cannot be read."""
    with decoding("The photo", data) as image:
        info, count = image.info, getattr(image, "n_frames", 1)
        kind = "JPEG" if image.format == MPO else str(image.format)
        rows = {
            "format": kind,
            "size": f"{image.width} x {image.height}",
            "bits per channel": str(_bits(image, data)),
            "channels": _channels(image, data),
            "compression": str(info["compression"]) if kind == "TIFF" else "",
            "chroma": CHROMA.get(get_sampling(image), "") if kind == "JPEG" and image.mode != "L" else "",
            "progressive": PRESENT if info.get("progressive") or info.get("interlace") else "",
            "ICC profile": _length(info.get("icc_profile")),
            "further images": str(count - 1) if count > 1 else "",
        }
        exif = info.get("exif") or b""
        xmp = info.get("xmp") or b""
    rows |= DESCRIBED.get(kind, lambda _: {})(data)
    if kind == "PNG":
        exif, xmp = containers.png_exif(data), containers.png_xmp(list(containers.png_chunks(data)))
    if kind == "TIFF":
        exif, xmp = data, tiff.tiff_xmp(data)
    else:
        rows |= {"EXIF": _length(exif), "XMP": _length(xmp)}
        rows["thumbnail"] = PRESENT if has_thumbnail(exif) else ""
    turn = 1 if kind == "HEIF" else orientation(exif, xmp)  # pillow-heif has turned it
    rows["orientation"] = str(turn)
    if turn > 4 and kind != "TIFF":  # Pillow has exchanged the sides of a TIFF
        rows["size"] = " x ".join(reversed(rows["size"].split(" x ")))
    rows["digital source type"] = source_type(xmp)
    return {name: value for name, value in rows.items() if value and (name, value) != ("orientation", "1")}


def compare(before: dict[str, str], after: dict[str, str], applied: dict[str, str]) -> dict[str, str]:
    """Each property `before`, with what became of it `after`: kept, changed or dropped; and what was added.

    applied: properties that the caller explains itself.
    """
    rows = {}
    for name, value in before.items():
        new, shown = after.get(name), "" if value == PRESENT else f": {value}"
        rows[name] = f"kept{shown}" if new == value else f"changed: {value} to {new}" if new else f"dropped{shown}"
    rows |= {name: f"added: {value}" for name, value in after.items() if name not in before}
    return rows | applied


def compare_photos(before: bytes, after: bytes, marked: bool) -> dict[str, str]:
    """What became of each property of the photo file `before` in the restored file `after`.

    marked: whether the provenance was to be written to its XMP.
    """
    old, new = describe_photo(before), describe_photo(after)
    rows = compare(old, new, {})
    for name, reason in DROPPED.items():
        if rows.get(name, "").startswith("dropped"):
            rows[name] += f" ({reason})"
    if "orientation" in old:
        rows["orientation"] = f"applied to the pixels: {old['orientation']}"
    place = "a BMP has none" if new["format"] == "BMP" else "the XMP of the photo leaves no room for it"
    written = new.get("digital source type") in GENERATED
    rows["provenance"] = "none" if not marked else "added to XMP" if written else f"none: {place}"
    return rows


DROPPED = {
    "thumbnail": "it shows the image before restoration",
    "layers of Photoshop": "they show the image before restoration",
    "C2PA manifest": "it is signed for the image before restoration",
    "ICC profile": "it belongs to another colour space",
    "digital source type": "the faces are restored",
}


def _length(content: bytes | None) -> str:
    return f"{len(content)} bytes" if content else ""


def _bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return max(tiff_values(*read_entries(data), BITS, 1))
    if image.format in ("AVIF", "HEIF") and (bits := _box(data, b"pixi")[5:]):
        return max(bits)  # behind the version and the number of channels (ISO/IEC 23008-12, 6.5.6)
    return 1 if image.mode == "1" else 8


def _channels(image: Image.Image, data: bytes) -> str:
    if image.format == "PNG":
        return PNG_CHANNELS[data[25]] + (", alpha" if "transparency" in image.info else "")
    name = CHANNELS.get(image.mode, image.mode)
    if "transparency" in image.info and "alpha" not in name:
        name += ", alpha"
    samples = tiff_values(*read_entries(data), SAMPLES, 1)[0] if image.format == "TIFF" else 0
    further = samples - len(image.getbands())
    return f"{name}, {further} further" if further > 0 else name


def _box(data: bytes, kind: bytes) -> bytes:
    """The content of the first box of a kind among the properties of an HEIF or AVIF file; b"" if there is none."""
    at = data.find(kind)
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")] if at > 4 else b""


def _coded_colours(data: bytes) -> dict[str, str]:
    """Marks of the colours in the properties of an HEIF or AVIF file (box colr of type nclx, ISO/IEC 14496-12, 12.1.5)."""
    at = data.find(b"colrnclx")
    if at < 0:
        return {}
    primaries, transfer = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (8, 10))
    return {"primaries": colour_name(PRIMARIES, primaries), "transfer": colour_name(TRANSFERS, transfer)}


def _jpeg(data: bytes) -> dict[str, str]:
    rows: Counter[str] = Counter()
    signed = containers.c2pa_boxes(data)
    for marker, content, _ in containers.jpeg_segments(data):
        if marker == containers.COMMENT:
            rows["comment"] += len(content)
        elif content.startswith(containers.EXTENDED_XMP):
            rows["extended XMP"] += len(content)
        elif content.startswith(containers.PHOTOSHOP):
            rows["IPTC and Photoshop resources"] += len(content)
        elif content[:4] in signed:
            rows["C2PA manifest"] += len(content)
        elif containers.APP0 < marker < containers.APP0 + 16 and not content.startswith(_COVERED):
            rows[f"segment APP{marker - containers.APP0}"] += len(content)
    if not any(content.startswith(containers.MPF) for _, content, _ in containers.jpeg_segments(data)):
        rows["data behind the image"] = len(data[containers.jpeg_end(data) :].rstrip(b"\0"))
    return {name: f"{number} bytes" for name, number in rows.items() if number}


_COVERED = (containers.EXIF, containers.XMP, containers.ICC, containers.MPF, b"Adobe")


def _png(data: bytes) -> dict[str, str]:
    rows = {}
    for name, content in containers.png_chunks(data):
        keyword = content.split(b"\0")[0].decode("latin-1") if name in (b"tEXt", b"zTXt", b"iTXt") else ""
        if name == b"caBX":
            rows["C2PA manifest"] = _length(content)
        elif keyword and content[: len(keyword) + 1] != containers.XMP_TEXT and not content.startswith(containers.RAW_EXIF):
            rows[f"text {keyword}"] = _length(content.partition(b"\0")[2])
        elif not keyword and name not in _PIXELS:
            rows[f"chunk {name.decode('latin-1')}"] = _length(content)
    return rows


_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"sBIT", b"hIST"}


def _tiff(data: bytes) -> dict[str, str]:
    entries, _ = read_entries(data)
    kept = tiff.metadata(entries)
    named = {tag: TiffTags.lookup(tag).name for tag in kept}
    rows = {TIFF_NAMES.get(tag, f"tag {tag} {named[tag].replace('unknown', '')}".strip()): _size(kept[tag]) for tag in kept}
    return rows | {title: _length(entries[tag].value) for tag, title in tiff.OLD_IMAGES.items() if tag in entries}


def _size(entry: Entry) -> str:
    if entry.children is not None:
        return f"{len(entry.children)} entries"
    return _length(entry.value)


def _webp(data: bytes) -> dict[str, str]:
    return {"lossless": PRESENT} if containers.is_lossless(data) else {}


TIFF_NAMES = {
    tiff.XMP: "XMP", tiff.IPTC: "IPTC", tiff.PHOTOSHOP: "IPTC and Photoshop resources", tiff.PROFILE: "ICC profile",
    EXIF_IFD: "EXIF", GPS_IFD: "GPS",
}  # fmt: skip
DESCRIBED: dict[str, Callable[[bytes], dict[str, str]]] = {
    "JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "WEBP": _webp, "AVIF": _coded_colours, "HEIF": _coded_colours,
}  # fmt: skip
