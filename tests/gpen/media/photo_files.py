"""Photo files for tests: images, metadata, 16-bit PNG and TIFF."""

import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

EXIF_IFD, GPS_IFD, ORIENTATION = 0x8769, 0x8825, 0x0112
CAPTION = "Köln, 東京"
XMP_OF_CAMERA = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture" dc:title="A title"/>'
    b"</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
)


def profile(space: bytes) -> bytes:
    return bytes(16) + space + bytes(108)


def make_image(mode="RGB", h=24, w=36):
    small = np.random.default_rng(0).integers(0, 256, (4, 6, 4), dtype=np.uint8)
    return Image.fromarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)).convert(mode)


def exif(orientation=1):
    data = Image.Exif()
    data[ORIENTATION], data[0x010F] = orientation, "Maker"
    data[EXIF_IFD], data[GPS_IFD] = {0x9003: "2020:01:02 03:04:05", 0x927C: b"maker's note"}, {1: "N", 2: (1.0, 2.0, 3.0)}
    return data


def saved(path, image, **notes):
    image.save(path, **notes)
    return path


def rewritten(path, photo):
    path = path.with_stem("new")
    path.write_bytes(photo.encode())
    return path


def deep(h=24, w=36, c=3):
    rng = np.random.default_rng(1)
    return cv2.resize(rng.integers(0, 65536, (4, 6, c), dtype=np.uint16), (w, h), interpolation=cv2.INTER_CUBIC).reshape(h, w, c)


def deep_png(pixels, orientation=1):
    h, w, c = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 3: 2, 4: 6}[c], 0, 0, 0)
    notes = chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + notes + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels, orientation=1, **settings):
    """A TIFF written by tifffile, with a caption, a resolution, and an ICC profile for its channels."""
    c = pixels.shape[2]
    space = profile(b"GRAY" if c == 1 else b"RGB ")
    notes = [(270, 2, 0, CAPTION.encode(), True), (ORIENTATION, 3, 1, orientation, True)]
    file = io.BytesIO()
    defaults = {"photometric": "minisblack" if c == 1 else "rgb", "extrasamples": ["unassalpha"] if c == 4 else None}
    defaults |= {"compression": "zlib", "metadata": None, "resolution": (300, 300), "resolutionunit": 2}
    tifffile.imwrite(file, pixels[..., 0] if c == 1 else pixels, iccprofile=space, extratags=notes, **(defaults | settings))
    return file.getvalue()


def written(path, data):
    path.write_bytes(data)
    return path


def with_segments(data, *segments):
    """A JPEG with more segments, (marker, content) each, at its start."""
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content for marker, content in segments)
    return data[:2] + more + data[2:]
