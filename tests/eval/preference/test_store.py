"""What was answered: once, for good, under load, through a kill; on SQLite and on a real PostgreSQL server."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from bench.raters import compare, crash, load
from eval.preference import schema
from eval.preference.store import Answer, Store, StoreError
from eval.preference.survey import Survey
from gpen.errors import GPENError


def answer(id="one", rater="r", trial="t", **more):
    return Answer(
        **{"id": id, "study": "s", "rater": rater, "trial": trial, "item": "i", "shown": ["a", "b"], "choice": "left", "ms": 700}
        | more
    )


def standing(store, rater=None):
    return [(one.id, one.trial, one.choice) for one in store.answers("s", rater)]


def test_an_answer_comes_back_as_it_was_given(store):
    store.consent("s", "r", "v")
    assert store.add(answer(item="Zoë/1", shown=["gpen:é", "b"]))
    (one,) = store.answers("s", "r")
    assert replace(one, time="") == answer(item="Zoë/1", shown=["gpen:é", "b"]) and one.time.endswith("+00:00")


def test_a_retry_and_a_second_tab_are_one_answer(store):
    store.consent("s", "r", "v")
    assert [store.add(answer()), store.add(answer()), store.add(answer("two", choice="right"))] == [True, False, False]
    assert standing(store) == [("one", "t", "left")]
    store.consent("s", "other", "v")
    assert store.add(answer(rater="other"))  # the same id of another rater is another answer
    assert store.totals("s") | {"last": None} == {"answers": 2, "golds": 0, "raters": 2, "undone": 0, "last": None}


def test_undo_takes_back_once_whatever_comes_late(store):
    store.consent("s", "r", "v")
    store.add(answer("one", trial="t1"))
    store.add(answer("two", trial="t2"))
    assert store.undo("s", "r").id == "two" and standing(store) == [("one", "t1", "left")]
    assert store.undo("s", "r", "two").id == "two" and standing(store) == [("one", "t1", "left")]
    assert not store.add(answer("two", trial="t2"))  # a late retry
    assert store.add(answer("three", trial="t2", choice="tie"))
    assert standing(store) == [("one", "t1", "left"), ("three", "t2", "tie")] and store.counts("s") == {"t1": 1, "t2": 1}
    assert store.undo("s", "r", "four") is None  # the undo overtook its answer
    store.add(answer("four", trial="t4"))
    assert "four" not in str(standing(store)) and store.totals("s")["undone"] == 2


def test_a_rater_cannot_touch_anothers_answers(store):
    for rater in ("r", "thief"):
        store.consent("s", rater, "v")
    store.add(answer())
    assert store.undo("s", "thief") is None and store.undo("s", "thief", "one") is None
    assert store.delete("s", "thief") == 0 and standing(store, "thief") == [] and standing(store) == [("one", "t", "left")]


def test_deleted_answers_are_gone_and_stay_gone(store, url):
    store.consent("s", "r", "v")
    store.add(answer("one", trial="t1"))
    store.add(answer("two", trial="t2"))
    store.undo("s", "r")
    assert store.consented("s", "r", "v") and store.delete("s", "r") == 1
    assert standing(store) == [] and not store.consented("s", "r", "v")
    with pytest.raises(GPENError, match="were deleted"):
        store.add(answer("three"))
    with pytest.raises(GPENError, match="were deleted"):
        store.consent("s", "r", "v")
    with store._engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.answers)) == 0


def test_nothing_is_stored_without_consent_to_this_text(store):
    with pytest.raises(GPENError, match="agree to the consent text first"):
        store.add(answer())
    store.consent("s", "r", "v1")
    assert store.consented("s", "r", "v1") and not store.consented("s", "r", "v2") and not store.consented("s", "q", "v1")
    store.consent("s", "r", "v2")
    assert store.consented("s", "r", "v2")


def test_imported_answers_are_new_once(store):
    many = [answer(f"a{k}", rater=f"r{k % 3}", trial=f"t{k}", time="2026-01-01T00:00:00+00:00") for k in range(40)]
    assert store.add_all(many) == 40 and store.add_all(many) == 0 and store.add_all(many[:5] + [answer("new", trial="n")]) == 1
    assert len(store.answers("s")) == 41 and store.outcomes("s") == [(["a", "b"], "left", 41)]


def test_many_raters_at_once_lose_and_double_nothing(url, studies):
    with closing(Store.open(url)) as store:
        survey = Survey(studies(), store)
        seen = load(survey, raters=24, answers=5)
        assert len(seen.acknowledged) == 24 * 5
        assert compare(survey, seen.acknowledged, seen.taken_back) == {"lost": 0, "doubled": 0, "foreign": 0}


def test_a_kill_in_the_middle_of_the_load_loses_nothing_acknowledged(url, studies):
    figures, acknowledged = crash(studies().folder, url, raters=12, after=40)
    assert acknowledged >= 40 and figures == {"lost": 0, "doubled": 0, "foreign": 0}


def test_stores_that_open_at_once_make_one_set_of_tables(url):
    failures = []

    def start():
        try:
            Store.open(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_database_of_the_first_version_is_migrated_with_its_answers(url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with closing(Store.open(url)) as old:
            old.consent("s", "r", "v")
            old.add(answer())
    with closing(Store.open(url)) as store:
        assert standing(store) == [("one", "t", "left")]
        assert "answers_by_trial" in {index["name"] for index in sa.inspect(store._engine).get_indexes("answers")}
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with pytest.raises(GPENError, match="version 2, newer than this program's 1; update the program"):
        Store.open(url)


@pytest.fixture
def sqlite_file(tmp_path):
    with closing(Store.open(f"sqlite:///{tmp_path / 'votes.sqlite'}")) as store:
        store.consent("s", "r", "v")
    return tmp_path / "votes.sqlite"


def test_a_locked_database_is_said_and_the_answer_can_be_sent_again(sqlite_file):
    with closing(Store.open(f"sqlite:///{sqlite_file}", timeout=0.1)) as store:
        other = sqlite3.connect(sqlite_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="The server is busy: this answer waits in your page and is sent again.") as error:
            store.add(answer())
        assert error.value.retry and standing(store) == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        other.close()
        assert store.add(answer()) and standing(store) == [("one", "t", "left")]


def test_a_full_disk_is_said_and_the_answer_can_be_sent_again(sqlite_file):
    with closing(Store.open(f"sqlite:///{sqlite_file}")) as store:

        def limit(pages):
            """SQLite's own limit fails as a full disk does, with SQLITE_FULL."""
            with store._engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        limit(1)  # as few as the file has
        stored = 0
        with pytest.raises(StoreError, match="The server's disk is full"):
            for k in range(500):
                store.add(answer(f"a{k}", trial=f"t{k}"))
                stored += 1
        assert len(standing(store)) == stored
        limit(10_000)
        assert store.add(answer(f"a{stored}", trial=f"t{stored}")) and len(standing(store)) == stored + 1


def test_a_read_only_database_and_one_that_is_away_are_said(sqlite_file, tmp_path):
    with closing(Store.open(f"sqlite:///{sqlite_file}")) as store:
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match="read-only"):
            store.add(answer())
    with pytest.raises(StoreError, match="cannot be reached"):
        Store.open("postgres://study@127.0.0.1:1/none", timeout=0.2)
    folder = tmp_path / "folder.sqlite"
    folder.mkdir()
    with pytest.raises(StoreError, match="cannot be reached"):
        Store.open(f"sqlite:///{folder}")


@pytest.mark.parametrize("url, message", [("nonsense", "no address of a database"), ("mysql://u@h/d", "no store for mysql")])
def test_an_address_that_makes_no_sense_is_one_sentence(url, message):
    with pytest.raises(GPENError, match=message):
        Store.open(url)


def test_the_database_is_taken_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'deep' / 'votes.sqlite'}")
    with closing(Store.open()) as store:
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # full
    assert (tmp_path / "deep" / "votes.sqlite").is_file()
