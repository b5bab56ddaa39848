"""Reading and writing of photo files: pixels, bit depth, metadata, orientation, invalid files."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

import gpen
from gpen.images import to_8_bits
from gpen.media.photo_file import Photo, read_photo
from gpen.restoration.paste import enlarge
from tests.gpen.media.photo_files import (
    CAPTION,
    EXIF_IFD,
    GPS_IFD,
    ORIENTATION,
    deep,
    deep_png,
    exif,
    make_image,
    profile,
    rewritten,
    saved,
    tiff,
    written,
)


def changed(photo):
    """Image of the photo with an inverted patch, in place of a restoration."""
    image = photo.image.copy()
    image[4:12, 8:20] = 255 - image[4:12, 8:20]
    return image


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("case", ["a.jpg RGB", "a.jpg L", "a.png RGB", "a.png RGBA", "a.png L", "a.webp RGB", "a.webp RGBA"])
def test_round_trip_preserves_pixels_and_metadata(case, orientation, tmp_path):
    name, mode = case.split()
    space = b"GRAY" if mode == "L" else b"RGB "
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><x>tiff:Orientation="6"</x></x:xmpmeta>'
    notes = {"exif": exif(orientation), "icc_profile": profile(space), "xmp": xmp, "dpi": (300, 300)}
    path = saved(tmp_path / name, make_image(mode), quality=95, lossless=True, **notes)
    photo = read_photo(path)
    upright = ImageOps.exif_transpose(Image.open(path))
    assert photo.image.shape[1::-1] == upright.size == ((36, 24) if orientation == 1 else (24, 36))
    assert np.array_equal(photo.image, np.array(upright.convert("RGBA"))[..., :3])

    image = changed(photo)
    new = Image.open(rewritten(path, photo.with_image(image, None)))
    assert (new.format, new.mode, new.size) == (upright.format or Image.open(path).format, mode, upright.size)
    assert new.info["icc_profile"] == profile(space)
    tags = new.getexif()
    assert tags.get(ORIENTATION, 1) == 1 and tags[0x010F] == "Maker"
    assert tags.get_ifd(EXIF_IFD)[0x927C] == b"maker's note" and tags.get_ifd(GPS_IFD)[1] == "N"
    if name != "a.webp":
        assert new.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    if name != "a.png":
        assert b"xmpmeta" in new.info["xmp"]
    tolerance = 20 if name == "a.jpg" else 0
    expected = image if mode != "L" else np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    assert np.abs(np.array(new.convert("RGB")).astype(int) - expected).max() <= tolerance
    if mode == "RGBA":
        assert np.array_equal(np.array(new)[..., 3], np.array(upright)[..., 3])


def test_png_text_and_colour_chunks_are_preserved(tmp_path):
    info = PngInfo()
    info.add_text("Title", "Solvay")
    info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>')
    info.add(b"gAMA", struct.pack(">I", 45455))
    path = saved(tmp_path / "a.png", make_image(), pnginfo=info)
    photo = read_photo(path)
    new = Image.open(rewritten(path, photo))
    new.load()
    assert new.info["Title"] == "Solvay" and new.info["gamma"] == pytest.approx(0.45455)
    assert ImageOps.exif_transpose(new).size == photo.image.shape[1::-1] == ImageOps.exif_transpose(Image.open(path)).size


def upright(array, orientation):
    """Apply an EXIF orientation to an array [h, w] with Pillow."""
    image = Image.fromarray(array)
    image.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("make", [deep_png, tiff])
def test_16_bit_pixels_outside_of_the_change_are_exact(make, tmp_path):
    path = tmp_path / ("a.png" if make is deep_png else "a.tif")
    for orientation, c in [(1, 1), (1, 3), (1, 4), (2, 3), (3, 1), (4, 3), (5, 3), (6, 4), (7, 1), (8, 3)]:
        pixels = deep(c=c)
        path.write_bytes(make(pixels, orientation))
        photo = read_photo(path)
        assert np.array_equal(photo.pixels[..., 0], upright(pixels[..., 0], orientation)), (orientation, c)

        image = changed(photo)
        new = read_photo(rewritten(path, photo.with_image(image, None)))
        assert new.pixels.dtype == np.uint16 and new.format == photo.format
        outside = np.ones(image.shape[:2], bool)
        outside[4:12, 8:20] = False
        assert np.array_equal(new.pixels[outside], photo.pixels[outside])
        expected = image if c > 1 else np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        assert np.abs(new.image.astype(int) - expected).max() <= 1
        opened = Image.open(rewritten(path, photo))
        tags = opened.getexif()
        assert tags.get(ORIENTATION, 1) == 1
        if make is deep_png:
            assert tags.get_ifd(EXIF_IFD)[0x9003] == "2020:01:02 03:04:05"
        else:
            assert CAPTION.encode() in opened.fp.getvalue() if hasattr(opened.fp, "getvalue") else path.read_bytes()
            assert opened.info["dpi"] == (300, 300)
            assert opened.info["icc_profile"] == profile(b"GRAY" if c == 1 else b"RGB ")


@pytest.mark.parametrize(("c", "dtype"), [(1, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16), (4, np.uint16)])
def test_upscaled_photo_keeps_depth_and_alpha(c, dtype):
    pixels = deep(c=c) if dtype == np.uint16 else deep(c=c).astype(np.uint8)
    photo = Photo(pixels, "PNG", b"")
    new = photo.with_image(enlarge(photo.image, 2), lambda image: enlarge(image, 2))
    assert new.pixels.shape == (48, 72, c) and new.pixels.dtype == dtype
    if dtype == np.uint16:
        assert np.array_equal(new.pixels, enlarge(pixels, 2).reshape(48, 72, c))


def test_other_pixel_formats(tmp_path):
    for name, mode in [("a.bmp", "RGB"), ("a.bmp", "L"), ("a.tif", "RGBA"), ("a.png", "P"), ("a.tif", "CMYK")]:
        path = saved(tmp_path / name, make_image(mode))
        photo = read_photo(path)
        image = changed(photo)
        assert np.array_equal(read_photo(rewritten(path, photo.with_image(image, None))).image[5, 9], image[5, 9]), (name, mode)


def test_bmp_alpha_is_preserved(tmp_path):
    pixels = np.array(make_image("RGBA"))
    (tmp_path / "a.bmp").write_bytes(Photo(pixels, "BMP", b"").encode())
    assert np.array_equal(read_photo(tmp_path / "a.bmp").pixels, pixels)


def test_grey_photo_becomes_rgb_only_with_coloured(tmp_path):
    photo = read_photo(saved(tmp_path / "a.jpg", make_image("L"), icc_profile=profile(b"GRAY")))
    colours = np.array(make_image("RGB"))
    assert photo.with_image(colours, None).pixels.shape[2] == 1
    coloured = Image.open(io.BytesIO(photo.with_image(colours, None, coloured=True).encode()))
    assert coloured.mode == "RGB" and "icc_profile" not in coloured.info


def test_mpo_is_read_as_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    make_image().save(path, "MPO", save_all=True, append_images=[make_image()])
    assert Image.open(path).format == "MPO"
    assert read_photo(path).format == "JPEG"


def test_to_8_bits_rounds():
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(values), np.round(values / 257))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"text that is not an image", "cannot be read as an image"),
        ("cut.png", "cut", "truncated"),
        ("cut.jpg", "cut", "truncated"),
        ("cut.tif", "cut", "cannot be read"),
        ("moving.webp", "frames", "holds 2 images"),
        ("a.gif", "whole", "GIF"),
        ("deep.tif", "float", "32-bit"),
        ("absent.png", None, "no file"),
    ],
)
def test_invalid_photo_files_raise_an_error(name, content, words, tmp_path):
    path = tmp_path / name
    if content == "frames":
        make_image().save(path, save_all=True, append_images=[make_image("L").convert("RGB")])
    elif content == "float":
        Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    elif content in ("cut", "whole"):
        data = saved(path, make_image()).read_bytes()
        path.write_bytes(data[: len(data) // 2] if content == "cut" else data)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(gpen.GPENError, match=words) as caught:
        read_photo(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_16_bit_tiff_with_white_zero_is_not_a_negative(tmp_path):
    pixels = deep(c=1)
    photo = read_photo(written(tmp_path / "a.tif", tiff(65535 - pixels, photometric="miniswhite")))
    assert np.array_equal(photo.pixels, pixels)
    assert np.array_equal(read_photo(rewritten(tmp_path / "a.tif", photo)).pixels, pixels)


@pytest.mark.parametrize(
    ("shape", "dtype", "settings", "words"),
    [
        (
            (3, 24, 36),
            "uint16",
            {"photometric": "rgb", "planarconfig": "separate"},
            "16-bit RGB with 3 channels in separate planes",
        ),
        ((24, 36, 4), "uint16", {"photometric": "separated"}, "16-bit CMYK with 4 channels"),
        ((24, 36, 2), "uint16", {"photometric": "minisblack", "extrasamples": ["unassalpha"]}, "16-bit grey with 2 channels"),
        ((24, 36), "int16", {}, "16-bit signed grey with 1 channel"),
        ((24, 36), "uint32", {}, "32-bit grey with 1 channel"),
        ((24, 36, 3), "int8", {"photometric": "rgb"}, "8-bit signed RGB with 3 channels"),
        ((24, 36, 3), "float16", {"photometric": "rgb"}, "16-bit floating-point RGB with 3 channels"),
        ((24, 36, 3), "uint8", {"photometric": "rgb", "bigtiff": True, "byteorder": ">"}, "8-bit RGB .* in a big-endian BigTIFF"),
    ],
)
def test_unsupported_layouts_of_a_tiff_are_named(shape, dtype, settings, words, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full(shape, 100, dtype), metadata=None, **settings)
    with pytest.raises(gpen.GPENError, match=f"a TIFF of {words} is not supported"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_cut_file_of_16_bits_is_named_so_without_messages_of_libraries(name, part, tmp_path, capfd):
    pixels = np.random.default_rng(0).integers(0, 65536, (24, 36, 3), np.uint16)
    data = deep_png(pixels) if name == "a.png" else tiff(pixels, compression=None)
    if name == "lzw.tif":  # its directory is at the end
        data = saved(tmp_path / name, make_image(), compression="tiff_lzw").read_bytes()
    with pytest.raises(gpen.GPENError, match="truncated"):
        read_photo(written(tmp_path / name, data[: int(len(data) * part)]))
    assert capfd.readouterr().err == ""


def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path):
    pixels = np.dstack([deep(), np.broadcast_to(np.linspace(9000, 65535, 36).astype(np.uint16), (24, 36))])
    multiplied = pixels.copy()
    multiplied[..., :3] = (pixels[..., :3].astype(float) * pixels[..., 3:] / 65535).round()
    photo = read_photo(written(tmp_path / "a.tif", tiff(multiplied, extrasamples=["assocalpha"])))
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= 4
    assert np.array_equal(read_photo(rewritten(tmp_path / "a.tif", photo)).pixels, photo.pixels)


def test_a_fourth_channel_that_is_no_alpha_is_not_taken_for_it(tmp_path):
    pixels = deep(c=4)
    photo = read_photo(written(tmp_path / "a.tif", tiff(pixels, extrasamples=["unspecified"])))
    assert np.array_equal(photo.pixels, pixels[..., :3])


def test_a_photo_beyond_200_megapixels_is_an_error_with_the_limit(tmp_path):
    header = struct.pack(">IIBBBBB", 20001, 10000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(gpen.GPENError, match=r"large\.png has more than 200 megapixels: make it smaller"):
        read_photo(tmp_path / "large.png")
