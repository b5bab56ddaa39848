"""Where votes are: the order of the settings, plain paths, and reading without creating anything."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.preference.storage.location import DEFAULT_FILE, is_vote_file, locate
from eval.preference.storage.refusals import NoStoreError
from eval.preference.storage.store import VoteStore
from gpen.errors import GPENError

SETTINGS = ("--votes", "DATABASE_URL", "GPEN_VOTES")


@given(st.sets(st.sampled_from(SETTINGS)))
def test_first_setting_counts(named):
    values = {name: f"{name.strip('-')}.sqlite" for name in named}
    location = locate(values.pop("--votes", None), values)
    source = next((name for name in SETTINGS if name in named), "the default")
    assert location.source == source
    assert location.file.name == (f"{source.strip('-')}.sqlite" if named else DEFAULT_FILE.name)


def test_paths_and_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("votes.sqlite", {}).file == tmp_path / "votes.sqlite"
    assert locate(f"sqlite:///{tmp_path}/votes.sqlite", {}).file == tmp_path / "votes.sqlite"
    server = locate(None, {"DATABASE_URL": "postgresql://me:secret@host/db"})
    assert server.file is None and str(server) == "postgresql://me:***@host/db (DATABASE_URL)"
    with pytest.raises(GPENError, match="GPEN_VOTES names no file and no database"):
        locate(None, {"GPEN_VOTES": "://"})


def test_reading_creates_nothing(tmp_path):
    """Failure sequence: an export from a path with a typing error created an empty store, and exported 0 lines."""
    missing, foreign = tmp_path / "deep" / "none.sqlite", tmp_path / "foreign.sqlite"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = foreign.read_bytes()
    for file in (missing, foreign):
        with pytest.raises(NoStoreError, match=f"no store of votes in {file} \\(--votes\\)"):
            VoteStore.open(file, create=False)
    assert not missing.parent.exists() and foreign.read_bytes() == before
    with pytest.raises(GPENError, match="is not an SQLite database"):
        text = tmp_path / "text.sqlite"
        text.write_text("no database, but longer than a header " * 9)
        VoteStore.open(text, create=False)


def test_reading_an_empty_database_server_creates_nothing(postgres_url):
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        with pytest.raises(NoStoreError):
            VoteStore.open(postgres_url, create=False)
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_file_of_votes_is_not_a_database(tmp_path):
    database, text = tmp_path / "a.sqlite", tmp_path / "b.jsonl"
    VoteStore.open(database).close()
    text.write_text("{}")
    assert is_vote_file(text) and not is_vote_file(database) and not is_vote_file(tmp_path / "none")
