"""The tables of the vote store and their migrations, for SQLite and PostgreSQL.

    raters    consent of each rater and its version, time of the deletion of the votes; raters are stored as hashes
    answers   votes, append-only; the id of a vote and an attempt at a trial are unique for a rater
    undos     ids of undone votes, append-only, so that a late retry of a vote remains undone
    keys      secret keys of each study, of which the oldest signs the tickets of the trials (tickets.py)

MIGRATIONS[i] changes a database from version i to version i + 1. New migrations are appended.
"""

from collections.abc import Callable

import sqlalchemy as sa

from gpen.errors import GPENError

_LOCK = 1_196_443_726  # advisory lock of PostgreSQL during the migration: "GPEN" in ASCII
metadata = sa.MetaData()

version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))

raters = sa.Table(
    "raters",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("rater", sa.Text, primary_key=True),
    sa.Column("consent_version", sa.Text, nullable=False),
    sa.Column("consent_time", sa.Text, nullable=False),
    sa.Column("deleted_time", sa.Text),
)

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),  # set by the page
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("rater", sa.Text, nullable=False),
    sa.Column("trial", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # number of earlier answers to this trial that were undone
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("shown", sa.JSON, nullable=False),  # methods as displayed, from left to right
    sa.Column("choice", sa.JSON, nullable=False),  # "left" | "right" | "tie" | "both_bad"; 1 to 5; methods, best first
    sa.Column("ms", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # kind of the trial
    sa.Column("time", sa.Text, nullable=False),  # UTC, ISO 8601, time of the server
    sa.UniqueConstraint("study", "rater", "id"),
    sa.UniqueConstraint("study", "rater", "trial", "attempt"),
)

undos = sa.Table(
    "undos",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("rater", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("time", sa.Text, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # hexadecimal
    sa.Column("time", sa.Text, nullable=False),
)


def _first_tables(connection: sa.Connection) -> None:
    for table in (raters, answers, undos):
        table.create(connection)


def _index_of_trials(connection: sa.Connection) -> None:
    """Index for the counts by trial."""
    connection.execute(sa.text("CREATE INDEX answers_by_trial ON answers (study, kind, trial)"))


MIGRATIONS: list[Callable[[sa.Connection], None]] = [_first_tables, _index_of_trials, keys.create]


def migrate(connection: sa.Connection) -> None:
    """Migrate the database to the newest version, in the transaction of the caller.

    Raises GPENError for a database of a newer version of the program.
    """
    if connection.dialect.name == "postgresql":  # for programs that start at the same time; SQLite locks by BEGIN IMMEDIATE
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    version.create(connection, checkfirst=True)
    current = connection.scalar(sa.select(version.c.version)) or 0
    if current > len(MIGRATIONS):
        raise GPENError(
            f"The database has version {current}, newer than version {len(MIGRATIONS)} of this program; update the program."
        )
    if current == len(MIGRATIONS):
        return
    for step in MIGRATIONS[current:]:
        step(connection)
    connection.execute(version.delete())
    connection.execute(version.insert().values(version=len(MIGRATIONS)))
