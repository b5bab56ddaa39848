"""Several answers for one face: all fit the input nearly as well as the network's own, they differ, and a seed fixes them."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen
from gpen import variations
from gpen.images import resize_to
from gpen.variations import VariationConfig, Variations, diversity, rms

NETWORK = gpen.GPENConfig(size=64, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)


def network(**settings) -> gpen.GPEN:
    """Random weights; the scalars of the concatenation off 0, so that the features count."""
    torch.manual_seed(0)
    net = gpen.GPEN(dataclasses.replace(NETWORK, **settings)).requires_grad_(False)
    for name, value in net.named_parameters():
        if name.endswith("noise_scale"):
            value.fill_(0.5)
    return net


@pytest.fixture(scope="module")
def restorer() -> gpen.Restorer:
    return gpen.Restorer(network())


def vary(restorer: gpen.Restorer, image: np.ndarray, n: int, *arguments, **options) -> Variations:
    """`gpen.variations.vary` with the network output of a restorer."""
    return variations.vary(restorer.net, image, restorer.face(image, strength=1).image, n, *arguments, **options)


def picture(seed: int = 0, side: int = 64) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def fit(image: np.ndarray, low_quality: np.ndarray, side: int) -> float:
    """PSNR in dB after both are shrunk by area, written out anew."""
    shrunk = [x.astype(float).reshape(side, len(x) // side, side, -1, 3).mean((1, 3)) for x in (image, low_quality)]
    return 10 * math.log10(255**2 / np.square(shrunk[0] - shrunk[1]).mean())


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**9), z=st.floats(0, 30), features=st.floats(0, 30), scale=st.sampled_from([2, 4, 8]))
def test_degraded_again_each_stays_within_1_db_of_the_network_s_own_answer(restorer, seed, z, features, scale):
    image = picture(seed % 7)
    config = VariationConfig(z=z, features=features, scale=scale)
    answers = vary(restorer, image, 2, seed, config=config)
    own = fit(answers.plain, image, 64 // scale)
    assert answers.plain_fit == pytest.approx(own, abs=0.01)
    for variation, stated in zip(answers.images, answers.fits, strict=True):
        assert stated == pytest.approx(fit(variation, image, 64 // scale), abs=0.01)
        assert stated >= own - 1


def test_they_differ_from_each_other_and_by_more_when_asked_to(restorer):
    small, large = (
        diversity(vary(restorer, picture(), 4, config=VariationConfig(z=k, features=0.3 * k)).images) for k in (0.2, 2)
    )
    assert 0 < small < large
    same = vary(restorer, picture(), 2, config=VariationConfig(z=0, features=0))
    assert diversity(same.images) == 0 and rms(same.images[0], same.plain) < 1


def test_diversity_is_the_mean_over_pairs():
    images = [np.full((2, 2, 3), level, np.uint8) for level in (0, 10, 40)]
    assert diversity(images) == pytest.approx((10 + 40 + 30) / 3)
    assert diversity(images, lambda a, b: 1.0) == 1
    assert diversity(images[:1]) == 0


def test_a_seed_fixes_them_and_the_first_of_many_are_those_of_few(restorer):
    few, many = restorer.variations(picture(), 2, seed=5), restorer.variations(picture(), 3, seed=5)
    torch.manual_seed(99)
    again = restorer.variations(picture(), 2, seed=5)
    assert all(map(np.array_equal, few, many)) and all(map(np.array_equal, few, again))
    assert not np.array_equal(few[0], restorer.variations(picture(), 1, seed=6)[0])
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in many)


def test_a_reference_lends_its_style_at_the_levels_chosen(restorer):
    config = VariationConfig(z=0.0, features=0.0)
    plain = vary(restorer, picture(), 1, config=config).images[0]
    mixed = vary(restorer, picture(), 1, reference=picture(1), config=config).images[0]
    assert not np.array_equal(mixed, plain)
    own = vary(restorer, picture(), 1, reference=picture(), config=config).images[0]
    assert np.abs(own.astype(int) - plain).max() <= 1  # its own style changes nothing
    nowhere = dataclasses.replace(config, levels=(5,))
    assert np.array_equal(vary(restorer, picture(), 1, reference=picture(1), config=nowhere).images[0], plain)
    coarse, fine = (
        vary(restorer, picture(), 1, reference=picture(1), config=dataclasses.replace(config, levels=levels)).images[0]
        for levels in ((4, 8), (32, 64))
    )
    assert not np.array_equal(coarse, fine)


def test_above_the_input_s_size_the_noise_is_free():
    config = VariationConfig(z=0.0, features=0.0)
    a, b = vary(gpen.Restorer(network(in_size=16)), picture(side=16), 2, config=config).images
    assert rms(a, b) > 0
    same = vary(gpen.Restorer(network()), picture(), 2, config=config).images
    assert rms(*same) == 0


@pytest.mark.parametrize("noise_mode", ["add", "none"])
def test_every_form_of_the_network_has_variations(noise_mode):
    image = picture()
    answers = vary(gpen.Restorer(network(noise_mode=noise_mode)), resize_to(image, 100), 2)
    assert diversity(answers.images) > 0 and min(answers.fits) >= answers.plain_fit - 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((picture(), 0), "1 to 64"), ((picture(), 65), "1 to 64"), ((picture(), 1, -1), "seed"), ((picture(), 1, 0.5), "seed"),
     ((picture()[:9], 1), "square"), ((picture(), 1, 0, picture()[:9]), "square")],
)  # fmt: skip
def test_a_mistake_is_said(restorer, arguments, words):
    with pytest.raises(gpen.GPENError, match=words):
        restorer.variations(*arguments)
