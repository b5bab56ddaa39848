"""eval.metrics.statistics: closed forms, coverage, and agreement with pytorch-fid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.statistics import bootstrap_interval
from gpen.compat import patch_torchvision
from gpen.training.monitoring.frechet import frechet_distance


def exact_gaussian(rng, n, mean, covariance):
    """n samples with exactly this sample mean and covariance."""
    x = rng.standard_normal((n, len(mean)))
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), (x - x.mean(0)).T).T
    return mean + x @ np.linalg.cholesky(covariance).T


def test_coverage_of_the_interval():
    rng = np.random.default_rng(1)
    intervals = np.array([bootstrap_interval(rng.normal(3, 2, 60), seed=i) for i in range(400)])
    covered = np.mean((intervals[:, 0] <= 3) & (3 <= intervals[:, 1]))
    assert 0.91 <= covered <= 0.975
    # the width agrees with the normal theory, 2 * 1.96 sigma / sqrt(n)
    assert np.mean(intervals[:, 1] - intervals[:, 0]) == pytest.approx(2 * 1.96 * 2 / np.sqrt(60), rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(-100, 100))
def test_interval_contains_the_mean_and_is_equivariant(values, shift):
    low, high = bootstrap_interval(np.array(values))
    slack = 1e-9 * (1 + max(map(abs, values)) + abs(shift))
    assert min(values) - slack <= low <= np.mean(values) + slack
    assert np.mean(values) - slack <= high <= max(values) + slack
    moved = bootstrap_interval(np.array(values) + shift)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-6)


def test_interval_is_independent_of_the_chunks():
    values = np.random.default_rng(0).normal(size=700)  # 1428 resamples a chunk: two chunks
    rng = np.random.default_rng(5)
    means = [values[rng.integers(0, 700, 700)].mean() for _ in range(2000)]
    assert bootstrap_interval(values, seed=5) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)


def test_interval_of_infinite_values():
    assert np.isnan(bootstrap_interval(np.array([1.0, np.inf]))).all()


def test_frechet_distance_of_commuting_covariances():
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.normal(size=5), rng.normal(size=5)
    var_a, var_b = rng.uniform(0.5, 4, 5), rng.uniform(0.5, 4, 5)
    a, b = exact_gaussian(rng, 50, mean_a, np.diag(var_a)), exact_gaussian(rng, 80, mean_b, np.diag(var_b))
    closed = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(var_a) - np.sqrt(var_b)) ** 2)
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n", [400, 40])  # more and fewer images than dimensions
def test_frechet_distance_equals_pytorch_fid(n):
    patch_torchvision()
    fid = pytest.importorskip("pytorch_fid.fid_score")
    rng = np.random.default_rng(n)
    mix = rng.normal(size=(64, 64)) / 8
    a, b = rng.normal(size=(n, 64)) @ mix, rng.normal(0.3, 1.2, size=(n, 64)) @ mix
    moments = [moment for x in (a, b) for moment in (x.mean(0), np.cov(x, rowvar=False))]
    theirs = fid.calculate_frechet_distance(*moments)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6 if n > 64 else 2e-3)


def test_frechet_distance_of_equal_sets_and_single_images():
    a = np.random.default_rng(0).normal(size=(20, 64))
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(a[:1], a)
