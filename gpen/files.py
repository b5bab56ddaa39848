"""Which photos and videos a user means, and files that appear whole or not at all."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from .errors import GPENError
from .video import CONTAINERS

PHOTOS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def find_files(paths: Iterable[str | os.PathLike], out: Path, recursive: bool = False) -> dict[Path, Path]:
    """The photos and videos named by files, folders and patterns (*, **): where each is, and where in `out` it goes.

    The names below a folder, or below the part of a pattern without *, are kept. Hidden files are passed over, and what lies in
    `out`. Raises GPENError for a path that is nothing, a folder without any, two that would go to one place.
    """
    if out.exists() and not out.is_dir():
        raise GPENError(f"--out {out} is a file: name a folder.")
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = _inside(path, out, recursive)
        elif path.exists():
            files = {path: Path(path.name)}
        elif glob.has_magic(str(path)):
            start = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
            matches = map(Path, sorted(glob.glob(str(path), recursive=True)))
            files = {match: match.relative_to(start) for match in matches if _is_wanted(match)}
        else:
            raise GPENError(f"There is no file or folder {path}: check the path.")
        if not files:
            raise GPENError(f"{path} holds no photo or video: name another, or look into its folders with --recursive.")
        found |= files
    sources: dict[Path, Path] = {}
    for source, relative in found.items():
        if (other := sources.setdefault(out / relative, source)) != source:
            raise GPENError(f"{other} and {source} would both become {out / relative}: name the folder that holds both.")
    return {source: target for target, source in sources.items()}


def write_whole(path: Path, data: bytes) -> None:
    """The file appears with all of `data`, or stays as it was; folders are made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.partial")
    half.write_bytes(data)
    half.replace(path)


def _inside(folder: Path, out: Path, recursive: bool) -> dict[Path, Path]:
    files = []
    for here, inner, names in os.walk(folder):
        deeper = [Path(here, name) for name in sorted(inner) if recursive and not name.startswith(".")]
        inner[:] = [path.name for path in deeper if path.resolve() != out.resolve()]
        files += [Path(here, name) for name in sorted(names)]
    return {file: file.relative_to(folder) for file in files if _is_wanted(file)}


def _is_wanted(path: Path) -> bool:
    return path.suffix.lower() in PHOTOS | CONTAINERS.keys() and not path.name.startswith(".") and path.is_file()
