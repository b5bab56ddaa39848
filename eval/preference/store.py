"""What was answered: SQLite in WAL mode by default, PostgreSQL where DATABASE_URL names one.

An answer is acknowledged when its transaction is on disk (synchronous = FULL), so a killed process loses none.
A double click, a retry after a lost connection or a second browser tab makes no second answer: unique keys
see to that, not the order of events. What is taken back or deleted is out of every count and export.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from eval.preference.schema import answers, migrate, raters, undos
from eval.preference.writer import Busy, Writer
from gpen.errors import GPENError

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "runs" / "votes.sqlite"
POOL = 8  # connections of a process; more wait their turn
TIMEOUT = 10.0  # s, until a rater is told that the answer could not be stored
_INSERT: dict[str, Callable] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_FULL = ("SQLITE_FULL", "53100", "53200")  # error names of SQLite, SQLSTATEs of PostgreSQL
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "57014", "40001", "40P01")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_PERM", "25006")


class StoreError(GPENError):
    """The answer was not stored, through no fault of the rater's: keep it and send it again."""

    retry = True


@dataclass(frozen=True)
class Answer:
    """One answer; choice is "left" | "right" | "tie" | "both_bad", 1 to 5, or the methods, best first."""

    id: str
    study: str
    rater: str
    trial: str
    item: str
    shown: list[str]
    choice: str | int | list[str]
    ms: int
    kind: str = "ordinary"  # | "repeat" | "gold"
    time: str = ""  # UTC, ISO 8601; the store fills in its own where this is empty


