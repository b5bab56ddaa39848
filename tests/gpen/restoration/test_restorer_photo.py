"""Restorer.photo: detection, restoration in batches, pasting, selection of faces, upscaling."""

import numpy as np
import pytest
import skimage.data
import torch

import gpen
from gpen.faces.alignment import FFHQ_POINTS_512, Face, align
from gpen.images import to_image, to_tensor
from gpen.restoration.paste import compose, face_mask
from gpen.restoration.tasks import LUMA

SIZE = 32


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    config = gpen.GPENConfig(size=SIZE, narrow=0.0625, channel_multiplier=1, style_dim=32, mapping_layers=2)
    return gpen.GPEN(config).eval().requires_grad_(False)


def face(x: float, y: float, side: float) -> Face:
    return Face((x, y, x + side, y + side), (FFHQ_POINTS_512 * (side / 512) + (x, y)).astype(np.float32), 0.99)


FACES = [face(60, 20, 50), face(10, 10, 40), face(20, 55, 30)]  # largest first


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (100, 130, 3), dtype=np.uint8)


def test_restored_faces_are_the_network_output_for_the_aligned_crops(net, photo):
    result = gpen.Restorer(net).photo(photo, faces=FACES)
    assert result.image.shape == photo.shape and len(result.faces) == 3
    for found, face in zip(result.faces, FACES, strict=True):
        crop, _ = align(photo, face.landmarks, SIZE)
        assert found.box == face.box and np.array_equal(found.crop, crop)
        plain = to_image(net(to_tensor(crop)[None])[0]) @ LUMA
        detail = found.restored @ LUMA - plain  # colour transfer only adds a smooth difference in brightness
        assert np.abs(np.diff(detail, axis=0)).mean() < np.abs(np.diff(plain, axis=0)).mean() + 3
    assert np.array_equal(result.image, compose(photo, result.faces, 1.0))


@pytest.mark.parametrize(("of_network", "given", "expected"), [
    ("ffhq", None, "ffhq"), ("gpen", None, "gpen"), ("gpen", "ffhq", "ffhq"), ("ffhq", "gpen", "gpen"),
])  # fmt: skip
def test_alignment_is_that_of_the_network_unless_given(net, photo, monkeypatch, of_network, given, expected):
    monkeypatch.setattr(net, "alignment", of_network)
    restorer = gpen.Restorer(net, alignment=given)
    result = restorer.photo(photo, faces=FACES)
    assert restorer.alignment == expected and [found.alignment for found in result.faces] == [expected] * 3
    assert np.array_equal(result.faces[0].crop, align(photo, FACES[0].landmarks, SIZE, expected)[0])
    assert np.array_equal(result.image, compose(photo, result.faces, 1.0))


def test_unknown_alignment_raises_an_error(net):
    with pytest.raises(gpen.GPENError, match="got 'dlib'"):
        gpen.Restorer(net, alignment="dlib")


def test_photo_without_faces_is_unchanged(net, photo):
    result = gpen.Restorer(net, detector=lambda image: []).photo(photo)
    assert np.array_equal(result.image, photo) and result.faces == [] and result.image is not photo


@pytest.mark.parametrize("strength", [0, 0.0])
def test_strength_zero_returns_the_photo_unchanged(net, photo, strength):
    result = gpen.Restorer(net).photo(photo, strength, faces=FACES)
    assert np.array_equal(result.image, photo) and len(result.faces) == 3
    assert np.array_equal(gpen.Restorer(net, strength=strength).photo(photo, faces=FACES).image, photo)


def test_compose_changes_the_strength_without_the_network(net, photo):
    restorer = gpen.Restorer(net)
    faces = restorer.photo(photo, faces=FACES).faces
    assert np.array_equal(compose(photo, faces, 0.4), restorer.photo(photo, 0.4, faces=FACES).image)


def test_only_largest_or_selected_faces(net, photo):
    restorer = gpen.Restorer(net, detector=lambda image: FACES)
    assert [found.box for found in restorer.photo(photo, only="largest").faces] == [FACES[0].box]
    assert [found.box for found in restorer.photo(photo, only="largest", faces=FACES[::-1]).faces] == [FACES[0].box]
    result = restorer.photo(photo, only=[2, 0, 2])
    assert [found.box for found in result.faces] == [FACES[2].box, FACES[0].box]
    assert np.array_equal(result.image[15:25, 15:25], photo[15:25, 15:25])  # a face that was not selected
    assert restorer.photo(photo, only=[]).faces == []


