"""Pairs of the live arena: what a visitor or a script can do with tickets, and what is stored."""

from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from eval.preference import exports
from eval.preference.arena import battles
from eval.preference.arena.battles import NAME, Arena
from eval.preference.storage.items import OWN, degradation_of
from eval.preference.storage.refusals import ConsentNeededError, DeletedError
from eval.preference.storage.store import VoteStore
from eval.preference.study import BETTER, WORSE
from eval.preference.survey import new_code
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError

METHODS = ("bilinear", "nlm", "gpen")
DAMAGE = Degradation(blur_sigma=2.5, scale=4.0, noise_sigma=8.0, jpeg_quality=60, seed=5)


@pytest.fixture
def arena(tmp_path):
    made = Arena(METHODS, VoteStore.open(tmp_path / "votes.sqlite"))
    with closing(made.survey):
        yield made


@pytest.fixture
def code(arena):
    code = new_code()
    arena.survey.consent(code)
    return code


def vote(arena, code, battle, choice="left", id="answer-0000", ms=900):
    return arena.answer(code, id=id, ticket=battle.ticket, choice=choice, ms=ms)


def compare(arena, code, n, face="astronaut", damage=DAMAGE):
    """Give n votes, correct in gold pairs, else for gpen; returns the battles."""
    drawn = []
    for k in range(n):
        battle = arena.draw(code, face, damage)
        better = next((name for name in (BETTER, "gpen") if name in battle.shown), battle.shown[0])
        vote(arena, code, battle, ("left", "right")[battle.shown.index(better)], f"answer-{k:04}")
        drawn.append(battle)
    return drawn


def stored(arena):
    return arena.survey.store.votes(NAME)


def test_vote_has_methods_degradation_and_the_kind_of_the_face_only(arena, code):
    battle = arena.draw(code, OWN, DAMAGE)
    outcome = vote(arena, code, battle, "tie")
    (one,) = stored(arena)
    assert (one.choice, tuple(one.shown), one.ms) == ("tie", battle.shown, 900) and outcome.votes == 1
    assert one.item.startswith("arena/own?") and Degradation.from_dict(degradation_of(one.item)) == DAMAGE
    assert (outcome.shown, outcome.is_gold) == (battle.shown, BETTER in battle.shown)


def test_pair_does_not_change_with_the_request(arena, code):
    """Failure sequence: a script requested pairs until one had the method that it wanted to vote for."""
    drawn = [arena.draw(code, face, DAMAGE) for face in ("astronaut", "grace_hopper", OWN) for _ in range(5)]
    assert len({(one.shown, one.damage) for one in drawn}) == 1


def test_ticket_counts_once(arena, code):
    first, second = arena.draw(code, "astronaut", DAMAGE), arena.draw(code, "grace_hopper", DAMAGE)
    assert vote(arena, code, first).votes == 1
    for again, id in ((first, "answer-0000"), (first, "answer-0001"), (second, "answer-0002")):
        assert vote(arena, code, again, "right", id).votes == 1
    assert [one.choice for one in stored(arena)] == ["left"]


def test_ticket_is_bound_to_its_visitor_and_tells_nothing(arena, code):
    other = new_code()
    arena.survey.consent(other)
    battle = arena.draw(code, "astronaut", DAMAGE)
    for ticket in (battle.ticket[:-2], battle.ticket[1:], "A" * 40, ""):
        with pytest.raises(GPENError, match="was not given to this visitor"):
            arena.answer(code, id="answer-0000", ticket=ticket, choice="left", ms=900)
    with pytest.raises(GPENError, match="was not given to this visitor"):
        vote(arena, other, battle)
    tickets = [one.ticket for one in compare(arena, code, 20)]
    assert len({len(ticket) for ticket in tickets}) == 1 and len(set(tickets)) == 20
    assert stored(arena) and all(one.rater == arena.survey.rater(code) for one in stored(arena))


def test_golds_sides_and_pairs(arena, code, monkeypatch):
    drawn = compare(arena, code, 64)
    golds = [battle for battle in drawn if BETTER in battle.shown]
    assert len(golds) == 8 and all(set(one.shown) == {BETTER, WORSE} and one.damage for one in golds)
    assert len({one.damage for one in golds}) > 1 and 0 < sum(one.shown[0] == BETTER for one in golds) < 8
    ordinary = Counter(frozenset(battle.shown) for battle in drawn if battle not in golds)
    assert len(ordinary) == 3 and min(ordinary.values()) > 8 and {len(pair) for pair in ordinary} == {2}
    monkeypatch.setattr(battles, "GOLD_EVERY", 1)
    careless = new_code()
    arena.survey.consent(careless)
    for k in range(3):
        battle = arena.draw(careless, "astronaut", DAMAGE)
        vote(arena, careless, battle, ("left", "right")[battle.shown.index(WORSE)], f"answer-{k:04}")
    dropped = [row for row in arena.survey.quality() if row.dropped]
    assert [row.dropped for row in dropped] == ["wrong in 3 of 3 gold trials"]


def test_consent_limit_deletion_and_invalid_answers(arena, code):
    with pytest.raises(ConsentNeededError):
        arena.draw(new_code(), "astronaut", DAMAGE)
    battle = arena.draw(code, "astronaut", DAMAGE)
    for change in ({"choice": "best"}, {"id": "x"}, {"ms": -1}):
        with pytest.raises(GPENError):
            vote(arena, code, battle, **change)
    arena.survey.study = replace(arena.survey.study, session=3)
    compare(arena, code, 3)
    with pytest.raises(GPENError, match="You have given 3 votes, the most that one visitor gives"):
        arena.draw(code, "astronaut", DAMAGE)
    assert arena.survey.delete(code) == 3 and stored(arena) == []
    with pytest.raises(ConsentNeededError):
        arena.draw(code, "astronaut", DAMAGE)
    with pytest.raises(DeletedError):
        vote(arena, code, battle)


def test_scores_export_and_import_of_the_arena(arena, tmp_path):
    """The votes are those of a study: scores by degradation, battles and copies need nothing else."""
    for k in range(8):
        code = new_code()
        arena.survey.consent(code)
        compare(arena, code, 16, damage=Degradation(scale=2.0 + k % 2 * 6, seed=k))
    scores = arena.survey.leaderboard()
    assert list(scores["methods"])[0] == "gpen" and scores["raters"] == 8
    assert [part["low"] for part in scores["slices"]["scale"]] == [2.0, 8.0]
    assert ",arena/astronaut?" in "".join(arena.survey.export("arena"))
    with closing(Arena(METHODS, VoteStore.open(tmp_path / "copy.sqlite")).survey) as copy:
        text = "".join(arena.survey.export("jsonl"))
        assert copy.import_votes(exports.read(text, "jsonl")) == 128
        assert copy.leaderboard()["methods"] == scores["methods"]


def test_arena_needs_two_methods(tmp_path):
    with pytest.raises(GPENError, match="needs two or more methods, and there is only gpen"):
        Arena(["gpen"], VoteStore.open(tmp_path / "votes.sqlite"))
