"""Find the photos and videos given by files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gpen.errors import GPENError
from gpen.file_names import NOT_AN_IMAGE, is_image, is_media, is_video, why_unreadable
from gpen.media.photo_file import is_writable
from gpen.media.video_output import CONTAINERS


@dataclass(frozen=True)
class Found:
    """Photos and videos with the paths of their results, {source: target}, and other files with the reason for skipping them."""

    files: dict[Path, Path] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)


def why_skipped(path: Path) -> str:
    """Why a file found in a folder is not restored, by its suffix; "" if it is."""
    suffix = path.suffix.lower()
    if suffix == ".ts" and path.open("rb").read(1) != b"\x47":  # a translation or program: no packet of a transport stream
        return "not a photo or video"
    if suffix in CONTAINERS or is_image(path) and is_writable(suffix):
        return ""
    if is_image(path):
        return f"a {suffix} image cannot be written: save it as PNG or JPEG"
    if is_video(path):
        return f"a {suffix} video cannot be written: convert it to .mp4 or .mkv"
    reason = why_unreadable(path)
    return "not a photo or video" if reason == NOT_AN_IMAGE else reason


def find_files(
    paths: Iterable[str | os.PathLike], out: Path, recursive: bool = False, skip: Callable[[Path], str] = why_skipped
) -> Found:
    """Find photos and videos given by files, folders and patterns (*, **); their results are in `out`.

    Paths relative to a folder, or to the part of a pattern without wildcards, are preserved in `out`. Files in `out` are left
    out; hidden files, and what is no file, are skipped. skip: (file of a folder) -> the reason for skipping it, "" if it is
    wanted. Raises GPENError for a path that does not exist, a folder or pattern without photos and videos, or two sources with
    the same target.
    """
    if out.exists() and not out.is_dir():
        raise GPENError(f"--out {out} is a file: give a folder.")
    found: dict[Path, Path] = {}
    skipped: dict[Path, str] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = _inside(path, out, recursive)
        elif path.exists():
            found[path] = Path(path.name)  # also one of an unknown kind: its error is reported when it is read
            continue
        elif glob.has_magic(str(path)):
            start, pattern = _literal_start(path)
            matches = (Path(start, match) for match in sorted(glob.glob(str(pattern), root_dir=start, recursive=True)))
            files = {match: match.relative_to(start) for match in matches if not match.is_dir()}
        else:
            raise GPENError(f"There is no file or folder {path}: check the path.")
        reasons = {source: _why_no_file(source) or skip(source) for source in files}
        wanted = {source: relative for source, relative in files.items() if not reasons[source]}
        if not wanted:
            others = sum(map(is_media, files))
            hint = f" ({others} of other formats)" if others else ""
            raise GPENError(f"{path} holds no photo or video{hint}: give another path, or search subfolders with --recursive.")
        found |= wanted
        skipped |= {source: reason for source, reason in reasons.items() if reason}
    sources: dict[Path, Path] = {}
    for source, relative in found.items():
        if (other := sources.setdefault(out / relative, source)) != source:
            raise GPENError(f"{other} and {source} would both be written to {out / relative}: give the folder that holds both.")
    return Found({source: target for target, source in sources.items()}, skipped)


def _literal_start(path: Path) -> tuple[Path, Path]:
    """Split a pattern behind its leading folders that exist literally, as in 'trip [2019]/*.jpg': (folders, pattern)."""
    start, parts = Path(), list(path.parts)
    while len(parts) > 1 and ((start / parts[0]).is_dir() or not glob.has_magic(parts[0])):
        start /= parts.pop(0)
    return start, Path(*parts)


def _inside(folder: Path, out: Path, recursive: bool) -> dict[Path, Path]:
    return {file: file.relative_to(folder) for file in _walk(folder, out, recursive)}


def _walk(folder: Path, out: Path, recursive: bool) -> Iterator[Path]:
    """Yield the files of a folder, and the subfolders that cannot be read."""
    unreadable: list[Path] = []
    for parent, subfolders, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        visited = [Path(parent, name) for name in sorted(subfolders) if recursive and not name.startswith(".")]
        subfolders[:] = [path.name for path in visited if path.resolve() != out.resolve()]
        yield from (Path(parent, name) for name in sorted(names))
    yield from (path for path in unreadable if path != folder)


def _why_no_file(path: Path) -> str:
    """Why a path found in a folder is not that of a file to read; "" if it is."""
    if path.is_file():
        return "a hidden file" if path.name.startswith(".") else ""
    if path.is_dir():
        return "a folder that cannot be read: check its permissions"
    return "a link to a file that does not exist" if path.is_symlink() else "not a regular file"
