"""Transactions on SQLite and PostgreSQL: connections in order of arrival, writes with a commit, errors as StoreError.

On SQLite, which allows one writer at a time, writes go through a thread that commits many at once (writer.py). On PostgreSQL,
threads take turns at the connections of the pool.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from eval.preference.storage.engines import POOL, StoreError, failure
from eval.preference.storage.schema import migrate
from eval.preference.storage.writer import BatchWriter, WriterBusy

_INSERT: dict[str, Callable] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
Result = TypeVar("Result")


class Turns:
    """A limit on the threads that run at once, in order of arrival.

    The pool of SQLAlchemy is not fair: a thread that returns a connection and asks for one again overtakes those that wait.
    """

    def __init__(self, limit: int, timeout: float):
        self._lock, self._free, self._timeout = threading.Lock(), limit, timeout
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        """Wait for the turn. Raises WriterBusy after the timeout."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        if gate.acquire(timeout=self._timeout):
            return
        with self._lock:
            if gate in self._waiting:
                self._waiting.remove(gate)
                raise WriterBusy
        # the turn came at the moment of the timeout

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()  # hands the turn over
            else:
                self._free += 1


class Database:
    """An engine with its transactions, safe for many threads. Migrates the tables."""

    def __init__(self, engine: sa.Engine, timeout: float):
        self.engine, self._timeout, self._turns = engine, timeout, Turns(POOL, timeout)
        self._errors = (SQLAlchemyError, WriterBusy, engine.dialect.loaded_dbapi.Error)
        with self._transaction(write=True) as connection:
            migrate(connection)
        self._writer = BatchWriter(engine) if engine.dialect.name == "sqlite" else None

    def close(self) -> None:
        """Store the queued votes and close all connections."""
        if self._writer:
            self._writer.stop()
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for queries. Raises StoreError for an error of the database."""
        with self._transaction(write=False) as connection:
            yield connection

    def write(self, job: Callable[[sa.Connection], Result]) -> Result:
        """Run a job that raises GPENError only before it writes; its result after the commit. Raises StoreError."""
        if self._writer is None:
            with self._transaction(write=True) as connection:
                return job(connection)
        try:
            return self._writer.run(job, self._timeout)
        except self._errors as error:
            raise StoreError(failure(error)) from error

    def pipeline(self, job: Callable[[Any], Callable[[], Result]]) -> Result:
        """Run a job with a connection of psycopg in pipeline mode: one transaction and round trip; its result after the commit.

        The job sends statements and returns a function that reads their results, which are known after the commit only.
        Raises StoreError.
        """
        try:
            with self._turns:
                pooled = self.engine.raw_connection()
                try:
                    connection: Any = pooled.driver_connection
                    with connection.pipeline():
                        read = job(connection)
                        connection.commit()
                    return read()
                finally:
                    pooled.close()
        except self._errors as error:
            raise StoreError(failure(error)) from error

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[sa.Connection]:
        try:
            with self._turns, self._connect(write) as connection, connection.begin():
                yield connection
        except self._errors as error:
            raise StoreError(failure(error)) from error

    def _connect(self, write: bool) -> sa.Connection:
        """Queries of PostgreSQL run without BEGIN and COMMIT, which would be two more round trips."""
        if self.engine.dialect.name == "postgresql" and not write:
            return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self.engine.connect().execution_options(write=write)


def insert(connection: sa.Connection, table: sa.Table, rows: list[dict]) -> int:
    """Insert rows and return the number of new ones; duplicates by a unique key are ignored."""
    if not rows:
        return 0
    statement = _INSERT[connection.dialect.name](table).on_conflict_do_nothing().returning(*table.primary_key)
    return len(connection.execute(statement, rows).all())
