"""Restorer.photo: every face of a photo through the network and back, in bounded batches; without a face nothing changes."""

import numpy as np
import pytest
import skimage.data
import torch

import gpen
from gpen.faces import FFHQ_POINTS_512, Face, align
from gpen.images import to_image, to_tensor
from gpen.paste import compose, face_mask
from gpen.tasks import LUMA

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


def test_each_face_is_the_network_s_result_for_its_aligned_crop(net, photo):
    result = gpen.Restorer(net).photo(photo, faces=FACES)
    assert result.image.shape == photo.shape and len(result.faces) == 3
    for found, face in zip(result.faces, FACES, strict=True):
        crop, _ = align(photo, face.landmarks, SIZE)
        assert found.box == face.box and np.array_equal(found.crop, crop)
        plain = to_image(net(to_tensor(crop)[None])[0]) @ LUMA
        detail = found.restored @ LUMA - plain  # what the match of colours added to the brightness is smooth
        assert np.abs(np.diff(detail, axis=0)).mean() < np.abs(np.diff(plain, axis=0)).mean() + 3
    assert np.array_equal(result.image, compose(photo, result.faces, 1.0))


def test_without_a_face_the_photo_comes_back_bit_for_bit(net, photo):
    result = gpen.Restorer(net, detector=lambda image: []).photo(photo)
    assert np.array_equal(result.image, photo) and result.faces == [] and result.image is not photo


@pytest.mark.parametrize("strength", [0, 0.0])
def test_strength_zero_gives_the_photo_bit_for_bit(net, photo, strength):
    result = gpen.Restorer(net).photo(photo, strength, faces=FACES)
    assert np.array_equal(result.image, photo) and len(result.faces) == 3
    assert np.array_equal(gpen.Restorer(net, strength=strength).photo(photo, faces=FACES).image, photo)


def test_the_faces_at_full_strength_give_any_other_strength_without_the_network(net, photo):
    restorer = gpen.Restorer(net)
    faces = restorer.photo(photo, faces=FACES).faces
    assert np.array_equal(compose(photo, faces, 0.4), restorer.photo(photo, 0.4, faces=FACES).image)


def test_only_the_largest_or_chosen_faces(net, photo):
    restorer = gpen.Restorer(net, detector=lambda image: FACES)
    assert [found.box for found in restorer.photo(photo, only="largest").faces] == [FACES[0].box]
    assert [found.box for found in restorer.photo(photo, only="largest", faces=FACES[::-1]).faces] == [FACES[0].box]
    result = restorer.photo(photo, only=[2, 0, 2])
    assert [found.box for found in result.faces] == [FACES[2].box, FACES[0].box]
    assert np.array_equal(result.image[15:25, 15:25], photo[15:25, 15:25])  # of the face that was not chosen
    assert restorer.photo(photo, only=[]).faces == []


@pytest.mark.parametrize("only", ["smallest", [3], [-1], [0.5], ["0"]])
def test_faces_that_are_not_there_are_said(net, photo, only):
    with pytest.raises(gpen.GPENError, match="only is"):
        gpen.Restorer(net).photo(photo, only=only, faces=FACES)


def test_many_faces_go_through_in_batches_of_eight_and_are_reported_one_by_one(net, photo):
    restorer, seen, done = gpen.Restorer(net), [], []
    run = restorer._run
    restorer._run = lambda x: seen.append(len(x)) or run(x)
    many = [face(5 * (k % 15), 3 * k % 60, 20 + k) for k in range(19)]
    result = restorer.photo(photo, faces=many, progress=lambda *counts: done.append(counts))
    assert sorted(seen) == [3, 8, 8] and done == [(k, 19) for k in range(1, 20)]
    assert [found.box for found in result.faces] == [one.box for one in many]


def test_the_whole_is_enlarged_and_a_background_may_be_given(net, photo):
    restorer = gpen.Restorer(net)
    result = restorer.photo(photo, faces=FACES, upscale=2)
    assert result.image.shape == (200, 260, 3)
    black = restorer.photo(photo, faces=FACES, upscale=2, background=lambda image: np.zeros((200, 260, 3), np.uint8)).image
    assert black[0].max() == 0 and black[90, 170].max() > 0


def test_a_network_with_a_smaller_input_sees_the_crop_at_its_own_size(photo):
    torch.manual_seed(0)
    config = gpen.GPENConfig(size=SIZE, in_size=16, narrow=0.0625, channel_multiplier=1, style_dim=32, mapping_layers=2)
    (found,) = gpen.Restorer(gpen.GPEN(config).eval()).photo(photo, faces=FACES[:1]).faces
    assert found.crop.shape == found.restored.shape == (SIZE, SIZE, 3)


def test_a_parser_decides_what_is_pasted(net, photo):
    half = np.zeros((SIZE, SIZE), np.float32)
    half[:, : SIZE // 2] = face_mask(SIZE)[:, : SIZE // 2]
    result = gpen.Restorer(net, parser=lambda crop: half).photo(photo, faces=FACES[:1])
    changed = (result.image != photo).any(axis=2)
    assert changed[:, 60:84].any() and not changed[:, 87:].any()


def test_numbers_and_arrays_out_of_range_are_said(net, photo):
    restorer = gpen.Restorer(net)
    for words, arguments in {"strength": {"strength": 1.2}, "upscale": {"upscale": 0}}.items():
        with pytest.raises(gpen.GPENError, match=words):
            restorer.photo(photo, faces=FACES, **arguments)
    with pytest.raises(gpen.GPENError, match="RGB"):
        restorer.photo(photo[..., 0])


def test_a_real_photo_from_end_to_end(net):
    astronaut = skimage.data.astronaut()
    result = gpen.Restorer(net).photo(astronaut)
    (found,) = result.faces
    assert found.score > 0.9 and found.crop.mean() > 60
    changed = (result.image != astronaut).any(axis=2)
    assert changed[100:140, 200:250].mean() > 0.9 and not changed[300:].any() and not changed[:, 350:].any()
