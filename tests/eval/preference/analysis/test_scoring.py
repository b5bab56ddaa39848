"""Computation of scores.json: strengths, exclusion of raters, the planned end, repeats, levels, errors."""

import json
from dataclasses import replace

import numpy as np
import pytest

from eval.__main__ import main
from eval.preference.analysis.quality import ExclusionRules
from eval.preference.analysis.scoring import score
from eval.preference.plan import Plan, plan_of
from eval.preference.storage.votes import Vote, parse_lines
from gpen.errors import GPENError
from tests.eval.preference.simulated import NAMES, TRUE, lines, simulate, vote, votes_of


def as_dict(**changes):
    return vote(**changes).to_dict()


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
    assert capsys.readouterr().err == f"{len(votes)} votes in {tmp_path / 'votes.jsonl'}.\n"


def test_all_pairs_are_significant(votes):
    pairs = score(votes)["pairs"]
    assert all(pair["significant"] and pair["answers_needed"] == 0 and pair["p"] <= pair["p_holm"] < 0.05 for pair in pairs)
    assert all(pair["low"] < pair["difference"] < pair["high"] for pair in pairs)


def test_groups_that_were_never_compared_are_ranked_separately(tmp_path, capsys):
    tables = simulate(np.random.default_rng(3), TRUE[:2], 0.4, 20, 10)
    votes = votes_of(*tables, ["a", "b"]) + votes_of(*tables, ["c", "d"])
    (tmp_path / "votes.jsonl").write_text(lines(votes))
    assert main(["study", "score", "--votes", str(tmp_path / "votes.jsonl"), "--out", str(tmp_path / "scores.json")]) == 0
    assert "never compared, directly or through other methods (a, b; c, d)" in capsys.readouterr().err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["groups"] == [["a", "b"], ["c", "d"]] and scores["needed"] == []
    assert [entry["group"] for entry in scores["methods"].values()] == [0, 0, 1, 1] and list(scores["methods"]) == list("badc")
    alone = score(votes_of(*tables, ["a", "b"]))
    for name in "ab":
        assert scores["methods"][name] == alone["methods"][name]
        assert scores["methods"][{"a": "c", "b": "d"}[name]]["strength"] == pytest.approx(alone["methods"][name]["strength"])
    known = {(pair["a"], pair["b"]): pair["difference"] is not None for pair in scores["pairs"]}
    assert known == {("b", "a"): True, ("d", "c"): True} | {(x, y): False for x in "ba" for y in "dc"}


def test_too_few_raters_or_votes_give_no_strength(votes):
    """Failure sequence: two raters gave a difference of 0.5 with an interval of +-6.5."""
    two = [one for one in votes if one.rater in ("r0", "r1")]
    scores = score(two)
    assert all(entry["strength"] is entry["low"] is entry["high"] is None for entry in scores["methods"].values())
    assert all(pair["difference"] is pair["p"] is None for pair in scores["pairs"])
    assert scores["needed"] == [{"methods": NAMES, "raters": 3, "comparisons": 0}]
    assert "no strengths of bilinear, gfpgan, gpen yet: an interval needs at least 3 more raters." in scores["warnings"][0]
    few = [vote(f"r{r}", f"i{r}", "a", "b", "left" if r % 2 else "right") for r in range(7)]
    assert score(few)["needed"] == [{"methods": ["a", "b"], "raters": 0, "comparisons": 3}]
    assert "at least 3 more comparisons." in " ".join(score(few)["warnings"])
    enough = few + [vote(f"r{r}", f"j{r}", "a", "b", "left") for r in range(3)]
    assert score(enough)["needed"] == [] and score(enough)["methods"]["a"]["low"] is not None


def test_inattentive_raters_are_excluded(votes):
    gold = {"left": "ground-truth", "right": "bilinear", "gold": True}
    honest = [vote(f"r{r}", "g", **gold, choice="left", trial=f"g{k}") for r in range(60) for k in range(5)]
    one_slip = [vote("r0", "g", **gold, choice="tie", trial="g9")]
    wrong = [vote("random", "g", **gold, choice="right", trial=f"g{k}") for k in range(3)]
    wrong += [vote("random", f"item{k}", "bilinear", "gpen", "left", f"t{k}") for k in range(500)]
    fast = [vote("fast", f"item{k}", "bilinear", "gpen", "left", f"t{k}", ms=80) for k in range(500)]
    clean, scores = score(votes), score(votes + honest + one_slip + wrong + fast)
    assert {entry["rater"]: entry["reason"] for entry in scores["dropped_raters"]} == {
        "fast": "faster than 300 ms in 500 of 500 answers",
        "random": "wrong in 3 of 3 gold trials",
    }
    assert scores["methods"] == clean["methods"] and "17%" in scores["rule"]
    kept = score(votes + wrong + fast, ExclusionRules(max_gold_errors=1, min_ms=0))
    assert kept["dropped_raters"] == [] and kept["methods"]["bilinear"]["wins"] == clean["methods"]["bilinear"]["wins"] + 1000


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
    error = capsys.readouterr().err.strip().splitlines()[-1]  # the number of votes is before it
    assert error.startswith("error: ") and message in error


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


