"""Photometric and geometric augmentation: deterministic by seed, within limits, with the probability of the settings."""

import cv2
import numpy as np
import pytest

from gpen import GPENConfig
from gpen.training.config import FinetuneConfig
from gpen.training.data.augmentation import _colours, _light, _proportions, _sharpness, augment_photo, sampling_cdf
from gpen.training.data.dataset import FacePairs


@pytest.fixture(scope="module")
def face():
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)


def test_augmentation_is_deterministic_by_seed(face):
    drawn = [augment_photo(face, np.random.default_rng(seed)) for seed in range(20)]
    assert all(x.shape == face.shape and x.dtype == np.uint8 for x in drawn)
    assert np.array_equal(drawn[3], augment_photo(face, np.random.default_rng(3)))
    assert len({x.tobytes() for x in drawn}) > 15


def test_proportions_displace_smoothly_and_keep_colours():
    rows, columns = np.indices((64, 64), np.float32)
    ramp = np.stack([rows, columns, np.full_like(rows, 32)], 2)
    moved = _proportions(ramp, np.random.default_rng(1))
    drift = (moved - ramp)[8:-8, 8:-8]  # px: a ramp's values are coordinates
    assert 0.1 < np.abs(drift[..., :2]).mean() < 3
    assert np.abs(np.diff(drift, axis=0)).max() < 0.5
    assert np.allclose(moved[..., 2], 32, atol=1e-3)


def test_sharpening_raises_detail_and_keeps_flat_regions():
    edges = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) // 16 % 2 * np.float32(0.5)
    x, flat = cv2.GaussianBlur(edges, (0, 0), 1), np.full((32, 32, 3), 0.5, np.float32)
    sharper = _sharpness(x, np.random.default_rng(0))
    assert np.std(np.diff(sharper, axis=0)) > 1.05 * np.std(np.diff(x, axis=0))
    assert np.allclose(_sharpness(flat, np.random.default_rng(0)), flat, atol=1e-6)


def test_light_is_symmetric_and_colours_keep_the_order_of_brightness():
    flat = np.full((32, 32, 3), 0.5, np.float32)
    lit = _light(flat, np.random.default_rng(2))
    assert np.allclose(lit * lit[::-1, ::-1], flat**2, atol=1e-4)  # the gains of opposite pixels cancel
    steps = np.concatenate([np.full((16, 32, 3), 0.2, np.float32), np.full((16, 32, 3), 0.7, np.float32)])
    for seed in range(20):
        changed = _colours(steps, np.random.default_rng(seed))
        assert changed[:16].mean() < changed[16:].mean()


def test_files_are_sampled_in_proportion_to_a_power_of_their_size(tmp_path, face):
    assert np.allclose(sampling_cdf(np.array([1.0, 2.0, 3.0]), 0.0), [1 / 3, 2 / 3, 1])
    assert np.allclose(np.diff(sampling_cdf(np.array([10.0, 10.0, 20.0]), 3.0)), [0.1, 0.8])
    plain, busy = np.full((64, 64, 3), 200, np.uint8), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "plain.jpg"), plain)
    cv2.imwrite(str(tmp_path / "busy.jpg"), busy)
    sizes = [(tmp_path / name).stat().st_size for name in ("plain.jpg", "busy.jpg")]
    network = GPENConfig(size=64, channel_multiplier=1, narrow=0.0625)
    pairs = FacePairs(tmp_path, FinetuneConfig(network=network, file_size_sampling_power=1.0, degradations={"downsample": 1.0}))
    shown = np.mean([pairs[i][1].std() > 0.1 for i in range(200)])
    assert abs(shown - sizes[1] / sum(sizes)) < 0.1


def test_augmentation_changes_its_share_of_the_targets(tmp_path, face):
    cv2.imwrite(str(tmp_path / "face.png"), face)
    network = GPENConfig(size=64, channel_multiplier=1, narrow=0.0625)

    def targets(probability: float) -> list[bytes]:
        settings = FinetuneConfig(network=network, augmentation_probability=probability, degradations={"downsample": 1.0})
        pairs = FacePairs(tmp_path, settings)
        return [pairs[i][1].numpy().tobytes() for i in range(100)]

    plain = set(targets(0.0))  # the face and its mirror image
    assert len(plain) == 2
    assert 0.3 < np.mean([x not in plain for x in targets(0.5)]) < 0.6  # some draws choose no change at all
