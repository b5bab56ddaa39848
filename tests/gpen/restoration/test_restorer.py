"""Restorer for aligned faces: value ranges, sizes, strength, batches."""

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


def make_image(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@settings(deadline=None)
@given(arrays(np.uint8, (4, 5, 3)))
def test_tensor_round_trip(image):
    x = to_tensor(image)
    assert x.shape == (3, 4, 5) and -1 <= x.min() and x.max() <= 1
    assert np.array_equal(to_image(x), image)


def test_to_image_rounds_and_clamps():
    x = torch.tensor([-2.0, -1 + 0.6 / 127.5, 0.999, 3.0]).view(1, 1, 4).expand(3, -1, -1)
    assert to_image(x)[0, :, 0].tolist() == [0, 1, 255, 255]


@settings(max_examples=20, deadline=None)
@given(side=st.integers(8, 40), strength=st.floats(0, 1))
def test_result_has_the_size_of_the_network(restorer, side, strength):
    assert restorer.face(make_image(side), strength).image.shape == (16, 16, 3)


def test_strength_interpolates_between_input_and_network_output(restorer):
    image = make_image(16)
    assert np.array_equal(restorer.face(image, 0).image, image)
    full = restorer.face(image, 1).image
    assert np.array_equal(full, to_image(restorer.net(to_tensor(image)[None])[0]))
    half = restorer.face(image, 0.5).image.astype(int)
    assert np.abs(half * 2 - full - image).max() <= 1


def test_batches_match_single_faces(restorer):
    images = [make_image(16, seed) for seed in range(5)]
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
def test_invalid_face_raises_an_error(restorer, image, words):
    with pytest.raises(gpen.GPENError, match=words):
        restorer.face(image)
