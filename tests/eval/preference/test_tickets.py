"""Tickets of trials and handles of images: what a rater, a script with the manifest, and another rater can do with them."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.preference.study import BETTER
from eval.preference.tickets import MAX_PAYLOAD, Tickets
from gpen.errors import GPENError

KEY, OTHER = "11" * 32, "22" * 32


@pytest.fixture
def tickets(studies):
    return Tickets(studies(), [KEY])


def issue(tickets, trial, rater="rater"):
    return tickets.issue(trial, rater, tickets.order(trial, rater))


@pytest.mark.parametrize("protocol, shown", [("pairwise", 2), ("rating", 1), ("ranking", 4)])
def test_public_trial_contains_only_images(studies, protocol, shown):
    tickets = Tickets(studies(protocol=protocol), [KEY])
    for trial in tickets.study.trials.values():
        public = issue(tickets, trial)
        assert public.keys() == {"trial", "protocol", "images", "input", "width", "height"} and len(public["trial"]) <= 64
        assert len(public["images"]) == (shown if trial.kind != "gold" else {"rating": 1}.get(protocol, 2))
        opaque = [public["trial"], *(image.removeprefix("images/") for image in public["images"])]
        assert all(re.fullmatch(r"[\w-]{20,}", value) and trial.id not in value for value in opaque)  # no name of a file


def test_manifest_alone_reveals_neither_order_nor_golds_nor_tickets(studies):
    """Failure sequence: a script with the public manifest, whose seed is 0, computed sides, gold positions and ids."""
    study = studies()
    one, two = Tickets(study, [KEY]), Tickets(study, [OTHER])
    trials = list(study.trials.values())
    assert sum(one.order(trial, "r") != two.order(trial, "r") for trial in trials) > len(trials) / 4
    assert one.random("gold", "r", 3).random() != two.random("gold", "r", 3).random()
    assert all(issue(one, trial)["trial"] != issue(two, trial)["trial"] for trial in trials)
    with pytest.raises(GPENError, match="was not given to this rater"):
        two.redeem(issue(one, trials[0])["trial"], "rater")
    with pytest.raises(GPENError, match="was not given"):
        one.redeem(trials[0].id, "rater")


def test_ticket_is_bound_to_rater_and_order(tickets):
    for trial in tickets.study.trials.values():
        for order in (trial.methods, trial.methods[::-1]):
            ticket = tickets.issue(trial, "rater", order)["trial"]
            assert tickets.redeem(ticket, "rater") == (trial, list(order))
            with pytest.raises(GPENError, match="was not given to this rater"):
                tickets.redeem(ticket, "thief")


def test_every_key_of_the_store_is_accepted(studies):
    trial = next(iter(studies().trials.values()))
    old = issue(Tickets(studies(), [OTHER]), trial)["trial"]
    assert Tickets(studies(), [KEY, OTHER]).redeem(old, "rater")[0] == trial


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=90), st.integers(0, 63), st.integers(0, 35))
def test_forged_tickets_are_refused(text, letter, place):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    study = test_forged_tickets_are_refused.study
    tickets, trial = Tickets(study, [KEY]), next(iter(study.trials.values()))
    ticket = issue(tickets, trial)["trial"]
    place %= len(ticket) - 1  # the last letter has unused bits
    changed = ticket[:place] + alphabet[letter] + ticket[place + 1 :]
    for forged in {text, changed, ticket + "A" * 4 * MAX_PAYLOAD} - {ticket}:
        with pytest.raises(GPENError):
            tickets.redeem(forged, "rater")
        with pytest.raises(GPENError):
            tickets.image(forged)


@pytest.fixture(autouse=True)
def _study_of_properties(studies):
    test_forged_tickets_are_refused.study = studies()


def test_order_is_random_reproducible_and_reversed_in_repeats(tickets):
    study, sides = tickets.study, Counter()
    for rater in map(str, range(40)):
        for trial in study.trials.values():
            order = tickets.order(trial, rater)
            if trial.kind == "ordinary":
                sides[order[0] == trial.methods[0]] += 1
                repeat = study.trials[study.trial_id("repeat", trial.item, trial.methods)]
                assert tickets.order(repeat, rater, list(order)) == order[::-1] and tickets.order(trial, rater) == order
    assert abs(sides[True] - sides[False]) < 5 * sum(sides.values()) ** 0.5


def test_handles_differ_in_every_display(tickets):
    """Failure sequence: the name of an image was constant, so that names identified methods in all trials and raters."""
    handles, shown = Counter(), Counter()
    for rater in ("a", "b"):
        for trial in tickets.study.trials.values():
            public = issue(tickets, trial, rater)
            files = [tickets.image(handle.removeprefix("images/")) for handle in [*public["images"], public["input"]]]
            order = tickets.redeem(public["trial"], rater)[1]
            assert files[:-1] == [tickets.study.image(trial.item.results[method]) for method in order]
            assert files[-1] == tickets.study.image(trial.item.input)
            handles.update([*public["images"], public["input"]])
            shown.update(files)
    assert max(handles.values()) == 1 and max(shown.values()) > 10


def test_input_that_is_a_result_is_shown_in_no_trial(studies):
    """Failure sequence: "Input" and the result of bilinear were one file, so that the input named a method."""
    study = studies()
    item = study.items[1]
    same = replace(item, input=item.results["b"])
    reveals = replace(study, items=(study.items[0], same, *study.items[2:]))
    assert study.shows_input and not reveals.shows_input
    tickets = Tickets(reveals, [KEY])
    assert {issue(tickets, trial)["input"] for trial in reveals.trials.values()} == {None}  # of gold trials too
    assert {trial["input"] for trial in tickets.training_trials()} == {None}


def test_only_images_of_the_study_have_handles(tickets):
    for name in ("study.json", "../study.json", "%2e%2e", "", "images/x.png", "ü", "A" * 200):
        with pytest.raises(GPENError, match="There is no such image"):
            tickets.image(name)


def test_training_trials_have_answers(tickets):
    trials = tickets.training_trials()
    for trial, item in zip(trials, tickets.study.training, strict=True):
        better = tickets.image(trial["images"][trial["better"]].removeprefix("images/"))
        assert better == tickets.study.image(item.results[BETTER])
        assert trial["why"] == f"The other image is damaged ({item.damage}): this one is better."
    assert {trial["better"] for trial in trials} == {0, 1}


def test_account_has_one_code_that_hides_it(tickets, studies):
    code = tickets.code("user-4711")
    assert code == tickets.code("user-4711") != tickets.code("user-4712") and len(code) == 22 and "4711" not in code
    assert code != Tickets(studies(), [OTHER]).code("user-4711")
