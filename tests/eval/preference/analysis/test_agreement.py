"""Agreement between raters, and of metrics with raters."""

import csv
import itertools
import json
from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.__main__ import main
from eval.preference.analysis.agreement import choice_alpha, human_agreement, metric_agreement, rating_alpha
from eval.preference.storage.votes import comparisons
from tests.eval.preference.simulated import NAMES, TRUE, lines, rating, vote


def test_alpha_equals_krippendorff():
    rng = np.random.default_rng(5)
    matrix = rng.choice([-1.0, 0, 1, np.nan], (6, 40), p=[0.5, 0.1, 0.2, 0.2])  # raters, items
    names = {1: "left", -1: "right", 0: "tie"}
    votes = []
    for (r, i), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            swapped = bool(rng.integers(2))
            sides = ("b", "a") if swapped else ("a", "b")
            votes.append(vote(f"r{r}", f"i{i}", *sides, names[int(-value if swapped else value)]))
    expected = krippendorff.alpha(np.hstack([matrix, -matrix]), level_of_measurement="nominal")  # both orders
    assert choice_alpha(comparisons(votes)) == pytest.approx(expected)
    assert choice_alpha(comparisons([vote("r0", choice="tie"), vote("r1", choice="tie")])) is None  # ties only
    agreeing = [vote(r, i, choice=c) for r in ("r0", "r1") for i, c in (("i", "left"), ("j", "right"))]
    assert choice_alpha(comparisons(agreeing)) == pytest.approx(1)


@pytest.mark.slow
def test_metric_agreement(votes, tmp_path, capsys):
    """The strength as a metric agrees as much as raters, its negative disagrees."""
    rng = np.random.default_rng(7)
    with open(tmp_path / "per_image.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "task", "method", "psnr", "lpips_alex", "ssim", "seconds"])
        for item in {one.item for one in votes}:
            for name, strength in zip(NAMES, TRUE, strict=True):
                table.writerow([item, "bfr", name, 20 + strength, strength, rng.random(), 0.1])
    (tmp_path / "votes.jsonl").write_text(lines([replace(one, item=f"bfr/{one.item}") for one in votes]))
    assert main(["study", "score", "--votes", str(tmp_path / "votes.jsonl"), "--run", str(tmp_path)]) == 0
    scores = json.loads(capsys.readouterr().out)
    psnr, lpips, ssim = (scores["metrics"][name] for name in ("psnr", "lpips_alex", "ssim"))
    assert psnr["agreement"] > 0.6 and psnr["low"] < psnr["agreement"] < psnr["high"] and psnr["kendall"] == 1
    assert lpips["agreement"] == pytest.approx(1 - psnr["agreement"]) and lpips["kendall"] == -1
    assert ssim["agreement"] < psnr["low"] and "seconds" not in scores["metrics"]
    people = scores["people"]
    assert people["n"] > 500 and people["low"] < people["agreement"] < people["high"] and people["agreement"] < people["ceiling"]
    assert psnr["agreement"] < psnr["ceiling"]


def test_human_agreement():
    votes = [vote("r0"), vote("r1"), vote("r2", left="b", right="a", choice="left")]  # a, a, b
    people = human_agreement(comparisons(votes))
    assert people["agreement"] == pytest.approx((0.5 + 0.5 + 0) / 3) and people["ceiling"] == pytest.approx(2 / 3)
    assert human_agreement(comparisons([vote("r0"), vote("r1", "other")])) is None
    assert human_agreement(comparisons([vote("r0", ""), vote("r1", "")])) is None  # not known to be one question


answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(list(itertools.combinations("abc", 2))),
                             st.sampled_from(["left", "right", "tie"])), min_size=2, max_size=40)  # fmt: skip


def votes_from(answers):
    return [vote(f"r{r}", f"i{i}", *pair, choice, str(k)) for k, (r, i, pair, choice) in enumerate(answers)]


@settings(max_examples=60, deadline=None)
@given(answers, st.permutations("abc"))
def test_agreement_does_not_depend_on_the_names_of_methods(answers, names):
    votes = votes_from(answers)
    renamed = [replace(one, shown=[names["abc".index(name)] for name in one.shown]) for one in votes]
    before, after = (comparisons(group) for group in (votes, renamed))
    assert choice_alpha(after) == pytest.approx(choice_alpha(before), nan_ok=True)
    assert human_agreement(after) == pytest.approx(human_agreement(before), nan_ok=True)


def test_alpha_of_raters_who_always_agree_or_answer_at_random():
    """Raters who always prefer one method agree perfectly, whatever its name; the answers of others do not correlate."""
    same = [vote(f"r{r}", f"i{i}") for r in range(4) for i in range(20)]
    assert choice_alpha(comparisons(same)) == 1
    rng = np.random.default_rng(0)
    random = [replace(one, choice=str(rng.choice(["left", "left", "left", "right"]))) for one in same]
    observed = choice_alpha(comparisons(random))
    swapped = [replace(one, shown=["b", "a"] if int(one.item[1:]) % 2 else ["a", "b"]) for one in random]
    assert choice_alpha(comparisons(swapped)) == pytest.approx(observed) and 0.1 < observed < 0.45  # 1 - 2 * 2 * 0.75 * 0.25


def test_alpha_of_ratings_is_ordinal():
    values = np.array([[1, 2, 4, 5, 5], [1, 3, 4, 4, 5], [2, 2, 5, 5, 4]])
    votes = [rating(f"r{r}", f"i{i}", "a", int(value)) for (r, i), value in np.ndenumerate(values)]
    assert rating_alpha(votes) == pytest.approx(krippendorff.alpha(values, level_of_measurement="ordinal"))
    assert rating_alpha(votes + [rating("r0", "i0", "a", 5)]) == rating_alpha(votes)  # a repeat
    assert rating_alpha(votes + [rating("r3", "", "a", value) for value in (1, 5)]) == rating_alpha(votes)  # unknown image


@settings(max_examples=60, deadline=None)
@given(answers, st.integers(0, 10**6))
def test_no_metric_exceeds_the_upper_noise_ceiling(answers, seed):
    pairs, rng = comparisons(votes_from(answers)), np.random.default_rng(seed)
    rows = {(item, method): {"m": float(rng.integers(4))} for item in pairs.items for method in pairs.methods}
    for entry in metric_agreement(pairs, rows, {"m": False}, {}, over_faces=False).values():
        assert entry["agreement"] <= entry["ceiling"] + 1e-12


def test_a_metric_may_exceed_the_agreement_of_raters():
    """The lower bound of the noise ceiling is no limit: with three raters, the majority of the two others is often wrong."""
    rng = np.random.default_rng(1)
    votes = [vote(f"r{r}", f"i{i}", choice="left" if rng.random() < 0.7 else "right") for r in range(3) for i in range(200)]
    pairs = comparisons(votes)
    rows = {(item, name): {"m": value} for item in pairs.items for name, value in (("a", 1.0), ("b", 0.0))}
    metric, people = metric_agreement(pairs, rows, {"m": False}, {})["m"], human_agreement(pairs)
    assert people["agreement"] < metric["agreement"] < people["ceiling"] == metric["ceiling"]
