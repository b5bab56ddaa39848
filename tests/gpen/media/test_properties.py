"""Properties of photo files: every one is named in the report as kept, changed, dropped or added."""

import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import gpen
from gpen.media.containers import MPF
from gpen.media.photo_file import read_photo
from gpen.media.properties import compare, compare_photos, describe_photo
from gpen.media.provenance import Provenance
from tests.gpen.media.photo_files import XMP_OF_CAMERA, deep, deep_png, exif, make_image, profile, tiff, with_segments, written


def image_file(form, image=None, **options):
    file = io.BytesIO()
    (image or make_image()).save(file, form, **options)
    return file.getvalue()


def tiff_file(shape, dtype="uint8", **options):
    file = io.BytesIO()
    tifffile.imwrite(file, np.full(shape, 100, dtype), metadata=None, **options)
    return file.getvalue()


def text_png():
    info = PngInfo()
    info.add_itxt("Title", "東京")
    return image_file("PNG", pnginfo=info, dpi=(300, 300))


def signed_jpeg(label=b"c2pa"):
    return with_segments(image_file("JPEG"), (0xEB, b"JP\0\1\0\0\0\1 jumb " + label), (0xEB, b"JP\0\1\0\0\0\2 more"))


CASES = {
    "1 bit": (lambda: image_file("PNG", make_image("1")), {"bits per channel": "1", "channels": "grey"}),
    "palette": (lambda: image_file("GIF", make_image("P")), {"channels": "palette"}),
    "transparent": (lambda: image_file("PNG", transparency=(1, 2, 3)), {"channels": "RGB, alpha"}),
    "16 bits": (lambda: deep_png(deep(c=1)), {"bits per channel": "16", "channels": "grey"}),
    "CMYK": (lambda: image_file("JPEG", make_image("CMYK"), comment=b"12345"), {"channels": "CMYK", "comment": "5 bytes"}),
    "chroma": (lambda: image_file("JPEG", progressive=True), {"chroma": "4:2:0", "progressive": "yes", "size": "36 x 24"}),
    "turned": (lambda: image_file("JPEG", exif=exif(6)), {"orientation": "6", "size": "24 x 36"}),
    "motion photo": (lambda: image_file("JPEG") + bytes(2) + b"video", {"data behind the image": "7 bytes"}),
    "further images": (lambda: image_file("MPO", save_all=True, append_images=[make_image()]), {"further images": "1"}),
    "C2PA": (signed_jpeg, {"C2PA manifest": "31 bytes"}),
    "other boxes": (lambda: signed_jpeg(b"exif"), {"segment APP11": "31 bytes"}),
    "text": (text_png, {"text Title": "10 bytes", "chunk pHYs": "9 bytes"}),
    "lossless": (lambda: image_file("WEBP", lossless=True, xmp=XMP_OF_CAMERA), {"lossless": "yes"}),
    "camera": (lambda: image_file("WEBP", xmp=XMP_OF_CAMERA), {"digital source type": "digitalCapture"}),
    "further channels": (
        lambda: tiff_file((24, 36, 5), photometric="rgb", extrasamples=["unassalpha", "unspecified"]),
        {"channels": "RGB, alpha, 1 further", "compression": "raw"},
    ),
    "private tags": (
        lambda: tiff_file((24, 36), extratags=[(65000, 7, 4, b"abcd", True), (37724, 7, 6, b"layers", True)]),
        {"tag 65000": "4 bytes", "layers of Photoshop": "6 bytes"},
    ),
    "texts of a TIFF": (lambda: tiff(deep()), {"tag 270 ImageDescription": "14 bytes", "ICC profile": "128 bytes"}),
}


@pytest.mark.parametrize("case", CASES)
def test_describe_photo(case):
    make, expected = CASES[case]
    described = describe_photo(make())
    assert {name: described.get(name) for name in expected} == expected


def test_more_than_8_bits_of_a_heic_image_are_reported():
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.encode("RGB;16", (36, 24), deep().tobytes(), file, quality=90)
    photo = read_photo_of(file.getvalue())
    assert describe_photo(photo.data)["bits per channel"] == "10"
    rows = compare_photos(photo.data, photo.encode(), False)
    assert rows["bits per channel"] == "changed: 10 to 8" and rows["primaries"] == "kept: BT.709"


def read_photo_of(data):
    class File:
        name = "a"

        def read_bytes(self):
            return data

        def __fspath__(self):
            return "a"

    return read_photo(File())


def test_reasons_are_given_for_what_is_dropped():
    segments = [(0xEB, b"JP\0\1\0\0\0\1c2pa"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_OF_CAMERA), (0xE2, MPF + bytes(9))]
    data = with_segments(image_file("JPEG", icc_profile=profile(b"GRAY")), *segments)
    photo = read_photo_of(data)
    rows = compare_photos(data, photo.encode(Provenance("model", "12" * 32)), True)
    assert rows["C2PA manifest"].startswith("dropped: 12 bytes (it is signed") and rows["ICC profile"].startswith("dropped")
    assert rows["digital source type"] == "changed: digitalCapture to compositeWithTrainedAlgorithmicMedia"
    assert rows["provenance"] == "added to XMP"
    rows = compare_photos(data, photo.encode(), False)
    assert rows["digital source type"].startswith("dropped: digitalCapture (the faces") and rows["provenance"] == "none"
    bmp = read_photo_of(image_file("BMP"))
    assert compare_photos(bmp.data, bmp.encode(Provenance("model", "")), True)["provenance"] == "none: a BMP has none"


@settings(deadline=None)
@given(*[st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["yes", "1", "2"]))] * 2)
def test_every_property_of_both_files_is_named_once(before, after):
    rows = compare(before, after, {})
    assert rows.keys() == before.keys() | after.keys()
    for name, text in rows.items():
        verb = text.partition(":")[0]
        assert (verb == "kept") == (before.get(name) == after.get(name))
        assert (verb == "added") == (name not in before) and (verb == "dropped") == (name not in after)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_properties_of_a_damaged_file_never_cost_the_pixels(data):
    kind = data.draw(st.sampled_from(["jpeg", "png", "tiff", "avif"]))
    files = {"jpeg": signed_jpeg, "png": text_png, "tiff": lambda: tiff(deep()), "avif": lambda: image_file("AVIF", exif=exif(3))}
    damaged = bytearray(files[kind]())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, min(len(damaged), 600) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = read_photo_of(bytes(damaged))
        result = photo.encode(Provenance("model", "12" * 32))
    except gpen.GPENError:
        return
    rows = compare_photos(photo.data, result, True)
    assert rows["format"].startswith("kept") and rows["provenance"] == "added to XMP"


def test_a_thumbnail_of_pixels_is_removed_as_one_of_jpeg_is(tmp_path):
    body = struct.pack("<HHHIIH", 1, 0x0112, 3, 1, 1, 0)[:14] + struct.pack("<I", 26)
    second = struct.pack("<HHHIIHHIII", 2, 273, 4, 1, 56, 279, 4, 1, 20, 0)
    notes = b"Exif\0\0II*\0" + struct.pack("<I", 8) + body + second + b"the old face, 20 byt"
    data = image_file("JPEG", exif=notes)
    assert describe_photo(data)["thumbnail"] == "yes"
    result = read_photo(written(tmp_path / "a.jpg", data)).encode()
    assert b"the old face" not in result and compare_photos(data, result, False)["thumbnail"].startswith("dropped (it shows")
    assert Image.open(io.BytesIO(result)).getexif()[0x0112] == 1
