"""The vote store on SQLite and PostgreSQL: durability, duplicates, load, kills, errors."""

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from bench.raters import compare, crash, load
from eval.preference.storage import schema
from eval.preference.storage.engines import StoreError
from eval.preference.storage.refusals import ConsentNeededError
from eval.preference.storage.store import Totals, VoteStore
from eval.preference.storage.votes import Vote
from eval.preference.survey import Survey
from gpen.errors import GPENError


def vote(id="one", rater="r", trial="t", **changes):
    return Vote(
        **{"id": id, "study": "s", "rater": rater, "trial": trial, "item": "i", "shown": ["a", "b"], "choice": "left", "ms": 700}
        | changes
    )


def add(store, one):
    return store.add(one, "v", limit=1000).is_new


def valid_votes(store, rater=None):
    return [(one.id, one.trial, one.choice) for one in store.votes("s", rater)]


def test_round_trip_of_a_vote(store):
    store.consent("s", "r", "v")
    assert add(store, vote(item="Zoë/1", shown=["gpen:é", "b"]))
    (one,) = store.votes("s", "r")
    assert replace(one, time="") == vote(item="Zoë/1", shown=["gpen:é", "b"]) and one.time.endswith("+00:00")


def test_duplicates_are_ignored(store):
    store.consent("s", "r", "v")
    assert [add(store, vote()), add(store, vote()), add(store, vote("two", choice="right"))] == [True, False, False]
    assert valid_votes(store) == [("one", "t", "left")]
    store.consent("s", "other", "v")
    assert add(store, vote(rater="other"))  # ids are unique for each rater only
    assert replace(store.totals("s"), last=None) == Totals(answers=2, golds=0, raters=2, undone=0, last=None)


def test_undo_with_late_retries(store):
    store.consent("s", "r", "v")
    add(store, vote("one", trial="t1"))
    add(store, vote("two", trial="t2"))
    assert store.undo("s", "r", "v").id == "two" and valid_votes(store) == [("one", "t1", "left")]
    assert store.undo("s", "r", "v", "two").id == "two" and valid_votes(store) == [("one", "t1", "left")]
    assert not add(store, vote("two", trial="t2"))  # a late retry
    assert add(store, vote("three", trial="t2", choice="tie"))
    assert valid_votes(store) == [("one", "t1", "left"), ("three", "t2", "tie")] and store.counts("s") == {"t1": 1, "t2": 1}
    assert store.undo("s", "r", "v", "four") is None  # the undo arrives before its vote
    add(store, vote("four", trial="t4"))
    assert "four" not in str(valid_votes(store)) and store.totals("s").undone == 2


def test_raters_cannot_change_votes_of_others(store):
    for rater in ("r", "thief"):
        store.consent("s", rater, "v")
    add(store, vote())
    assert store.undo("s", "thief", "v") is None and store.undo("s", "thief", "v", "one") is None
    assert store.delete("s", "thief") == 0 and valid_votes(store, "thief") == [] and valid_votes(store) == [("one", "t", "left")]


def test_delete_is_permanent(store, url):
    store.consent("s", "r", "v")
    add(store, vote("one", trial="t1"))
    add(store, vote("two", trial="t2"))
    store.undo("s", "r", "v")
    assert store.consented("s", "r", "v") and store.delete("s", "r") == 1
    assert valid_votes(store) == [] and not store.consented("s", "r", "v")
    with pytest.raises(GPENError, match="were deleted"):
        add(store, vote("three"))
    with pytest.raises(GPENError, match="were deleted"):
        store.consent("s", "r", "v")
    with store._database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.answers)) == 0


def test_consent_is_required(store):
    with pytest.raises(GPENError, match="consent to the current text is not stored"):
        add(store, vote())
    store.consent("s", "r", "v1")
    assert store.consented("s", "r", "v1") and not store.consented("s", "r", "v2") and not store.consented("s", "q", "v1")
    store.consent("s", "r", "v2")
    assert store.consented("s", "r", "v2")


