"""Selection of trials: coverage, uncertain pairs, no duplicates, large studies."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.preference.schedule import REPEAT_GAP, Schedule
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote
from eval.preference.study import Item, Protocol, Study
from eval.preference.survey import MAX_PENDING, new_code
from eval.preference.tickets import Tickets
from tests.eval.preference.simulated import rate

KEY = "00" * 32


def large_study(items=1000, methods=10):
    """A study without image files, which the schedule does not read."""
    names = tuple(f"m{j}" for j in range(methods))
    rows = tuple(Item(f"i{k}", None, dict.fromkeys(names, "images/x.png"), 8, 8) for k in range(items))
    return Study(Path("."), "large", "t", Protocol.PAIRWISE, "i", "c", names, None, 0, 135, 0.1, 10, 40, 20, rows, (), ())


def ask(schedule, study, raters, trials, choose=lambda shown: "tie", store=None):
    """Votes of raters who answer one after another."""
    given = []
    for r in range(raters):
        history = []
        for k in range(trials):
            trial = schedule.next(f"r{r}", history, [])
            if trial is None:
                break
            shown = list(trial.methods)
            choice = choose(shown)
            history.append(Vote(study.name, f"r{r}", trial.id, trial.item.id, shown, choice, 500, trial.kind, "t", f"a{r}-{k}"))
        given += history
    if store:
        store.add_all(given)
    return given


@pytest.fixture
def store(tmp_path):
    opened = VoteStore.open(f"sqlite:///{tmp_path / 'votes.sqlite'}")
    yield opened
    opened.close()


def test_even_coverage_of_pairs_and_items(studies, store):
    study = studies(repeats=0.0, gold_every=0)
    given = ask(Schedule(study, store, Tickets(study, [KEY])), study, 6, 30)  # 180 answers: each of 30 trials six times
    assert set(Counter(answer.trial for answer in given).values()) == {6}
    first = ask(Schedule(study, store, Tickets(study, [KEY])), study, 1, 12)
    assert set(Counter(tuple(answer.shown) for answer in first).values()) == {2}
    assert max(Counter(answer.item for answer in first).values()) <= 3


def test_simultaneous_raters_get_different_trials(studies, store):
    study = studies(repeats=0.0, gold_every=0)
    schedule = Schedule(study, store, Tickets(study, [KEY]))
    assert len({schedule.next(f"r{r}", [], []).id for r in range(30)}) == 30


def test_uncertain_pairs_get_more_answers(store):
    study = large_study(items=100, methods=4)  # m0 = m1 > m2 > m3
    rank = {"m0": 0, "m1": 0, "m2": 1, "m3": 2}
    chance = np.random.default_rng(0)

    def choose(shown):
        a, b = (rank[name] for name in shown)
        return chance.choice(["left", "right"]) if a == b else "left" if a < b else "right"

    given = ask(Schedule(study, store, Tickets(study, [KEY])), study, 20, 40, choose, store) + ask(
        Schedule(study, store, Tickets(study, [KEY])), study, 40, 40
    )
    counts = Counter(tuple(answer.shown) for answer in given if answer.kind == "ordinary")
    even = sum(counts.values()) / 6
    assert counts["m0", "m1"] > 2 * even and min(counts.values()) > 0.45 * even


def test_trials_are_unique_except_for_repeats(survey):
    code = rate(survey, lambda shown: "left")
    answers = survey.store.votes(survey.study.name, survey.rater(code))
    assert len(answers) == survey.study.session == 30 and len({answer.trial for answer in answers}) == 30
    places = {answer.trial: i for i, answer in enumerate(answers)}
    repeats = [
        (places[trial.original], i)
        for i, answer in enumerate(answers)
        if (trial := survey.study.trials[answer.trial]).kind == "repeat"
    ]
    assert 2 <= len(repeats) <= 4 and all(i - first > REPEAT_GAP for first, i in repeats)
    assert all(answers[first].shown == answers[i].shown[::-1] for first, i in repeats)
    golds = [i for i, answer in enumerate(answers) if answer.kind == "gold"]
    assert survey.study.gold_every == 3 and [i // 3 for i in golds] == list(range(10))


def test_trials_held_by_the_page_are_not_returned(survey):
    code = new_code()
    survey.consent(code)
    held = survey.next(code, 3)
    more = survey.next(code, 3, [trial["trial"] for trial in held])
    assert len({trial["trial"] for trial in held + more}) == 6
    given = [trial["trial"] for trial in survey.next(code, 100)]
    assert len(given) == MAX_PENDING < survey.study.session and survey.next(code, 100) == survey.next(code, 100)
    assert survey.next(code, 4, given) == []  # nobody can choose among trials


def test_complete_study_returns_more_trials(studies, store):
    study = replace(studies(repeats=0.0, gold_every=0), answers=1)
    schedule = Schedule(study, store, Tickets(study, [KEY]))
    assert len({answer.item for answer in ask(schedule, study, 1, 5)}) == 5  # one per item
    assert len(ask(schedule, study, 1, 30)) == 30


@pytest.mark.slow
def test_large_study_is_read_once(store, monkeypatch):
    """45,000 trials: selecting a trial does not read the votes again before the next refresh."""
    monkeypatch.setattr("eval.preference.schedule.REFRESH", 1e9)
    study, reads, counts = large_study(), [], store.counts
    monkeypatch.setattr(store, "counts", lambda name: reads.append(name) or counts(name))
    asked = ask(Schedule(study, store, Tickets(study, [KEY])), study, 2, 40)
    assert len({(answer.rater, answer.trial) for answer in asked}) == 80 and len(reads) <= 1
