"""Computation of scores.json: strengths, exclusion of raters, warnings, agreement."""

import csv
import json
from dataclasses import replace

import krippendorff
import numpy as np
import pytest

from eval.__main__ import main
from eval.preference.analysis.agreement import choice_alpha, human_agreement, ratio_interval
from eval.preference.analysis.quality import ExclusionRules, rater_quality
from eval.preference.analysis.scoring import holm, score
from eval.preference.storage.votes import Vote, comparisons, parse_lines
from gpen.errors import GPENError
from tests.eval.preference.simulated import simulate, vote, votes_of

NAMES = ["bilinear", "gfpgan", "gpen"]
TRUE = np.array([-0.8, 0.1, 0.7])


@pytest.fixture(scope="module")
def votes():
    """60 raters who follow the model, with 30 answers each."""
    return votes_of(*simulate(np.random.default_rng(0), TRUE, 0.4, 60, 30), NAMES)


def as_dict(**changes):
    return vote(**changes).to_dict()


def lines(votes):
    return "".join(json.dumps(vote.to_dict()) + "\n" for vote in votes)


def test_score_command(votes, tmp_path, capsys):
    (tmp_path / "votes.jsonl").write_text(lines(votes))
    assert main(["study", "score", "--votes", str(tmp_path / "votes.jsonl"), "--out", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["methods"].keys() == set(NAMES) and list(scores["methods"])[0] == "gpen"
    for name, true in zip(NAMES, TRUE, strict=True):
        entry = scores["methods"][name]
        assert entry["low"] < entry["strength"] < entry["high"] and abs(entry["strength"] - true) < 0.25
        assert entry["wins"] == sum(vote.preferred == name for vote in votes)
        assert entry["n"] == sum(name in vote.shown for vote in votes)
    assert sum(entry["strength"] for entry in scores["methods"].values()) == pytest.approx(0, abs=1e-9)
    assert scores["dropped_raters"] == [] and scores["warnings"] == [] and -0.1 < scores["alpha"] < 0.6
    pairs = [(pair["a"], pair["b"]) for pair in scores["pairs"]]
    assert pairs == [("gpen", "gfpgan"), ("gpen", "bilinear"), ("gfpgan", "bilinear")]
    assert capsys.readouterr().err == ""


def test_all_pairs_are_significant(votes):
    pairs = score(votes)["pairs"]
    assert all(pair["significant"] and pair["answers_needed"] == 0 and pair["p"] <= pair["p_holm"] < 0.05 for pair in pairs)
    assert all(pair["low"] < pair["difference"] < pair["high"] for pair in pairs)


def test_family_wise_error_rate():
    """Family-wise: about 5% of 40 studies of three equal methods have a significant pair."""
    rng = np.random.default_rng(1)
    false = sum(
        any(pair["significant"] for pair in score(votes_of(*simulate(rng, np.zeros(3), 0.4, 15, 12), NAMES))["pairs"])
        for _ in range(40)
    )
    assert false <= 6


def test_power_estimate():
    """With the number of answers from a pilot, about 80% of the studies are significant."""
    rng, strength = np.random.default_rng(2), np.array([0.0, 0.45])
    pilot = score(votes_of(*simulate(rng, strength, 0, 400, 5), NAMES[:2]))  # large, for a small error
    pair, votes = pilot["pairs"][0], 2000
    assert pair["significant"] and pair["answers_needed"] == 0
    error = (pair["high"] - pair["low"]) / 2 / 1.966
    needed = votes * ((1.966 + 0.842) * error / pair["difference"]) ** 2
    found = [score(votes_of(*simulate(rng, strength, 0, round(needed / 5), 5), NAMES[:2]))["pairs"][0] for _ in range(30)]
    assert 0.6 < np.mean([pair["significant"] for pair in found]) <= 0.97
    asked = [pair["answers_needed"] for pair in found if not pair["significant"]]
    assert all(value is None or value >= 1 for value in asked)


def test_disconnected_groups_have_no_strength(tmp_path, capsys):
    tables = simulate(np.random.default_rng(3), TRUE[:2], 0.4, 20, 10)
    votes = votes_of(*tables, ["a", "b"]) + votes_of(*tables, ["c", "d"])
    (tmp_path / "votes.jsonl").write_text(lines(votes))
    assert main(["study", "score", "--votes", str(tmp_path / "votes.jsonl"), "--out", str(tmp_path / "scores.json")]) == 0
    assert "never compared with each other (a, b; c, d)" in capsys.readouterr().err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert all(entry["strength"] is entry["low"] is entry["high"] is None for entry in scores["methods"].values())
    assert all(pair["p"] is None and not pair["significant"] for pair in scores["pairs"])
    assert scores["methods"]["b"]["wins"] > 0 and 0 < scores["methods"]["b"]["win_rate"] < 1


def test_method_without_losses_has_an_unbounded_interval():
    votes = [vote(f"r{r}", f"i{i}", "best", other, "left", f"{other}{i}") for r in range(9) for i in range(4) for other in "ab"]
    votes += votes_of(*simulate(np.random.default_rng(4), TRUE[:2], 0.4, 9, 10), ["a", "b"])
    scores = score(votes)
    assert scores["methods"]["best"]["high"] is None and scores["methods"]["a"]["high"] is not None
    assert any(warning.startswith("best never lost") for warning in scores["warnings"])


def test_inattentive_raters_are_excluded(votes):
    gold = {"left": "ground-truth", "right": "bilinear", "gold": True}
    honest = [vote(f"r{r}", "g", **gold, choice="left", trial=f"g{k}") for r in range(60) for k in range(4)]
    one_slip = [vote("r0", "g", **gold, choice="tie", trial="g9")]
    wrong = [vote("random", "g", **gold, choice="right", trial=f"g{k}") for k in range(3)]
    wrong += [vote("random", f"item{k}", "bilinear", "gpen", "left", f"t{k}") for k in range(500)]
    fast = [vote("fast", f"item{k}", "bilinear", "gpen", "left", f"t{k}", ms=80) for k in range(500)]
    clean, scores = score(votes), score(votes + honest + one_slip + wrong + fast)
    assert {entry["rater"]: entry["reason"] for entry in scores["dropped_raters"]} == {
        "fast": "faster than 300 ms in 500 of 500 answers",
        "random": "wrong in 3 of 3 gold trials",
    }
    assert scores["methods"] == clean["methods"] and "33%" in scores["rule"]
    kept = score(votes + wrong + fast, ExclusionRules(max_gold_errors=1, min_ms=0))
    assert kept["dropped_raters"] == [] and kept["methods"]["bilinear"]["wins"] == clean["methods"]["bilinear"]["wins"] + 1000


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


def test_gold_trial_without_expected_answer_uses_the_majority():
    answers = {"r0": "left", "r1": "left", "r2": "right", "r3": "left"}
    records = rater_quality(
        [vote(rater, "g", "x", "y", choice, gold=True) for rater, choice in answers.items()], ExclusionRules()
    )
    assert [record.rater for record in records if record.dropped] == ["r2"]
    alone = rater_quality([vote("r0", "g", "x", "y", gold=True)], ExclusionRules())
    assert alone[0].golds == 0 and not alone[0].dropped


def test_self_consistency_with_exchanged_sides():
    votes = [vote("r", "i", "a", "b", "left", "1"), vote("r", "i", "b", "a", "right", "2"), vote("r", "i", "b", "a", "left", "3")]
    (record,) = rater_quality(votes, ExclusionRules())
    assert (record.repeats, record.consistent) == (2, 1)


def test_warnings_for_few_raters(votes):
    one = score([vote for vote in votes if vote.rater == "r0"])
    assert one["methods"]["gpen"]["low"] is None and "at least two raters" in one["warnings"][0]
    three = score([vote for vote in votes if vote.rater in ("r0", "r1", "r2")])
    assert "Only 3 raters" in three["warnings"][0]


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and holm([0.9, None, 0.8]) == [1, None, 1]


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
    expected = krippendorff.alpha(matrix, level_of_measurement="nominal")
    assert choice_alpha(comparisons(votes)) == pytest.approx(expected)
    assert choice_alpha(comparisons([vote("r0"), vote("r1")])) is None  # identical answers
    agreeing = [vote(r, i, choice=c) for r in ("r0", "r1") for i, c in (("i", "left"), ("j", "right"))]
    assert choice_alpha(comparisons(agreeing)) == pytest.approx(1)


def test_scores_by_level():
    rng, votes = np.random.default_rng(6), []
    for task, strength in (("fsr16", [-1.5, 1.5]), ("fsr4", [0.0, 0.0])):
        for one in votes_of(*simulate(rng, np.array(strength), 0.3, 40, 10), ["bilinear", "gpen"]):
            votes.append(replace(one, item=f"{task}/{one.item}"))
    levels = score(votes)["levels"]
    assert list(levels) == ["fsr4", "fsr16"]
    assert levels["fsr16"]["gpen"]["strength"] > 1 and abs(levels["fsr4"]["gpen"]["strength"]) < 0.4
    items = {one.item: "bfr severe" if one.item.endswith("0") else "bfr mild" for one in votes}
    assert list(score(votes, levels=items)["levels"]) == ["bfr mild", "bfr severe"]


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
    assert scores["people"]["agreement"] <= psnr["high"] and scores["people"]["n"] > 500


def test_human_agreement():
    votes = [vote("r0"), vote("r1"), vote("r2", left="b", right="a", choice="left")]  # a, a, b
    assert human_agreement(comparisons(votes))["agreement"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert human_agreement(comparisons([vote("r0"), vote("r1", "other")])) is None


def rating(rater, item, method, value, **more):
    return Vote.from_dict({"rater": rater, "item": item, "method": method, "rating": value, **more})


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


def test_coverage_of_mean_opinion_score_intervals():
    """12 raters with individual bias and number of ratings; the true mean is 3."""
    rng, hits = np.random.default_rng(9), []
    for seed in range(300):
        counts = rng.integers(2, 8, (12, 1)).astype(float)
        sums = counts * (3 + rng.normal(0, 0.5, (12, 1))) + np.sqrt(counts) * rng.normal(0, 1, (12, 1))
        _, low, high = ratio_interval(sums, counts, seed)
        hits.append(low[0] <= 3 <= high[0])
    assert 0.91 <= np.mean(hits) <= 0.98


def test_rankings():
    votes = [
        Vote.from_dict({"rater": f"r{r}", "item": "i", "order": order})
        for r, order in enumerate([["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"]])
    ]
    methods = score(votes)["methods"]
    assert list(methods) == ["a", "b", "c"] and [methods[name]["wins"] for name in "abc"] == [5, 3, 1]
    assert methods["a"]["n"] == 6


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"rater": 1}', "line 2: A vote needs rater"),
        ("{", "line 2: Not valid JSON"),
        ("[]", "line 2: A vote is a JSON object"),
        (json.dumps(as_dict(choice="both")), "line 2: choice must be one of left, right, tie, both_bad, not 'both'"),
        (json.dumps(as_dict(left="b")), "line 2: left and right must be the names of two methods"),
        (json.dumps(as_dict(ms="fast")), "line 2: ms must be a number"),
        (json.dumps({"rater": "r", "method": "a", "rating": 6}), "line 2: rating must be an integer from 1 to 5"),
        (json.dumps({"rater": "r", "order": ["a", "a"]}), "line 2: order must be a list"),
        (json.dumps({"rater": "r", "method": "a", "rating": 3}), "have the protocols pairwise and rating"),
        (json.dumps(as_dict(study="other")), "belong to 2 studies (other, s)"),
    ],
)
def test_invalid_votes(line, message, tmp_path, capsys):
    (tmp_path / "votes.jsonl").write_text(json.dumps(as_dict()) + "\n" + line + "\n")
    assert main(["study", "score", "--votes", str(tmp_path / "votes.jsonl")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error


def test_no_votes_to_score():
    with pytest.raises(GPENError, match="There are no votes"):
        score([])
    with pytest.raises(GPENError, match="No comparison is left after the exclusion of 1 of 1 raters"):
        score([vote(ms=1)])


def test_duplicate_lines_and_missing_keys():
    whole, bare = (
        json.dumps(as_dict(trial="t")),
        json.dumps({"study": "s", "rater": 7, "left": "a", "right": "b", "choice": "tie"}),
    )
    votes = parse_lines(f"{whole}\n{whole}\n\n{bare}\n{bare}\n", "here")
    assert [vote.rater for vote in votes] == ["r", "7", "7"]
    entry = score(votes)["methods"]["a"]
    assert (entry["wins"], entry["ties"], entry["n"]) == (1, 2, 3)
