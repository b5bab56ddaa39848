"""Unusual patterns: scripts are found, simulated people are not."""

import numpy as np
import pytest

from eval.preference.analysis.anomalies import find_anomalies
from tests.eval.preference.simulated import vote


def session(rater, ms, choices=None, gap=3.0, start=0.0):
    """Votes with these response times; `gap` s from one to the next."""
    votes = []
    for k, one in enumerate(ms):
        time = np.datetime64("2026-01-01T00:00:00") + np.timedelta64(int(1000 * (start + k * gap)), "ms")
        choice = choices[k % len(choices)] if choices else ("left", "right", "tie")[(k * 7 + len(rater)) % 3]
        votes.append(vote(rater, f"i{k}", choice=choice, trial=f"{rater}-{k}", ms=one, time=f"{time}+00:00"))
    return votes


def person(rater, seed, answers=40):
    rng = np.random.default_rng(seed)
    return session(rater, [int(x) for x in rng.lognormal(8, 0.5, answers)], gap=5)


def kinds(votes, networks=None):
    return {(anomaly.kind, anomaly.raters) for anomaly in find_anomalies(votes, networks or {})}


def test_people_are_not_unusual():
    votes = [one for seed in range(12) for one in person(f"p{seed}", seed)]
    assert kinds(votes, {"home": ["p0", "p1"], "school": [f"p{k}" for k in range(2, 4)]}) == set()
    assert find_anomalies([], {}) == []


@pytest.mark.parametrize(
    ("votes", "kind"),
    [
        (session("bot", [900 + 371 * (k % 5) for k in range(30)], gap=0.5), "burst"),
        (session("bot", [1200 + k % 3 for k in range(30)]), "even timing"),
        (session("bot", [900 + 371 * (k % 5) for k in range(30)], ["left"]), "one side"),
    ],
)
def test_script_is_found(votes, kind):
    assert kinds(votes + person("p", 1)) == {(kind, ("bot",))}


def test_equal_response_times_of_two_raters_are_found():
    first = person("one", 3)
    copy = session("two", [one.ms for one in first], gap=6, start=4000)
    assert kinds(first + copy + person("p", 1)) == {("same timing", ("one", "two"))}


def test_many_raters_of_one_network_are_found():
    votes = [one for seed in range(10) for one in person(f"p{seed}", seed, 5)]
    own = [f"p{k}" for k in range(6)]
    (found,) = find_anomalies(votes, {"n": [*own, "never-answered"], "m": ["p7", "p8"]})
    assert found.kind == "one network" and found.raters == tuple(own) and "6 raters with 30 answers" in found.sentence
