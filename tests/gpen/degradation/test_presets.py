"""Degradation presets: ranges, rescaling, difficulty compared with published inputs."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.degradation.colour import JITTER
from gpen.degradation.degradation import MAX_SEED, Degradation
from gpen.degradation.presets import PRESETS
from gpen.errors import GPENError
from tests import SHARED

FACES = SHARED / "faces" / "val_real"
quick = settings(max_examples=40, deadline=None)


def test_sampled_values_of_a_seed_are_stable():
    """Fixed LQ sets depend on these values."""
    sampled = Degradation.sample("gpen-release-scaled", seed=2, size=256)
    assert (sampled.blur_kind, sampled.kernel_size, sampled.grey) == ("anisotropic", 21, True)
    assert sampled.jpeg_quality == 78
    numbers = (sampled.blur_sigma, sampled.blur_angle, sampled.scale, sampled.noise_sigma)
    assert numbers == pytest.approx((2.182866, 49.864208, 3.358885, 0.994998), rel=1e-5)


@quick
@given(st.sampled_from(sorted(PRESETS)), st.integers(0, MAX_SEED), st.integers(16, 4096))
def test_samples_are_within_the_rescaled_ranges(name, seed, size):
    preset = PRESETS[name]
    ratio = size / 512 if preset.reference_size else 1
    sampled = Degradation.sample(name, seed, size)
    assert sampled == Degradation.sample(name, seed, size) and sampled.seed == seed

    def within(value, low, high):
        return low * (1 - 1e-9) <= value <= high * (1 + 1e-9)

    assert sampled.blur_kind in preset.blur_kinds
    assert (sampled.blur_sigma_y is not None) == (sampled.blur_kind == "anisotropic")
    for sigma in (sampled.blur_sigma, sampled.blur_sigma_y or sampled.blur_sigma):
        assert within(sigma, preset.blur_sigma[0] * ratio, preset.blur_sigma[1] * ratio)
    assert within(sampled.scale, preset.scale[0] * ratio, preset.scale[1] * ratio)
    assert within(sampled.noise_sigma, *preset.noise_sigma)
    assert within(sampled.jpeg_quality, *preset.jpeg_quality)
    if preset.kernel_size is not None:
        assert sampled.kernel_size % 2 == 1
        assert sampled.kernel_size == 3 or abs(sampled.kernel_size - preset.kernel_size * ratio) <= 1
    if preset.haze is not None:
        assert within(sampled.haze, *preset.haze)
    if preset.shift is not None:
        assert max(map(abs, sampled.shift)) <= preset.shift * ratio
    jitter = [getattr(sampled, operator) for operator in JITTER]
    assert jitter.count(None) in (0, 4) and sorted(sampled.jitter_order) == sorted(JITTER)
    if preset.colour_jitter is None:
        assert jitter.count(None) == 4 and sampled.jitter_order == JITTER
    for operator, value in zip(JITTER, jitter, strict=True):
        assert value is None or within(value + 1, *(edge + 1 for edge in getattr(preset.colour_jitter, operator)))
    if preset.colour_shift is None:
        assert sampled.colour_shift is None
    assert sampled.grey <= (preset.grey > 0) and sampled.grey_input <= (preset.grey_input > 0)


@quick
@given(st.integers(0, MAX_SEED), st.integers(16, 4096))
def test_gpen_release_does_not_depend_on_the_size(seed, size):
    """The released training code of GPEN never rescales: sigma 0.1 to 10, s 0.8 to 8, kernels of 41 px, also at 256 px."""
    sampled = Degradation.sample("gpen-release", seed, size)
    assert sampled == Degradation.sample("gpen-release-scaled", seed, 512)
    assert sampled.kernel_size == 41 and 0.1 <= sampled.blur_sigma <= 10 and 0.8 <= sampled.scale <= 8
    image = np.zeros((size % 100 + 16,) * 2, np.uint8)  # also smaller than the kernel
    assert sampled.resized(image).shape == image.shape


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"gpen-release"}))
def test_size_of_the_low_quality_image_does_not_depend_on_the_image_size(name):
    for seed in range(20):
        images = [np.zeros((size, size), np.uint8) for size in (64, 128, 256)]
        assert len({Degradation.sample(name, seed, len(image))(image).shape for image in images}) == 1


def test_samples_cover_the_ranges():
    sampled = [Degradation.sample("gpen-release", seed) for seed in range(800)]
    assert {d.jpeg_quality for d in sampled} == set(range(60, 101))
    for name, low, high in (("blur_sigma", 0.1, 10), ("scale", 0.8, 8), ("noise_sigma", 0, 20)):
        values = [getattr(d, name) for d in sampled]
        spread = high - low
        assert min(values) < low + 0.02 * spread and max(values) > high - 0.02 * spread
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.04 * spread)
    assert np.mean([d.grey for d in sampled]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([d.blur_kind == "anisotropic" for d in sampled]) == pytest.approx(0.5, abs=0.06)


def test_gfpgan_changes_the_colours_of_the_input_only():
    """The settings of GFPGAN's release: shift and jitter with probability 0.3 each, grey with 0.01."""
    sampled = [Degradation.sample("gfpgan", seed, 256) for seed in range(1500)]
    assert np.mean([d.colour_shift is not None for d in sampled]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([d.grey_input for d in sampled]) == pytest.approx(0.01, abs=0.008)
    jittered = [d for d in sampled if d.hue is not None]
    assert len(jittered) / len(sampled) == pytest.approx(0.3, abs=0.04)
    for operator, low, high in (("brightness", 0.5, 1.5), ("contrast", 0.5, 1.5), ("saturation", 0, 1.5), ("hue", -0.1, 0.1)):
        values = [getattr(d, operator) for d in jittered]
        spread = high - low
        assert low <= min(values) < low + 0.03 * spread and high - 0.03 * spread < max(values) <= high
    assert len({d.jitter_order for d in jittered}) == 24
    face = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert all(np.array_equal(d.target(face), face) for d in sampled[:100])


def test_every_preset_has_a_source():
    assert all(len(preset.source) > 10 for preset in PRESETS.values())
    assert "not a published protocol" in PRESETS["severe"].source and "paper" not in "".join(PRESETS)


@pytest.mark.skipif(not FACES.is_dir(), reason="needs the real validation faces in ../shared/faces/val_real")
@pytest.mark.slow
def test_psnr_of_gpen_release_matches_published_inputs():
    """Inputs of RestoreFormer++ (TPAMI, Table 1) have a PSNR of 24.91 dB; the ranges as released are harder at 256 px."""
    faces = [cv2.imread(str(path))[..., ::-1] for path in sorted(FACES.iterdir())]

    def psnr(preset):
        sampled = [Degradation.sample(preset, seed, size=face.shape[0]) for seed, face in enumerate(faces)]
        return np.mean([cv2.PSNR(d.resized(face), d.target(face)) for d, face in zip(sampled, faces, strict=True)])

    assert 24.2 < psnr("gpen-release-scaled") < 25.7
    assert 21.5 < psnr("gpen-release") < 23


@pytest.mark.parametrize(
    ("preset", "seed", "size"),
    [
        ("gpen-paper", 0, 512),
        (None, 0, 512),
        (["severe"], 0, 512),
        ("severe", -1, 512),
        ("severe", 1.5, 512),
        ("severe", "1", 512),
        ("severe", 0, 15),
        ("severe", 0, 4097),
        ("severe", 0, 256.0),
        ("severe", 0, True),
    ],
)
def test_invalid_arguments_of_sample_raise_an_error(preset, seed, size):
    with pytest.raises(GPENError) as error:
        Degradation.sample(preset, seed, size)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
