"""Metadata of photo files: what is patched, kept and dropped, and invalid values."""

import hashlib
import io
import re
import struct
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpen.exif import update_exif
from gpen.media.containers import EXTENDED_XMP, XMP, jpeg_segments
from gpen.media.photo_file import read_photo
from gpen.media.properties import compare_photos
from gpen.media.provenance import IPTC, NAMESPACE, SOURCE_TYPE, Provenance, Region, source_type
from tests.gpen.media.photo_files import (
    CAPTION,
    ORIENTATION,
    XMP_OF_CAMERA,
    deep,
    deep_png,
    make_image,
    profile,
    rewritten,
    saved,
    tiff,
    with_segments,
    written,
)


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), ("<", True)])
def test_tiff_texts_keep_their_bytes(byteorder, bigtiff, tmp_path):
    file = io.BytesIO()
    tags = [(270, 2, 0, CAPTION.encode(), True), (315, 2, 0, "Michał".encode("latin2", "replace"), True)]
    tifffile.imwrite(file, np.array(make_image()), byteorder=byteorder, bigtiff=bigtiff, metadata=None, extratags=tags)
    photo = read_photo(written(tmp_path / "a.tif", file.getvalue()))
    data = rewritten(tmp_path / "a.tif", photo).read_bytes()
    assert data[:2] == {"<": b"II", ">": b"MM"}[byteorder]
    assert CAPTION.encode() + b"\0" in data and "Michał".encode("latin2", "replace") in data
    with tifffile.TiffFile(io.BytesIO(data)) as read:
        assert np.array_equal(read.asarray(), photo.pixels)


def exif_with_caption(orientation=6, resolution=(3, 300, 1)):
    """EXIF data with an UTF-8 caption, a resolution (kind, numerator, denominator), and a thumbnail at the end."""
    thumbnail, caption = b"\xff\xd8 the old face \xff\xd9", CAPTION.encode() + b"\0"
    kind, *ratio = resolution
    start = 8 + 2 + 3 * 12 + 4
    second = start + len(caption) + 8 + (len(caption) % 2)
    data = b"MM\0*" + struct.pack(">IH", 8, 3)
    data += struct.pack(">HHII", 0x010E, 2, len(caption), start)
    data += struct.pack(">HHIHH", ORIENTATION, 3, 1, orientation, 0)
    data += struct.pack(">HHII", 0x011A, kind, 1, second - 8) + struct.pack(">I", second)
    data += caption.ljust(len(caption) + len(caption) % 2, b"\0") + struct.pack(">ii", *ratio)
    at = second + 2 + 2 * 12 + 4
    data += struct.pack(">HHHIIHHIII", 2, 0x0201, 4, 1, at, 0x0202, 4, 1, len(thumbnail), 0)
    return b"Exif\0\0" + data + thumbnail


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "raw.png"])
@pytest.mark.parametrize("orientation", [0, 1, 6, 9])
def test_exif_is_patched_not_rewritten(name, orientation, tmp_path):
    notes = exif_with_caption(orientation)
    if name == "raw.png":  # as ImageMagick writes it
        info = PngInfo()
        info.add_text("Raw profile type exif", f"\nexif\n{len(notes):8}\n{notes.hex()}\n", zip=True)
        path = saved(tmp_path / name, make_image(), pnginfo=info)
    else:
        path = saved(tmp_path / name, make_image(), exif=notes)
    photo = read_photo(path)
    assert photo.image.shape[:2] == ((36, 24) if orientation == 6 else (24, 36))
    data = rewritten(path, photo).read_bytes()
    assert CAPTION.encode() in data and b"the old face" not in data
    assert Image.open(io.BytesIO(data)).getexif().get(ORIENTATION, 1) == (1 if orientation != 0 else 1)


@pytest.mark.parametrize("resolution", [(10, -300, 1), (5, 300, 0), (2, 0x62616400, 0), (7, 1, 1), (99, 1, 1)])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_invalid_resolution_does_not_cost_the_pixels(name, resolution, tmp_path):
    path = saved(tmp_path / name, make_image(), exif=exif_with_caption(6, resolution), lossless=True)
    photo = read_photo(path)
    assert photo.image.shape == (36, 24, 3)
    assert read_photo(rewritten(path, photo)).image.shape == (36, 24, 3)


