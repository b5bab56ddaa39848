"""The store of votes: SQLite in WAL mode by default, PostgreSQL if DATABASE_URL is set.

A vote is acknowledged after its transaction is on disk (synchronous = FULL), so that a killed process loses none. Unique keys
prevent duplicates by a double click, a retry after a lost connection or a second browser tab. Votes that were undone or deleted
are excluded from all counts and exports.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from eval.preference.storage.engines import StoreError, connect, failure
from eval.preference.storage.schema import answers, migrate, raters, undos
from eval.preference.storage.votes import Vote
from eval.preference.storage.writer import BatchWriter, WriterBusy
from eval.preference.study import TrialKind
from gpen.errors import GPENError

DEFAULT_FILE = Path(__file__).resolve().parents[3] / "runs" / "votes.sqlite"
TIMEOUT = 10.0  # s, until a write is reported as failed
_INSERT: dict[str, Callable] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Totals:
    """The counts of a study."""

    answers: int
    golds: int
    raters: int
    undone: int
    last: str | None  # time of the last vote, ISO 8601


class VoteStore:
    """Votes in a database, safe for many threads and several processes; created with VoteStore.open."""

    def __init__(self, engine: sa.Engine, timeout: float):
        self._engine = engine
        self._timeout = timeout
        with self._transaction(write=True) as connection:
            migrate(connection)
        self._writer = BatchWriter(engine) if engine.dialect.name == "sqlite" else None

    @classmethod
    def open(cls, url: str | None = None, timeout: float = TIMEOUT) -> "VoteStore":
        """Connect to a database and create or migrate its tables.

        url: sqlite:/// or postgresql://; default DATABASE_URL, then runs/votes.sqlite. timeout: s, for locks and connections.
        Raises StoreError if the database cannot be reached, GPENError for an invalid url.
        """
        return cls(connect(url or os.environ.get("DATABASE_URL") or f"sqlite:///{DEFAULT_FILE}", timeout), timeout)

    def close(self) -> None:
        """Store the queued votes and close all connections."""
        if self._writer:
            self._writer.stop()
        self._engine.dispose()

    def consent(self, study: str, rater: str, version: str) -> None:
        """Store the consent of a rater. Raises GPENError for a rater whose votes were deleted."""

        def job(connection: sa.Connection) -> None:
            row = self._rater(connection, study, rater, lock=True)
            if row is None:
                self._insert(connection, raters, [_rater_row(study, rater, version)])
                return
            _refuse_deleted(row)
            if row.consent_version != version:
                change = raters.update().where(raters.c.study == study, raters.c.rater == rater)
                connection.execute(change.values(consent_version=version, consent_time=_now()))

        self._write(job)

    def consented(self, study: str, rater: str, version: str) -> bool:
        """Whether the rater agreed to this version of the text and has not deleted the votes since."""
        with self._transaction() as connection:
            row = self._rater(connection, study, rater)
        return row is not None and row.deleted_time is None and row.consent_version == version

    def add(self, vote: Vote) -> bool:
        """Store a vote; False for a duplicate. The vote is on disk when this returns.

        Raises GPENError for a rater without consent or with deleted votes, StoreError if it cannot be stored.
        """
        same_trial = (answers.c.study == vote.study, answers.c.rater == vote.rater, answers.c.trial == vote.trial)

        def job(connection: sa.Connection) -> bool:
            _refuse_deleted(self._rater(connection, vote.study, vote.rater, lock=True))
            undone = connection.scalar(sa.select(sa.func.count()).select_from(answers).where(*same_trial, ~_LIVE))
            row = _vote_row(vote) | {"attempt": undone, "time": vote.time or _now()}
            return self._insert(connection, answers, [row]) == 1

        return self._write(job)

    def add_all(self, votes: list[Vote]) -> int:
        """Import votes and return the number of new ones. Consent is not required."""
        people = sorted({(vote.study, vote.rater) for vote in votes})

        def job(connection: sa.Connection) -> int:
            self._insert(connection, raters, [_rater_row(study, rater, "") for study, rater in people])
            return self._insert(connection, answers, [_vote_row(vote) | {"attempt": 0} for vote in votes])

        return self._write(job)

    def undo(self, study: str, rater: str, vote_id: str | None = None) -> Vote | None:
        """Undo the vote with this id, or the last vote of the rater; returns it, None if there is none.

        An id that has not arrived yet is stored, so that its vote is undone on arrival.
        """
        which = _LIVE if vote_id is None else answers.c.id == vote_id
        query = _SELECT.where(answers.c.study == study, answers.c.rater == rater, which).order_by(answers.c.seq.desc()).limit(1)

        def job(connection: sa.Connection) -> Vote | None:
            _refuse_deleted(self._rater(connection, study, rater, lock=True))
            row = connection.execute(query).first()
            if row is not None or vote_id is not None:
                undone = {"study": study, "rater": rater, "id": vote_id if row is None else vote_id or row.id, "time": _now()}
                self._insert(connection, undos, [undone])
            return None if row is None else _vote(row)

        return self._write(job)

    def delete(self, study: str, rater: str) -> int:
        """Delete all votes of a rater permanently and refuse later ones.

        Returns their number, without undone votes.
        """
        own = (answers.c.study == study, answers.c.rater == rater)

        def job(connection: sa.Connection) -> int:
            self._insert(connection, raters, [_rater_row(study, rater, "")])
            self._rater(connection, study, rater, lock=True)
            count = connection.scalars(sa.select(sa.func.count()).select_from(answers).where(*own, _LIVE)).one()
            connection.execute(answers.delete().where(*own))
            connection.execute(undos.delete().where(undos.c.study == study, undos.c.rater == rater))
            change = raters.update().where(raters.c.study == study, raters.c.rater == rater)
            connection.execute(change.values(consent_version="", deleted_time=_now()))
            return count

        return self._write(job)

    def votes(self, study: str, rater: str | None = None, items: list[str] | None = None) -> list[Vote]:
        """The valid votes in order of arrival: of a study, of one rater, of some items."""
        query = _SELECT.where(answers.c.study == study, _LIVE).order_by(answers.c.seq)
        if rater is not None:
            query = query.where(answers.c.rater == rater)
        if items is not None:
            query = query.where(answers.c.item.in_(items))
        with self._transaction() as connection:
            return [_vote(row) for row in connection.execute(query)]

    def count(self, study: str, rater: str) -> int:
        """The number of valid votes of a rater."""
        query = sa.select(sa.func.count()).select_from(answers)
        with self._transaction() as connection:
            return connection.scalars(query.where(answers.c.study == study, answers.c.rater == rater, _LIVE)).one()

    def counts(self, study: str) -> Counter[str]:
        """The number of valid votes by trial."""
        query = sa.select(answers.c.trial, sa.func.count()).where(answers.c.study == study, _LIVE).group_by(answers.c.trial)
        with self._transaction() as connection:
            return Counter({trial: count for trial, count in connection.execute(query)})

    def outcomes(self, study: str) -> list[tuple[list[str], str | int | list[str], int]]:
        """(methods as displayed, choice, number of votes) of the ordinary trials."""
        columns = [sa.cast(column, sa.Text) for column in (answers.c.shown, answers.c.choice)]  # JSON itself has no equality
        query = sa.select(*columns, sa.func.count()).where(answers.c.study == study, answers.c.kind == "ordinary", _LIVE)
        with self._transaction() as connection:
            rows: Sequence = connection.execute(query.group_by(*columns)).all()
        return [(json.loads(shown), json.loads(choice), count) for shown, choice, count in rows]

    def totals(self, study: str) -> Totals:
        """The counts of a study."""
        columns = (
            sa.func.count(),
            sa.func.count().filter(answers.c.kind == "gold"),
            sa.func.count(answers.c.rater.distinct()),
            sa.func.max(answers.c.time),
        )
        of_study = answers.c.study == study
        with self._transaction() as connection:
            count, golds, people, last = connection.execute(sa.select(*columns).where(of_study, _LIVE)).one()
            undone = connection.scalars(sa.select(sa.func.count()).select_from(answers).where(of_study, ~_LIVE)).one()
        return Totals(count, golds, people, undone, last)

    def _rater(self, connection: sa.Connection, study: str, rater: str, lock: bool = False) -> sa.Row | None:
        """lock: serialise the writes of one rater on PostgreSQL; SQLite serialises all writes."""
        query = sa.select(raters).where(raters.c.study == study, raters.c.rater == rater)
        return connection.execute(query.with_for_update() if lock else query).first()

    def _insert(self, connection: sa.Connection, table: sa.Table, rows: list[dict]) -> int:
        """Insert rows and return the number of new ones; duplicates by a unique key are ignored."""
        if not rows:
            return 0
        insert = _INSERT[connection.dialect.name](table).on_conflict_do_nothing().returning(table.c.rater)
        return len(connection.execute(insert, rows).all())

    def _write(self, job: Callable[[sa.Connection], Result]) -> Result:
        """Run a job that raises GPENError only before it writes; its result after the commit."""
        if self._writer is None:
            with self._transaction(write=True) as connection:
                return job(connection)
        try:
            return self._writer.run(job, self._timeout)
        except (WriterBusy, SQLAlchemyError) as error:
            raise StoreError(failure(error)) from error

    @contextmanager
    def _transaction(self, write: bool = False) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect().execution_options(write=write) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(failure(error)) from error


_FIELDS = ("id", "study", "rater", "trial", "item", "shown", "choice", "ms", "kind", "time")  # columns that a Vote has too
_LIVE = ~sa.exists().where(undos.c.study == answers.c.study, undos.c.rater == answers.c.rater, undos.c.id == answers.c.id)
_SELECT = sa.select(*(answers.c[name] for name in _FIELDS))


def _vote_row(vote: Vote) -> dict[str, Any]:
    """The columns of a vote; an imported vote without an id or a trial has its digest instead."""
    row = {name: getattr(vote, name) for name in _FIELDS}
    if not vote.id:
        row["id"] = vote.digest
    return row | {"trial": vote.trial or row["id"], "ms": round(vote.ms or 0), "kind": vote.kind.value}


def _vote(row: sa.Row) -> Vote:
    return Vote(**{**row._mapping, "kind": TrialKind(row.kind)})


def _refuse_deleted(row: sa.Row | None) -> None:
    if row is None:
        raise GPENError("No consent is stored for this rater; reload the page and agree to the consent text.")
    if row.deleted_time is not None:
        raise GPENError("Your answers were deleted and no new ones are stored under this code; reload the page to start again.")


def _rater_row(study: str, rater: str, version: str) -> dict:
    return {"study": study, "rater": rater, "consent_version": version, "consent_time": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