def test_consent_version_is_checked_with_each_answer(store):
    """Failure sequence: after the consent text had changed, raters who had agreed to the old one continued to be recorded."""
    store.consent("s", "r", "v1")
    assert store.add(vote("one", trial="t1"), "v1", limit=9).is_new
    for change in (lambda: store.add(vote("two", trial="t2"), "v2", limit=9), lambda: store.undo("s", "r", "v2", "one")):
        with pytest.raises(ConsentNeededError) as refused:
            change()
        assert refused.value.status == 428
    assert valid_votes(store) == [("one", "t1", "left")]
    store.consent("s", "r", "v2")
    assert store.add(vote("two", trial="t2"), "v2", limit=9).is_new


@pytest.mark.slow
def test_rater_has_a_limited_number_of_answers(store):
    """Failure sequence: any number of answers was accepted from one rater."""
    store.consent("s", "r", "v")
    for k in range(2):
        assert store.add(vote(f"a{k}", trial=f"t{k}"), "v", limit=2).is_new
    with pytest.raises(GPENError, match="at most 2 answers"):
        store.add(vote("more", trial="t9"), "v", limit=2)
    assert not store.add(vote("a1", trial="t1"), "v", limit=2).is_new  # a retry is no error
    for k in range(2, 20):
        store.undo("s", "r", "v")
        assert store.add(vote(f"a{k}", trial="t1"), "v", limit=2).is_new
    store.undo("s", "r", "v")
    with pytest.raises(GPENError, match="at most 2 answers"):  # undone answers take space too
        store.add(vote("more", trial="t1"), "v", limit=2)


def test_import_does_not_revive_deleted_votes(store):
    """Failure sequence: the owner imported an old export, and the answers of a rater who had deleted them were back."""
    many = [vote(f"a{k}", rater=f"r{k % 2}", trial=f"t{k}", time="2026-01-01T00:00:00+00:00") for k in range(4)]
    store.add_all(many)
    assert store.delete("s", "r0") == 2 and store.add_all(many) == 0 and len(store.votes("s")) == 2
    assert store.delete("s", "never-seen") == 0 and store.add_all([vote("x", rater="never-seen")]) == 0


def test_import_is_idempotent(store):
    many = [vote(f"a{k}", rater=f"r{k % 3}", trial=f"t{k}", time="2026-01-01T00:00:00+00:00") for k in range(40)]
    assert store.add_all(many) == 40 and store.add_all(many) == 0 and store.add_all(many[:5] + [vote("new", trial="n")]) == 1
    assert len(store.votes("s")) == 41 and store.outcomes("s") == [(["a", "b"], "left", 41)]


@pytest.mark.slow
def test_concurrent_raters_without_loss_or_duplicates(url, studies):
    with closing(VoteStore.open(url)) as store:
        survey = Survey(studies(), store)
        seen = load(survey, raters=24, answers=5)
        assert len(seen.acknowledged) == 24 * 5
        assert compare(survey, seen.acknowledged, seen.taken_back) == {"lost": 0, "doubled": 0, "foreign": 0}


@pytest.mark.slow
def test_killed_process_loses_no_acknowledged_vote(url, studies):
    figures, acknowledged = crash(studies().folder, url, raters=12, after=40)
    assert acknowledged >= 40 and figures == {"lost": 0, "doubled": 0, "foreign": 0}


