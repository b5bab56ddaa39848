"""gpen.training.monitoring.frechet: closed forms, pytorch-fid, laws, and features on which a matrix root fails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.training.monitoring.frechet import frechet_distance

SHAPES = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 10))  # n, m, d: also fewer images than dimensions
SEEDS = st.integers(0, 999)


def sets(shape, seed):
    """Two sets of features, [n, d] and [m, d], of different moments."""
    (n, m, d), rng = shape, np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(0.5, 2, size=(m, d))


def moments(x):
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def exact_gaussian(rng, n, mean, covariance):
    """n samples with exactly this sample mean and covariance."""
    x = rng.standard_normal((n, len(mean)))
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), (x - x.mean(0)).T).T
    return mean + x @ np.linalg.cholesky(covariance).T


def test_distance_of_commuting_covariances():
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.normal(size=5), rng.normal(size=5)
    var_a, var_b = rng.uniform(0.5, 4, 5), rng.uniform(0.5, 4, 5)
    a, b = exact_gaussian(rng, 50, mean_a, np.diag(var_a)), exact_gaussian(rng, 80, mean_b, np.diag(var_b))
    closed = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(var_a) - np.sqrt(var_b)) ** 2)
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n", [400, 40])  # more and fewer images than dimensions
def test_distance_equals_pytorch_fid(n):
    patch_torchvision()
    fid = pytest.importorskip("pytorch_fid.fid_score")
    rng = np.random.default_rng(n)
    mix = rng.normal(size=(64, 64)) / 8
    a, b = rng.normal(size=(n, 64)) @ mix, rng.normal(0.3, 1.2, size=(n, 64)) @ mix
    moments = [moment for x in (a, b) for moment in (x.mean(0), np.cov(x, rowvar=False))]
    theirs = fid.calculate_frechet_distance(*moments)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6 if n > 64 else 2e-3)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS)
def test_distance_is_symmetric_non_negative_and_0_for_equal_sets(shape, seed):
    a, b = sets(shape, seed)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a[::-1]), rel=1e-9, abs=1e-9)
    assert frechet_distance(a, b) >= 0 and frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS, st.sampled_from([1e-150, 1e-6, 1e6, 1e150]))
def test_distance_scales_with_the_square_of_the_features(shape, seed, scale):
    a, b = sets(shape, seed)
    assert frechet_distance(scale * a, scale * b) == pytest.approx(scale**2 * frechet_distance(a, b), rel=1e-7)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS)
def test_distance_to_statistics_equals_that_to_the_features(shape, seed):
    a, b = sets(shape, seed)
    assert frechet_distance(a, moments(b)) == pytest.approx(frechet_distance(a, b), rel=1e-6, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([1e-6, 1, 1e6]))
def test_distance_of_constant_and_of_partly_constant_features(seed, scale):
    rng = np.random.default_rng(seed)
    a, b = scale * rng.normal(size=(2, 3, 16))
    shift = scale * rng.normal(size=16)
    constant = np.tile(a[0], (5, 1))
    assert frechet_distance(constant, constant + shift) == pytest.approx(shift @ shift, rel=1e-9)
    assert frechet_distance(constant, constant) == pytest.approx(0, abs=1e-20 * scale**2)
    dead = np.zeros(16)
    dead[:4] = 1
    assert np.isfinite(frechet_distance(a * dead, b * dead)) and frechet_distance(a * dead, b * dead) > 0
    assert frechet_distance(a * dead, b * dead) == pytest.approx(frechet_distance(a[:, :4], b[:, :4]), rel=1e-9)


@pytest.mark.parametrize(("a", "b", "words"), [
    (np.zeros((1, 4)), np.zeros((5, 4)), "at least two images in each set, not 1"),
    (np.zeros((5, 4)), np.zeros((0, 4)), "at least two images in each set, not 0"),
    (np.full((2, 4), np.nan), np.zeros((5, 4)), "features of 2 of 2 images are not finite"),
    (np.zeros((2, 4)), np.diag([1, 1, 1, np.inf]), "features of 1 of 4 images are not finite"),
    (np.zeros((2, 4)), np.zeros((2, 3)), "4 dimensions and the reference has 3"),
    (np.zeros((2, 4)), (np.zeros(4), np.full((4, 4), np.nan)), "statistics of the reference set"),
    (np.eye(4) * 1e200, np.zeros((2, 4)), "too large for float64"),
])  # fmt: skip
def test_invalid_features_are_reported_in_one_sentence(a, b, words):
    with pytest.raises(GPENError, match=words) as error:
        frechet_distance(a, b)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
