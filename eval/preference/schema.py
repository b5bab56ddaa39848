"""The tables of the store and their migrations, for SQLite and PostgreSQL alike.

    raters    who agreed to which consent text, and whose answers were deleted; codes are stored as hashes
    answers   appended, never changed; a rater's id for an answer counts once, as does an attempt at a trial
    undos     answers taken back; appended too, so that a late retry of an answer stays taken back

MIGRATIONS[i] brings a database of version i to version i + 1. They only ever grow at the end.
"""

from collections.abc import Callable

import sqlalchemy as sa

from gpen.errors import GPENError

_LOCK = 1_196_443_726  # of PostgreSQL, while the tables are made: "GPEN" in ASCII
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
    sa.Column("id", sa.Text, nullable=False),  # made by the page
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("rater", sa.Text, nullable=False),
    sa.Column("trial", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # how many answers to this trial were taken back before
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("shown", sa.JSON, nullable=False),  # methods as shown, from left to right
    sa.Column("choice", sa.JSON, nullable=False),  # "left" | "right" | "tie" | "both_bad"; 1 to 5; methods, best first
    sa.Column("ms", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of the trial
    sa.Column("time", sa.Text, nullable=False),  # UTC, ISO 8601, by the server's clock
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


def _first_tables(connection: sa.Connection) -> None:
    for table in (raters, answers, undos):
        table.create(connection)


def _index_of_trials(connection: sa.Connection) -> None:
    """Live counts and coverage read a study trial by trial."""
    connection.execute(sa.text("CREATE INDEX answers_by_trial ON answers (study, kind, trial)"))


MIGRATIONS: list[Callable[[sa.Connection], None]] = [_first_tables, _index_of_trials]


def migrate(connection: sa.Connection) -> None:
    """Bring the database to the newest version, in the caller's transaction.

    Raises GPENError for a database that a newer program made.
    """
    if connection.dialect.name == "postgresql":  # two programs that start at once; SQLite's transaction locks by itself
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    version.create(connection, checkfirst=True)
    current = connection.scalar(sa.select(version.c.version)) or 0
    if current > len(MIGRATIONS):
        raise GPENError(f"the database has version {current}, newer than this program's {len(MIGRATIONS)}; update the program")
    if current == len(MIGRATIONS):
        return
    for step in MIGRATIONS[current:]:
        step(connection)
    connection.execute(version.delete())
    connection.execute(version.insert().values(version=len(MIGRATIONS)))
