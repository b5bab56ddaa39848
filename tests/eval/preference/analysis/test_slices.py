"""Scores by degradation."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.preference.analysis.scoring import score
from eval.preference.analysis.slices import PARAMETERS, degradation_slices
from eval.preference.storage.items import item_name
from eval.preference.storage.votes import comparisons
from gpen.degradation.degradation import Degradation
from tests.eval.preference.simulated import TRUE, simulate, vote, votes_of


def degraded(blur):
    return Degradation(blur_sigma=blur).to_dict()


def test_slices_show_that_a_method_is_better_on_strong_degradations():
    names, rng = ["a", "b", "c"], np.random.default_rng(0)
    weak, strong = (votes_of(*simulate(rng, strength, 0.4, 30, 20), names) for strength in (TRUE, -TRUE))
    votes = [replace(one, item=f"weak-{one.item}") for one in weak] + [replace(one, item=f"strong-{one.item}") for one in strong]
    items = sorted({one.item for one in votes})
    scores = score(votes, degradations={item: degraded(1.0 if item.startswith("weak") else 8.0) for item in items})
    assert list(scores["slices"]) == ["blur_sigma"]  # the other parameters are equal in all items
    low, high = scores["slices"]["blur_sigma"]
    assert (low["low"], low["high"], high["low"], high["high"]) == (1.0, 1.0, 8.0, 8.0)
    assert low["votes"] + high["votes"] == scores["votes"] and low["items"] + high["items"] == len(items)
    assert list(low["methods"]) == ["c", "b", "a"] and list(high["methods"]) == ["a", "b", "c"]
    assert low["methods"]["c"]["low"] > 0 > high["methods"]["c"]["high"]


def test_slice_with_too_few_votes_has_no_strength_but_a_need():
    votes = [vote(f"r{r}", f"i{i}", trial=f"{r}{i}") for r in range(5) for i in range(8)]
    known = {f"i{i}": degraded(1.0 if i < 7 else 5.0) for i in range(8)}
    weak, strong = score(votes, degradations=known)["slices"]["blur_sigma"]
    assert weak["needed"] == [] and weak["methods"]["a"]["strength"] is not None and weak["votes"] == 35
    assert strong["needed"] == [{"methods": ["a", "b"], "raters": 0, "comparisons": 5}] and strong["votes"] == 5
    assert all(row["strength"] is None for row in strong["methods"].values())


def test_steps_that_are_off_are_the_weakest():
    known = {"off": Degradation().to_dict(), "some": Degradation(jpeg_quality=90).to_dict()}
    known["much"] = Degradation(jpeg_quality=20).to_dict()
    votes = [vote(f"r{r}", item, trial=f"{r}{item}") for r in range(3) for item in ("off", "some", "much")]
    slices = degradation_slices(comparisons(votes), known, Counter(one.item for one in votes), None)
    weak, strong = slices["jpeg_quality"]
    assert list(slices) == ["jpeg_quality"] and (weak["low"], weak["high"]) in {(90.0, None), (None, None)}
    assert strong["low"] == 20.0 and weak["votes"] + strong["votes"] == 9


def test_items_of_the_arena_have_their_parameters_in_their_names():
    items = [item_name(face, Degradation(scale=s, seed=7)) for face in ("astronaut", "own") for s in (2.0, 8.0)]
    votes = [vote(f"r{r}", item, trial=f"{r}{item}") for r in range(3) for item in items]
    weak, strong = score(votes)["slices"]["scale"]
    assert (weak["high"], strong["low"]) == (2.0, 8.0)


def test_items_without_parameters_are_in_no_slice():
    votes = [vote(f"r{r}", f"i{i}", trial=f"{r}{i}") for r in range(3) for i in range(4)]
    assert score(votes)["slices"] == {}
    known = {"i0": degraded(1.0), "i1": degraded(2.0)}
    assert sum(part["votes"] for part in score(votes, degradations=known)["slices"]["blur_sigma"]) == 6


@given(st.lists(st.sampled_from([None, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=6), st.sampled_from(list(PARAMETERS)))
@pytest.mark.slow
def test_slices_divide_the_votes_at_one_value(values, name):
    known = {f"i{i}": Degradation().to_dict() | {name: value} for i, value in enumerate(values)}
    votes = [vote(item=item, trial=item) for item in known]
    slices = degradation_slices(comparisons(votes), known, Counter(one.item for one in votes), None)
    found = PARAMETERS[name]
    numbers = sorted({found.off if value is None else value for value in values})
    if len(numbers) < 2:
        assert slices == {}
        return
    first, second = slices[name]
    assert first["votes"] + second["votes"] == len(values) and min(first["votes"], second["votes"]) > 0
    ends = [found.off if part["high"] is None else part["high"] for part in (first, second)]
    assert (ends[0] < ends[1]) is found.weak
    assert max(ends) == pytest.approx(numbers[-1])