class Store:
    """Safe to use from many threads and several processes; open it with Store.open."""

    def __init__(self, engine: sa.Engine, timeout: float):
        self._engine = engine
        self._timeout = timeout
        self._writer = Writer(engine) if engine.dialect.name == "sqlite" else None
        self._write(migrate)

    @classmethod
    def open(cls, url: str | None = None, timeout: float = TIMEOUT) -> "Store":
        """`url` defaults to DATABASE_URL, then to runs/votes.sqlite. timeout: s, for locks and connections.

        Raises StoreError where the database cannot be reached, GPENError where the url makes no sense.
        """
        url = url or os.environ.get("DATABASE_URL") or f"sqlite:///{DEFAULT_FILE}"
        try:
            parsed = sa.make_url(url)
            if parsed.drivername in ("postgres", "postgresql"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            if parsed.get_backend_name() not in _INSERT:
                raise GPENError(f"there is no store for {parsed.drivername}; give a sqlite:// or postgresql:// address")
            if parsed.get_backend_name() == "sqlite":
                Path(cast(str, parsed.database)).parent.mkdir(parents=True, exist_ok=True)
                return cls(_sqlite(parsed, timeout), timeout)
            return cls(_postgresql(parsed, timeout), timeout)
        except sa.exc.ArgumentError as error:
            raise GPENError("DATABASE_URL is no address of a database; give one such as postgresql://user@host/name") from error
        except ModuleNotFoundError as error:
            raise GPENError("PostgreSQL needs the package psycopg; pip install 'psycopg[binary]'") from error

    def close(self) -> None:
        if self._writer:
            self._writer.stop()
        self._engine.dispose()

    def consent(self, study: str, rater: str, version: str) -> None:
        """Remember that the rater agreed. Raises GPENError for a rater whose answers were deleted."""

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
        """Whether the rater agreed to this text, and has not deleted the answers since."""
        with self._transaction() as connection:
            row = self._rater(connection, study, rater)
        return row is not None and row.deleted_time is None and row.consent_version == version

    def add(self, answer: Answer) -> bool:
        """Whether the answer is new. On disk when this returns.

        Raises GPENError for a rater without consent or with deleted answers, StoreError where it cannot be stored.
        """
        same_trial = (answers.c.study == answer.study, answers.c.rater == answer.rater, answers.c.trial == answer.trial)

        def job(connection: sa.Connection) -> bool:
            _refuse_deleted(self._rater(connection, answer.study, answer.rater, lock=True))
            taken_back = connection.scalar(sa.select(sa.func.count()).select_from(answers).where(*same_trial, ~_LIVE))
            row = asdict(answer) | {"attempt": taken_back, "time": answer.time or _now()}
            return self._insert(connection, answers, [row]) == 1

        return self._write(job)

    def add_all(self, many: list[Answer]) -> int:
        """Import answers, each an answer of its own; how many were new. Raters come without a consent."""
        people = sorted({(answer.study, answer.rater) for answer in many})

        def job(connection: sa.Connection) -> int:
            self._insert(connection, raters, [_rater_row(study, rater, "") for study, rater in people])
            return self._insert(connection, answers, [asdict(answer) | {"attempt": 0} for answer in many])

        return self._write(job)

    def undo(self, study: str, rater: str, answer_id: str | None = None) -> Answer | None:
        """Take back an answer, the rater's last one without an id; the answer, None where there is none.

        An id that is not there yet is taken back when it arrives.
        """
        which = _LIVE if answer_id is None else answers.c.id == answer_id
        query = _SELECT.where(answers.c.study == study, answers.c.rater == rater, which).order_by(answers.c.seq.desc()).limit(1)

        def job(connection: sa.Connection) -> Answer | None:
            _refuse_deleted(self._rater(connection, study, rater, lock=True))
            row = connection.execute(query).first()
            if row is not None or answer_id is not None:
                gone = {"study": study, "rater": rater, "id": answer_id if row is None else answer_id or row.id, "time": _now()}
                self._insert(connection, undos, [gone])
            return None if row is None else Answer(**row._mapping)

        return self._write(job)

    def delete(self, study: str, rater: str) -> int:
        """Delete all of a rater's answers for good; how many counted. Later ones are refused."""
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

    def answers(self, study: str, rater: str | None = None, items: list[str] | None = None) -> list[Answer]:
        """Those that stand, in the order they came: of the study, of one rater, of some items."""
        query = _SELECT.where(answers.c.study == study, _LIVE).order_by(answers.c.seq)
        if rater is not None:
            query = query.where(answers.c.rater == rater)
        if items is not None:
            query = query.where(answers.c.item.in_(items))
        with self._transaction() as connection:
            return [Answer(**row._mapping) for row in connection.execute(query)]

    def count(self, study: str, rater: str) -> int:
        """A rater's answers that stand."""
        query = sa.select(sa.func.count()).select_from(answers)
        with self._transaction() as connection:
            return connection.scalars(query.where(answers.c.study == study, answers.c.rater == rater, _LIVE)).one()

    def counts(self, study: str) -> Counter[str]:
        """Answers that stand, by trial."""
        query = sa.select(answers.c.trial, sa.func.count()).where(answers.c.study == study, _LIVE).group_by(answers.c.trial)
        with self._transaction() as connection:
            return Counter({trial: count for trial, count in connection.execute(query)})

    def outcomes(self, study: str) -> list[tuple[list[str], str | int | list[str], int]]:
        """(methods as shown, choice, how often) of the ordinary answers that stand."""
        columns = [sa.cast(column, sa.Text) for column in (answers.c.shown, answers.c.choice)]  # JSON itself has no equality
        query = sa.select(*columns, sa.func.count()).where(answers.c.study == study, answers.c.kind == "ordinary", _LIVE)
        with self._transaction() as connection:
            rows: Sequence = connection.execute(query.group_by(*columns)).all()
        return [(json.loads(shown), json.loads(choice), count) for shown, choice, count in rows]

    def totals(self, study: str) -> dict:
        """{"answers", "golds", "raters", "undone", "last"} of the study; last is an ISO time or None."""
        columns = (
            sa.func.count(),
            sa.func.count().filter(answers.c.kind == "gold"),
            sa.func.count(answers.c.rater.distinct()),
            sa.func.max(answers.c.time),
        )
        of_study = answers.c.study == study
        with self._transaction() as connection:
            count, golds, people, last = connection.execute(sa.select(*columns).where(of_study, _LIVE)).one()
            undone = connection.scalar(sa.select(sa.func.count()).select_from(answers).where(of_study, ~_LIVE))
        return {"answers": count, "golds": golds, "raters": people, "undone": undone, "last": last}

    def _rater(self, connection: sa.Connection, study: str, rater: str, lock: bool = False) -> sa.Row | None:
        """`lock` makes one rater's writes wait for each other on PostgreSQL; SQLite's always do."""
        query = sa.select(raters).where(raters.c.study == study, raters.c.rater == rater)
        return connection.execute(query.with_for_update() if lock else query).first()

    def _insert(self, connection: sa.Connection, table: sa.Table, rows: list[dict]) -> int:
        """How many of the rows were new; one that a unique key knows already is passed over."""
        if not rows:
            return 0
        insert = _INSERT[connection.dialect.name](table).on_conflict_do_nothing().returning(table.c.rater)
        return len(connection.execute(insert, rows).all())

    def _write(self, job: Callable[[sa.Connection], object]):
        """The result of a job that refuses before it writes, once it is on disk."""
        if self._writer is None:
            with self._transaction() as connection:
                return job(connection)
        try:
            return self._writer.run(job, self._timeout)
        except (Busy, SQLAlchemyError) as error:
            raise StoreError(_explained(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(_explained(error)) from error


_LIVE = ~sa.exists().where(undos.c.study == answers.c.study, undos.c.rater == answers.c.rater, undos.c.id == answers.c.id)
_SELECT = sa.select(*(answers.c[name] for name in Answer.__dataclass_fields__))
_SENTENCES = {
    "full": "The server's disk is full: this answer waits in your page and is sent again.",
    "busy": "The server is busy: this answer waits in your page and is sent again.",
    "read-only": "The server's database is read-only: this answer waits in your page and is sent again.",
    "away": "The server's database cannot be reached: this answer waits in your page and is sent again.",
}


def _explained(error: Exception) -> str:
    """What happened, for a rater; the cause stays attached for the log."""
    cause = getattr(error, "orig", None)
    name = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    for kind, names in (("full", _FULL), ("busy", _BUSY), ("read-only", _READ_ONLY)):
        if name.startswith(names):
            return _SENTENCES[kind]
    return _SENTENCES["busy" if isinstance(error, Busy | sa.exc.TimeoutError) else "away"]


def _refuse_deleted(row: sa.Row | None) -> None:
    if row is None:
        raise GPENError("agree to the consent text first; reload the page")
    if row.deleted_time is not None:
        raise GPENError("your answers were deleted, and nothing more is stored under this code; reload the page to start anew")


def _rater_row(study: str, rater: str, version: str) -> dict:
    return {"study": study, "rater": rater, "consent_version": version, "consent_time": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _sqlite(url: sa.URL, timeout: float) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"timeout": timeout}, poolclass=sa.QueuePool, pool_size=POOL, max_overflow=0, pool_timeout=timeout
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection, _record) -> None:
        connection.isolation_level = None  # the driver would begin transactions in its own way
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection) -> None:
        # a write that starts as a read could not wait for its turn: SQLite refuses it at once
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


def _postgresql(url: sa.URL, timeout: float) -> sa.Engine:
    milliseconds = int(timeout * 1000)
    options = f"-c lock_timeout={milliseconds} -c statement_timeout={4 * milliseconds}"
    return sa.create_engine(
        url,
        connect_args={"connect_timeout": max(2, int(timeout)), "options": options},
        pool_pre_ping=True,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=timeout,
    )
