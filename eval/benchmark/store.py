"""The measurements of a run on disk: rows per image and features for the set metrics.

    RUN/per_image.csv    image,task,method,METRIC,...,seconds
    RUN/features.sqlite  one vector per image, task, method and network; distances computed from them; peak memory
    RUN/parts/RANK/      the same two files of one of several processes, until they are merged

A process that is killed loses at most the current batch: features are committed first, then the rows of the batch are appended
and synchronised. An incomplete last line is removed when the file is opened again. Of several rows of one image, task and method
the last one is valid; `compact` removes the others.
"""

import csv
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.metrics.registry import METRICS
from gpen.errors import GPENError
from gpen.images import write_atomically

SECONDS = "seconds"  # the last column: time per image
Row = dict[str, float]  # column -> value, without the columns of RowKey


class RowKey(NamedTuple):
    """The first columns of per_image.csv."""

    image: str
    task: str
    method: str


@dataclass(frozen=True)
class RunStore:
    """The rows and the features of one folder, RUN or one of its parts."""

    rows: "PerImageTable"
    features: "FeatureStore"

    @classmethod
    def open(cls, folder: Path, metrics: Iterable[str]) -> "RunStore":
        """Open or create the files in a folder; `metrics` are added to the columns."""
        return cls(PerImageTable(folder / "per_image.csv", metrics), FeatureStore(folder / "features.sqlite"))

    def close(self) -> None:
        """Close the database."""
        self.features.close()


def merge_parts(out: Path) -> None:
    """Merge the parts of several processes into RUN. Can be repeated after an interruption."""
    parts = sorted((out / "parts").glob("*"))
    headers = [read_rows(part / "per_image.csv")[0] for part in parts]
    if not parts:
        return
    with closing(RunStore.open(out, {name for header in headers for name in header if name in METRICS})) as store:
        for part in parts:
            store.features.merge(part / "features.sqlite")
            store.rows.merge(read_rows(part / "per_image.csv")[1])
        store.rows.compact()
    shutil.rmtree(out / "parts")


