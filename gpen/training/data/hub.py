"""Faces of a Hugging Face dataset as a folder of files: streamed once, in the order of the dataset, and cached.

    hf:OWNER/NAME[:SPLIT[:COLUMN]]    such as hf:merkol/ffhq-256, hf:OWNER/NAME:validation, hf:OWNER/NAME:train[:5000]:image
    celeba-hq, ffhq                   short for one such dataset; GPEN_DATASET_CELEBA_HQ and GPEN_DATASET_FFHQ name another

Training reads items by their number, which a stream does not have: it is first written to files, and a run resumes to the bit.
The files hold the bytes of the dataset; they are decoded at use.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpen.errors import GPENError
from gpen.models.download import cache_folder
from gpen.optional import import_optional

KNOWN = {  # copies on the Hub that others made, none of them by the faces' publishers
    "celeba-hq": "hf:korexyz/celeba-hq-256x256",  # 28,000 at 256 px
    "ffhq": "hf:merkol/ffhq-256",  # 70,000 at 256 px
}
STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"BM": ".bmp"}
_NAME = re.compile(r"hf:(?P<dataset>[^:]+)(:(?P<split>[^:\[\]]+)(\[:(?P<most>\d+)\])?(:(?P<column>[^:]+))?)?")


@dataclass(frozen=True)
class Source:
    """Id of a dataset on the Hub (or a folder that `datasets` reads), split, column of images, largest number of images."""

    dataset: str
    split: str = "train"
    column: str | None = None  # None: the only column of images, or the first
    most: int | None = None

    @property
    def folder(self) -> str:
        """Name of the folder in the cache."""
        parts = (self.dataset, self.split, self.column or "", str(self.most or ""))
        return "--".join(re.sub(r"[^\w.-]+", "--", part).strip("-") for part in parts if part)


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
    most = int(match["most"]) if match["most"] else None
    if most == 0:
        raise GPENError(f"{text} selects no image: write a number from 1 in the brackets.")
    return Source(match["dataset"], match["split"] or "train", match["column"], most)


def _fill(source: Source, folder: Path) -> None:
    """Write the images to FOLDER.partial as 00000000.png, ...; it is renamed to FOLDER when it is complete."""
    from tqdm import tqdm

    partial = folder.with_name(f"{folder.name}.partial")
    with _explained(source):
        stream, column = _open(source)
        partial.mkdir(exist_ok=True)
        there = len([path for path in partial.iterdir() if not path.name.startswith(".")])
        stream = stream.take(source.most) if source.most else stream
        total = source.most or (stream.info.splits or {}).get(source.split)
        items = (item[column] for item in stream.skip(there))
        quiet = not sys.stderr.isatty()
        bar = tqdm(items, source.dataset, getattr(total, "num_examples", total), initial=there, unit="img", disable=quiet)
        for k, item in enumerate(bar, there):
            data = _bytes(item)
            unfinished = partial / ".unfinished"
            unfinished.write_bytes(data)
            unfinished.replace(partial / f"{k:08d}{_suffix(data)}")
    if not any(partial.iterdir()):
        shutil.rmtree(partial)
        raise GPENError(f"The split {source.split!r} of {source.dataset} holds no images: choose another.")
    partial.replace(folder)


def _open(source: Source) -> tuple:
    """The stream with undecoded images, and the name of their column."""
    from datasets import Image, load_dataset

    stream = load_dataset(source.dataset, split=source.split, streaming=True)
    features = stream.features or stream._resolve_features().features
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    images = images or [name for name, feature in features.items() if isinstance(feature, dict) and "bytes" in feature]
    column = source.column or next(iter(images), None)
    if column not in images:
        choice = ", ".join(images) or "another dataset"
        raise GPENError(f"{source.dataset} has no column of images{f' {column!r}' if column else ''}: choose {choice}.")
    return stream.cast_column(column, Image(decode=False)).select_columns([column]), column


def _bytes(item: dict) -> bytes:
    """File of an undecoded image: the bytes of the dataset, or PNG for other formats and external files."""
    data, path = item["bytes"], item["path"]
    if data is None and Path(path).is_file():
        data = Path(path).read_bytes()
    if data is not None and _suffix(data):
        return data
    from datasets import Image

    png = io.BytesIO()
    Image().decode_example(item).convert("RGB").save(png, "PNG")
    return png.getvalue()


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
