"""Differences between methods: tests, power, connection."""

import numpy as np
import pytest

from eval.preference.analysis.scoring import score
from eval.preference.analysis.strengths import holm
from tests.eval.preference.simulated import NAMES, TRUE, simulate, vote, votes_of


@pytest.mark.slow
def test_family_wise_error_rate():
    """Family-wise: about 5% of 40 studies of three equal methods have a significant pair."""
    rng = np.random.default_rng(1)
    false = sum(
        any(
            pair["significant"]
            for pair in score(votes_of(*simulate(rng, np.zeros(3), 0.4, 15, 12), NAMES), over_faces=False)["pairs"]
        )
        for _ in range(40)
    )
    assert false <= 6


def test_power_estimate():
    """With the number of answers from a pilot, about 80% of the studies are significant."""
    rng, strength = np.random.default_rng(2), np.array([0.0, 0.45])
    pilot = score(votes_of(*simulate(rng, strength, 0, 400, 5), NAMES[:2]), over_faces=False)  # large, for a small error
    pair, votes = pilot["pairs"][0], 2000
    assert pair["significant"] and pair["answers_needed"] == 0
    error = (pair["high"] - pair["low"]) / 2 / 1.966
    needed = votes * ((1.966 + 0.842) * error / pair["difference"]) ** 2
    found = [score(votes_of(*simulate(rng, strength, 0, round(needed / 5), 5), NAMES[:2]), over_faces=False)["pairs"][0]
             for _ in range(30)]  # fmt: skip
    assert 0.6 < np.mean([pair["significant"] for pair in found]) <= 0.97
    asked = [pair["answers_needed"] for pair in found if not pair["significant"]]
    assert all(value is None or value >= 1 for value in asked)


def one_sided(answers):
    """Votes where best always won and worst always lost, in comparisons with a and b, which are in between."""
    votes = votes_of(*simulate(np.random.default_rng(4), TRUE[:2], 0.4, 9, 10), ["a", "b"])
    for name, choice in (("best", "left"), ("worst", "right")):
        votes += [
            vote(f"r{r}", f"i{i}", name, other, choice, f"{name}{other}{i}")
            for r in range(9)
            for i in range(answers)
            for other in "ab"
        ]
    return votes


def test_method_that_always_or_never_won_has_a_finite_strength_and_one_bound():
    scores = score(one_sided(4))
    best, worst = scores["methods"]["best"], scores["methods"]["worst"]
    assert best["high"] is None and 0 < best["low"] < best["strength"] < 8
    assert worst["low"] is None and 0 > worst["high"] > worst["strength"] > -8
    assert scores["methods"]["a"]["low"] is not None and scores["methods"]["a"]["high"] is not None
    said = " ".join(scores["warnings"])
    assert "best never lost" in said and '"at least"' in said and "worst never won" in said and "half a win" in said
    pairs = {(pair["a"], pair["b"]): pair for pair in scores["pairs"]}
    assert pairs["best", "worst"]["low"] > 0 and pairs["best", "worst"]["high"] is None
    assert pairs["b", "a"]["low"] is not None and pairs["b", "a"]["high"] is not None


def test_more_wins_without_a_loss_raise_the_bound():
    low = [score(one_sided(answers))["methods"]["best"]["low"] for answers in (2, 6, 18)]
    assert low == sorted(low) and low[2] > low[0] + 0.5


def test_bound_of_an_unbeaten_method_is_not_above_the_exact_one():
    """20 wins of 20 against one method: the exact one-sided 97.5% bound (Clopper and Pearson) of the log odds is 1.6."""
    votes = [vote(f"r{r}", f"i{i}", "best", "other", "left", f"{i}") for r in range(5) for i in range(4)]
    (pair,) = score(votes)["pairs"]
    exact = np.log(0.025 ** (1 / 20) / (1 - 0.025 ** (1 / 20)))
    assert pair["low"] < exact and pair["difference"] == pytest.approx(np.log(20.5 / 0.5), abs=0.05) and pair["high"] is None


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and holm([0.9, None, 0.8]) == [1, None, 1]
