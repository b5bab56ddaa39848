"""Davidson's model: agreement with choix, recovery of simulated strengths."""

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.analysis import bradley_terry
from eval.preference.analysis.bradley_terry import PRIOR_SD, bounded, components, fit
from tests.eval.preference.simulated import simulate

TRUE = np.array([-1.0, -0.4, 0.0, 0.5, 0.9])


def no_ties(wins):
    return np.zeros_like(wins)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_fit_without_ties_equals_choix(seed, m):
    wins = np.random.default_rng(seed).integers(0, 9, (m, m)).astype(float)
    np.fill_diagonal(wins, 0)
    data = [(i, j) for i in range(m) for j in range(m) for _ in range(int(wins[i, j]))]
    expected = choix.opt_pairwise(m, data, alpha=1 / (2 * PRIOR_SD**2), tol=1e-12)
    np.testing.assert_allclose(fit(wins, no_ties(wins)).strength, expected - expected.mean(), atol=2e-4)


def test_two_methods_with_ties():
    wins, ties = np.array([[0, 60.0], [20, 0]]), np.array([[0, 30.0], [30, 0]])
    fitted = fit(wins, ties)
    # every probability equals the observed frequency: e^d = 60 / 20, nu = 30 / sqrt(60 * 20)
    assert fitted.strength[0] - fitted.strength[1] == pytest.approx(np.log(3), abs=0.005)
    assert fitted.log_nu == pytest.approx(np.log(30 / np.sqrt(1200)), abs=0.005)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_fit_is_equivariant(seed):
    rng = np.random.default_rng(seed)
    wins, ties = (table.sum(axis=0) for table in simulate(rng, TRUE, 0.5, 4, 30))
    order = rng.permutation(len(TRUE))
    moved = np.ix_(order, order)
    np.testing.assert_allclose(fit(wins[moved], ties[moved]).strength, fit(wins, ties).strength[order], atol=1e-6)
    np.testing.assert_allclose(fit(wins.T, ties).strength, -fit(wins, ties).strength, atol=1e-6)
    batch = fit(np.stack([wins, wins.T]), np.stack([ties, ties]))
    np.testing.assert_allclose(batch.strength[1], -fit(wins, ties).strength, atol=1e-6)


@pytest.mark.parametrize("nu", [0, 0.4, 3])
def test_recovery_of_strengths(nu):
    wins, ties = simulate(np.random.default_rng(0), TRUE, nu, 400, 50)
    fitted = fit(wins.sum(axis=0), ties.sum(axis=0))
    np.testing.assert_allclose(fitted.strength, TRUE, atol=0.08)
    assert np.exp(fitted.log_nu) == pytest.approx(nu, abs=0.08 * max(nu, 0.1))


def test_recovery_with_an_unbalanced_design():
    """A chain with most answers for one pair; a and e were not compared."""
    chain = [(0, 1)] * 12 + [(1, 2), (2, 3), (3, 4)]
    wins, ties = simulate(np.random.default_rng(1), TRUE, 0.4, 600, 40, chain)
    np.testing.assert_allclose(fit(wins.sum(axis=0), ties.sum(axis=0)).strength, TRUE, atol=0.15)


def test_method_without_losses():
    wins = np.array([[0, 20.0, 20], [0, 0, 10], [0, 10, 0]])
    strength = fit(wins, no_ties(wins)).strength
    assert np.isfinite(strength).all() and strength[0] > 3
    below, above = bounded(wins, no_ties(wins))
    assert above.tolist() == [False, True, True] and below.tolist() == [True, False, False]
    ties = no_ties(wins)
    ties[0, 1] = ties[1, 0] = 1  # one tie bounds the strength from above
    assert all(end.all() for end in bounded(wins, ties))


def test_components():
    edges = np.zeros((5, 5))
    edges[0, 2] = edges[2, 0] = edges[1, 3] = edges[3, 4] = 1
    assert components(edges) == [[0, 2], [1, 3, 4]]


def test_convergence_far_from_the_start():
    wins = 10.0 ** np.array([[0, 5, 5], [1, 0, 4], [0, 1, 0]])
    np.fill_diagonal(wins, 0)
    ties = no_ties(wins)
    fitted = fit(wins, ties)
    gradient, _ = bradley_terry._derivatives(fitted.strength[None], wins[None], ties[None], False)
    assert np.abs(gradient).max() < 1e-6 * wins.max()
