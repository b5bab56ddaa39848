"""Export and import of votes in every format."""

import csv
import io
import json
from dataclasses import replace

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.analysis.scoring import score
from eval.preference.exports import BATTLE, FORMATS, read, write, write_scores
from eval.preference.storage.items import item_name
from eval.preference.storage.votes import Vote
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from tests.eval.preference.simulated import rating, simulate, vote, votes_of

NAMES = ["bilinear", "gfpgan", "gpen"]


@pytest.fixture(scope="module")
def pairs():
    votes = votes_of(*simulate(np.random.default_rng(0), np.array([-0.5, 0.0, 0.6]), 0.4, 8, 25), NAMES)
    return [replace(one, item=f"item{k % 50}") for k, one in enumerate(votes)]


words = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=8)
choices = st.sampled_from(["left", "right", "tie", "both_bad"])
any_vote = st.builds(
    vote,
    words,
    words,
    st.sampled_from(["a,b", 'q"', "ü"]),
    st.sampled_from(["x", "y y"]),
    choices,
    words,
    st.integers(0, 10**6),
    st.booleans(),
    words,
    words,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(any_vote, max_size=5), st.sampled_from(["jsonl", "csv"]))
def test_round_trip_of_jsonl_and_csv(votes, form):
    different = list({json.dumps(one.to_dict()): one for one in votes}.values())
    assert read("".join(write(different, form)), form) == different


def test_scores_after_export_to_choix(pairs):
    again = read("".join(write(pairs, "choix")), "choix")
    before, after = score(pairs), score(again)
    assert after["raters"] == before["raters"] and after["votes"] == before["votes"]
    for name in NAMES:
        assert after["methods"][name] == pytest.approx(before["methods"][name])


def test_choix_fits_an_export(pairs):
    content = json.loads("".join(write(pairs, "choix")))
    strength = choix.opt_pairwise(len(content["methods"]), content["data"])
    assert [content["methods"][i] for i in np.argsort(strength)] == NAMES
    bare = json.dumps({"methods": ["a", "b"], "data": [[0, 1], [0, 1], [1, 0]]})  # without raters
    assert [one.preferred for one in read(bare, "choix")] == ["a", "a", "b"]


def test_round_trip_of_ratings():
    rated = [
        {"study": "s", "rater": f"r{r}", "trial": f"t{i}{m}", "item": f"i{i}", "method": m, "rating": 1 + (r + i) % 5}
        for r in range(4)
        for i in range(3)
        for m in "ab"
    ]
    votes = [Vote.from_dict(one) for one in rated]
    assert read("".join(write(votes, "csv")), "csv") == votes


def test_gold_trials_are_not_exported_to_choix():
    votes = [vote(), vote("q", left="gold:better", right="gold:worse", gold=True)]
    assert "gold" not in "".join(write(votes, "choix"))


@pytest.mark.parametrize("form", FORMATS)
def test_invalid_files(form):
    for wrong in ("import os\nos.remove('x')", "{", "a,b\n1,2\n"):
        with pytest.raises(GPENError) as error:
            read(wrong, form, "votes.x")
        assert str(error.value).startswith("votes.x") and "\n" not in str(error.value)
    with pytest.raises(GPENError, match="Unknown format 'xml'; choose from jsonl, csv, choix, arena"):
        write([], "xml")


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''@x"])
def test_formulas_are_neutral_in_csv_and_come_back(evil):
    """Failure sequence: an imported item named =HYPERLINK(...) was a formula in the CSV that the owner opened."""
    votes = [vote(item=evil, rater=evil, left=evil)]
    text = "".join(write(votes, "csv"))
    cells = text.splitlines()[1].split(",")
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells) and f"'{evil}" in cells
    assert read(text, "csv") == votes


def test_battles_lead_to_the_same_scores(pairs):
    """The arena format keeps what scores need, so that other programs can compute them."""
    again = read("".join(write(pairs, "arena")), "arena")
    before, after = score(pairs), score(again)
    assert after["raters"] == before["raters"] and after["votes"] == before["votes"]
    for name in NAMES:
        same = [{**of["methods"][name], "low": None, "high": None} for of in (after, before)]
        assert same[0] == pytest.approx(same[1])
        for bound in ("low", "high"):  # the bootstrap numbers the raters in another order
            assert after["methods"][name][bound] == pytest.approx(before["methods"][name][bound], abs=0.03)


