"""XMP that marks an image or video with restored faces as partly generated: what was restored, and by which model.

The source type is that of IPTC for a photo with generated parts, compositeWithTrainedAlgorithmicMedia
(IPTC Photo Metadata Standard 2023.1, Digital Source Type).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")  # they stay true of a restored image
NAMESPACE = "https://arxiv.org/abs/2105.06070#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
MP4_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # extended type of the box (XMP Specification Part 3, 1.2)
MP4_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the box (C2PA Specification, A.5)
AVI_XMP = b"_PMX"  # chunk of the file (XMP Specification Part 3, 2.1)
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OLD_MARK = rf"<rdf:Description\b[^>]*xmlns:gpen=\"{re.escape(NAMESPACE)}\".*?</rdf:Description>\s*"  # of this project
_PADDING = re.compile(rb"\s+(?=<\?xpacket end)")


class Region(NamedTuple):
    """Box of a restored face in px; of a video, the box that holds the face in all its frames, and their first and last time."""

    x0: float
    y0: float
    x1: float
    y1: float
    first: float | None = None  # s
    last: float | None = None  # s

    def scaled(self, factor: float) -> Region:
        """The region in an image enlarged by `factor`."""
        return self._replace(**{name: getattr(self, name) * factor for name in ("x0", "y0", "x1", "y1")})


@dataclass(frozen=True)
class Provenance:
    """What was restored: the model, the SHA-256 of its weights, and the regions of the faces."""

    model: str
    sha256: str
    faces: Sequence[Region] = ()

    def mark(self, xmp: bytes) -> bytes:
        """The XMP packet `xmp`, or a new one if it is empty or invalid, with this provenance in place of an earlier one."""
        return _with_description(xmp, _description(f"{self._source(xmp)} {_GPEN}", self._faces))

    def mark_extended(self, xmp: bytes) -> tuple[bytes, bytes, bytes]:
        """The mark in a short packet, and `xmp` with the faces as its extension: (packet, GUID, extension).

        For a JPEG, whose packet is limited to 64 kB (XMP Specification Part 3, 1.1.3.1).
        """
        extension = _with_description(xmp, _description(_GPEN, self._faces))
        guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
        note = _description(f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{guid}"')
        return _with_description(b"", _description(f"{self._source(xmp)} {_GPEN}") + note), guid.encode(), extension

    def tags(self) -> dict[str, str]:
        """The mark without faces as metadata of a video whose container holds no XMP."""
        return {"DigitalSourceType": SOURCE_TYPE, "GPEN_MODEL": self.model, "GPEN_SHA256": self.sha256}

    def _source(self, xmp: bytes) -> str:
        kept = source_type(xmp) in GENERATED
        kind = SOURCE_TYPES + source_type(xmp) if kept else SOURCE_TYPE
        return (
            f'xmlns:Iptc4xmpExt="{IPTC}" Iptc4xmpExt:DigitalSourceType="{kind}"'
            f' gpen:model={quoteattr(self.model)} gpen:sha256="{self.sha256}"'
        )

    @property
    def _faces(self) -> str:
        items = "".join(f'<rdf:li rdf:parseType="Resource">{_region(face)}</rdf:li>' for face in self.faces)
        return f"<gpen:restoredFaces><rdf:Seq>{items}</rdf:Seq></gpen:restoredFaces>"


_GPEN = f'xmlns:gpen="{NAMESPACE}"'


def marked(xmp: bytes, provenance: Provenance | None) -> bytes:
    """XMP for a restored image: with its provenance if given, and without a source type that is no longer true."""
    if provenance:
        return provenance.mark(xmp)
    return xmp if source_type(xmp) in ("", *GENERATED) else _with_description(xmp, "")


def without_padding(xmp: bytes) -> bytes:
    """XMP without the blanks at its end, which are left for changes in place."""
    return _PADDING.sub(b"", xmp)


def source_type(xmp: bytes) -> str:
    """The last part of the digital source type in XMP, as in "digitalCapture"; "" if there is none."""
    match = re.search(rf"{re.escape(SOURCE_TYPES)}(\w+)", _decoded(xmp))
    return match[1] if match else ""


def _region(face: Region) -> str:
    values = {"x": face.x0, "y": face.y0, "width": face.x1 - face.x0, "height": face.y1 - face.y0}
    times = {"firstSecond": face.first, "lastSecond": face.last}
    texts = {name: f"{value:.0f}" for name, value in values.items()}
    texts |= {name: f"{value:.3f}" for name, value in times.items() if value is not None}
    return "".join(f"<gpen:{name}>{text}</gpen:{name}>" for name, text in texts.items())


def _description(attributes: str, content: str = "") -> str:
    return f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" {attributes}>{content}</rdf:Description>'


def _decoded(xmp: bytes) -> str:
    try:
        return xmp.decode(json.detect_encoding(xmp)).lstrip("\ufeff")  # UTF-8, 16 or 32
    except UnicodeDecodeError:
        return ""


def _prefixes(text: str, namespace: str) -> set[str]:
    """The prefixes that XML binds to a namespace."""
    return set(re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", text))


def _with_description(xmp: bytes, description: str) -> bytes:
    """XMP with a description in place of an earlier mark and of the digital source type; a new packet if it is invalid."""
    text = re.sub(_OLD_MARK, "", _decoded(xmp), flags=re.DOTALL)
    for prefix in _prefixes(text, IPTC):
        name = rf"{re.escape(prefix)}:DigitalSourceType"
        for pattern in (rf"<{name}\b[^>]*?(/>|>.*?</{name}\s*>)", rf"\s{name}\s*=\s*(\"[^\"]*\"|'[^']*')"):
            text = re.sub(pattern, "", text, flags=re.DOTALL)
    for prefix in _prefixes(text, _RDF):
        head, end, tail = text.rpartition(f"</{prefix}:RDF>")
        if end and f"<{prefix}:RDF" in head:
            return f"{head}{description}{end}{tail}".encode()
    start = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    return f'{start}<rdf:RDF xmlns:rdf="{_RDF}">{description}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'.encode()


def read_video_xmp(path: Path) -> bytes:
    """XMP of an AVI, or of a file in the ISO base media format (MP4, MOV, 3GP); empty if it has none."""
    for kind, start, length in _chunks(path):
        if kind in (AVI_XMP, b"uuid" + MP4_XMP):
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)
    return b""


def append_video_xmp(path: Path, xmp: bytes) -> bool:
    """Append XMP to an AVI or a file in the ISO base media format that has none; return whether there is a place for it.

    An AVI of more than 1 GB has none: it consists of several parts, and the XMP belongs to the end of the first.
    """
    with path.open("r+b") as file:
        if file.read(4) != b"RIFF":
            file.seek(0, 2)
            file.write(struct.pack(">I4s", 24 + len(xmp), b"uuid") + MP4_XMP + xmp)
            return True
        (size,) = struct.unpack("<I", file.read(4))
        if file.seek(0, 2) != 8 + size:
            return False
        xmp += b" " * (len(xmp) % 2)  # chunks start on even offsets
        file.write(AVI_XMP + struct.pack("<I", len(xmp)) + xmp)
        file.seek(4)
        file.write(struct.pack("<I", size + 8 + len(xmp)))
        return True


def other_boxes(path: Path) -> dict[str, str]:
    """Boxes of private types (uuid) of a file in the ISO base media format, except that of XMP, with their lengths."""
    private = [(kind[4:], length) for kind, _, length in _chunks(path) if kind[:4] == b"uuid" and kind[4:] != MP4_XMP]
    return {"C2PA manifest" if kind == MP4_C2PA else f"box {kind.hex()}": f"{length} bytes" for kind, length in private}


def _chunks(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield the outer boxes of an MP4, or the chunks of an AVI: (type, for a uuid box both, offset of the content, length)."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        riff = file.read(4) == b"RIFF"
        at = 12 if riff else 0
        while at + 8 <= end:
            file.seek(at)
            head = file.read(8)
            start = at + 8
            kind, size = (
                (head[:4], 8 + int.from_bytes(head[4:], "little")) if riff else (head[4:], int.from_bytes(head[:4], "big"))
            )
            if not riff and size == 1 and start + 8 <= end:
                size = int.from_bytes(file.read(8), "big")
                start += 8
            size = size or end - at  # 0: up to the end of the file
            if kind == b"uuid":
                kind += file.read(16)
                start += 16
            if size < 8:
                return
            yield kind, start, max(at + size - start, 0)
            at += size + size % 2 * riff
