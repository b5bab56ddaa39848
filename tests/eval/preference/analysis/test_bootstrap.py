"""Two-way bootstrap: coverage, effects of raters and faces, agreement with closed forms."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.common.harness import RESULTS
from bench.intervals import INTERVALS, Options, coverage, simulate, table
from eval.preference.analysis.bootstrap import column_means, mean_interval, spread
from eval.preference.analysis.bradley_terry import fit, information_standard_errors
from eval.preference.analysis.strengths import strength_spread
from tests import ROOT

TRUE = np.array([-1.0, -0.4, 0.0, 0.5, 0.9])


def whole(pairs):
    """(wins, ties) [m, m] of all comparisons."""
    return tuple(table[0] for table in pairs.tables(np.ones((1, len(pairs.outcome)))))


@pytest.mark.parametrize("raters, answers, nu", [(30, 20, 0.5), (8, 30, 0.5)])
@pytest.mark.slow
def test_coverage_over_raters(raters, answers, nu):
    """150 studies of five methods; the tolerance is about three standard errors."""
    rng, hits = np.random.default_rng(2), []
    for seed in range(150):
        pairs = simulate(rng, TRUE, nu, np.full(raters, answers))
        margins = strength_spread(pairs, False, resamples=120, seed=seed).margins()
        hits.append(np.abs(fit(*whole(pairs)).strength - TRUE) <= margins)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.03)


@pytest.mark.slow
def test_coverage_with_effects_of_faces():
    """Intervals over raters alone exclude the true difference of zero too often; the two-way intervals do not."""
    figures = coverage(30, 12, 1.0, 0.3, Options(studies=40, resamples=100))
    assert figures["coverage"]["raters only"] < 0.75 and figures["coverage"]["two-way"] > 0.88
    assert figures["width"]["two-way"] > 1.8 * figures["width"]["raters only"]


def test_coverage_without_effects_of_faces():
    """The two-way interval is hardly wider there; the pigeonhole bootstrap counts the noise of single votes three times."""
    figures = coverage(30, 50, 0.0, 0.0, Options(studies=40, resamples=100))
    assert 0.9 < figures["coverage"]["two-way"] < 0.99 < figures["coverage"]["pigeonhole"]
    assert figures["width"]["two-way"] < 1.2 * figures["width"]["raters only"]


def test_variance_of_a_mean_of_a_balanced_design():
    """The expectation of the two-way variance is A / raters + B / faces + E / votes."""
    rng, estimates = np.random.default_rng(3), []
    rater, face = (index.ravel() for index in np.indices((20, 15)))
    for seed in range(60):
        values = rng.normal(0, 0.5, 20)[rater] + rng.normal(0, 0.7, 15)[face] + rng.normal(0, 1, 300)
        estimates.append(spread(lambda w, v=values: (w @ v / w.sum(1))[:, None], rater, face, 150, seed).covariances[0, 0, 0])
    assert np.mean(estimates) == pytest.approx(0.25 / 20 + 0.49 / 15 + 1 / 300, rel=0.15)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_two_way_variance_is_at_least_each_one_way_variance(seed):
    rng = np.random.default_rng(seed)
    pairs = simulate(rng, np.zeros(3), 0.5, rng.integers(3, 9, 6), 4, rng.random(), rng.random())
    both, raters = strength_spread(pairs, True, 40), strength_spread(pairs, False, 40)
    assert (both.standard_errors() >= raters.standard_errors() - 1e-9).all()
    assert (both.difference_standard_errors() >= raters.difference_standard_errors() - 1e-9).all()
    assert both.dof <= raters.dof


def test_heterogeneous_raters_have_wider_intervals():
    """Answers of one rater are correlated."""
    pairs = simulate(np.random.default_rng(3), TRUE, 0.4, np.full(20, 100), rater_sd=1.0)
    by_rater = strength_spread(pairs, False).difference_standard_errors()[0, 4]
    assert by_rater > 1.5 * information_standard_errors(*whole(pairs), fit(*whole(pairs)))[0, 4]


def test_homogeneous_raters_agree_with_the_information():
    pairs = simulate(np.random.default_rng(4), TRUE, 0.4, np.full(300, 20))
    expected = information_standard_errors(*whole(pairs), fit(*whole(pairs)))
    np.testing.assert_allclose(strength_spread(pairs, False).difference_standard_errors(), expected, rtol=0.2)


def test_no_interval_for_one_rater_or_face():
    one_rater = simulate(np.random.default_rng(5), TRUE, 0.4, np.array([200]))
    one_face = simulate(np.random.default_rng(5), TRUE, 0.4, np.full(20, 10), faces=1)
    for result in (strength_spread(one_rater, False), strength_spread(one_rater, True), strength_spread(one_face, True)):
        assert np.isnan(result.standard_errors()).all() and np.isnan(result.t_quantile())
    assert mean_interval(np.array([1.0, 2.0]), np.zeros(2), None) == (1.5, None, None)


def test_column_means_of_unequal_columns():
    rng = np.random.default_rng(6)
    column, rater, face = rng.integers(3, size=(200,)), rng.integers(10, size=200), rng.integers(7, size=200)
    mean, low, high = column_means(values := rng.normal(size=200), column, rater, face)
    np.testing.assert_allclose(mean, [values[column == k].mean() for k in range(3)])
    assert (low < mean).all() and (mean < high).all()


def test_documented_coverage_is_the_measured_one():
    rows = json.loads((RESULTS / "intervals.json").read_text())
    assert table(rows) in (ROOT / "docs" / "preference-study.md").read_text()
    assert all(0.93 < row["coverage"]["two-way"] < 0.98 and row["coverage"].keys() == set(INTERVALS) for row in rows)
