"""A lock on the folder of a run: two processes that write the same run would mix their results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpen.errors import GPENError

LOCK_FILE = ".lock"


@contextmanager
def lock_folder(folder: str | Path, option: str = "--out") -> Iterator[None]:
    """Hold the lock of a folder, which is created. The system releases it when the process ends, however it ends.

    option: of the command line, for the message. Raises GPENError if another process, or another run of this one, holds it.
    """
    from filelock import FileLock, Timeout  # a dependency of torch

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, blocking=False):
            yield
    except Timeout:
        raise GPENError(f"Another process writes to {folder}: wait until it ends, or choose another {option}.") from None