def test_concurrent_open_creates_tables_once(url):
    failures = []

    def start():
        try:
            VoteStore.open(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.slow
def test_migration_of_a_database_of_version_1(url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with closing(VoteStore.open(url)) as old:
            old.consent("s", "r", "v")
            add(old, vote())
    with closing(VoteStore.open(url)) as store:
        assert valid_votes(store) == [("one", "t", "left")]
        assert "answers_by_trial" in {index["name"] for index in sa.inspect(store._database.engine).get_indexes("answers")}
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with pytest.raises(GPENError, match="version 3, newer than version 1 of this program"):
        VoteStore.open(url)


@pytest.fixture
def sqlite_file(tmp_path):
    with closing(VoteStore.open(f"sqlite:///{tmp_path / 'votes.sqlite'}")) as store:
        store.consent("s", "r", "v")
    return tmp_path / "votes.sqlite"


def test_locked_database_raises_store_error(sqlite_file):
    with closing(VoteStore.open(f"sqlite:///{sqlite_file}", timeout=0.1)) as store:
        other = sqlite3.connect(sqlite_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="The server is busy: this answer waits in your page and is sent again.") as error:
            add(store, vote())
        assert error.value.retry and valid_votes(store) == []  # reading is possible meanwhile
        other.execute("ROLLBACK")
        other.close()
        assert add(store, vote()) and valid_votes(store) == [("one", "t", "left")]


def test_full_disk_raises_store_error(sqlite_file):
    with closing(VoteStore.open(f"sqlite:///{sqlite_file}")) as store:

        def limit(pages):
            """Limit the size of the database; SQLite then fails with SQLITE_FULL, as for a full disk."""
            with store._database.engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        limit(1)  # the current size of the file
        stored = 0
        with pytest.raises(StoreError, match="The server's disk is full"):
            for k in range(500):
                add(store, vote(f"a{k}", trial=f"t{k}"))
                stored += 1
        assert len(valid_votes(store)) == stored
        limit(10_000)
        assert add(store, vote(f"a{stored}", trial=f"t{stored}")) and len(valid_votes(store)) == stored + 1


def test_read_only_and_unreachable_database(sqlite_file, tmp_path):
    with closing(VoteStore.open(f"sqlite:///{sqlite_file}")) as store:
        with store._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match="read-only"):
            add(store, vote())
    with pytest.raises(StoreError, match="cannot be reached"):
        VoteStore.open("postgres://study@127.0.0.1:1/none", timeout=0.2)
    folder = tmp_path / "folder.sqlite"
    folder.mkdir()
    with pytest.raises(StoreError, match="cannot be reached"):
        VoteStore.open(f"sqlite:///{folder}")


@pytest.mark.parametrize("url, message", [("://", "names no file and no database"), ("mysql://u@h/d", "mysql is not supported")])
def test_invalid_url(url, message):
    with pytest.raises(GPENError, match=message):
        VoteStore.open(url)


def test_database_url_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'deep' / 'votes.sqlite'}")
    with closing(VoteStore.open()) as store:
        with store._database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # full
    assert (tmp_path / "deep" / "votes.sqlite").is_file()


@pytest.mark.slow
def test_close_releases_all_locks(sqlite_file):
    """A store that was closed must not block the next one, even with a slow disk and a short timeout."""

    def slow_commit(connection):
        time.sleep(0.15)  # longer than the timeout, while the transaction holds the write lock

    sa.event.listen(sa.engine.Engine, "commit", slow_commit)
    try:
        for k in range(4):
            with closing(VoteStore.open(f"sqlite:///{sqlite_file}", timeout=0.1)) as store:
                assert add(store, vote(f"a{k}", trial=f"t{k}"))
    finally:
        sa.event.remove(sa.engine.Engine, "commit", slow_commit)


def test_file_system_without_wal_is_refused(tmp_path, monkeypatch):
    """Failure sequence: on such a file system the pragma is ignored without an error, and the store used a rollback journal."""
    real = sqlite3.connect

    class WithoutWAL(sqlite3.Connection):
        def execute(self, query, *arguments):
            return super().execute(query.replace("= WAL", "= DELETE"), *arguments)

    monkeypatch.setattr(sqlite3.dbapi2, "connect", lambda *given, **named: real(*given, **named, factory=WithoutWAL))
    with pytest.raises(GPENError, match="cannot use WAL on this file system .its journal mode is delete."):
        VoteStore.open(tmp_path / "votes.sqlite")


def test_open_waits_for_another_writer_of_a_new_database(tmp_path):
    """SQLite rejects the change to WAL mode at once while another connection writes, without its busy timeout."""
    other = sqlite3.connect(tmp_path / "votes.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    release.start()
    with closing(VoteStore.open(f"sqlite:///{tmp_path / 'votes.sqlite'}")) as store:
        store.consent("s", "r", "v")
    release.join()
    other.close()
