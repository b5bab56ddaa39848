"""Mean opinion scores."""

import numpy as np
import pytest

from eval.preference.analysis.bootstrap import column_means
from eval.preference.analysis.scoring import score
from tests.eval.preference.simulated import rating


def test_mean_opinion_scores():
    rng, votes = np.random.default_rng(8), []
    for r in range(40):
        bias = rng.integers(-1, 2)
        for i in range(4):
            for method, mean in (("ground-truth", 4.0), ("gpen", 3.0), ("bilinear", 2.0)):
                votes.append(rating(f"r{r}", f"i{i}", method, int(np.clip(mean + bias + rng.integers(-1, 2), 1, 5))))
    scores = score(votes)
    methods = scores["methods"]
    assert list(methods) == ["ground-truth", "gpen", "bilinear"] and scores["protocol"] == "rating"
    for name in methods:
        ratings = [one.choice for one in votes if one.shown == [name]]
        assert methods[name]["mos"] == pytest.approx(np.mean(ratings))
        assert methods[name]["mos_low"] < methods[name]["mos"] < methods[name]["mos_high"]
    assert methods["gpen"]["dmos"] == pytest.approx(methods["gpen"]["mos"] - methods["ground-truth"]["mos"] + 5)
    assert methods["ground-truth"]["dmos"] is None and methods["gpen"]["strength"] > methods["bilinear"]["strength"]
    assert scores["alpha"] > 0.2


@pytest.mark.parametrize("faces", [None, 8])
def test_coverage_of_mean_opinion_score_intervals(faces):
    """12 raters with individual bias and number of ratings, and faces with individual quality; the true mean is 3."""
    rng, hits = np.random.default_rng(9), []
    for seed in range(100):
        rater = np.repeat(np.arange(12), rng.integers(10, 40, 12))
        face = rng.integers(faces or 1, size=len(rater))
        quality = rng.normal(0, 0.5, faces)[face] if faces else 0
        values = 3 + rng.normal(0, 0.5, 12)[rater] + quality + rng.normal(0, 1, len(rater))
        _, low, high = column_means(values, np.zeros(len(values), int), rater, face if faces else None, 150, seed)
        hits.append(low[0] <= 3 <= high[0])
    assert 0.88 <= np.mean(hits) <= 0.99


def test_a_method_without_ratings_in_some_resamples_has_an_interval():
    values, column = np.array([1.0, 2, 3, 4, 5]), np.array([0, 0, 0, 0, 1])
    mean, low, high = column_means(values, column, np.array([0, 1, 2, 3, 3]), None)
    assert mean.tolist() == [2.5, 5] and low[0] < 2.5 < high[0] and low[1] == high[1] == 5
