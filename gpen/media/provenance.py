"""XMP that marks an image or video with restored faces as partly generated: what was restored, and by which model.

The source type is that of IPTC for a photo with generated parts, compositeWithTrainedAlgorithmicMedia
(IPTC Photo Metadata Standard 2023.1, Digital Source Type).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NAMESPACE = "https://arxiv.org/abs/2105.06070#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
MP4_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # extended type of the box (XMP Specification Part 3, 1.2)
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OLD = (  # an earlier mark of this project, and the source type, as an element and as an attribute
    rf"<rdf:Description\b[^>]*xmlns:gpen=\"{re.escape(NAMESPACE)}\".*?</rdf:Description>\s*",
    r"<Iptc4xmpExt:DigitalSourceType\b[^>]*?(/>|>.*?</Iptc4xmpExt:DigitalSourceType\s*>)",
    r"\sIptc4xmpExt:DigitalSourceType\s*=\s*(\"[^\"]*\"|'[^']*')",
)


@dataclass(frozen=True)
class Provenance:
    """What was restored: the model, the SHA-256 of its weights, and the boxes of the faces (x0, y0, x1, y1) in px."""

    model: str
    sha256: str
    boxes: Sequence[tuple[float, float, float, float]] = ()

    def mark(self, xmp: bytes) -> bytes:
        """The XMP packet `xmp`, or a new one if it is empty or invalid, with this provenance in place of an earlier one."""
        try:
            text = xmp.decode()
        except UnicodeDecodeError:
            text = ""
        for pattern in _OLD:
            text = re.sub(pattern, "", text, flags=re.DOTALL)
        head, end, tail = text.rpartition("</rdf:RDF>")
        if not end or "<rdf:RDF" not in head:
            text = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            head, tail = f'{text}<rdf:RDF xmlns:rdf="{_RDF}">', '</x:xmpmeta><?xpacket end="w"?>'
        return f"{head}{self._description()}</rdf:RDF>{tail}".encode()

    def tags(self) -> dict[str, str]:
        """The same as metadata of a video whose container holds no XMP."""
        return {"DigitalSourceType": SOURCE_TYPE, "GPEN_MODEL": self.model, "GPEN_SHA256": self.sha256}

    def _description(self) -> str:
        boxes = "".join(
            f'<rdf:li rdf:parseType="Resource"><gpen:x>{x0:.0f}</gpen:x><gpen:y>{y0:.0f}</gpen:y>'
            f"<gpen:width>{x1 - x0:.0f}</gpen:width><gpen:height>{y1 - y0:.0f}</gpen:height></rdf:li>"
            for x0, y0, x1, y1 in self.boxes
        )
        return (
            f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{IPTC}" xmlns:gpen="{NAMESPACE}"'
            f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}" gpen:model={quoteattr(self.model)} gpen:sha256="{self.sha256}">'
            f"<gpen:restoredFaces><rdf:Seq>{boxes}</rdf:Seq></gpen:restoredFaces></rdf:Description>"
        )


def read_mp4_xmp(path: Path) -> bytes:
    """XMP of a file in the ISO base media format (MP4, MOV), from its box of type uuid; empty if it has none."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        at = 0
        while at + 8 <= end:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            start = at + 8
            if size == 1 and start + 8 <= end:
                (size,) = struct.unpack(">Q", file.read(8))
                start += 8
            size = size or end - at  # 0: up to the end of the file
            if kind == b"uuid" and file.read(16) == MP4_XMP:
                return file.read(max(at + size - start - 16, 0))
            if size < 8:
                break
            at += size
    return b""


def append_mp4_xmp(path: Path, xmp: bytes) -> None:
    """Append XMP to a file in the ISO base media format that has none."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(xmp), b"uuid") + MP4_XMP + xmp)
