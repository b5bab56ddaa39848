"""A mounted folder in place of a dataset of the Hub, for hub.py: a bucket that a Space mounts, or any disk.

The folder has the files of the dataset. Every instance writes files of its own, completely and under a temporary name first, so
that a mount without locks, appending or random access suffices. There is no history: a deletion is complete.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gpen.errors import GPENError
from gpen.images import write_atomically


@dataclass(frozen=True)
class Entry:
    """A file of the folder."""

    path: str  # relative, with /
    blob_id: str  # of the content, as Git and the Hub compute it


class MountedFolder:
    """The methods of huggingface_hub.HfApi that the mirror calls, for a folder. Raises GPENError if it cannot be written."""

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)

    def create_repo(self, repo: str, **_: Any) -> None:
        """Check that the folder exists: a bucket that is not mounted must not be replaced by a folder that is lost."""
        if not self._folder.is_dir():
            raise GPENError(f"There is no folder {repo}: mount the bucket, or unset GPEN_VOTES_REPO.")

    def repo_info(self, repo: str, **_: Any) -> SimpleNamespace:
        """The privacy is that of the mount; there are no revisions."""
        return SimpleNamespace(private=True, sha=None)

    def list_repo_tree(self, repo: str, path: str, **_: Any) -> Iterator[Entry]:
        """The files of a subfolder, without temporary ones."""
        for file in sorted(self._folder.joinpath(path).glob("[!.]*")):
            data = file.read_bytes()
            yield Entry(f"{path}/{file.name}", hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest())

    def hf_hub_download(self, repo: str, path: str, **_: Any) -> str:
        """The path of a file."""
        return str(self._folder / path)

    def create_commit(self, repo: str, operations: Iterable[Any], **_: Any) -> None:
        """Write files, then remove others, so that an interruption leaves an event twice rather than nowhere."""
        removed = []
        for operation in operations:
            if hasattr(operation, "path_or_fileobj"):
                write_atomically(self._folder / operation.path_in_repo, operation.path_or_fileobj)
            else:
                removed.append(self._folder / operation.path_in_repo)
        for file in removed:
            file.unlink(missing_ok=True)

    def super_squash_history(self, repo: str, **_: Any) -> None:
        """There is no history."""
