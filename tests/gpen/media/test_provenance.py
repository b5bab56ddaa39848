"""Marks of restored videos: XMP of MP4, MOV and AVI, tags of other containers. Those of photos are in test_photo_metadata.py."""

import struct
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.faces.alignment import Face
from gpen.media.provenance import (
    AVI_XMP,
    GENERATED,
    MP4_C2PA,
    MP4_XMP,
    NAMESPACE,
    SOURCE_TYPE,
    SOURCE_TYPES,
    Provenance,
    append_video_xmp,
    marked,
    other_boxes,
    read_video_xmp,
    source_type,
)
from gpen.media.video import restore_video
from gpen.media.video_output import CONTAINERS, restored_tags
from tests.gpen.media.video_files import encode, moving_frames, read, restore

FRAMES = moving_frames(5)
PROVENANCE = Provenance("model", "12" * 32)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_provenance(suffix, tmp_path):
    container = CONTAINERS[suffix]
    source = encode(
        tmp_path / f"a{suffix}", FRAMES, container.encoder.name, change=lambda made, _: made.metadata.update(comment="mine")
    )
    target = tmp_path / f"b{suffix}"
    assert restore(source, target)["properties"]["provenance"] == "none" and SOURCE_TYPE.encode() not in target.read_bytes()
    rows = restore(source, target, provenance=PROVENANCE)["properties"]
    data = target.read_bytes().replace(b"\0", b"")  # WMV stores UTF-16
    marked = SOURCE_TYPE.encode() in data and b"12" * 32 in data
    assert marked == rows["provenance"].startswith("added to ") and len(read(target)[0]) == 5
    assert ("faces" in rows["provenance"]) == (marked and rows["provenance"] != "added to XMP")
    assert marked or suffix in (".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob")
    if marked:
        assert rows.get("tag comment", "kept: mine") == "kept: mine"


def test_provenance_replaces_the_mark_of_a_camera_and_keeps_its_other_xmp(tmp_path):
    source = encode(tmp_path / "a.mp4", FRAMES)
    camera = PROVENANCE.mark(b"").replace(SOURCE_TYPE.encode(), b"http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture")
    camera = camera.replace(b"</rdf:RDF>", b"<rdf:Description>kept</rdf:Description></rdf:RDF>")
    append_video_xmp(source, camera)
    assert restore(source, tmp_path / "b.mp4", provenance=PROVENANCE)["properties"]["XMP"].startswith("changed")
    xmp = read_video_xmp(tmp_path / "b.mp4")
    assert b"digitalCapture" not in xmp and b"kept</rdf:Description>" in xmp and SOURCE_TYPE.encode() in xmp
    assert (tmp_path / "b.mp4").read_bytes().count(MP4_XMP) == 1


@pytest.mark.parametrize("data", [b"", b"short", b"\0\0\0\4free", b"\0\0\0\x08free" * 3, b"\0\0\0\1wide\0\0"])
def test_damaged_boxes_have_no_xmp(data, tmp_path):
    (tmp_path / "a.mp4").write_bytes(data)
    assert read_video_xmp(tmp_path / "a.mp4") == b""


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi"])
@pytest.mark.parametrize("upscale", [1, 2])
def test_xmp_has_each_face_with_its_time(name, upscale, tmp_path):
    source = encode(tmp_path / name, FRAMES, "mpeg4" if name == "a.avi" else "libx264", rate=10)
    boxes = iter([(10, 10, 40, 50), (12, 8, 44, 50), None, None, None])

    def detect(image, rotated):
        box = next(boxes)
        return [face_at(box)] if box else []

    def change(image, faces):
        return (image ^ 1).repeat(upscale, 0).repeat(upscale, 1)

    report = restore_video(
        source, tmp_path / f"b{source.suffix}", change, lambda: detect, smoothing=None, progress=False, provenance=PROVENANCE
    )
    assert report["tracks"] == [{"first": 0.0, "last": 0.1, "box": [10, 8, 44, 50]}]
    xmp = read_video_xmp(tmp_path / f"b{source.suffix}")
    tree = xml.etree.ElementTree.fromstring(xmp[xmp.index(b"<x:xmpmeta") : xmp.index(b"<?xpacket end")])
    values = {element.tag.partition("}")[2]: element.text for element in tree.iter() if NAMESPACE in element.tag and element.text}
    assert values == {
        "x": f"{10 * upscale}", "y": f"{8 * upscale}", "width": f"{34 * upscale}", "height": f"{42 * upscale}",
        "firstSecond": "0.000", "lastSecond": "0.100",
    }  # fmt: skip
    assert len(read(tmp_path / f"b{source.suffix}")[0]) == 5


def face_at(box):
    x0, y0, x1, y1 = box
    points = np.array([[x0 + 8, y0 + 12], [x1 - 8, y0 + 12], [(x0 + x1) / 2, y0 + 20], [x0 + 10, y1 - 10], [x1 - 10, y1 - 10]])
    return Face(box, points.astype(np.float32), 0.99)


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4).filter(lambda k: k != AVI_XMP), st.binary(max_size=9)), max_size=5))
def test_xmp_is_the_last_chunk_of_an_avi(chunks):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.avi"
        body = b"AVI " + b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
        assert read_video_xmp(path) == b"" and append_video_xmp(path, b"<odd>")
        data = path.read_bytes()
        assert read_video_xmp(path) == b"<odd> " and struct.unpack_from("<I", data, 4)[0] == len(data) - 8
        path.write_bytes(data + b"RIFF" + struct.pack("<I", 4) + b"AVIX")
        assert not append_video_xmp(path, b"more") and path.read_bytes().count(AVI_XMP) == 1


def test_boxes_that_are_not_written_are_named(tmp_path):
    source = encode(tmp_path / "a.mp4", FRAMES)
    boxes = b"".join(struct.pack(">I4s", 27, b"uuid") + kind + b"abc" for kind in (MP4_C2PA, b"private box kind"))
    source.write_bytes(source.read_bytes() + boxes)
    assert other_boxes(source) == {"C2PA manifest": "3 bytes", f"box {b'private box kind'.hex()}": "3 bytes"}
    rows = restore(source, tmp_path / "b.mp4")["properties"]
    assert rows["C2PA manifest"] == "dropped: 3 bytes" and rows[f"box {b'private box kind'.hex()}"] == "dropped: 3 bytes"


@pytest.mark.parametrize("key", ["DigitalSourceType", "DIGITALSOURCETYPE"])
def test_a_source_type_in_the_tags_is_kept_only_if_it_stays_true(key):
    assert restored_tags({key: f"{SOURCE_TYPES}digitalCapture", "title": "a"}) == {"title": "a"}
    for kind in GENERATED:
        assert restored_tags({key: SOURCE_TYPES + kind}) == {key: SOURCE_TYPES + kind}


def test_the_mark_of_a_camera_is_removed_without_provenance_too(tmp_path):
    source = encode(tmp_path / "a.mp4", FRAMES)
    append_video_xmp(source, PROVENANCE.mark(b"").replace(b"compositeWithTrainedAlgorithmicMedia", b"digitalCapture"))
    rows = restore(source, tmp_path / "b.mp4")["properties"]
    assert rows["digital source type"] == "changed: digitalCapture to none" and rows["provenance"] == "none"
    assert source_type(read_video_xmp(tmp_path / "b.mp4")) == ""


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_in_place_of_xmp_are_marked(data):
    xmp = marked(data, PROVENANCE)
    assert source_type(xmp) == "compositeWithTrainedAlgorithmicMedia" and marked(data, None) == data
    assert marked(xmp, PROVENANCE) == xmp
