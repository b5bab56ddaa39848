"""Temporary files of visitors: a folder of this process, emptied by age, with a quota that leaves room for the votes.

Everything below the folder is deleted by age: uploads, complete or aborted, results, previews that only HTML refers to, painted
masks and images of MCP tools. Files of the page itself, such as its samples, stay. The folder of a process that was killed is
deleted at the next start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from demo.server.limits.settings import Limits

PREFIX = "gpen-page-"
_ALIVE = ".alive"  # a file that a running process touches
_ABANDONED_SECONDS = 600.0  # without a touch, the process of a folder has ended
_LEAST_BYTES = 4096  # that a file or a folder takes on the disk, so that the quota bounds their number too


class TempFiles:
    """The temporary files of this process, in the new folder `folder` below GRADIO_TEMP_DIR.

    clock: seconds since the epoch, as in the times of files.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.time):
        self._limits, self._clock = limits, clock
        self._kept: Callable[[], Iterable[str]] = tuple
        self._also: Callable[[], object] = lambda: None
        base = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
        base.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned(base)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)).resolve()
        self._own: set[str] = {str(self.folder / _ALIVE)}
        self._used = 0  # bytes at the last search
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="temporary files", daemon=True)
        self.sweep()

    def has_room(self) -> bool:
        """Return whether files may be written: the quota is not used up, and the disk has room for the votes."""
        return self._used < self._limits.file_quota and shutil.disk_usage(self.folder).free > self._limits.free_disk

    def paths(self) -> set[str]:
        """Return the files and folders below the folder. Other threads may delete some meanwhile, which `Path.rglob` refuses."""
        return {os.path.join(parent, name) for parent, folders, names in os.walk(self.folder) for name in (*folders, *names)}

    def sweep(self) -> None:
        """Delete the files that are older than the limit and the folders that are empty then, and measure the rest."""
        (self.folder / _ALIVE).touch()
        kept, used = self._own.union(map(os.path.realpath, self._kept())), 0
        for parent, folders, names in os.walk(self.folder, topdown=False):
            for path in (os.path.join(parent, name) for name in names):
                status = _status(path)
                if status and path not in kept and self._age(status) > self._limits.file_seconds:
                    Path(path).unlink(missing_ok=True)
                elif status:
                    used += max(status.st_size, _LEAST_BYTES)
            status = _status(parent)
            used += _LEAST_BYTES if status else 0
            old = status and self._age(status) > self._limits.file_seconds
            if parent != str(self.folder) and (names or folders or old):
                _remove_empty(parent)
        self._used = used

    def start(self, kept: Callable[[], Iterable[str]] = tuple, also: Callable[[], object] = lambda: None) -> None:
        """Delete old files in a thread until `close`, except those of the page itself: all that exist now, and those of `kept`.

        kept: called at each search; returns the paths of files that stay. also: called at each search, to delete something else.
        """
        self._own |= self.paths()
        self._kept, self._also = kept, also
        self._thread.start()

    def close(self) -> None:
        """Delete the folder."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()  # it would write into the folder while it is deleted
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        while not self._stop.wait(self._limits.file_interval):
            self._also()
            try:
                self.sweep()
            except OSError as error:  # such as a disk that does not answer; the next search tries again
                print(f"Temporary files could not be deleted: {error.strerror or error}.")

    def _remove_abandoned(self, base: Path) -> None:
        for folder in base.glob(f"{PREFIX}*"):
            status = _status(folder / _ALIVE) or _status(folder)
            if status and not folder.is_symlink() and self._age(status) > _ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _age(self, status: os.stat_result) -> float:
        """Seconds since the last change."""
        return self._clock() - status.st_mtime


def _status(path: str | Path) -> os.stat_result | None:
    """The status of a file or folder, or None if another thread or process has removed it meanwhile."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove_empty(folder: str) -> None:
    with contextlib.suppress(OSError):  # it has files
        os.rmdir(folder)
