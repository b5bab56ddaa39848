"""Reading of uploaded files: the displayed image, or one clear error message."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import app
from demo import images
from gpen.errors import GPENError
from gpen.faces.alignment import FFHQ_POINTS_512, Face
from tests.icc import display_p3

SHARING = ("Image", "ImageEditor", "ImageSlider", "Gallery", "Chatbot", "Audio", "Video")  # components with a Share button


def assert_near(image, expected, level):
    assert image.dtype == np.uint8 and image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < level


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("plain.png", 1e-9),
        ("16-bit colour.png", 1e-9),
        ("webp.txt", 1e-9),
        ("cmyk.jpg", 6),
        ("palette.png", 8),
        ("turned.jpg", 3),
    ],
)
def test_decode_returns_displayed_image(files, photo, name, level):
    assert_near(images.decode(files[name]), photo, level)


def test_sixteen_bit_grey_is_converted_to_eight(files, photo):
    assert_near(images.decode(files["16-bit.png"]), np.repeat(photo[..., :1], 3, axis=2), 1e-9)


def test_one_image_is_decoded_at_a_time(files, monkeypatch):
    running, most, decode = [], [], images.gpen.images.decode
    together = threading.Barrier(4, timeout=60)

    def watched(*arguments, **named):
        running.append(1)
        most.append(len(running))
        result = decode(*arguments, **named)
        running.pop()
        return result

    def read():
        together.wait()
        images.read(files["plain.png"])

    monkeypatch.setattr(images.gpen.images, "decode", watched)
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(read) for _ in range(4)]:
            job.result()
    assert most == [1] * 4


def test_transparent_pixels_become_white(files, photo):
    assert (images.decode(files["rgba.png"]) == 255).all()


def test_animation_is_read_as_first_frame(files):
    assert_near(images.decode(files["moving.gif"]), np.full((40, 40, 3), 200), 2)


def test_grey_image_becomes_three_equal_channels(files):
    image = images.decode(files["grey.png"])
    assert image.shape == (180, 150, 3) and (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.png", "unknown format"),
        ("empty.png", "empty"),
        ("1x1.png", "1 x 1 pixels"),
        ("bomb.png", "more than 200 megapixels"),
        ("cut-off.jpg", "truncated"),
        ("strip.png", "too narrow"),
    ],
)
def test_unusable_image_raises_one_line_error(files, name, words):
    with pytest.raises(GPENError, match=words) as caught:
        images.decode(files[name])
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 140 and str(files[name].parent) not in message


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "RGB", {}),
        ("a.png", "RGB", {}),
        ("a.png", "LA", {}),
        ("a.png", "P", {}),
        ("a.tif", "RGB", {"compression": "jpeg"}),
    ],
)
def test_large_image_is_reduced_upright(tmp_path, monkeypatch, name, mode, options):
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate clockwise to display
    picture = Image.new("RGB", (400, 200), (204, 204, 204))
    picture.paste((51, 51, 51), (0, 0, 200, 200))  # the left half, which is displayed above
    picture.convert(mode).save(tmp_path / name, exif=exif, **options)
    image = images.read(tmp_path / name)
    h, w = image.pixels.shape[:2]
    assert image.reduced and image.file_pixels == 80_000 and 5000 <= h * w <= 10_000 and h / w == pytest.approx(2, abs=0.05)
    assert (
        np.abs(image.pixels[: h // 2 - 2].astype(int) - 51).max() < 8
        and np.abs(image.pixels[h // 2 + 2 :].astype(int) - 204).max() < 8
    )


def test_image_at_the_limit_is_not_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 80_000)
    Image.new("RGB", (400, 200)).save(tmp_path / "a.png")
    image = images.read(tmp_path / "a.png")
    assert not image.reduced and image.pixels.shape == (200, 400, 3)


def test_file_above_byte_limit_is_rejected_before_reading(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # sparse file
    with pytest.raises(GPENError, match="25 MB"):
        images.decode(path)


def test_missing_cached_file_asks_for_new_upload(tmp_path):
    with pytest.raises(GPENError, match="upload it again"):
        images.decode(tmp_path / "gone.png")


def test_colours_are_converted_from_the_profile_to_srgb(tmp_path):
    """A Display P3 photo: an encoded (235, 136, 94) is displayed as the sRGB colour (251, 131, 83)."""
    image = Image.new("RGB", (32, 32), (235, 136, 94))
    image.save(tmp_path / "p3.png", icc_profile=display_p3())
    assert_near(images.decode(tmp_path / "p3.png"), np.full((32, 32, 3), (251, 131, 83)), 1.5)
    image.save(tmp_path / "damaged.png", icc_profile=b"no profile")
    assert (images.decode(tmp_path / "damaged.png") == (235, 136, 94)).all()
    image.save(tmp_path / "srgb.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert (images.decode(tmp_path / "srgb.png") == (235, 136, 94)).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_raise_only_image_error(files, tmp_path_factory, data):
    name = data.draw(st.sampled_from(["plain.png", "cmyk.jpg", "moving.gif", "webp.txt", "16-bit.png"]))
    content = bytearray(files[name].read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    path.write_bytes(content)
    try:
        assert images.decode(path).shape[2] == 3
    except GPENError:
        pass


@pytest.mark.parametrize("shape", [(16, 16), (90, 128), (128, 300), (301, 200)])
def test_square_crops_the_centre(shape):
    h, w = shape
    image = np.zeros((h, w, 3), np.uint8)
    side = min(h, w)
    image[(h - side) // 2 : (h + side) // 2, (w - side) // 2 : (w + side) // 2] = 200
    result = images.square_crop(image, 64)
    assert result.shape == (64, 64, 3) and result.min() > 190


def test_png_is_lossless(photo):
    decoded = cv2.imdecode(np.frombuffer(images.png(photo), np.uint8), cv2.IMREAD_COLOR)
    assert (decoded[..., ::-1] == photo).all()


def test_equal_data_are_saved_once_and_touched(tmp_path):
    first = images.save(b"a face", tmp_path, "face.png")
    os.utime(first, (1, 1))
    assert images.save(b"a face", tmp_path, "face.png") == first
    assert os.stat(first).st_mtime > 1
    assert images.save(b"another", tmp_path, "face.png") != first
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_clearest_of_several_faces_is_used(tmp_path):
    rng = np.random.default_rng(0)
    photo = np.full((200, 420, 3), 120, np.uint8)
    sharp = rng.integers(0, 256, (100, 100, 3), np.uint8)
    photo[50:150, 20:120], photo[50:150, 160:260] = cv2.GaussianBlur(sharp, (0, 0), 5), sharp
    photo[50:90, 300:340] = sharp[:40, :40]  # sharp, but too small
    boxes = [(20, 50, 100), (160, 50, 100), (300, 50, 40)]
    faces = [Face((x, y, x + side, y + side), FFHQ_POINTS_512 / 512 * side + (x, y), 1.0) for x, y, side in boxes]
    (tmp_path / "photo.png").write_bytes(images.png(photo))
    assert images.clearest(photo, faces) is faces[1] and images.clearest(photo, faces[2:]) is faces[2]
    image, count = images.find_face(tmp_path / "photo.png", 64, lambda _: faces)
    assert count == 3 and image.shape == (64, 64, 3)


@pytest.mark.slow
def test_no_component_offers_to_share_an_image(restorer):
    """Gradio's Share button publishes the image; it is shown on Spaces unless `buttons` is given without it."""
    page = app.build(restorer)
    images = [block for block in page.blocks.values() if type(block).__name__ in SHARING and is_visible(block)]
    assert len(images) > 2
    assert [block.elem_id for block in images if block.buttons is None or "share" in block.buttons] == []


def is_visible(block) -> bool:
    return block.visible and (block.parent is None or is_visible(block.parent))


def test_file_truncated_by_a_loss_of_power_is_written_again(tmp_path):
    path = Path(images.save(b"a face", tmp_path, "face.png"))
    path.write_bytes(b"a f")
    assert images.save(b"a face", tmp_path, "face.png") == str(path) and path.read_bytes() == b"a face"
