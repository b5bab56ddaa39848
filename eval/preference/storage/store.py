"""The store of votes: SQLite in WAL mode, or PostgreSQL; location.py says which.

A vote is acknowledged after its transaction is on disk (synchronous = FULL), so that a killed process loses none. Unique keys
prevent duplicates by a double click, a retry after a lost connection or a second browser tab. Votes that were undone or deleted
are excluded from all counts and exports.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from eval.preference.storage.engines import StoreError, connect, failure
from eval.preference.storage.events import delete_rater, deleted_raters, merge_events, now, read_events
from eval.preference.storage.location import Location, locate
from eval.preference.storage.refusals import ConsentNeededError, DeletedError, NoStoreError
from eval.preference.storage.schema import answers, keys, migrate, raters, undos
from eval.preference.storage.schema import version as schema_version
from eval.preference.storage.votes import Vote
from eval.preference.storage.writer import BatchWriter, WriterBusy
from eval.preference.study import TrialKind
from gpen.errors import GPENError

TIMEOUT = 10.0  # s, until a write is reported as failed
MAX_CHANGES = 10  # stored answers of a rater, undone ones included, per answer of a session
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
    def open(cls, where: str | Path | Location | None = None, timeout: float = TIMEOUT, create: bool = True) -> "VoteStore":
        """Connect to a database and migrate its tables.

        where: a path of an SQLite file or a URL; default: see location.py. timeout: s, for locks and connections. create: whether
        to create missing tables. Raises StoreError if the database cannot be reached, GPENError for an invalid URL, and
        NoStoreError if nothing may be created and there is no store.
        """
        location = where if isinstance(where, Location) else locate(where)
        if not create and not location.has_store:
            raise NoStoreError(location)
        engine = connect(location.url, timeout)
        if not create and not _has_tables(engine):
            engine.dispose()
            raise NoStoreError(location)
        return cls(engine, timeout)

    def close(self) -> None:
        """Store the queued votes and close all connections."""
        if self._writer:
            self._writer.stop()
        self._engine.dispose()

    def consent(self, study: str, rater: str, version: str) -> None:
        """Store the consent of a rater. Raises DeletedError for a rater whose votes were deleted."""

        def job(connection: sa.Connection) -> None:
            row = self._rater(connection, study, rater, lock=True)
            if row is None:
                self._insert(connection, raters, [_rater_row(study, rater, version)])
                return
            if row.deleted_time is not None:
                raise DeletedError
            if row.consent_version != version:
                change = raters.update().where(raters.c.study == study, raters.c.rater == rater)
                connection.execute(change.values(consent_version=version, consent_time=now()))

        self._write(job)

    def consented(self, study: str, rater: str, version: str) -> bool:
        """Whether the rater agreed to this version of the text and has not deleted the votes since."""
        with self._transaction() as connection:
            row = self._rater(connection, study, rater)
        return row is not None and row.deleted_time is None and row.consent_version == version

    def add(self, vote: Vote, consent: str, limit: int) -> bool:
        """Store a vote; False for a duplicate. The vote is on disk when this returns.

        consent: version of the text that the rater must have agreed to. limit: number of valid votes of a rater. Raises
        ConsentNeededError, DeletedError, GPENError above the limit, StoreError if the vote cannot be stored.
        """
        own = (answers.c.study == vote.study, answers.c.rater == vote.rater)
        same_trial = (*own, answers.c.trial == vote.trial)
        count = sa.select(sa.func.count()).select_from(answers)

        def job(connection: sa.Connection) -> bool:
            self._check(connection, vote.study, vote.rater, consent)
            undone = connection.scalars(count.where(*same_trial, ~_LIVE)).one()
            known = connection.scalars(count.where(*own, sa.or_(answers.c.id == vote.id, sa.and_(*same_trial, _LIVE)))).one()
            if known:
                return False
            live, rows = (connection.scalars(count.where(*own, *more)).one() for more in ([_LIVE], []))
            if live >= limit or rows >= MAX_CHANGES * limit:
                raise GPENError(f"A rater gives at most {limit} answers to this study; these are complete.")
            row = _vote_row(vote) | {"attempt": undone, "time": vote.time or now()}
            return self._insert(connection, answers, [row]) == 1

        return self._write(job)

    def add_all(self, votes: list[Vote]) -> int:
        """Import votes and return the number of new ones. Consent is not required; deleted votes are not revived."""
        people = sorted({(vote.study, vote.rater) for vote in votes})

        def job(connection: sa.Connection) -> int:
            self._insert(connection, raters, [_rater_row(study, rater, "") for study, rater in people])
            gone = deleted_raters(connection, {study for study, _ in people})
            kept = [vote for vote in votes if (vote.study, vote.rater) not in gone]
            return self._insert(connection, answers, [_vote_row(vote) | {"attempt": 0} for vote in kept])

        return self._write(job)

    def events(self, study: str) -> list[dict]:
        """Everything that is known of a study, as the events of the mirror (events.py)."""
        with self._transaction() as connection:
            return read_events(connection, study)

    def merge(self, study: str, events: list[dict]) -> None:
        """Add events of another store. Raises GPENError for a malformed event."""
        self._write(lambda connection: merge_events(connection, study, events, self._insert))

    def keys(self, study: str) -> list[str]:
        """The secret keys of a study, the signing key first; a key is created if there is none."""
        query = sa.select(keys.c.key).where(keys.c.study == study).order_by(keys.c.time, keys.c.key)

        def job(connection: sa.Connection) -> list[str]:
            if not (known := list(connection.scalars(query))):
                known = [secrets.token_hex(32)]
                self._insert(connection, keys, [{"study": study, "key": known[0], "time": now()}])
            return known

        return self._write(job)

    def undo(self, study: str, rater: str, consent: str, vote_id: str | None = None) -> Vote | None:
        """Undo the vote with this id, or the last vote of the rater; returns it, None if there is none.

        An id that has not arrived yet is stored, so that its vote is undone on arrival. Raises ConsentNeededError, DeletedError.
        """
        which = _LIVE if vote_id is None else answers.c.id == vote_id
        query = _SELECT.where(answers.c.study == study, answers.c.rater == rater, which).order_by(answers.c.seq.desc()).limit(1)

        def job(connection: sa.Connection) -> Vote | None:
            self._check(connection, study, rater, consent)
            row = connection.execute(query).first()
            if row is not None or vote_id is not None:
                undone = {"study": study, "rater": rater, "id": vote_id if row is None else vote_id or row.id, "time": now()}
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
            delete_rater(connection, study, rater, now())
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

    def deleted(self, study: str, rater: str) -> bool:
        """Whether the rater deleted the votes."""
        with self._transaction() as connection:
            row = self._rater(connection, study, rater)
        return row is not None and row.deleted_time is not None

    def ids(self, study: str, rater: str) -> set[str]:
        """The ids of all stored votes of a rater, undone ones included, and "undo:ID" of the undos."""
        with self._transaction() as connection:
            own = [
                connection.scalars(sa.select(table.c.id).where(table.c.study == study, table.c.rater == rater)).all()
                for table in (answers, undos)
            ]
        return {*own[0], *(f"undo:{id}" for id in own[1])}

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

    def studies(self) -> dict[str, int]:
        """The number of valid votes of each study that has some."""
        query = sa.select(answers.c.study, sa.func.count()).where(_LIVE).group_by(answers.c.study).order_by(answers.c.study)
        with self._transaction() as connection:
            return {study: count for study, count in connection.execute(query)}

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

    def _check(self, connection: sa.Connection, study: str, rater: str, consent: str) -> None:
        """Lock the rater. Raises DeletedError, and ConsentNeededError without consent to this version of the text."""
        row = self._rater(connection, study, rater, lock=True)
        if row is not None and row.deleted_time is not None:
            raise DeletedError
        if row is None or row.consent_version != consent:
            raise ConsentNeededError

    def _rater(self, connection: sa.Connection, study: str, rater: str, lock: bool = False) -> sa.Row | None:
        """lock: serialise the writes of one rater on PostgreSQL; SQLite serialises all writes."""
        query = sa.select(raters).where(raters.c.study == study, raters.c.rater == rater)
        return connection.execute(query.with_for_update() if lock else query).first()

    def _insert(self, connection: sa.Connection, table: sa.Table, rows: list[dict]) -> int:
        """Insert rows and return the number of new ones; duplicates by a unique key are ignored."""
        if not rows:
            return 0
        insert = _INSERT[connection.dialect.name](table).on_conflict_do_nothing().returning(*table.primary_key)
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


def _has_tables(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table(schema_version.name)
    except SQLAlchemyError as error:
        raise StoreError(failure(error)) from error


def _rater_row(study: str, rater: str, version: str) -> dict:
    return {"study": study, "rater": rater, "consent_version": version, "consent_time": now()}
