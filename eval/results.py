"""What a run has measured so far, on disk: a row per image, task and method; features for the set metrics.

    RUN/per_image.csv    image,task,method,METRIC,...,seconds; RUN/per_image.parquet, the same, where pyarrow is installed
    RUN/features.sqlite  a vector per image, task, method and network; distances computed from them; peaks of memory
    RUN/parts/RANK/      the same two files of one of several processes, until they are merged

A kill at any moment loses at most the batch in work: features are committed first, then the batch's rows are appended and
synced; a last line without its end is dropped when the file is opened again. Of two rows of one image, task and method the
later one counts, and `settle` leaves only that.
"""

import csv
import io
import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.files import write_atomically
from eval.metrics import METRICS
from gpen.errors import GPENError

KEY = ["image", "task", "method"]
Row = dict[str, float]  # metric, or "seconds" -> value


@dataclass(frozen=True)
class Held:
    """The rows and the features of one folder, RUN or one of its parts."""

    rows: "Rows"
    store: "Store"

    @classmethod
    def open(cls, folder: Path, metrics: Iterable[str]) -> "Held":
        return cls(Rows(folder / "per_image.csv", metrics), Store(folder / "features.sqlite"))

    def close(self) -> None:
        self.store.close()


def merge_parts(out: Path) -> None:
    """Bring what several processes have measured together in RUN. A kill on the way loses nothing: call it again."""
    parts = sorted((out / "parts").glob("*"))
    headers = [read_rows(part / "per_image.csv")[0] for part in parts]
    if not parts:
        return
    with closing(Held.open(out, {name for header in headers for name in header if name in METRICS})) as held:
        for part in parts:
            held.store.absorb(part / "features.sqlite")
            held.rows.absorb(read_rows(part / "per_image.csv")[1])
        held.rows.settle()
    shutil.rmtree(out / "parts")


