"""The files of a Space: those of the last commit, and a study and a model that are named.

Files that are not committed, such as notes or a private study in assets/, are never uploaded. A committed study other than that
of the package is uploaded only if it is named.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from eval.preference.study import MANIFEST, Study
from gpen.errors import GPENError

ROOT = Path(__file__).resolve().parents[2]
FILES = ("app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt")
FOLDERS = ("gpen", "eval", "demo", "assets")
LOCK = "requirements-lock.txt"  # in this project
SPACE_LOCK = "pre-requirements.txt"  # of a Space: installed before everything else
SAMPLE_STUDY = "assets/study"
Files = dict[str, bytes]  # path in the Space, with /: content


@dataclass(frozen=True)
class Commit:
    """The last commit of this project."""

    id: str
    files: Files  # those that belong to a Space
    changed: tuple[str, ...]  # tracked files with changes that are not committed
    untracked: tuple[str, ...]  # files in the folders of a Space that are not committed and not ignored


def last_commit(root: Path = ROOT) -> Commit:
    """Read the last commit. Raises GPENError without a Git repository or without one of its required files."""
    paths = [*FILES, LOCK, *FOLDERS]
    commit = _git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    names = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", *paths).decode().split("\0")[:-1]
    if missing := [name for name in (*FILES, LOCK) if name not in names]:
        raise GPENError(f"The commit {commit[:12]} has no {missing[0]}, which a Space needs: commit it.")
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "--format=tar", "HEAD"))) as archive:
        wanted = {name: archive.extractfile(name) for name in names if archive.getmember(name).isfile()}  # no symbolic links
        files = {name: file.read() for name, file in wanted.items() if file}
    files[SPACE_LOCK] = files.pop(LOCK)
    status = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths).decode()
    lines = status.split("\0")[:-1]
    changed = tuple(line[3:] for line in lines if not line.startswith("??"))
    return Commit(commit, files, changed, tuple(line[3:] for line in lines if line.startswith("??")))


def without_studies(files: Files, kept: str | None = None) -> tuple[Files, list[str]]:
    """Leave out the folders with studies other than that of the package and `kept`; returns the other files and these folders."""
    folders = [path.removesuffix(f"/{MANIFEST}") for path in files if path.endswith(f"/{MANIFEST}")]
    private = [folder for folder in folders if folder not in (SAMPLE_STUDY, kept)]
    left = {path: data for path, data in files.items() if not any(path.startswith(f"{folder}/") for folder in private)}
    return left, private


def study_files(folder: Path, prefix: str) -> Files:
    """The manifest of a study and the images that it names, under `prefix`. Raises GPENError for a folder without a study."""
    study = Study.open(folder)
    return {f"{prefix}/{path}": (folder / path).read_bytes() for path in (MANIFEST, *sorted(study.image_paths))}


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True)
    except FileNotFoundError:
        raise GPENError("Git is not installed: the files of a Space are those of a commit.") from None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["unknown reason"])[0]
        raise GPENError(f"{root} is not a Git repository with a commit ({reason}): deploy from a clone of the project.")
    return done.stdout
