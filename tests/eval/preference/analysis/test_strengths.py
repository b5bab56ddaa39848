"""Differences between methods: tests, power, connection."""

import numpy as np
import pytest

from eval.preference.analysis.scoring import score
from eval.preference.analysis.strengths import holm
from tests.eval.preference.simulated import NAMES, TRUE, simulate, vote, votes_of


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


def test_method_without_losses_has_an_unbounded_interval():
    votes = [vote(f"r{r}", f"i{i}", "best", other, "left", f"{other}{i}") for r in range(9) for i in range(4) for other in "ab"]
    votes += votes_of(*simulate(np.random.default_rng(4), TRUE[:2], 0.4, 9, 10), ["a", "b"])
    scores = score(votes)
    assert scores["methods"]["best"]["high"] is None and scores["methods"]["a"]["high"] is not None
    assert any(warning.startswith("best never lost") for warning in scores["warnings"])


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and holm([0.9, None, 0.8]) == [1, None, 1]