@pytest.mark.parametrize("kind", ["negative", "text"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_invalid_resolution_of_a_tiff_does_not_cost_the_pixels(kind, dtype, tmp_path):
    value = (282, 10, 1, (-300, 1), True) if kind == "negative" else (282, 2, 0, b"three hundred", True)
    pixels = np.full((24, 36, 3), 7, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, resolution=None, extratags=[value], photometric="rgb")
    photo = read_photo(tmp_path / "a.tif")
    assert np.array_equal(photo.pixels, pixels)
    assert np.array_equal(read_photo(rewritten(tmp_path / "a.tif", photo)).pixels, pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_invalid_orientation_at_16_bits_is_ignored(orientation, tmp_path):
    for name, make in (("a.png", deep_png), ("a.tif", tiff)):
        pixels = deep()
        assert np.array_equal(read_photo(written(tmp_path / name, make(pixels, orientation))).pixels, pixels)


def photoshop(*blocks):
    return b"Photoshop 3.0\0" + b"".join(b"8BIM" + struct.pack(">HHI", n, 0, len(b)) + b + bytes(len(b) % 2) for n, b in blocks)


def test_iptc_comments_and_profiles_of_a_jpeg_keep_their_bytes(tmp_path):
    iptc = (1028, b"\x1c\x02\x78\0\x06K\xf6ln!!")
    path = saved(tmp_path / "a.jpg", make_image(), exif=exif_with_caption(), icc_profile=profile(b"RGB "), comment=b"K\xf6ln")
    data = path.read_bytes()
    segment = photoshop(iptc, (1036, b"the old face"), (1005, b"resolution"))
    path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    new = rewritten(path, read_photo(path)).read_bytes()
    assert photoshop(iptc, (1005, b"resolution")) in new and b"the old face" not in new
    assert b"\xff\xfe\0\x06K\xf6ln" in new and profile(b"RGB ") in new
    assert read_photo(path.with_stem("new")).image.shape == (36, 24, 3)


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_damaged_exif_never_costs_the_pixels(data):
    notes = bytearray(exif_with_caption(data.draw(st.integers(0, 9))))
    for _ in range(data.draw(st.integers(1, 12))):
        notes[data.draw(st.integers(6, len(notes) - 1))] = data.draw(st.integers(0, 255))
    update_exif(bytes(notes), 24, 36)
    file = io.BytesIO()
    make_image(h=8, w=12).save(file, "PNG", exif=bytes(notes))
    with tempfile.TemporaryDirectory() as folder:
        photo = read_photo(written(Path(folder) / "a.png", file.getvalue()))
        assert sorted(photo.image.shape) == [3, 8, 12]
        assert read_photo(rewritten(Path(folder) / "a.png", photo)).image.shape == photo.image.shape


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
@pytest.mark.parametrize("existing", [b"", XMP_OF_CAMERA])
def test_provenance_is_in_the_xmp_and_replaces_the_mark_of_the_camera(name, existing, tmp_path):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", existing.decode())
    notes = {"pnginfo": info} if name == "a.png" else {"xmp": existing} if name != "a.tif" else {}
    path = saved(tmp_path / name, make_image(), **(notes if existing else {}))
    if name == "a.tif":
        tifffile.imwrite(
            path, np.array(make_image()), metadata=None, extratags=[(700, 1, len(existing), existing, True)] if existing else []
        )
    photo = read_photo(path)
    mark = Provenance("GPEN <256>", "ab" * 32, [Region(1, 2, 11, 22)])
    path.write_bytes(photo.encode(mark))
    twice = read_photo(path).encode(mark)
    xmp = Image.open(io.BytesIO(twice)).info["xmp"]
    tree = xml.etree.ElementTree.fromstring(xmp[xmp.index(b"<x:xmpmeta") : xmp.index(b"<?xpacket end")])
    names = {"Iptc4xmpExt": IPTC, "gpen": NAMESPACE}
    marks = [e for e in tree.iter() if f"{{{IPTC}}}DigitalSourceType" in e.attrib]
    assert [e.attrib[f"{{{IPTC}}}DigitalSourceType"] for e in marks] == [SOURCE_TYPE]
    assert marks[0].attrib[f"{{{NAMESPACE}}}model"] == "GPEN <256>" and marks[0].attrib[f"{{{NAMESPACE}}}sha256"] == "ab" * 32
    assert [e.text for e in marks[0].findall(".//gpen:width", names)] == ["10"]
    assert (b"digitalCapture" in xmp, b"A title" in xmp) == (False, bool(existing))


def jpeg_with_xmp(path, *packets):
    """A JPEG with XMP packets, each (header, content)."""
    return written(path, with_segments(saved(path, make_image()).read_bytes(), *((0xE1, head + text) for head, text in packets)))


def jpeg_xmp(data):
    """XMP of a JPEG: (packet, extension joined by its offsets, number of segments)."""
    contents = [content for marker, content, _ in jpeg_segments(data) if marker == 0xE1]
    packets = [content.removeprefix(XMP) for content in contents if content.startswith(XMP)]
    parts = [content.removeprefix(EXTENDED_XMP) for content in contents if content.startswith(EXTENDED_XMP)]
    rest = b"".join(part[40:] for part in sorted(parts, key=lambda part: part[36:40]))
    assert len(packets) == 1 and all(part[:36] == parts[0][:36] for part in parts)
    assert not parts or int.from_bytes(parts[0][32:36], "big") == len(rest)
    assert not parts or parts[0][:32] == hashlib.md5(rest).hexdigest().upper().encode() and parts[0][:32] in packets[0]
    return packets[0], rest, len(contents)


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("prefixes", [("Iptc4xmpExt", "rdf"), ("iptcExt", "r")])
@pytest.mark.parametrize("element", [False, True])
def test_the_mark_of_a_camera_is_found_whatever_the_prefixes_and_coding(coding, prefixes, element, tmp_path):
    text = XMP_OF_CAMERA.decode()
    if element:
        attribute = ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"'
        inner = f"<Iptc4xmpExt:DigitalSourceType rdf:resource={attribute.partition('=')[2]}/>"
        text = text.replace(attribute, "").replace('"A title"/>', f'"A title">{inner}</rdf:Description>')
    text = re.sub(r"\brdf\b(?=[:=])", prefixes[1], text.replace("Iptc4xmpExt:", f"{prefixes[0]}:"))
    path = jpeg_with_xmp(tmp_path / "a.jpg", (XMP, text.replace(":Iptc4xmpExt=", f":{prefixes[0]}=").encode(coding)))
    for provenance in (None, Provenance("model", "12" * 32)):
        xmp = jpeg_xmp(read_photo(path).encode(provenance))[0]
        tree = xml.etree.ElementTree.fromstring(xmp[xmp.index(b"<x:xmpmeta") : xmp.index(b"<?xpacket end")])
        marks = [e.attrib[f"{{{IPTC}}}DigitalSourceType"] for e in tree.iter() if f"{{{IPTC}}}DigitalSourceType" in e.attrib]
        assert marks == ([SOURCE_TYPE] if provenance else [])
        assert b"digitalCapture" not in xmp and b"A title" in xmp


@pytest.mark.parametrize("kind", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"])
def test_a_source_type_that_stays_true_is_kept(kind, tmp_path):
    path = jpeg_with_xmp(tmp_path / "a.jpg", (XMP, XMP_OF_CAMERA.replace(b"digitalCapture", kind.encode())))
    for provenance in (None, Provenance("model", "12" * 32)):
        assert source_type(jpeg_xmp(read_photo(path).encode(provenance))[0]) == kind


@pytest.mark.parametrize(("length", "faces"), [(64_900, 1), (60_000, 100), (0, 900), (64_400, 900)])
@pytest.mark.parametrize("padded", [False, True])
def test_xmp_beyond_a_segment_of_a_jpeg_is_an_extension(length, faces, padded, tmp_path):
    filler = b" " * length if padded else b"<!--" + b"a" * length + b"-->"
    path = jpeg_with_xmp(tmp_path / "a.jpg", (XMP, XMP_OF_CAMERA.replace(b"<?xpacket end", filler + b"<?xpacket end")))
    data = read_photo(path).encode(Provenance("model", "12" * 32, [Region(1, 2, 3, 4)] * faces))
    packet, extension, count = jpeg_xmp(data)
    assert source_type(packet) == SOURCE_TYPE.rpartition("/")[2] and not source_type(extension)
    assert (packet + extension).count(b"<gpen:width>") == faces and b"A title" in packet + extension
    assert (count == 1) == (faces < 900 and (padded or not length))
    assert read_photo(written(path, data)).image.shape == (24, 36, 3)


def test_only_one_extension_of_xmp_is_allowed(tmp_path):
    long = XMP_OF_CAMERA.replace(b"<?xpacket end", b"<!--" + b"a" * 64_400 + b"--><?xpacket end")
    path = jpeg_with_xmp(tmp_path / "a.jpg", (XMP, long), (EXTENDED_XMP, b"A" * 32 + struct.pack(">II", 9, 0) + b"extension"))
    data = read_photo(path).encode(Provenance("model", "12" * 32, [Region(1, 2, 3, 4)] * 9))
    assert b"digitalCapture" not in data and b"extension" in data and SOURCE_TYPE.encode() not in data
    assert compare_photos(path.read_bytes(), data, True)["provenance"].startswith("none: the XMP of the photo leaves no room")


def test_only_the_signed_boxes_of_a_jpeg_are_dropped(tmp_path):
    boxes = [(0xEB, b"JP\0\1\0\0\0\1 c2pa "), (0xEB, b"JP\0\1\0\0\0\2 rest"), (0xEB, b"JP\0\2\0\0\0\1 other")]
    path = saved(tmp_path / "a.jpg", make_image())
    data = read_photo(written(path, with_segments(path.read_bytes(), *boxes))).encode()
    assert [content for marker, content, _ in jpeg_segments(data) if marker == 0xEB] == [boxes[2][1]]


def test_tags_of_a_tiff_are_kept_unless_they_hold_other_images(tmp_path):
    tags = [
        (65000, 7, 4, b"mine", True),
        (42112, 2, 0, b"<GDAL/>", True),
        (37724, 7, 6, b"layers", True),
        (52545, 7, 4, b"c2pa", True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", np.array(make_image()), metadata=None, extratags=tags)
    with tifffile.TiffFile(rewritten(tmp_path / "a.tif", read_photo(tmp_path / "a.tif"))) as file:
        kept = file.pages[0].tags
        assert kept[65000].value == b"mine" and kept[42112].value == "<GDAL/>" and 37724 not in kept and 52545 not in kept
