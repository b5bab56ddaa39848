"""Connections of the vote store to SQLite and PostgreSQL, and the reasons of their errors."""

import sqlite3
import time
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from eval.preference.storage.writer import WriterBusy
from gpen.errors import GPENError
from gpen.optional import missing_package

BACKENDS = ("sqlite", "postgresql")
POOL = 8  # connections of a process; further requests wait
IDLE = 10.0  # s, after which a connection is checked before it is used: the server may have been restarted
RETRY_INTERVAL = 0.01  # s, between attempts to enter WAL mode


class StoreError(GPENError):
    """The vote was not stored because of a problem of the server; the page keeps it and sends it again."""

    retry = True


class Failure(StrEnum):
    """The reason of a StoreError, with its message for the rater."""

    FULL = "The server's disk is full: this answer waits in your page and is sent again."
    BUSY = "The server is busy: this answer waits in your page and is sent again."
    READ_ONLY = "The server's database is read-only: this answer waits in your page and is sent again."
    UNREACHABLE = "The server's database cannot be reached: this answer waits in your page and is sent again."


_CODES = {  # prefixes of SQLite error names and PostgreSQL SQLSTATE codes
    Failure.FULL: ("SQLITE_FULL", "53100", "53200"),
    Failure.BUSY: ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "57014", "40001", "40P01"),
    Failure.READ_ONLY: ("SQLITE_READONLY", "SQLITE_PERM", "25006"),
}


def failure(error: Exception) -> Failure:
    """The reason of a database error."""
    cause = getattr(error, "orig", None)
    name = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    for reason, codes in _CODES.items():
        if name.startswith(codes):
            return reason
    return Failure.BUSY if isinstance(error, WriterBusy | sa.exc.TimeoutError) else Failure.UNREACHABLE


def connect(url: str, timeout: float) -> sa.Engine:
    """Create the engine of a database. timeout: s, for locks and connections.

    Raises GPENError for an invalid url, and if the package of the database is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in BACKENDS:
            raise GPENError(f"The database {parsed.drivername} is not supported; give a sqlite:// or postgresql:// URL.")
        if parsed.get_backend_name() == "sqlite":
            Path(cast(str, parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            return _sqlite(parsed, timeout)
        return _postgresql(parsed, timeout)
    except sa.exc.ArgumentError as error:
        raise GPENError(f"{url.split(':')[0]}:// is not a database URL; give one such as postgresql://user@host/name.") from error
    except ModuleNotFoundError as error:
        raise missing_package("psycopg", "postgresql", "A PostgreSQL database") from error


def _sqlite(url: sa.URL, timeout: float) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"timeout": timeout}, poolclass=sa.QueuePool, pool_size=POOL, max_overflow=0, pool_timeout=timeout
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are started in _begin, not by the driver
        _enter_wal_mode(connection, timeout)
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # SQLite rejects, without waiting, a transaction that reads first and then writes while another one writes
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


def _enter_wal_mode(connection: sqlite3.Connection, timeout: float) -> None:
    """Change to WAL mode, with retries: SQLite does not apply its busy timeout to this change of a new database.

    Raises GPENError where the file system does not support WAL: SQLite then keeps the old mode without an error, in which a
    killed process or a second one can lose votes.
    """
    deadline = time.monotonic() + max(timeout, 1.0)
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if not (error.sqlite_errorname or "").startswith(_CODES[Failure.BUSY]) or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_INTERVAL)
    if mode.lower() != "wal":
        raise GPENError(
            f"SQLite cannot use WAL on this file system (its journal mode is {mode}), so that votes could be lost; "
            "store the votes on a local disk, or set DATABASE_URL to a PostgreSQL database."
        )


def _postgresql(url: sa.URL, timeout: float) -> sa.Engine:
    milliseconds = int(timeout * 1000)
    options = f"-c lock_timeout={milliseconds} -c statement_timeout={4 * milliseconds}"
    engine = sa.create_engine(
        url,
        connect_args={"connect_timeout": max(2, int(timeout)), "options": options},
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=timeout,
    )

    @sa.event.listens_for(engine, "checkin")
    def _note_use(connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _check_idle(connection: Any, record: Any, _proxy: object) -> None:
        """Replace a connection that the server has closed; pool_pre_ping would ask before each use, a round trip more."""
        if time.monotonic() - record.info.get("used", time.monotonic()) < IDLE:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error

    return engine
