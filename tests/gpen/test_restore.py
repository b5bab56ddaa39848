"""Restorer on aligned faces: ranges, sizes, strength, batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gpen
from gpen.images import to_image, to_tensor


@pytest.fixture(scope="module")
def restorer():
    torch.manual_seed(0)
    return gpen.Restorer(gpen.GPEN(gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)))


def picture(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@settings(deadline=None)
@given(arrays(np.uint8, (4, 5, 3)))
def test_an_image_survives_the_way_to_a_tensor_and_back(image):
    x = to_tensor(image)
    assert x.shape == (3, 4, 5) and -1 <= x.min() and x.max() <= 1
    assert np.array_equal(to_image(x), image)


def test_values_are_rounded_and_clipped_not_truncated():
    x = torch.tensor([-2.0, -1 + 0.6 / 127.5, 0.999, 3.0]).view(1, 1, 4).expand(3, -1, -1)
    assert to_image(x)[0, :, 0].tolist() == [0, 1, 255, 255]


@settings(max_examples=20, deadline=None)
@given(side=st.integers(8, 40), strength=st.floats(0, 1))
def test_any_square_face_and_strength_give_the_network_s_size(restorer, side, strength):
    assert restorer.face(picture(side), strength).image.shape == (16, 16, 3)


def test_strength_goes_from_the_input_to_the_network_s_result(restorer):
    image = picture(16)
    assert np.array_equal(restorer.face(image, 0).image, image)
    full = restorer.face(image, 1).image
    assert np.array_equal(full, to_image(restorer.net(to_tensor(image)[None])[0]))
    half = restorer.face(image, 0.5).image.astype(int)
    assert np.abs(half * 2 - full - image).max() <= 1


def test_faces_in_batches_are_the_faces_one_by_one(restorer):
    images = [picture(16, seed) for seed in range(5)]
    for one, many in zip(images, restorer.faces(images, batch=2), strict=True):
        assert np.abs(restorer.face(one).image.astype(int) - many).max() <= 1
    assert restorer.faces([]) == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 9, 3), np.uint8), "square"),
        (np.zeros((8, 8), np.uint8), "RGB"),
        (np.zeros((8, 8, 3)), "uint8"),
        ("a.png", "array"),
    ],
)
def test_what_is_no_face_is_said(restorer, image, words):
    with pytest.raises(gpen.GPENError, match=words):
        restorer.face(image)
