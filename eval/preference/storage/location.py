"""Where the votes are: one answer for the page and for the commands export, import and score.

In this order: the argument, DATABASE_URL, GPEN_VOTES, runs/votes.sqlite. Each is a path of an SQLite file or the URL of a
database.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from gpen.errors import GPENError

DEFAULT_FILE = Path(__file__).resolve().parents[3] / "runs" / "votes.sqlite"
VARIABLES = ("DATABASE_URL", "GPEN_VOTES")
SQLITE_HEADER = b"SQLite format 3\0"


@dataclass(frozen=True)
class Location:
    """The URL of a vote store, and the setting that names it: "--votes", a variable, or "the default"."""

    url: str
    source: str

    def __str__(self) -> str:
        """The file or the URL without its password, with the setting that names it."""
        return f"{self.file or self._parsed.render_as_string(hide_password=True)} ({self.source})"

    @property
    def _parsed(self) -> sa.URL:
        try:
            return sa.make_url(self.url)
        except sa.exc.ArgumentError as error:
            raise GPENError(
                f"{self.source} names no file and no database; give a path or a URL such as postgresql://user@host/name."
            ) from error

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a database server."""
        parsed = self._parsed
        return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None

    @property
    def has_store(self) -> bool:
        """Whether there is a store already; reads an SQLite file without changing it. True for a database server."""
        if self.file is None:
            return True
        try:
            with closing(sqlite3.connect(f"{self.file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchall())
        except sqlite3.OperationalError:
            return False  # there is no file
        except sqlite3.DatabaseError as error:
            raise GPENError(f"{self.file} is not an SQLite database; give the file of the votes.") from error


def locate(argument: str | Path | None = None, environment: Mapping[str, str] | None = None) -> Location:
    """Find the store of the votes. Raises GPENError for a malformed URL."""
    environment = os.environ if environment is None else environment
    named = [(argument, "--votes"), *((environment.get(name), name) for name in VARIABLES), (DEFAULT_FILE, "the default")]
    value, source = next((str(value), source) for value, source in named if value)
    location = Location(value if "://" in value else f"sqlite:///{Path(value).resolve()}", source)
    str(location)  # raises for a malformed URL
    return location


def is_vote_file(path: str | Path) -> bool:
    """Whether a path is a file of exported votes instead of a database: a file that does not start like SQLite's."""
    try:
        with open(path, "rb") as file:
            return file.read(len(SQLITE_HEADER)) not in (SQLITE_HEADER, b"")
    except OSError:
        return False