class PerImageTable:
    """per_image.csv. Its columns are those of the existing file and `metrics`."""

    def __init__(self, path: Path, metrics: Iterable[str]):
        self.path = path
        header, self._rows, complete = read_rows(path)
        columns = {name for name in header if name not in (*RowKey._fields, SECONDS)} | set(metrics)
        self.metrics = [name for name in METRICS if name in columns]
        if not complete or header != self._header():
            self._write()

    def get(self, task: str, method: str) -> dict[str, Row]:
        """The rows of a method by image, sorted by image."""
        return dict(sorted((key.image, row) for key, row in self._rows.items() if (key.task, key.method) == (task, method)))

    def groups(self) -> list[tuple[str, str]]:
        """Every (task, method) with rows, in the order of the first row."""
        return list(dict.fromkeys((key.task, key.method) for key in self._rows))

    def append(self, task: str, method: str, rows: dict[str, Row]) -> None:
        """Add rows by image, or replace them; they are on disk when this returns."""
        self.merge({RowKey(image, task, method): row for image, row in rows.items()})

    def merge(self, rows: dict[RowKey, Row]) -> None:
        """Add rows, or replace them; they are on disk when this returns."""
        self._rows |= rows
        with open(self.path, "ab") as file:
            file.write(self._text(rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def compact(self) -> None:
        """Rewrite the file with one row per image, ordered by task and method and then by image."""
        order = {group: place for place, group in enumerate(self.groups())}
        self._rows = dict(sorted(self._rows.items(), key=lambda item: (order[item[0][1:]], item[0].image)))
        self._write()

    def _header(self) -> list[str]:
        return [*RowKey._fields, *self.metrics, SECONDS]

    def _text(self, rows: dict[RowKey, Row]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for key, row in rows.items():
            values = [row.get(name) for name in (*self.metrics, SECONDS)]
            writer.writerow([*key, *("" if value is None else repr(float(value)) for value in values)])
        return text.getvalue()

    def _write(self) -> None:
        write_atomically(self.path, (",".join(self._header()) + "\n" + self._text(self._rows)).encode())


def read_rows(path: Path) -> tuple[list[str], dict[RowKey, Row], bool]:
    """Read per_image.csv: (header, rows, whether the file is complete, so that rows can be appended).

    Raises GPENError for another table.
    """
    data = path.read_bytes() if path.is_file() else b""
    lines = data[: data.rfind(b"\n") + 1]
    table = list(csv.reader(io.StringIO(lines.decode(errors="replace"))))
    if not table:
        return [], {}, False
    header, rows = table[0], dict[RowKey, Row]()
    if tuple(header[:3]) != RowKey._fields or header[-1] != SECONDS:
        raise GPENError(f"{path} is not a table of a run; choose another --out.")
    for line in table[1:]:
        if len(line) == len(header):
            image, task, method, *values = line
            columns = zip(header[3:], values, strict=True)
            rows[RowKey(image, task, method)] = {name: float(value) for name, value in columns if value}
    return header, rows, lines == data and len(rows) == len(table) - 1


class FeatureStore:
    """features.sqlite: vectors float32 [d] for the set metrics, distances, and peak memory."""

    def __init__(self, path: Path):
        self._db = sqlite3.connect(path)
        for table in (
            "features (name, task, method, image, vector BLOB, PRIMARY KEY (name, task, method, image)) WITHOUT ROWID",
            "figures (key PRIMARY KEY, value REAL) WITHOUT ROWID",
            "peaks (task, method, kind, mib REAL, PRIMARY KEY (task, method, kind)) WITHOUT ROWID",
        ):
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")

    def add(self, network: str, task: str, method: str, images: Sequence[str], vectors: np.ndarray) -> None:
        """Store vectors [n, d] of a network; they are on disk when this returns."""
        rows = [
            (network, task, method, image, vector.astype(np.float32).tobytes())
            for image, vector in zip(images, vectors, strict=True)
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

    def get(self, network: str, task: str, method: str) -> dict[str, np.ndarray]:
        """Vectors [d] by image, sorted by image."""
        rows = self._select("image, vector", network, task, method)
        return {image: np.frombuffer(vector, np.float32) for image, vector in rows}

    def images(self, network: str, task: str, method: str) -> set[str]:
        """The images with a vector."""
        return {image for (image,) in self._select("image", network, task, method)}

    def _select(self, columns: str, *key: str) -> sqlite3.Cursor:
        where = "name = ? AND task = ? AND method = ?"
        return self._db.execute(f"SELECT {columns} FROM features WHERE {where} ORDER BY image", key)

    def distance(self, key: str) -> float | None:
        """A stored distance."""
        found = self._db.execute("SELECT value FROM figures WHERE key = ?", (key,)).fetchone()
        return found and found[0]

    def put_distance(self, key: str, value: float) -> None:
        """Store a distance under a key."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO figures VALUES (?, ?)", (key, value))

    def update_peaks(self, task: str, method: str, peaks: dict[str, float]) -> None:
        """Update the peak memory by kind, MiB, with the maximum of the old and the new value."""
        if all(mib <= self.peaks(task, method).get(kind, 0) for kind, mib in peaks.items()):
            return  # without a commit, which waits for the disk
        with self._db:
            self._db.executemany(_UPDATE_PEAKS.format("VALUES (?, ?, ?, ?)"), [(task, method, *peak) for peak in peaks.items()])

    def peaks(self, task: str, method: str) -> dict[str, float]:
        """The peak memory by kind, MiB."""
        query = "SELECT kind, mib FROM peaks WHERE task = ? AND method = ? ORDER BY kind DESC"
        return dict(self._db.execute(query, (task, method)))

    def merge(self, path: Path) -> None:
        """Copy the vectors and the peaks of another file."""
        if not path.is_file():
            return
        FeatureStore(path).close()  # creates missing tables, if the process was killed before
        self._db.execute("ATTACH DATABASE ? AS part", (str(path),))
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO features SELECT * FROM part.features")
            self._db.execute(_UPDATE_PEAKS.format("SELECT * FROM part.peaks WHERE true"))
        self._db.execute("DETACH DATABASE part")

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def write_json(path: Path, value: object) -> None:
    """Write a JSON file of a run atomically. Raises ValueError for infinity and NaN."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


_UPDATE_PEAKS = "INSERT INTO peaks {} ON CONFLICT (task, method, kind) DO UPDATE SET mib = max(mib, excluded.mib)"
