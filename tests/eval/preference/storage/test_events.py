"""Merging of events: a union, whatever the order and the repetition; deletions and the newest consents outweigh."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.preference.storage.events import identity
from eval.preference.storage.store import VoteStore
from gpen.errors import GPENError

RATERS, IDS = ("r1", "r2"), ("a1", "a2", "a3")


def answer(rater, id):
    number = IDS.index(id)
    return {"event": "answer", "rater": rater, "id": id, "trial": f"t{number}", "attempt": 0, "item": "i", "shown": ["a", "b"],
            "choice": "left", "ms": 5, "kind": "ordinary", "time": f"2026-01-0{1 + number}"}  # fmt: skip


def undo(rater, id):
    return {"event": "undo", "rater": rater, "id": id, "time": "2026-01-09"}


def consent(rater, k):
    return {"event": "consent", "rater": rater, "version": f"v{k}", "time": f"2026-02-0{k}"}


raters, numbers = st.sampled_from(RATERS), st.integers(1, 3)
events = st.lists(
    st.one_of(
        st.builds(answer, raters, st.sampled_from(IDS)),
        st.builds(undo, raters, st.sampled_from(IDS)),
        st.builds(consent, raters, numbers),
        st.builds(lambda rater: {"event": "delete", "rater": rater, "time": "2026-03-01"}, raters),
        st.builds(lambda k: {"event": "key", "key": f"0{k}", "time": f"2026-01-0{k}"}, numbers),
    ),
    max_size=12,
)


def merged(folder, *parts):
    """The events of a new store into which the parts were merged, one after another."""
    store = VoteStore.open(folder / f"{len(list(folder.iterdir()))}.sqlite")
    for part in parts:
        store.merge("s", part)
    found = sorted(store.events("s"), key=lambda event: repr(sorted(event.items())))
    store.close()
    return found


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, events, st.randoms())
@pytest.mark.slow
def test_merging_is_a_union(tmp_path_factory, one, two, chance):
    folder = tmp_path_factory.mktemp("stores")
    together, shuffled = merged(folder, one, two), chance.sample(one + two, len(one + two))
    assert merged(folder, two, one) == merged(folder, shuffled) == merged(folder, together, one, together) == together
    gone = {event["rater"] for event in one + two if event["event"] == "delete"}
    assert not [event for event in together if event.get("rater") in gone and event["event"] != "delete"]
    undone = {(event["rater"], event["id"]) for event in one + two if event["event"] == "undo" and event["rater"] not in gone}
    assert {identity(event)[1:] for event in together if event["event"] == "undo"} == undone
    newest = {}
    for event in one + two:
        if event["event"] == "consent" and event["rater"] not in gone:
            newest[event["rater"]] = max(newest.get(event["rater"], ""), event["version"])
    assert {event["rater"]: event["version"] for event in together if event["event"] == "consent"} == newest


@pytest.mark.parametrize("wrong", [{}, [], {"event": "vote"}, {"event": "undo", "rater": "r"}, "text"])
def test_malformed_event_changes_nothing(tmp_path, wrong):
    store = VoteStore.open(tmp_path / "v.sqlite")
    with pytest.raises(GPENError, match="is not an event of a study"):
        store.merge("s", [answer("r1", "a1"), wrong])
    assert store.events("s") == []
    store.close()
