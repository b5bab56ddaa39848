"""Votes as comparisons: repeats, faces, tables, subsets."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.storage.votes import comparisons, face_of, first_answers
from tests.eval.preference.simulated import vote

some_votes = st.lists(
    st.builds(
        vote,
        st.sampled_from(["r0", "r1", "r2"]),
        st.sampled_from(["fsr4/x", "fsr8/x", "y", "folder/y"]),
        st.sampled_from("ab"),
        st.sampled_from("cde"),
        st.sampled_from(["left", "right", "tie", "both_bad"]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(some_votes, st.integers(0, 10**6))
def test_tables_sum_the_weights_of_each_pair(votes, seed):
    pairs = comparisons(votes)
    weights = np.random.default_rng(seed).random((3, len(pairs.outcome)))
    wins, ties = np.zeros((2, 3, len(pairs.methods), len(pairs.methods)))
    for k, (a, b, outcome) in enumerate(zip(pairs.a, pairs.b, pairs.outcome, strict=True)):
        if outcome:
            wins[:, a if outcome > 0 else b, b if outcome > 0 else a] += weights[:, k]
        else:
            ties[:, [a, b], [b, a]] += weights[:, k : k + 1]
    np.testing.assert_allclose(pairs.tables(weights)[0], wins)
    np.testing.assert_allclose(pairs.tables(weights)[1], ties)


@settings(max_examples=50, deadline=None)
@given(some_votes, st.integers(0, 10**6))
def test_selected_comparisons_equal_those_of_the_selected_votes(votes, seed):
    counted = first_answers(votes)
    kept = np.random.default_rng(seed).random(len(counted)) < 0.5
    kept[0] = True
    part = comparisons(counted).select(kept)
    expected = comparisons([one for one, keep in zip(counted, kept, strict=True) if keep])
    for name in ("methods", "raters", "items", "rater", "item", "a", "b", "outcome", "face"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


def test_first_answers():
    first, repeat, gold = vote("r", "i"), vote("r", "i", "b", "a", "right"), vote("r", "g", gold="a")
    other, unknown = vote("q", "i"), vote("r", "")
    assert first_answers([first, gold, other, repeat]) == [first, other]
    assert first_answers([unknown, replace(unknown, choice="tie")]) == [unknown, replace(unknown, choice="tie")]


def test_face_of_an_item():
    assert [face_of(item) for item in ("fsr8/x", "bfr-mild/a/x", "wild/x", "a/x", "x")] == ["x", "a/x", "x", "a/x", "x"]
    pairs = comparisons([vote("r", item) for item in ("fsr4/x", "fsr8/x", "y")])
    assert len(set(pairs.face.tolist())) == 2 and len(pairs.items) == 3
