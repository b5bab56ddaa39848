"""eval.metrics.statistics: coverage and equivariance of the bootstrap interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.statistics import bootstrap_interval


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
