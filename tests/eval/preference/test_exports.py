"""Export and import of votes in every format."""

import json
from dataclasses import replace

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.analysis.scoring import score
from eval.preference.exports import FORMATS, read, write
from eval.preference.storage.votes import Vote
from gpen.errors import GPENError
from tests.eval.preference.simulated import simulate, vote, votes_of

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
    with pytest.raises(GPENError, match="Unknown format 'xml'; choose from jsonl, csv, choix"):
        write([], "xml")


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''@x"])
def test_formulas_are_neutral_in_csv_and_come_back(evil):
    """Failure sequence: an imported item named =HYPERLINK(...) was a formula in the CSV that the owner opened."""
    votes = [vote(item=evil, rater=evil, left=evil)]
    text = "".join(write(votes, "csv"))
    cells = text.splitlines()[1].split(",")
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells) and f"'{evil}" in cells
    assert read(text, "csv") == votes
