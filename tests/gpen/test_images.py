"""Reading, writing and conversion of images: truncated files, orientation, bit depth, atomic replacement."""

import errno
import os
import re
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import gpen
from gpen.images import read_image, replace_atomically, resize_to, square_crop, to_8_bits, write_atomically, write_image
from tests import ROOT


def make_image(h: int = 40, w: int = 30) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_round_trip(tmp_path, suffix):
    write_image(tmp_path / f"folder/a{suffix}", make_image())
    assert np.array_equal(read_image(tmp_path / f"folder/a{suffix}"), make_image())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_truncated_files_raise_an_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(make_image(200, 200)).save(path)
    data = path.read_bytes()
    for size in (0, 20, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:size])
        with pytest.raises(gpen.GPENError, match="cannot be read as an image") as caught:
            read_image(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(make_image()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(make_image(), -1))


def test_pixel_formats_are_converted_to_rgb(tmp_path):
    grey = make_image()[..., 0]
    cv2.imwrite(str(tmp_path / "deep.png"), grey.astype(np.uint16) * 257)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    for name in ("deep.png", "grey.png"):
        assert np.array_equal(read_image(tmp_path / name), np.repeat(grey[..., None], 3, axis=2)), name
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(gpen.GPENError, match="float.tif.*32-bit"):
        read_image(tmp_path / "float.tif")


def test_all_16_bit_levels_are_rounded_to_8_bits():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_8_bits(levels), (levels / 257).round().astype(np.uint8))
    assert np.array_equal(to_8_bits(levels.astype(np.int32)[:, ::-1]), to_8_bits(levels)[:, ::-1])


def test_conversion_of_many_16_bit_pixels_takes_little_memory():
    levels = np.full((4096, 4096), 65535, np.uint16)
    tracemalloc.start()
    to_8_bits(levels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * levels.size  # bytes: the result, and blocks of 32 bits


def test_missing_files_folders_and_unknown_suffixes_raise_an_error(tmp_path):
    with pytest.raises(gpen.GPENError, match="no file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(gpen.GPENError, match="cannot be read"):
        read_image(tmp_path)
    with pytest.raises(gpen.GPENError, match="use .png"):
        write_image(tmp_path / "a.xyz", make_image())
    assert list(tmp_path.iterdir()) == []


def test_file_is_replaced_only_on_success(tmp_path):
    path = tmp_path / ("long" * 60)  # close to the limit of 255 bytes
    write_atomically(path, b"first")
    with pytest.raises(RuntimeError), replace_atomically(path) as partial:
        partial.write_bytes(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_file_has_the_usual_permissions_whatever_its_writer_sets(tmp_path):
    (tmp_path / "usual").touch()
    with replace_atomically(tmp_path / "a") as partial:
        partial.unlink()
        partial.touch(mode=0o600)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(("h", "w", "size"), [(40, 30, 16), (30, 40, 64), (31, 31, None)])
def test_square_crop_is_central(h, w, size):
    image = make_image(h, w)
    crop = square_crop(image, size)
    assert crop.shape == (size or min(h, w),) * 2 + (3,)
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    assert np.array_equal(square_crop(image), image[top : top + side, left : left + side])


def test_resize_to_averages_down_and_keeps_the_size():
    image = make_image(32, 32)
    assert resize_to(image, 32) is image
    means = image.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(resize_to(image, 16) - means).max() <= 0.5


def test_heic_photo_is_read_if_the_optional_package_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = make_image(64, 80)
    pillow_heif.from_pillow(Image.fromarray(image)).save(tmp_path / "a.heic", quality=95)
    assert np.abs(read_image(tmp_path / "a.heic").astype(int) - image).mean() < 4


def test_heic_photo_without_the_optional_package_names_it(monkeypatch):
    monkeypatch.setattr("gpen.images.reading.register_heif", lambda: False)
    monkeypatch.setattr("gpen.images.reading.FORMATS", ["PNG", "JPEG"])
    with pytest.raises(gpen.GPENError, match=r'a.heic is a HEIC image: pip install "gpen\[heif\]"'):
        gpen.images.decode(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "a.heic")


def test_postscript_is_never_opened(tmp_path):
    """Pillow starts Ghostscript for it."""
    Image.new("RGB", (20, 20)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(gpen.GPENError, match="unknown format"):
        read_image(tmp_path / "a.png")


def test_damaged_exif_data_do_not_cost_the_pixels(tmp_path):
    Image.fromarray(make_image()).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x09\xff\xff\xff\xff")
    assert np.array_equal(read_image(tmp_path / "a.png"), make_image())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_which_0_is_white_is_not_read_as_a_negative(dtype, tmp_path):
    pixels = np.linspace(0, np.iinfo(dtype).max, 24 * 36).astype(dtype).reshape(24, 36)
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - pixels, photometric="miniswhite", metadata=None)
    assert np.abs(read_image(tmp_path / "a.tif")[..., 0].astype(int) - to_8_bits(pixels)).max() <= 1


@pytest.mark.parametrize("kind", ["planes", "int16", "int8", "uint32"])
def test_a_tiff_that_would_be_read_wrongly_is_an_error(kind, tmp_path):
    shape, options = ((3, 24, 36), {"photometric": "rgb", "planarconfig": "separate"}) if kind == "planes" else ((24, 36), {})
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, "uint16" if kind == "planes" else kind), metadata=None, **options)
    with pytest.raises(gpen.GPENError, match="a TIFF of .* is not supported"):
        read_image(tmp_path / "a.tif")


def test_content_is_on_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    """After a loss of power, a file whose name is on disk has its content, and a file that was written has its name."""
    events, fsync, replace = [], os.fsync, Path.replace

    def synchronise(number):
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        events.append("folder" if path == tmp_path / "new" else path.read_bytes())
        fsync(number)

    def rename(path, target):
        events.append(f"{target.name} appears")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synchronise)
    monkeypatch.setattr(Path, "replace", rename)
    write_atomically(tmp_path / "new" / "a", b"content")
    assert events == [b"content", "a appears", "folder"]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    with replace_atomically(tmp_path / "a") as first, replace_atomically(tmp_path / "a") as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second, longer")
    assert (tmp_path / "a").read_bytes() == b"first" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folder_that_cannot_be_synchronised_is_no_error_but_a_file_is(tmp_path, monkeypatch):
    def refuse(number):
        if os.path.isdir(f"/proc/self/fd/{number}") or refuse.all:
            raise OSError(errno.EINVAL, "Invalid argument")

    refuse.all = False
    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "a", b"first")
    refuse.all = True
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first" and [path.name for path in tmp_path.iterdir()] == ["a"]


WRITERS = re.compile(  # calls that write a file in place; `partial` is a path of replace_atomically or of a resumed download
    r"\b(?:os\.(?:replace|rename)|np\.savez?|torch\.save|save_file)\("
    r"|[\w)\]]\.(?:write_text|write_bytes|savefig|to_csv|imwrite)\("
    r"|NamedTemporaryFile|mkstemp|\bopen\([^()]*[\"'][wx]b?[\"']"
)
ALLOWED = (
    "torch.save(state, file)",
    "np.savez(data",
    "/proc/self/clear_refs",
    "savefig(file, format=",
)  # into memory or `partial`


def test_all_packages_use_the_one_writer():
    found = []
    for path in sorted(path for package in ("gpen", "eval", "demo", "bench") for path in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if WRITERS.search(line) and "partial" not in line and not any(part in line for part in ALLOWED):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []
