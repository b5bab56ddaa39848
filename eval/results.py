"""What a run has measured so far, on disk: a row per image, task and method; features for the set metrics.

    RUN/per_image.csv    image,task,method,METRIC,...,seconds
    RUN/features.sqlite  one vector per image, task, method and set metric

A kill at any moment loses at most the batch in work: features are committed first, then the batch's rows are
appended and synced; a last line without its end is dropped when the file is opened again.
"""

import csv
import io
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from eval.files import write_atomically
from eval.metrics import METRICS
from gpen.errors import GPENError

KEY = ["image", "task", "method"]
Row = dict[str, float]  # metric, or "seconds" -> value


class Rows:
    """per_image.csv. `metrics` are the columns: those the file has, and those asked for now."""

    def __init__(self, path: Path, metrics: Iterable[str]):
        self.path = path
        header, self._rows, whole = _read_rows(path)
        columns = {name for name in header if name not in (*KEY, "seconds")} | set(metrics)
        self.metrics = [name for name in METRICS if name in columns]
        if not whole or header != self._header():
            self._write()

    def get(self, task: str, method: str) -> dict[str, Row]:
        """The rows of a method by image, in the order of images."""
        return {image: row for (image, *rest), row in sorted(self._rows.items()) if rest == [task, method]}

    def groups(self) -> list[tuple[str, str]]:
        """Every (task, method) that has rows, in the order they were first written."""
        return list(dict.fromkeys((task, method) for _, task, method in self._rows))

    def append(self, task: str, method: str, rows: dict[str, Row]) -> None:
        """Add or, where an image is there already, replace rows; on disk when this returns."""
        new = {(image, task, method): row for image, row in rows.items()}
        replaces = not self._rows.keys().isdisjoint(new)
        self._rows |= new
        if replaces:
            self._write()
            return
        with open(self.path, "ab") as file:
            file.write(self._text(new).encode())
            file.flush()
            os.fsync(file.fileno())

    def _header(self) -> list[str]:
        return [*KEY, *self.metrics, "seconds"]

    def _text(self, rows: dict[tuple[str, str, str], Row]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for key, row in rows.items():
            values = [row.get(name) for name in self._header()[len(KEY):]]
            writer.writerow([*key, *("" if value is None else repr(float(value)) for value in values)])
        return text.getvalue()

    def _write(self) -> None:
        write_atomically(self.path, (",".join(self._header()) + "\n" + self._text(self._rows)).encode())


def measured_metrics(out: Path) -> list[str]:
    """The metrics that a RUN, which need not exist yet, holds figures of."""
    header, *_ = _read_rows(out / "per_image.csv")
    database = out / "features.sqlite"
    if not database.is_file():
        return [name for name in header if name in METRICS]
    with closing(Features(database)) as features:
        return [name for name in header if name in METRICS] + features.metrics()


def _read_rows(path: Path) -> tuple[list[str], dict[tuple[str, str, str], Row], bool]:
    """(header, rows by key, whether the file is whole and may be appended to)."""
    data = path.read_bytes() if path.is_file() else b""
    lines = data[: data.rfind(b"\n") + 1]
    table = list(csv.reader(io.StringIO(lines.decode(errors="replace"))))
    if not table:
        return [], {}, False
    header, rows = table[0], {}
    if header[: len(KEY)] != KEY or header[-1] != "seconds":
        raise GPENError(f"{path} is no table of a run; choose another --out")
    for line in table[1:]:
        if len(line) == len(header):
            values = zip(header[len(KEY):], line[len(KEY):], strict=True)
            rows[tuple(line[: len(KEY)])] = {name: float(value) for name, value in values if value}
    return header, rows, lines == data and len(rows) == len(table) - 1


class Features:
    """features.sqlite: vectors float32 [d] that set metrics are computed from."""

    def __init__(self, path: Path):
        self._db = sqlite3.connect(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS features (metric, task, method, image, vector BLOB, "
                         "PRIMARY KEY (metric, task, method, image)) WITHOUT ROWID")

    def add(self, metric: str, task: str, method: str, images: Sequence[str], vectors: np.ndarray) -> None:
        """vectors [n, d]; on disk when this returns."""
        rows = [(metric, task, method, image, vector.astype(np.float32).tobytes())
                for image, vector in zip(images, vectors, strict=True)]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

    def get(self, metric: str, task: str, method: str) -> dict[str, np.ndarray]:
        """Vectors [d] by image, in the order of images."""
        return {image: np.frombuffer(vector, np.float32)
                for image, vector in self._select("image, vector", metric, task, method)}

    def images(self, metric: str, task: str, method: str) -> set[str]:
        """The images that have a vector."""
        return {image for (image,) in self._select("image", metric, task, method)}

    def _select(self, columns: str, *key: str) -> sqlite3.Cursor:
        where = "metric = ? AND task = ? AND method = ?"
        return self._db.execute(f"SELECT {columns} FROM features WHERE {where} ORDER BY image", key)

    def metrics(self) -> list[str]:
        """The set metrics that have vectors."""
        return sorted(name for (name,) in self._db.execute("SELECT DISTINCT metric FROM features"))

    def close(self) -> None:
        self._db.close()
