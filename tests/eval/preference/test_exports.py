"""Votes leave and come back in every format, and other programs read them."""

import ast
import json

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.exports import FORMATS, read, write
from eval.preference.scoring import score
from eval.preference.votes import checked
from gpen.errors import GPENError
from tests.eval.preference.simulated import simulate, vote, votes_of

NAMES = ["bilinear", "gfpgan", "gpen"]


@pytest.fixture(scope="module")
def pairs():
    """No rater meets an item twice: sureal has no place for a second answer."""
    votes = votes_of(*simulate(np.random.default_rng(0), np.array([-0.5, 0.0, 0.6]), 0.4, 8, 25), NAMES)
    return [one | {"item": f"item{k % 50}"} for k, one in enumerate(votes)]


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
def test_nothing_is_lost_in_lines_and_in_columns(votes, form):
    different = list({json.dumps(one): one for one in votes}.values())
    assert read("".join(write(different, form)), form) == different


@pytest.mark.parametrize("form", ["choix", "sureal"])
def test_the_formats_of_other_programs_keep_the_scores(pairs, form):
    again = read("".join(write(pairs, form)), form)
    before, after = score(pairs), score(again)
    assert after["raters"] == before["raters"] and after["votes"] == before["votes"]
    for name in NAMES:
        assert after["methods"][name] == pytest.approx(before["methods"][name])


def test_choix_reads_its_file(pairs):
    content = json.loads("".join(write(pairs, "choix")))
    strength = choix.opt_pairwise(len(content["methods"]), content["data"])
    assert [content["methods"][i] for i in np.argsort(strength)] == NAMES
    bare = json.dumps({"methods": ["a", "b"], "data": [[0, 1], [0, 1], [1, 0]]})  # as choix has it, without raters
    assert [one[one["choice"]] for one in read(bare, "choix")] == ["a", "a", "b"]


def test_sureal_reads_its_pairs(pairs):
    """The layout that its reader of paired comparisons asserts: numbers without gaps, os by (rater, other asset)."""
    dataset = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse("".join(write(pairs, "sureal"))).body}
    assets = {video["asset_id"]: video for video in dataset["dis_videos"]}
    contents = [video["content_id"] for video in dataset["ref_videos"]]
    assert sorted(assets) == list(range(len(assets))) and sorted(contents) == list(range(len(contents)))
    for video in assets.values():
        for rater, other in video["os"]:
            assert isinstance(rater, str) and assets[other]["content_id"] == video["content_id"]
    wins = sum(score for video in assets.values() for score in video["os"].values())
    assert wins == len(pairs)  # each vote gives one point, a tie half to both


def test_ratings_go_to_sureal_and_back():
    rated = [
        {"study": "s", "rater": f"r{r}", "trial": f"t{i}{m}", "item": f"i{i}", "method": m, "rating": 1 + (r + i) % 5}
        for r in range(4)
        for i in range(3)
        for m in "ab"
    ]
    votes = [checked(one, "here") for one in rated]
    text = "".join(write(votes, "sureal"))
    again = read(text, "sureal")
    assert sorted((v["rater"], v["item"], v["method"], v["rating"]) for v in again) == sorted(
        (v["rater"], v["item"], v["method"], v["rating"]) for v in votes
    )
    listed = text.split("dis_videos")[0] + "dis_videos = [{'asset_id': 0, 'content_id': 0, 'os': [3, 5], 'path': 'x.png'}]"
    assert [vote["rating"] for vote in read(listed, "sureal")] == [3, 5]
    assert read("".join(write(votes, "csv")), "csv") == votes


def test_gold_trials_stay_out_of_other_programs():
    votes = [vote(), vote("q", left="gold:better", right="gold:worse", gold=True)]
    for form in ("choix", "sureal"):
        assert "gold" not in "".join(write(votes, form))


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_something_else_is_one_sentence(form):
    for wrong in ("import os\nos.remove('x')", "{", "a,b\n1,2\n"):
        with pytest.raises(GPENError) as error:
            read(wrong, form, "votes.x")
        assert str(error.value).startswith("votes.x") and "\n" not in str(error.value)
    with pytest.raises(GPENError, match="no format 'xml'; choose from jsonl, csv, choix, sureal"):
        write([], "xml")
