"""Find the photos and videos given by files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from gpen.errors import GPENError
from gpen.media.video import CONTAINERS

PHOTOS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def find_files(paths: Iterable[str | os.PathLike], out: Path, recursive: bool = False) -> dict[Path, Path]:
    """Find photos and videos given by files, folders and patterns (*, **); returns {source: target in `out`}.

    Paths relative to a folder, or to the part of a pattern without wildcards, are preserved in `out`. Hidden files and those in
    `out` are skipped. Raises GPENError for a path that does not exist, a folder or pattern without photos and videos, or two
    sources with the same target.
    """
    if out.exists() and not out.is_dir():
        raise GPENError(f"--out {out} is a file: give a folder.")
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
            raise GPENError(f"{path} holds no photo or video: give another path, or search subfolders with --recursive.")
        found |= files
    sources: dict[Path, Path] = {}
    for source, relative in found.items():
        if (other := sources.setdefault(out / relative, source)) != source:
            raise GPENError(f"{other} and {source} would both be written to {out / relative}: give the folder that holds both.")
    return {source: target for target, source in sources.items()}


def _inside(folder: Path, out: Path, recursive: bool) -> dict[Path, Path]:
    files = []
    for parent, subfolders, names in os.walk(folder):
        visited = [Path(parent, name) for name in sorted(subfolders) if recursive and not name.startswith(".")]
        subfolders[:] = [path.name for path in visited if path.resolve() != out.resolve()]
        files += [Path(parent, name) for name in sorted(names)]
    return {file: file.relative_to(folder) for file in files if _is_wanted(file)}


def _is_wanted(path: Path) -> bool:
    return path.suffix.lower() in PHOTOS | CONTAINERS.keys() and not path.name.startswith(".") and path.is_file()
