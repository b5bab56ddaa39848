"""Gold trials, exclusion of raters, and the power of the rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.preference.analysis.quality import (
    MAX_PASSING,
    ExclusionRules,
    golds_needed,
    pass_probability,
    rater_quality,
)
from gpen.errors import GPENError
from tests import ROOT
from tests.eval.preference.simulated import rating, vote


@pytest.mark.parametrize("gold, left, right", [("left", "x", "y"), ("x", "x", "y"), (True, "gold:better", "gold:worse")])
def test_forms_of_the_expected_answer_to_a_gold_trial(gold, left, right):
    records = rater_quality(
        [
            vote(rater, "g", left, right, choice, gold=gold)
            for rater, choice in (("good", "left"), ("bad", "right"), ("lazy", "tie"))
        ],
        ExclusionRules(),
    )
    assert {record.rater: record.passed for record in records} == {"good": 1, "bad": 0, "lazy": 0}


def test_self_consistency_with_exchanged_sides():
    votes = [vote("r", "i", "a", "b", "left", "1"), vote("r", "i", "b", "a", "right", "2"), vote("r", "i", "b", "a", "left", "3")]
    (record,) = rater_quality(votes, ExclusionRules())
    assert (record.repeats, record.consistent) == (2, 1)
    unknown = [vote("r", "", "a", "b", "left", "1"), vote("r", "", "b", "a", "left", "2")]  # not known to be one question
    assert rater_quality(unknown, ExclusionRules())[0].repeats == 0


@pytest.mark.parametrize(
    "gold",
    [
        vote("r", "face7", "bilinear", "gpen", gold=True),
        vote("r", "face7", "bilinear", "gpen", gold="lanczos"),
        rating("r", "face7", "gpen", 5, gold=True),
    ],
)
def test_gold_trial_without_truth_is_an_error(gold):
    """Also if most raters agree on it: a rater is not excluded for an unusual taste."""
    with pytest.raises(GPENError, match="The gold trial of the item 'face7' with .*gpen has no ground truth, so that"):
        rater_quality([gold] * 5, ExclusionRules())


def test_four_gold_trials_do_not_detect_random_answers():
    assert pass_probability(4, 1 / 3) == pytest.approx(5 / 16)
    assert pass_probability(8) == pytest.approx(9 / 256) and pass_probability(0) == 1
    assert pass_probability(8, correct=0.97) > 0.97 and golds_needed() == 8


def test_documented_power_of_the_gold_trials():
    text = (ROOT / "docs" / "preference-study.md").read_text()
    for golds in (2, 4, 6, 8, 10, 12, 16):
        rules = pass_probability(golds, 1 / 3), pass_probability(golds), pass_probability(golds, correct=0.4)
        assert f"| {golds} | {' | '.join(f'{p:.1%}' for p in (*rules, pass_probability(golds, correct=0.97)))} |" in text


@given(st.integers(0, 60))
def test_more_gold_trials_than_needed_detect_random_answers(more):
    assert pass_probability(golds_needed() + more) <= MAX_PASSING


def test_rule_that_accepts_random_answers():
    with pytest.raises(GPENError, match="--max-gold-errors 0.5 accepts raters who answer at random; choose less than 0.5"):
        golds_needed(0.5)


def test_random_raters_are_excluded():
    rng, raters = np.random.default_rng(0), 400
    votes = [vote(f"r{r}", f"g{k}", "gold:better", "gold:worse", str(rng.choice(["left", "right"])), f"{k}", gold=True)
             for r in range(raters) for k in range(8)]  # fmt: skip
    kept = sum(not record.dropped for record in rater_quality(votes, ExclusionRules()))
    assert kept / raters == pytest.approx(pass_probability(8), abs=0.02)
