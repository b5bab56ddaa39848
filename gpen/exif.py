"""TIFF directories (TIFF 6.0, BigTIFF), which also hold EXIF data: read, change and write them without decoding their values.

Values that are not changed keep their bytes: texts in any encoding, invalid numbers, entries of unknown types.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005  # entries that hold the offset of another directory
ORIENTATION, PIXEL_WIDTH, PIXEL_HEIGHT, THUMBNAIL, THUMBNAIL_LENGTH = 0x0112, 0xA002, 0xA003, 0x0201, 0x0202
STRIP_OFFSETS, STRIP_LENGTHS = 273, 279
SHORT, LONG = 3, 4  # types of values
VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # type -> bytes per value
_PREFIX = b"Exif\0\0"
XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)(\d)""")


@dataclass(frozen=True)
class Entry:
    """Entry of a directory: `value` has the bytes of its values; `children` is the directory that it refers to, if any."""

    kind: int
    count: int
    value: bytes
    at: int = 0  # offset of the value in the data
    children: dict[int, Entry] | None = None


@dataclass(frozen=True)
class Layout:
    """Byte order ("<" or ">") and widths of the fields of a TIFF: classic or BigTIFF."""

    order: str
    big: bool = False

    @property
    def pointer(self) -> str:
        """Format of an offset, for struct."""
        return self.order + ("Q" if self.big else "I")

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """The values of an entry of type SHORT or LONG."""
        code = {SHORT: "H", LONG: "I"}[entry.kind]
        return struct.unpack(f"{self.order}{entry.count}{code}", entry.value)


def read_layout(data: bytes) -> tuple[Layout, int]:
    """Read the header of a TIFF: its layout and the offset of the first directory. Raises ValueError if it is not a TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise ValueError("not a TIFF")
    (magic,) = struct.unpack_from(order + "H", data, 2)
    layout = Layout(order, magic == 43)
    return layout, struct.unpack_from(layout.pointer, data, 8 if layout.big else 4)[0]


def read_directory(data: bytes, layout: Layout, offset: int, nested: tuple[int, ...] = ()) -> tuple[dict[int, Entry], int]:
    """Read the directory at `offset`: its entries by tag, and the offset of the field that holds the next directory's offset.

    nested: tags of entries whose directories are read too. Entries that reach beyond the data, or are of an unknown type, are
    left out. Raises struct.error if the directory itself does.
    """
    head, width, inline = ("Q", 20, 8) if layout.big else ("H", 12, 4)
    (count,) = struct.unpack_from(layout.order + head, data, offset)
    start = offset + struct.calcsize(head)
    entries: dict[int, Entry] = {}
    for at in range(start, start + count * width, width):
        tag, kind, number = struct.unpack_from(layout.order + "HH" + ("Q" if layout.big else "I"), data, at)
        length = number * VALUE_SIZES.get(kind, 0)
        place = at + width - inline
        if length > inline:
            (place,) = struct.unpack_from(layout.pointer, data, place)
        if not length or place + length > len(data):
            continue
        entry = Entry(kind, number, data[place : place + length], place)
        if tag in nested and kind in (LONG, 13) and length == 4:
            (inner,) = struct.unpack(layout.order + "I", entry.value)
            try:
                children = read_directory(data, layout, inner, (INTEROP_IFD,) if tag == EXIF_IFD else ())[0]
            except struct.error:
                continue
            entry = Entry(kind, number, entry.value, place, children)
        entries[tag] = entry
    return entries, start + count * width


def read_entries(data: bytes) -> tuple[dict[int, Entry], Layout]:
    """The entries of the first directory of a TIFF, with those of EXIF and GPS; none if the data are damaged or not a TIFF."""
    try:
        layout, offset = read_layout(data)
        return read_directory(data, layout, offset, (EXIF_IFD, GPS_IFD))[0], layout
    except (ValueError, struct.error):
        return {}, Layout("<")


def tiff_values(entries: dict[int, Entry], layout: Layout, tag: int, default: int) -> tuple[int, ...]:
    """The integers of an entry of a TIFF; (default,) if there is none."""
    entry = entries.get(tag)
    return layout.integers(entry) if entry is not None and entry.kind in (SHORT, LONG) else (default,)


def write_directory(entries: dict[int, Entry], order: str, offset: int) -> bytes:
    """Encode a classic directory that starts at `offset`, with the values and the nested directories behind it."""
    size = 2 + 12 * len(entries) + 4
    table, body = struct.pack(order + "H", len(entries)), b""
    for tag, entry in sorted(entries.items()):
        value = entry.value
        if entry.children is not None:
            value = struct.pack(order + "I", offset + size + len(body))
            body += write_directory(entry.children, order, offset + size + len(body))
        elif len(value) > 4:
            at = offset + size + len(body)
            body += value + bytes(len(value) % 2)  # values start on even offsets
            value = struct.pack(order + "I", at)
        table += struct.pack(order + "HHI", tag, entry.kind, entry.count) + value.ljust(4, b"\0")
    return table + bytes(4) + body


def integer_entry(order: str, *values: int) -> Entry:
    """An entry of type LONG, or SHORT if all values fit."""
    kind, code = (SHORT, "H") if max(values) < 2**16 else (LONG, "I")
    return Entry(kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values))


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation in EXIF data, or else in XMP, 1 to 8; 1 if there is none or it is invalid."""
    data = exif.removeprefix(_PREFIX)
    try:
        layout, offset = read_layout(data)
        entry = read_directory(data, layout, offset)[0][ORIENTATION]
        value = layout.integers(entry)[0] if _is_integer(entry) else 1
    except (ValueError, KeyError, struct.error):
        match = XMP_ORIENTATION.search(xmp)
        value = int(match[2]) if match else 1
    return value if 1 <= value <= 8 else 1