def test_battles_have_the_columns_of_arena_rank_and_the_degradation():
    named = item_name("own", Degradation(blur_sigma=2.5, jpeg_quality=30, seed=4))
    choices = ["left", "right", "tie", "both_bad"]
    votes = [vote(f"r{k}", ["i", named][k % 2], "x", "y", one, f"t{k}") for k, one in enumerate(choices)]
    degradations = {"i": Degradation(scale=4.0).to_dict()}
    rows = list(csv.DictReader(io.StringIO("".join(write(votes, "arena", degradations)))))
    assert list(rows[0]) == list(BATTLE) and {row["winner"] for row in rows} == {"model_a", "model_b", "tie", "both_bad"}
    of_item = {row["item"]: row for row in rows}
    assert (of_item["i"]["scale"], of_item["i"]["blur_sigma"]) == ("4.0", "")
    assert (of_item[named]["blur_sigma"], of_item[named]["jpeg_quality"]) == ("2.5", "30")
    assert all((row["model_a"], row["model_b"]) == ("x", "y") for row in rows)


def test_battles_do_not_lead_to_a_rater():
    """The number of a rater is random, the date has no time, and the order does not follow the time."""
    raters = [f"{k:016x}" for k in range(40)]
    votes = [
        vote(rater, f"i{k}", "a", "b", "left", f"t{k}", time=f"2026-11-28T10:{k:02}:00.000+00:00")
        for k, rater in enumerate(raters)
    ]
    votes += [vote("careless", "g", "gold:better", "gold:worse", "right", "t", gold=True)]
    texts = ["".join(write(votes, "arena")) for _ in range(2)]
    assert not any(rater in texts[0] for rater in raters) and "10:" not in texts[0] and "gold" not in texts[0]
    rows = [list(csv.DictReader(io.StringIO(text))) for text in texts]
    assert {row["date"] for row in rows[0]} == {"2026-11-28"} and len({row["rater"] for row in rows[0]}) == 40
    assert [row["item"] for row in rows[0]] != [row["item"] for row in rows[1]]  # equal with a probability of 1 / 40!
    assert {row["item"]: row["rater"] for row in rows[0]} != {row["item"]: row["rater"] for row in rows[1]}


def test_battles_of_ratings_and_without_votes():
    rated = [rating("r", "i", name, value, trial=name) for name, value in (("a", 5), ("b", 3), ("c", 3))]
    rows = list(csv.DictReader(io.StringIO("".join(write(rated, "arena")))))
    assert sorted((row["model_a"], row["model_b"], row["winner"]) for row in rows) == [
        ("a", "b", "model_a"), ("a", "c", "model_a"), ("b", "c", "tie"),
    ]  # fmt: skip
    careless = [vote("r", f"i{k}", left="gold:better", right="gold:worse", choice="right", gold=True) for k in range(3)]
    assert "".join(write(careless, "arena")) == ",".join(BATTLE) + "\n"


def test_battles_of_another_arena():
    text = "model_a,model_b,winner\nx,y,model_b\nx,y,tie (bothbad)\nx,y,model_b\n"
    assert [one.answer for one in read(text, "arena")] == ["y", "both_bad", "y"]
    with pytest.raises(GPENError, match="votes.x, line 3: winner must be one of model_a, .*not 'x'"):
        read("model_a,model_b,winner\nx,y,tie\nx,y,x\n", "arena", "votes.x")


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_formulas_are_neutral_in_tables_for_the_public(evil):
    votes = [vote(f"r{k}", f"{evil}{k}", evil, "b", trial=f"t{k}") for k in range(12)]
    texts = ["".join(write(votes, "arena")), write_scores(score(votes))]
    for text in texts:
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert f"'{evil}" in cells and not any(cell.startswith(("=", "+", "@")) for cell in cells)
    assert read(texts[0], "arena")[0].shown == [evil, "b"]


def test_table_of_scores(pairs):
    known = {f"item{k}": Degradation(blur_sigma=1.0 + k).to_dict() for k in range(50)}
    scores = score(pairs, degradations=known)
    rows = list(csv.DictReader(io.StringIO(write_scores(scores))))
    every = [row for row in rows if row["parameter"] == "all"]
    assert [row["method"] for row in every] == list(scores["methods"]) and {row["votes"] for row in every} == {"200"}
    assert float(every[0]["strength"]) == pytest.approx(scores["methods"][every[0]["method"]]["strength"], rel=1e-5)
    sliced = [row for row in rows if row["parameter"] == "blur_sigma"]
    assert len(rows) == 9 and {(row["from"], row["to"]) for row in sliced} == {("1.0", "25.0"), ("26.0", "50.0")}
