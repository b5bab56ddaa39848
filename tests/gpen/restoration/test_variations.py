"""Variations: consistency with the input, diversity, seeds, references."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen
from gpen.images import resize_to
from gpen.restoration import variations
from gpen.restoration.variations import VariationConfig, Variations, diversity, rms

NETWORK = gpen.GPENConfig(size=64, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)


def network(**settings) -> gpen.GPEN:
    """Random weights with nonzero noise scales, so that the features have an effect."""
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
    """`gpen.restoration.variations.vary` with the network output of a restorer."""
    return variations.vary(restorer.net, image, restorer.face(image, strength=1).image, n, *arguments, **options)


def make_image(seed: int = 0, side: int = 64) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def fit(image: np.ndarray, low_quality: np.ndarray, side: int) -> float:
    """PSNR in dB after downsampling by area averaging; independent implementation."""
    shrunk = [x.astype(float).reshape(side, len(x) // side, side, -1, 3).mean((1, 3)) for x in (image, low_quality)]
    return 10 * math.log10(255**2 / np.square(shrunk[0] - shrunk[1]).mean())


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**9), z=st.floats(0, 30), features=st.floats(0, 30), scale=st.sampled_from([2, 4, 8]))
def test_psnr_is_within_1_db_of_the_network_output(restorer, seed, z, features, scale):
    image = make_image(seed % 7)
    config = VariationConfig(z=z, features=features, scale=scale)
    result = vary(restorer, image, 2, seed, config=config)
    own = fit(result.plain, image, 64 // scale)
    assert result.plain_fit == pytest.approx(own, abs=0.01)
    for variation, stated in zip(result.images, result.fits, strict=True):
        assert stated == pytest.approx(fit(variation, image, 64 // scale), abs=0.01)
        assert stated >= own - 1


def test_border_is_that_of_the_network_output(restorer):
    result = vary(restorer, make_image(), 2, config=VariationConfig(z=10, features=10))
    width = int(variations.BORDER * 64)
    for variation in result.images:
        changed = (variation != result.plain).any(2)
        assert changed[16:48, 16:48].mean() > 0.5
        changed[width:-width, width:-width] = False
        assert not changed.any()


def test_diversity_increases_with_the_strength(restorer):
    small, large = (
        diversity(vary(restorer, make_image(), 4, config=VariationConfig(z=k, features=0.3 * k)).images) for k in (0.2, 2)
    )
    assert 0 < small < large
    same = vary(restorer, make_image(), 2, config=VariationConfig(z=0, features=0))
    assert diversity(same.images) == 0 and rms(same.images[0], same.plain) < 1


def test_diversity():
    images = [np.full((2, 2, 3), level, np.uint8) for level in (0, 10, 40)]
    assert diversity(images) == pytest.approx((10 + 40 + 30) / 3)
    assert diversity(images, lambda a, b: 1.0) == 1
    assert diversity(images[:1]) == 0


def test_variations_depend_only_on_seed_and_index(restorer):
    few, many = restorer.variations(make_image(), 2, seed=5), restorer.variations(make_image(), 3, seed=5)
    torch.manual_seed(99)
    again = restorer.variations(make_image(), 2, seed=5)
    assert all(map(np.array_equal, few, many)) and all(map(np.array_equal, few, again))
    assert not np.array_equal(few[0], restorer.variations(make_image(), 1, seed=6)[0])
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in many)


def test_style_of_the_reference_is_mixed_in_at_the_selected_levels(restorer):
    config = VariationConfig(z=0.0, features=0.0)
    plain = vary(restorer, make_image(), 1, config=config).images[0]
    mixed = vary(restorer, make_image(), 1, reference=make_image(1), config=config).images[0]
    assert not np.array_equal(mixed, plain)
    own = vary(restorer, make_image(), 1, reference=make_image(), config=config).images[0]
    assert np.abs(own.astype(int) - plain).max() <= 1  # the style of the input itself has no effect
    nowhere = dataclasses.replace(config, levels=(5,))
    assert np.array_equal(vary(restorer, make_image(), 1, reference=make_image(1), config=nowhere).images[0], plain)
    coarse, fine = (
        vary(restorer, make_image(), 1, reference=make_image(1), config=dataclasses.replace(config, levels=levels)).images[0]
        for levels in ((4, 8), (32, 64))
    )
    assert not np.array_equal(coarse, fine)


def test_noise_above_the_input_size_is_sampled():
    config = VariationConfig(z=0.0, features=0.0)
    a, b = vary(gpen.Restorer(network(in_size=16)), make_image(side=16), 2, config=config).images
    assert rms(a, b) > 0
    same = vary(gpen.Restorer(network()), make_image(), 2, config=config).images
    assert rms(*same) == 0


@pytest.mark.parametrize("noise_mode", ["add", "none"])
def test_variations_with_other_noise_modes(noise_mode):
    image = make_image()
    result = vary(gpen.Restorer(network(noise_mode=noise_mode)), resize_to(image, 100), 2)
    assert diversity(result.images) > 0 and min(result.fits) >= result.plain_fit - 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((make_image(), 0), "1 to 64"),
        ((make_image(), 65), "1 to 64"),
        ((make_image(), 1, -1), "seed"),
        ((make_image(), 1, 0.5), "seed"),
        ((make_image()[:9], 1), "square"),
        ((make_image(), 1, 0, make_image()[:9]), "square"),
    ],
)
def test_invalid_arguments_raise_an_error(restorer, arguments, words):
    with pytest.raises(gpen.GPENError, match=words):
        restorer.variations(*arguments)
