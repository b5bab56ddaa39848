"""Metadata of JPEG, PNG and WebP files as bytes: read them from a file and put them into a newly encoded one.

Only what must change is changed: the orientation, the size, and thumbnails, which would show the image before restoration.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from gpen.exif import XMP_ORIENTATION, from_text, update_exif

EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
EXIF, XMP, ICC, MPF, PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
MAX_SEGMENT = 65533  # bytes of content of a JPEG segment
PNG_CHUNKS = {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"mDCV", b"cLLI"}
XMP_TEXT = b"XML:com.adobe.xmp\0"
RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # EXIF as hexadecimal text, written by ImageMagick
PHOTOSHOP_THUMBNAILS = (1033, 1036)
APP0, APP1, APP2, APP11, APP13, APP14, COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE


def update_xmp(xmp: bytes) -> bytes:
    """XMP of an upright image: orientation 1, and no thumbnails."""
    xmp = XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    return re.sub(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails\s*>", b"", xmp, flags=re.DOTALL)


def update_photoshop(resources: bytes) -> bytes:
    """Photoshop image resources (8BIM blocks), without thumbnails; data of another structure are returned unchanged."""
    kept, at = b"", 0
    while resources[at : at + 4] == b"8BIM":
        (number,) = struct.unpack_from(">H", resources, at + 4)
        name = 1 + resources[at + 6]
        start = at + 6 + name + name % 2
        (length,) = struct.unpack_from(">I", resources, start)
        end = start + 4 + length + length % 2
        if number not in PHOTOSHOP_THUMBNAILS:
            kept += resources[at:end]
        at = end
    return kept + resources[at:]


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield the segments of a JPEG before its pixels: (marker, content, offset of the next segment) (ITU-T T.81, B.1)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:  # start of the pixels
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : end], end
        at = end


def jpeg_end(data: bytes) -> int:
    """Offset behind the end of the first image of a JPEG; the length of the data if it has no end."""
    at = max((end for _, _, end in jpeg_segments(data)), default=2)
    while marker := re.compile(rb"\xff[^\x00\xff\xd0-\xd7]").search(data, at):  # neither a stuffed byte nor a restart marker
        if marker[0] == b"\xff\xd9":
            return marker.end()
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return len(data)


def c2pa_boxes(data: bytes) -> set[bytes]:
    """Starts of the segments of a JPEG that hold a C2PA manifest: "JP" and the number of their box (ISO/IEC 19566-5)."""
    segments = [content for marker, content, _ in jpeg_segments(data) if marker == APP11 and content.startswith(b"JP")]
    return {content[:4] for content in segments if b"c2pa" in content}


def jpeg_notes(data: bytes, width: int, height: int) -> list[tuple[int, bytes]]:
    """Segments with metadata, for an upright image of this size.

    Not kept: other images (MPF), the colour transform (Adobe), a C2PA manifest, which is signed for the image before.
    """
    notes, signed = [], c2pa_boxes(data)
    for marker, content, _ in jpeg_segments(data):
        if marker == APP0 and content.startswith(b"JFIF\0"):
            content = content[:12] + b"\0\0"  # without its thumbnail
        elif marker == APP1 and content.startswith(EXIF):
            content = update_exif(content, width, height)
        elif marker == APP1 and content.startswith(XMP):
            content = XMP + update_xmp(content[len(XMP) :])
        elif marker == APP13 and content.startswith(PHOTOSHOP):
            content = PHOTOSHOP + update_photoshop(content[len(PHOTOSHOP) :])
        elif marker in (APP0, APP14) or marker == APP2 and content.startswith(MPF):
            continue
        elif marker == APP11 and content[:4] in signed:
            continue
        if marker == COMMENT or APP0 <= marker < APP0 + 16:
            notes.append((marker, content))
    return notes


def extended_xmp(guid: bytes, xmp: bytes) -> list[bytes]:
    """XMP beyond the packet of a JPEG as contents of segments (XMP Specification Part 3, 1.1.3.1)."""
    head = EXTENDED_XMP + guid + struct.pack(">I", len(xmp))
    step = MAX_SEGMENT - len(head) - 4
    return [head + struct.pack(">I", at) + xmp[at : at + step] for at in range(0, len(xmp), step)]


def join_jpeg(data: bytes, notes: list[tuple[int, bytes]]) -> bytes:
    """Put segments with metadata into a JPEG in place of its own ones."""
    at = 2
    for marker, _, end in jpeg_segments(data):
        if not APP0 <= marker < APP0 + 16:
            break
        at = end
    head = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content for marker, content in notes)
    return data[:2] + head + data[at:]


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG, (name, content) each (PNG, third edition, 5.3)."""
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def png_notes(data: bytes, width: int, height: int) -> list[tuple[bytes, bytes]]:
    """Chunks with colour, resolution, text and EXIF, for an upright image of this size."""
    notes: list[tuple[bytes, bytes]] = []
    for name, content in png_chunks(data):
        if name == b"eXIf":
            notes.append((name, update_exif(content, width, height)))
        elif content.startswith(RAW_EXIF):
            if (exif := _raw_exif(name, content)) and not any(kept == b"eXIf" for kept, _ in notes):
                notes.append((b"eXIf", update_exif(exif, width, height)))
        elif name in PNG_CHUNKS:
            notes.append((name, content))
    xmp = png_xmp(notes)
    return replace_png_xmp(notes, update_xmp(xmp)) if xmp != update_xmp(xmp) else notes


def png_exif(data: bytes) -> bytes:
    """The EXIF data of a PNG, from an eXIf chunk or the text of ImageMagick; b"" if there are none."""
    for name, content in png_chunks(data):
        if name == b"eXIf":
            return content
        if content.startswith(RAW_EXIF):
            return _raw_exif(name, content)
    return b""


def png_xmp(notes: list[tuple[bytes, bytes]]) -> bytes:
    """The XMP among the chunks of a PNG; b"" if there is none."""
    for name, content in notes:
        if name == b"iTXt" and content.startswith(XMP_TEXT):
            compressed, text = content[len(XMP_TEXT)], content[len(XMP_TEXT) + 2 :].split(b"\0", 2)[-1]
            try:
                return zlib.decompress(text) if compressed else text
            except zlib.error:
                return b""
    return b""


def replace_png_xmp(notes: list[tuple[bytes, bytes]], xmp: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks with this XMP in place of theirs."""
    others = [(name, content) for name, content in notes if not (name == b"iTXt" and content.startswith(XMP_TEXT))]
    return [*others, (b"iTXt", XMP_TEXT + bytes(4) + xmp)]  # not compressed, no language, no translated keyword


def _raw_exif(name: bytes, content: bytes) -> bytes:
    text = content.split(b"\0", 1)[1]
    try:
        return from_text(zlib.decompress(text[1:]) if name == b"zTXt" else text)
    except zlib.error:
        return b""


def join_png(data: bytes, notes: list[tuple[bytes, bytes]]) -> bytes:
    """Put chunks into a PNG behind its header; the order of the chunks before the pixels is free."""
    header = 33  # bytes of the signature and the IHDR chunk
    return data[:header] + b"".join(_png_chunk(*note) for note in notes) + data[header:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a WebP, (name, content) each."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def is_lossless(data: bytes) -> bool:
    """Whether a WebP is lossless: whether it has a VP8L chunk."""
    return any(name == b"VP8L" for name, _ in webp_chunks(data))