@pytest.mark.parametrize("only", ["smallest", [3], [-1], [0.5], ["0"]])
def test_invalid_selection_of_faces_raises_an_error(net, photo, only):
    with pytest.raises(gpen.GPENError, match="only must be"):
        gpen.Restorer(net).photo(photo, only=only, faces=FACES)


def test_faces_are_restored_in_batches_with_progress(net, photo):
    restorer, seen, done = gpen.Restorer(net), [], []
    run = restorer._run
    restorer._run = lambda x: seen.append(len(x)) or run(x)
    many = [face(5 * (k % 15), 3 * k % 60, 20 + k) for k in range(19)]
    result = restorer.photo(photo, faces=many, progress=lambda *counts: done.append(counts))
    assert sorted(seen) == [3, 8, 8] and done == [(k, 19) for k in range(1, 20)]
    assert [found.box for found in result.faces] == [one.box for one in many]


def test_upscale_and_background(net, photo):
    restorer = gpen.Restorer(net)
    result = restorer.photo(photo, faces=FACES, upscale=2)
    assert result.image.shape == (200, 260, 3)
    black = restorer.photo(photo, faces=FACES, upscale=2, background=lambda image: np.zeros((200, 260, 3), np.uint8)).image
    assert black[0].max() == 0 and black[90, 170].max() > 0


def test_super_resolution_network(photo):
    torch.manual_seed(0)
    config = gpen.GPENConfig(size=SIZE, in_size=16, narrow=0.0625, channel_multiplier=1, style_dim=32, mapping_layers=2)
    (found,) = gpen.Restorer(gpen.GPEN(config).eval()).photo(photo, faces=FACES[:1]).faces
    assert found.crop.shape == found.restored.shape == (SIZE, SIZE, 3)


def test_parser_mask_is_used_for_pasting(net, photo):
    half = np.zeros((SIZE, SIZE), np.float32)
    half[:, : SIZE // 2] = face_mask(SIZE)[:, : SIZE // 2]
    result = gpen.Restorer(net, parser=lambda crop: half).photo(photo, faces=FACES[:1])
    changed = (result.image != photo).any(axis=2)
    assert changed[:, 60:84].any() and not changed[:, 87:].any()


def test_invalid_arguments_of_photo_raise_an_error(net, photo):
    restorer = gpen.Restorer(net)
    for words, arguments in {"strength": {"strength": 1.2}, "upscale": {"upscale": 0}}.items():
        with pytest.raises(gpen.GPENError, match=words):
            restorer.photo(photo, faces=FACES, **arguments)
    with pytest.raises(gpen.GPENError, match="RGB"):
        restorer.photo(photo[..., 0])


def test_real_photo(net):
    astronaut = skimage.data.astronaut()
    result = gpen.Restorer(net).photo(astronaut)
    (found,) = result.faces
    assert found.score > 0.9 and found.crop.mean() > 60
    changed = (result.image != astronaut).any(axis=2)
    assert changed[100:140, 200:250].mean() > 0.9 and not changed[300:].any() and not changed[:, 350:].any()


@pytest.mark.parametrize(("h", "w"), [(100, 33000), (33000, 130)])
def test_face_in_a_photo_larger_than_opencv_can_warp(net, photo, h, w):
    large = np.full((h, w, 3), 90, np.uint8)
    y, x = h - 100, w - 130
    large[y:, x:] = photo
    moved = [
        Face((f.box[0] + x, f.box[1] + y, f.box[2] + x, f.box[3] + y), f.landmarks + np.float32((x, y)), 0.99) for f in FACES
    ]
    image = gpen.Restorer(net).photo(large, faces=moved).image
    near = gpen.Restorer(net).photo(photo, faces=FACES).image
    assert np.abs(near.astype(int) - image[y:, x:]).mean() < 2 and not np.array_equal(image[y:, x:], photo)
    assert (image[: y - 100 if y else None, : x - 100 if x else None] == 90).all()