def from_text(text: bytes) -> bytes:
    """Decode EXIF data stored as the text "\\nexif\\n LENGTH\\nHEXADECIMAL", as by ImageMagick in a PNG; b"" if invalid."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split()[2:])).removeprefix(_PREFIX)
    except ValueError:
        return b""


def update_exif(exif: bytes, width: int, height: int) -> bytes:
    """EXIF data for an upright image of this size: orientation 1, its size, and no thumbnail, which shows the old image.

    All other bytes keep their values and places, so that offsets within a maker note stay valid. Data that are not EXIF are
    returned unchanged.
    """
    old = exif.removeprefix(_PREFIX)
    try:
        layout, offset = read_layout(old)
        entries, end = read_directory(old, layout, offset, (EXIF_IFD,))
    except (ValueError, struct.error):
        return exif
    data = bytearray(old)
    inner = entries[EXIF_IFD].children or {} if EXIF_IFD in entries else {}
    for entry, value in ((entries.get(ORIENTATION), 1), (inner.get(PIXEL_WIDTH), width), (inner.get(PIXEL_HEIGHT), height)):
        _set_integer(data, layout, entry, value)
    _remove_thumbnail(data, layout, end)
    return exif[: len(exif) - len(old)] + bytes(data)


def as_stored(tiff: bytes) -> bytes:
    """A TIFF whose pixels are read as they are stored: with orientation 1. Raises ValueError or struct.error if it is damaged."""
    data = bytearray(tiff)
    layout, offset = read_layout(tiff)
    _set_integer(data, layout, read_directory(tiff, layout, offset)[0].get(ORIENTATION), 1)
    return bytes(data)


def _set_integer(data: bytearray, layout: Layout, entry: Entry | None, value: int) -> None:
    """Write an integer over that of an entry, if there is one and it fits."""
    if entry is not None and _is_integer(entry) and value < 256 ** len(entry.value):
        struct.pack_into(layout.order + {2: "H", 4: "I"}[len(entry.value)], data, entry.at, value)


def _is_integer(entry: Entry) -> bool:
    return entry.kind in (SHORT, LONG) and entry.count == 1


def has_thumbnail(exif: bytes) -> bool:
    """Whether EXIF data hold a second directory, which is that of a thumbnail."""
    data = exif.removeprefix(_PREFIX)
    try:
        layout, offset = read_layout(data)
        return struct.unpack_from(layout.pointer, data, read_directory(data, layout, offset)[1])[0] != 0
    except (ValueError, struct.error):
        return False


def _remove_thumbnail(data: bytearray, layout: Layout, link: int) -> None:
    """Unlink the second directory, whose offset is stored at `link`, and overwrite its image; it is cut off at the end."""
    try:
        (offset,) = struct.unpack_from(layout.pointer, data, link)
        struct.pack_into(layout.pointer, data, link, 0)
        entries = read_directory(bytes(data), layout, offset)[0] if offset else {}
    except struct.error:
        return
    for start_tag, length_tag in ((THUMBNAIL, THUMBNAIL_LENGTH), (STRIP_OFFSETS, STRIP_LENGTHS)):  # JPEG, or pixels
        starts, lengths = (tiff_values(entries, layout, tag, 0) for tag in (start_tag, length_tag))
        for start, length in sorted(zip(starts, lengths, strict=False), reverse=True):
            if start > link and length and start + length >= len(data):
                del data[start:]
            elif start > link:
                data[start : start + length] = bytes(length)
