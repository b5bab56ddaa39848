"""Faces of a Hugging Face dataset as a folder of files: streamed once, in the order of the dataset, and cached.

    hf:OWNER/NAME[:SPLIT[:COLUMN]]    such as hf:merkol/ffhq-256, hf:OWNER/NAME:validation, hf:OWNER/NAME:train[3000:5000]:image
    celeba-hq, celeba-hq-test, ffhq   short for one such dataset; GPEN_DATASET_CELEBA_HQ and so on name another

Training reads items by their number, which a stream does not have: it is first written to files, and a run resumes to the bit.
The files hold the bytes of the dataset; they are decoded at use. Their names are the numbers of the rows, from 0.
FOLDER.rows.jsonl beside the folder holds the file name in the dataset and the other columns of each row, such as labels.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpen.errors import GPENError
from gpen.images import decode, encode, move_durably, write_atomically
from gpen.models.download import cache_folder
from gpen.optional import import_optional

KNOWN = {  # copies on the Hub that others made, none of them by the faces' publishers
    "celeba-hq": "hf:bitmind/celeb-a-hq:train[3000:]",  # for training: 27,000 of 30,000 at 1024 px
    "celeba-hq-test": "hf:bitmind/celeb-a-hq:train[:3000]",  # for evaluation: the others
    "ffhq": "hf:merkol/ffhq-256",  # 70,000 at 256 px
}
STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"BM": ".bmp"}
_NAME = re.compile(r"hf:(?P<dataset>[^:]+)(:(?P<split>[^:\[\]]+)(\[(?P<start>\d*):(?P<stop>\d*)\])?(:(?P<column>[^:]+))?)?")


@dataclass(frozen=True)
class Source:
    """Id of a dataset on the Hub (or a folder that `datasets` reads), split, column of images, rows from start to before stop."""

    dataset: str
    split: str = "train"
    column: str | None = None  # None: the only column of images, or the first
    start: int = 0
    stop: int | None = None  # None: to the end

    @property
    def folder(self) -> str:
        """Name of the folder in the cache."""
        rows = f"from-{self.start}" * bool(self.start), str(self.stop or "")
        parts = (self.dataset, self.split, self.column or "", *rows)
        return "--".join(re.sub(r"[^\w.-]+", "--", part).strip("-") for part in parts if part)

    @property
    def name(self) -> str:
        """The name that `named` reads."""
        rows = f"[{self.start or ''}:{self.stop or ''}]" if self.start or self.stop else ""
        return ":".join(["hf", self.dataset, self.split + rows, *filter(None, [self.column])])

    def first(self, count: int) -> Source:
        """The first `count` of these rows."""
        stop = self.start + count
        return replace(self, stop=stop if self.stop is None else min(stop, self.stop))

    def describe(self) -> str:
        """The dataset and its rows in words, for the recipe of a run."""
        rows = f"rows {self.start} to {self.stop - 1}" if self.stop else f"rows from {self.start}" if self.start else "all rows"
        column = f", column {self.column}" if self.column else ""
        return f"{self.dataset} on the Hugging Face Hub, split {self.split}{column}, {rows}"


def local_folder(data: str | Path, cache: str | Path | None = None) -> Path:
    """The folder with the images of `data`: a path itself, or the cached copy of a dataset, downloaded if necessary.

    cache: instead of $XDG_CACHE_HOME/gpen/datasets. An interrupted download continues; several processes download once.
    Raises GPENError where the package datasets is not installed, the Hub cannot be reached, or there is no such dataset, split
    or column.
    """
    source = named(data)
    if source is None:
        return Path(data)
    from filelock import FileLock  # a dependency of torch

    cache = Path(cache) if cache else cache_folder() / "datasets"
    folder = cache / source.folder
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _fill(source, folder)
    except OSError as error:
        way_out = "make room there, or choose another place with XDG_CACHE_HOME"
        raise GPENError(f"{source.dataset} cannot be kept in {cache} ({error}): {way_out}.") from None
    return folder


def named(data: str | Path) -> Source | None:
    """The dataset of a name; None for a path."""
    text = str(data)
    if text in KNOWN and not Path(text).exists():
        text = os.environ.get(f"GPEN_DATASET_{text.upper().replace('-', '_')}") or KNOWN[text]
        text = text if text.startswith("hf:") else f"hf:{text}"
    if not text.startswith("hf:"):
        return None
    match = _NAME.fullmatch(text)
    if not match:
        raise GPENError(f"{text} is not the name of a dataset: write hf:OWNER/NAME[:SPLIT[:COLUMN]].")
    start, stop = int(match["start"] or 0), int(match["stop"]) if match["stop"] else None
    if stop is not None and stop <= start:
        raise GPENError(f"{text} selects no image: write [START:STOP] with a larger number after the colon.")
    return Source(match["dataset"], match["split"] or "train", match["column"], start, stop)


def _fill(source: Source, folder: Path) -> None:
    """Write the images to FOLDER.partial as ROW.png, ...; it is renamed to FOLDER when it is complete."""
    from tqdm import tqdm

    partial, table = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.rows.jsonl")
    with _explained(source), contextlib.ExitStack() as stack:
        stream, column, labels = _open(source)
        partial.mkdir(exist_ok=True)
        images = [path for path in partial.iterdir() if not path.name.startswith(".")]
        lines = table.read_text().splitlines(keepends=True) if images and table.is_file() else []
        known = [line for line in lines if line.endswith("}\n")][: len(images)]
        there = len(known)  # after a loss of power there may be fewer lines than images
        write_atomically(table, "".join(known).encode())
        rows = stack.enter_context(open(table, "a"))
        stream = stream.take(source.stop) if source.stop else stream
        quiet = not sys.stderr.isatty()
        items = stream.skip(source.start + there)
        bar = tqdm(items, source.dataset, _count(source, stream), initial=there, unit="img", disable=quiet)
        for k, item in enumerate(bar, source.start + there):
            image = item.pop(column)
            data = _bytes(image)
            name = f"{k:08d}{_suffix(data)}"
            texts = {key: labels[key][item[key]] for key in labels if item[key] is not None and item[key] >= 0}
            print(json.dumps({"file": name, "name": image["path"], **item, **texts}, default=str), file=rows, flush=True)
            write_atomically(partial / name, data)
        os.fsync(rows.fileno())
    if not any(partial.iterdir()):
        shutil.rmtree(partial)
        raise GPENError(f"The split {source.split!r} of {source.dataset} holds no images: choose another.")
    move_durably(partial, folder)


def _open(source: Source) -> tuple:
    """The stream with undecoded images, the name of their column, and the names of the labels by their column."""
    from datasets import ClassLabel, Image, Value, load_dataset

    stream = load_dataset(source.dataset, split=source.split, streaming=True)
    features = stream.features or stream._resolve_features().features
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    images = images or [name for name, feature in features.items() if isinstance(feature, dict) and "bytes" in feature]
    column = source.column or next(iter(images), None)
    if column not in images:
        choice = ", ".join(images) or "another dataset"
        raise GPENError(f"{source.dataset} has no column of images{f' {column!r}' if column else ''}: choose {choice}.")
    others = [name for name, feature in features.items() if isinstance(feature, Value | ClassLabel)]
    labels = {name: features[name].names for name in others if isinstance(features[name], ClassLabel)}
    return stream.cast_column(column, Image(decode=False)).select_columns([column, *others]), column, labels


def _count(source: Source, stream: Any) -> int | None:
    """The number of images, for the progress bar; None if it is not known."""
    total = getattr((stream.info.splits or {}).get(source.split), "num_examples", None)
    stop = min(filter(None, (source.stop, total)), default=None)
    return stop and stop - source.start


def _bytes(item: dict) -> bytes:
    """File of an undecoded image: the bytes of the dataset, or PNG for other formats and external files."""
    data, path = item["bytes"], item["path"]
    if data is None:
        from datasets.utils.file_utils import xopen  # also opens addresses and members of archives

        with xopen(path, "rb") as file:
            data = file.read()
    return data if _suffix(data) else encode(decode(data, path or "An image"))


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in STARTS.items() if data.startswith(start)), "")


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Raise errors of `datasets` as a GPENError of one sentence; its own exception types vary."""
    datasets = import_optional("datasets", "train", "A Hugging Face dataset")
    try:
        yield
    except (GPENError, MemoryError):
        raise
    except datasets.exceptions.DatasetNotFoundError as error:
        gated = "gated" in str(error)
        reason = "it is gated, so log in with `hf auth login`" if gated else "check its name, and that you are online"
        raise GPENError(f"The dataset {source.dataset} cannot be read: {reason}.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno == 28:  # full disk: reported by local_folder
            raise
        reason = (str(error).splitlines() or [""])[0][:160].rstrip(". ") or type(error).__name__
        which = f"{source.dataset}, split {source.split},"
        raise GPENError(f"{which} cannot be read ({reason}): check its name and your connection, then try again.") from None
