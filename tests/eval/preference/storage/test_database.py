"""Transactions of the vote store: turns, round trips, simultaneous writes, connections that the server has closed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from eval.preference.storage import engines
from eval.preference.storage.database import Turns
from eval.preference.storage.store import VoteStore
from eval.preference.storage.writer import WriterBusy
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests.eval.preference.storage.test_store import add, vote


def waits_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_threads_take_turns_in_order_of_arrival():
    """Failure sequence: with the pool alone, a thread that returned its connection overtook those that waited, for seconds."""
    turns, order = Turns(1, timeout=60), []

    def take(name):
        with turns:
            order.append(name)

    turns.__enter__()
    threads = []
    for name in range(5):
        threads.append(threading.Thread(target=take, args=(name,)))
        threads[-1].start()
        waits_for(lambda: len(turns._waiting) == len(threads))
    turns.__exit__()
    take("again")
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, "again"]


def test_turns_end_with_a_timeout_and_none_is_lost():
    turns = Turns(2, timeout=0.01)
    with turns, turns, pytest.raises(WriterBusy):
        turns.__enter__()
    with turns, turns:
        assert not turns._waiting


def test_answer_needs_one_connection_once(studies, store):
    """Its transaction returns the progress, too; on PostgreSQL it is one round trip."""
    survey = Survey(studies(), store)
    code = new_code()
    survey.consent(code)
    trials = survey.next(code, 2)
    uses = []
    sa.event.listen(store._database.engine, "checkout", lambda *_: uses.append("checkout"))
    sa.event.listen(store._database.engine, "before_cursor_execute", lambda *_: uses.append("statement"))
    for number, trial in enumerate(trials, 1):
        uses.clear()
        answered = {"id": f"answer-{number}", "trial": trial["trial"], "choice": "left", "ms": 700}
        assert survey.answer(code, **answered)["done"] == number
        assert uses.count("checkout") == 1 and uses.count("statement") <= 4  # SQLite: BEGIN, rater, counts, INSERT
        assert survey.answer(code, **answered)["done"] == survey.progress(code)["done"] == number


def test_vote_that_was_undone_before_it_arrived_does_not_count(store):
    store.consent("s", "r", "v")
    store.undo("s", "r", "v", "late")
    added = store.add(vote("late", trial="t1"), "v", limit=9)
    assert (added.is_new, added.count) == (True, 0) and store.votes("s") == []
    added = store.add(vote("next", trial="t1"), "v", limit=9)
    assert (added.is_new, added.count) == (True, 1)


def test_limit_and_duplicates_hold_for_simultaneous_answers_of_one_rater(store):
    store.consent("s", "r", "v")
    start = threading.Barrier(8)

    def send(number):
        start.wait()
        try:
            return store.add(vote(f"a{number}", trial=f"t{number // 2}"), "v", limit=2).is_new
        except GPENError as refused:
            return str(refused)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(8)))
    assert results.count(True) == 2 and len(store.votes("s")) == 2
    assert all(result in (True, False) or "at most 2 answers" in result for result in results)


def test_connections_that_the_server_has_closed_are_replaced(postgres_url, monkeypatch):
    monkeypatch.setattr(engines, "IDLE", 0)
    with closing(VoteStore.open(postgres_url)) as store, closing(VoteStore.open(postgres_url)) as other:
        store.consent("s", "closed", "v")
        with other._database.engine.begin() as connection:
            others = "pid <> pg_backend_pid() AND usename = 'study'"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        assert add(store, vote("one", rater="closed"))
        assert store.count("s", "closed") == 1