def test_repeats_count_once(votes):
    """Repeats with either answer change nothing, in the votes of the page and in files, which do not name repeats."""
    clean = score(votes)
    repeated = [replace(one, trial=f"{one.trial} again", shown=one.shown[::-1]) for one in votes[:300]]
    assert score(votes + repeated) == clean | {"repeats": 300}
    without_items = [replace(one, item="", trial="") for one in votes]
    assert score(without_items)["votes"] == len(votes)


def test_repeated_ratings_count_once():
    ratings = [Vote.from_dict({"rater": f"r{r}", "item": f"i{i}", "method": m, "rating": 2 + (m == "a")})
               for r in range(3) for i in range(6) for m in "ab"]  # fmt: skip
    again = [Vote.from_dict({"rater": "r0", "item": "i0", "method": "b", "rating": 5}) for _ in range(50)]
    assert score(ratings + again)["methods"] == score(ratings)["methods"]


def plan(votes, missing):
    return Plan(len(votes) + missing, missing, votes)


def test_tests_wait_for_the_planned_end(votes):
    early, late = score(votes, plan=plan(votes, 1)), score(votes, plan=plan(votes, 0))
    untested = {"p": None, "p_holm": None, "significant": None, "answers_needed": None}
    assert early["pairs"] == [pair | untested for pair in late["pairs"]]
    assert late["pairs"] == score(votes)["pairs"] and early["missing"] == 1 and score(votes)["missing"] is None
    assert all(pair["low"] < pair["high"] for pair in early["pairs"])


def test_tests_use_the_planned_answers_only(votes):
    """Answers after the planned end change the intervals, not the tests."""
    more = [replace(one, rater=f"late {one.rater}") for one in votes]
    before, after = score(votes, plan=plan(votes, 0)), score(votes + more, plan=plan(votes, 0))
    assert [pair["p"] for pair in after["pairs"]] == [pair["p"] for pair in before["pairs"]]
    assert all(b["n"] == 2 * a["n"] and b["low"] != a["low"] for a, b in zip(before["pairs"], after["pairs"], strict=True))


def test_plan_of_a_study(studies):
    study = studies(answers=2)  # of five items
    gold = [vote("r0", "face0", "gold:better", "gold:worse", gold=True)]
    votes = [vote(f"r{r}", f"face{i}", "a", "b") for r in range(3) for i in range(5)]
    repeats = [replace(one, trial="again") for one in votes[:6]]
    assert plan_of(study, gold + votes[:6] + repeats) == Plan(10, 4, gold + votes[:6] + repeats)
    assert plan_of(study, gold + votes) == Plan(10, 0, gold + votes[:10])


def test_score_command_with_a_study(studies, tmp_path, capsys):
    study = studies(answers=6)
    votes = [vote(f"r{r}", f"face{i}", a, b) for r in range(6) for i in range(4) for a, b in ("ab", "bc", "cd")]
    (tmp_path / "votes.jsonl").write_text(lines(votes))
    command = ["study", "score", "--votes", str(tmp_path / "votes.jsonl"), "--study", str(study.folder)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["missing"] == 6 and "6 of 30 planned answers are missing: p values are computed when" in err
    assert main([*command, "--intervals", "items"]) == 2
    assert "Unknown --intervals 'items'; choose from faces, images." in capsys.readouterr().err


@pytest.mark.slow
def test_meaning_of_the_intervals(votes):
    assert score(votes)["intervals"].endswith("over 60 raters and 40 faces: for raters and faces like these.")
    fixed = score(votes, over_faces=False)
    assert fixed["intervals"].endswith("over 60 raters: for raters like these and for these images.")
    tasks = [replace(one, item=f"fsr{4 + 4 * (k % 2)}/{one.item}") for k, one in enumerate(votes)]
    assert score(tasks)["faces"] == 40  # a face under two tasks is one face
    few = score([replace(one, item=f"fsr{2 ** (int(one.item[4:]) // 2)}/{int(one.item[4:]) % 2}") for one in votes])
    assert "Only 2 faces: the intervals are for these images, not for faces like these." in few["warnings"]
    assert few["intervals"].endswith("for these images.")


def test_win_rate_has_the_same_weight_for_every_opponent():
    """b wins half of its comparisons with a, but meets the weak c more often."""
    rows = [("a", "b", 20), ("b", "a", 20), ("b", "c", 90), ("c", "b", 10), ("a", "c", 9), ("c", "a", 1)]
    votes = [vote(f"r{k % 9}", f"i{k}", left, right, "left", f"{left}{right}{k}") for left, right, n in rows for k in range(n)]
    votes = [replace(one, item=f"{one.item}{one.shown}") for one in votes]
    rates = {name: entry["win_rate"] for name, entry in score(votes)["methods"].items()}
    assert rates == pytest.approx({"a": 0.7, "b": 0.7, "c": 0.1})