class Rows:
    """per_image.csv. `metrics` are the columns: those the file has, and those asked for now."""

    def __init__(self, path: Path, metrics: Iterable[str]):
        self.path = path
        header, self._rows, whole = read_rows(path)
        columns = {name for name in header if name not in (*KEY, "seconds")} | set(metrics)
        self.metrics = [name for name in METRICS if name in columns]
        if not whole or header != self._header():
            self._write()

    def get(self, task: str, method: str) -> dict[str, Row]:
        """The rows of a method by image, in the order of images."""
        return dict(sorted((image, row) for (image, *rest), row in self._rows.items() if rest == [task, method]))

    def groups(self) -> list[tuple[str, str]]:
        """Every (task, method) that has rows, in the order they were first written."""
        return list(dict.fromkeys((task, method) for _, task, method in self._rows))

    def append(self, task: str, method: str, rows: dict[str, Row]) -> None:
        """Add rows, or replace those of the same images; on disk when this returns."""
        self.absorb({(image, task, method): row for image, row in rows.items()})

    def absorb(self, rows: dict[tuple[str, str, str], Row]) -> None:
        """`append` by (image, task, method)."""
        self._rows |= rows
        with open(self.path, "ab") as file:
            file.write(self._text(rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def settle(self) -> None:
        """Write the file anew: one row for each image, in the order of groups and within them of images."""
        order = {group: place for place, group in enumerate(self.groups())}
        self._rows = dict(sorted(self._rows.items(), key=lambda item: (order[item[0][1:]], item[0][0])))
        self._write()

    def write_parquet(self) -> None:
        """per_image.parquet beside the table, where pyarrow is installed."""
        try:
            from pyarrow import csv as arrow
            from pyarrow import parquet, string
        except ImportError:
            return
        names = arrow.ConvertOptions(column_types=dict.fromkeys(KEY, string()))  # an image may be called 00017
        partial = self.path.with_suffix(".parquet.partial")
        parquet.write_table(arrow.read_csv(self.path, convert_options=names), partial)
        os.replace(partial, self.path.with_suffix(".parquet"))

    def _header(self) -> list[str]:
        return [*KEY, *self.metrics, "seconds"]

    def _text(self, rows: dict[tuple[str, str, str], Row]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for key, row in rows.items():
            values = [row.get(name) for name in self._header()[len(KEY) :]]
            writer.writerow([*key, *("" if value is None else repr(float(value)) for value in values)])
        return text.getvalue()

    def _write(self) -> None:
        write_atomically(self.path, (",".join(self._header()) + "\n" + self._text(self._rows)).encode())


def read_rows(path: Path) -> tuple[list[str], dict[tuple[str, str, str], Row], bool]:
    """(header, rows by key, whether the file is whole and may be appended to)."""
    data = path.read_bytes() if path.is_file() else b""
    lines = data[: data.rfind(b"\n") + 1]
    table = list(csv.reader(io.StringIO(lines.decode(errors="replace"))))
    if not table:
        return [], {}, False
    header, rows = table[0], dict[tuple[str, str, str], Row]()
    if header[: len(KEY)] != KEY or header[-1] != "seconds":
        raise GPENError(f"{path} is no table of a run; choose another --out")
    for line in table[1:]:
        if len(line) == len(header):
            values = zip(header[len(KEY) :], line[len(KEY) :], strict=True)
            task, method, image = line[: len(KEY)]
            rows[task, method, image] = {name: float(value) for name, value in values if value}
    return header, rows, lines == data and len(rows) == len(table) - 1


class Store:
    """features.sqlite: vectors float32 [d] that set metrics are computed from, those figures, and peaks of memory."""

    def __init__(self, path: Path):
        self._db = sqlite3.connect(path)
        for table in (
            "features (name, task, method, image, vector BLOB, PRIMARY KEY (name, task, method, image)) WITHOUT ROWID",
            "figures (key PRIMARY KEY, value REAL) WITHOUT ROWID",
            "peaks (task, method, kind, mib REAL, PRIMARY KEY (task, method, kind)) WITHOUT ROWID",
        ):
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")

    def add(self, name: str, task: str, method: str, images: Sequence[str], vectors: np.ndarray) -> None:
        """vectors [n, d] of the network called `name`; on disk when this returns."""
        rows = [
            (name, task, method, image, vector.astype(np.float32).tobytes())
            for image, vector in zip(images, vectors, strict=True)
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

    def get(self, name: str, task: str, method: str) -> dict[str, np.ndarray]:
        """Vectors [d] by image, in the order of images."""
        return {image: np.frombuffer(vector, np.float32) for image, vector in self._select("image, vector", name, task, method)}

    def images(self, name: str, task: str, method: str) -> set[str]:
        """The images that have a vector."""
        return {image for (image,) in self._select("image", name, task, method)}

    def _select(self, columns: str, *key: str) -> sqlite3.Cursor:
        where = "name = ? AND task = ? AND method = ?"
        return self._db.execute(f"SELECT {columns} FROM features WHERE {where} ORDER BY image", key)

    def figure(self, key: str) -> float | None:
        """A figure kept under a key."""
        found = self._db.execute("SELECT value FROM figures WHERE key = ?", (key,)).fetchone()
        return found and found[0]

    def keep_figure(self, key: str, value: float) -> None:
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO figures VALUES (?, ?)", (key, value))

    def raise_peaks(self, task: str, method: str, peaks: dict[str, float]) -> None:
        """Peaks of memory, MiB by kind: the highest so far stays."""
        if all(mib <= self.peaks(task, method).get(kind, 0) for kind, mib in peaks.items()):
            return  # a commit waits for the disk
        with self._db:
            self._db.executemany(_RAISE.format("VALUES (?, ?, ?, ?)"), [(task, method, *peak) for peak in peaks.items()])

    def peaks(self, task: str, method: str) -> dict[str, float]:
        """The highest of each kind, MiB."""
        return dict(
            self._db.execute("SELECT kind, mib FROM peaks WHERE task = ? AND method = ? ORDER BY kind DESC", (task, method))
        )

    def absorb(self, path: Path) -> None:
        """Take over the vectors and the peaks of another such file."""
        if not path.is_file():
            return
        Store(path).close()  # it has its tables even if a kill came first
        self._db.execute("ATTACH DATABASE ? AS part", (str(path),))
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO features SELECT * FROM part.features")
            self._db.execute(_RAISE.format("SELECT * FROM part.peaks WHERE true"))
        self._db.execute("DETACH DATABASE part")

    def close(self) -> None:
        self._db.close()


_RAISE = "INSERT INTO peaks {} ON CONFLICT (task, method, kind) DO UPDATE SET mib = max(mib, excluded.mib)"
