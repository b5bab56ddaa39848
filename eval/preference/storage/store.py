"""The store of votes: SQLite in WAL mode, or PostgreSQL; location.py says which.

A vote is acknowledged after its transaction is on disk (synchronous = FULL), so that a killed process loses none. Unique keys
prevent duplicates by a double click, a retry after a lost connection or a second browser tab. Votes that were undone or deleted
are excluded from all counts and exports.
"""

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from eval.preference.storage.database import Database, insert
from eval.preference.storage.engines import StoreError, connect, failure
from eval.preference.storage.events import delete_rater, deleted_raters, merge_events, now, read_events
from eval.preference.storage.location import Location, locate
from eval.preference.storage.raters import LIVE, Added, add, check_rater, find_rater, has_consented, new_rater
from eval.preference.storage.refusals import DeletedError, NoStoreError
from eval.preference.storage.schema import answers, keys, raters, undos
from eval.preference.storage.schema import version as schema_version
from eval.preference.storage.votes import COLUMNS, Vote, vote_row
from eval.preference.study import TrialKind

TIMEOUT = 10.0  # s, until a write is reported as failed


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
        self._database = Database(engine, timeout)

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
        self._database.close()

    def consent(self, study: str, rater: str, version: str) -> None:
        """Store the consent of a rater. Raises DeletedError for a rater whose votes were deleted."""

        def job(connection: sa.Connection) -> None:
            row = find_rater(connection, study, rater, lock=True)
            if row is None:
                insert(connection, raters, [new_rater(study, rater, version)])
                return
            if row.deleted_time is not None:
                raise DeletedError
            if row.consent_version != version:
                change = raters.update().where(raters.c.study == study, raters.c.rater == rater)
                connection.execute(change.values(consent_version=version, consent_time=now()))

        self._database.write(job)

    def consented(self, study: str, rater: str, version: str) -> bool:
        """Whether the rater agreed to this version of the text and has not deleted the votes since."""
        with self._database.read() as connection:
            return has_consented(find_rater(connection, study, rater), version)

    def history(self, study: str, rater: str, version: str) -> list[Vote] | None:
        """The valid votes of a rater in order of arrival; None without consent to this version of the text."""
        own = _SELECT.where(answers.c.study == study, answers.c.rater == rater, LIVE).order_by(answers.c.seq)
        with self._database.read() as connection:
            if not has_consented(find_rater(connection, study, rater), version):
                return None
            return [_vote(row) for row in connection.execute(own)]

    def add(self, vote: Vote, consent: str, limit: int) -> Added:
        """Store a vote unless it is a duplicate. The vote is on disk when this returns.

        consent: version of the text that the rater must have agreed to. limit: number of valid votes of a rater. Raises
        ConsentNeededError, DeletedError, GPENError above the limit, StoreError if the vote cannot be stored.
        """
        return add(self._database, vote, consent, limit)

    def add_all(self, votes: list[Vote]) -> int:
        """Import votes and return the number of new ones. Consent is not required; deleted votes are not revived."""
        people = sorted({(vote.study, vote.rater) for vote in votes})

        def job(connection: sa.Connection) -> int:
            insert(connection, raters, [new_rater(study, rater, "") for study, rater in people])
            gone = deleted_raters(connection, {study for study, _ in people})
            kept = [vote for vote in votes if (vote.study, vote.rater) not in gone]
            return insert(connection, answers, [vote_row(vote) | {"attempt": 0} for vote in kept])

        return self._database.write(job)

    def events(self, study: str) -> list[dict]:
        """Everything that is known of a study, as the events of the mirror (events.py)."""
        with self._database.read() as connection:
            return read_events(connection, study)

    def merge(self, study: str, events: list[dict]) -> None:
        """Add events of another store. Raises GPENError for a malformed event."""
        self._database.write(lambda connection: merge_events(connection, study, events, insert))

    def keys(self, study: str) -> list[str]:
        """The secret keys of a study, the signing key first; a key is created if there is none."""
        query = sa.select(keys.c.key).where(keys.c.study == study).order_by(keys.c.time, keys.c.key)

        def job(connection: sa.Connection) -> list[str]:
            if not (known := list(connection.scalars(query))):
                known = [secrets.token_hex(32)]
                insert(connection, keys, [{"study": study, "key": known[0], "time": now()}])
            return known

        return self._database.write(job)

    def undo(self, study: str, rater: str, consent: str, vote_id: str | None = None) -> Vote | None:
        """Undo the vote with this id, or the last vote of the rater; returns it, None if there is none.

        An id that has not arrived yet is stored, so that its vote is undone on arrival. Raises ConsentNeededError, DeletedError.
        """
        which = LIVE if vote_id is None else answers.c.id == vote_id
        query = _SELECT.where(answers.c.study == study, answers.c.rater == rater, which).order_by(answers.c.seq.desc()).limit(1)

        def job(connection: sa.Connection) -> Vote | None:
            check_rater(connection, study, rater, consent)
            row = connection.execute(query).first()
            if row is not None or vote_id is not None:
                undone = {"study": study, "rater": rater, "id": vote_id if row is None else vote_id or row.id, "time": now()}
                insert(connection, undos, [undone])
            return None if row is None else _vote(row)

        return self._database.write(job)

    def delete(self, study: str, rater: str) -> int:
        """Delete all votes of a rater permanently and refuse later ones.

        Returns their number, without undone votes.
        """
        own = (answers.c.study == study, answers.c.rater == rater)

        def job(connection: sa.Connection) -> int:
            insert(connection, raters, [new_rater(study, rater, "")])
            find_rater(connection, study, rater, lock=True)
            count = connection.scalars(sa.select(sa.func.count()).select_from(answers).where(*own, LIVE)).one()
            delete_rater(connection, study, rater, now())
            return count

        return self._database.write(job)

    def votes(self, study: str, rater: str | None = None, items: list[str] | None = None) -> list[Vote]:
        """The valid votes in order of arrival: of a study, of one rater, of some items."""
        query = _SELECT.where(answers.c.study == study, LIVE).order_by(answers.c.seq)
        if rater is not None:
            query = query.where(answers.c.rater == rater)
        if items is not None:
            query = query.where(answers.c.item.in_(items))
        with self._database.read() as connection:
            return [_vote(row) for row in connection.execute(query)]

    def count(self, study: str, rater: str) -> int:
        """The number of valid votes of a rater."""
        query = sa.select(sa.func.count()).select_from(answers)
        with self._database.read() as connection:
            return connection.scalars(query.where(answers.c.study == study, answers.c.rater == rater, LIVE)).one()

    def deleted(self, study: str, rater: str) -> bool:
        """Whether the rater deleted the votes."""
        with self._database.read() as connection:
            row = find_rater(connection, study, rater)
        return row is not None and row.deleted_time is not None

    def ids(self, study: str, rater: str) -> set[str]:
        """The ids of all stored votes of a rater, undone ones included, and "undo:ID" of the undos."""
        with self._database.read() as connection:
            own = [
                connection.scalars(sa.select(table.c.id).where(table.c.study == study, table.c.rater == rater)).all()
                for table in (answers, undos)
            ]
        return {*own[0], *(f"undo:{id}" for id in own[1])}

    def counts(self, study: str) -> Counter[str]:
        """The number of valid votes by trial."""
        query = sa.select(answers.c.trial, sa.func.count()).where(answers.c.study == study, LIVE).group_by(answers.c.trial)
        with self._database.read() as connection:
            return Counter({trial: count for trial, count in connection.execute(query)})

    def outcomes(self, study: str) -> list[tuple[list[str], str | int | list[str], int]]:
        """(methods as displayed, choice, number of votes) of the ordinary trials."""
        columns = [sa.cast(column, sa.Text) for column in (answers.c.shown, answers.c.choice)]  # JSON itself has no equality
        query = sa.select(*columns, sa.func.count()).where(answers.c.study == study, answers.c.kind == "ordinary", LIVE)
        with self._database.read() as connection:
            rows: Sequence = connection.execute(query.group_by(*columns)).all()
        return [(json.loads(shown), json.loads(choice), count) for shown, choice, count in rows]

    def studies(self) -> dict[str, int]:
        """The number of valid votes of each study that has some."""
        query = sa.select(answers.c.study, sa.func.count()).where(LIVE).group_by(answers.c.study).order_by(answers.c.study)
        with self._database.read() as connection:
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
        with self._database.read() as connection:
            count, golds, people, last = connection.execute(sa.select(*columns).where(of_study, LIVE)).one()
            undone = connection.scalars(sa.select(sa.func.count()).select_from(answers).where(of_study, ~LIVE)).one()
        return Totals(count, golds, people, undone, last)


_SELECT = sa.select(*(answers.c[name] for name in COLUMNS))


def _vote(row: sa.Row) -> Vote:
    return Vote(**{**row._mapping, "kind": TrialKind(row.kind)})


def _has_tables(engine: sa.Engine) -> bool:
    try:
        return sa.inspect(engine).has_table(schema_version.name)
    except SQLAlchemyError as error:
        raise StoreError(failure(error)) from error
