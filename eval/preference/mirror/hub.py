"""Copy of the events of a study in a private dataset on the Hub, for a Space without a persistent disk.

Each instance appends its events (storage/events.py) to files of its own, STUDY/events-INSTANCE-NUMBER.jsonl, so that instances do
not overwrite each other. Every PERIOD seconds, an instance merges the files of the others into its store and pushes the events
that no file has. A restarted Space starts with all files merged. A deletion removes the lines of its rater from all files, leaves
a tombstone, and squashes the history of the dataset.

A commit states the revision that it was made from, and is repeated after a conflict. Events of the last PERIOD seconds are lost
with the disk after kill -9 only; the page keeps its answers until they are copied, and sends lost ones again.
"""

import hashlib
import json
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.preference.storage.events import Event, identity, now
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote, parse_lines
from gpen.errors import GPENError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from eval.preference.mirror.mounted import MountedFolder

PERIOD = 60.0  # s, between two pushes; the Hub accepts about 128 commits per hour
SEGMENT = 2000  # events in a file; a push uploads one file again
MAX_FILES = 50  # more files than this are joined when an instance starts
ATTEMPTS = 8  # of a commit, after conflicts with other instances
CONFLICTS = (409, 412)  # HTTP status
OLD_FILE = "votes.jsonl"  # of version 1: the standing votes without their ids


@dataclass(frozen=True)
class MirrorStatus:
    """State of a mirror, for the owner."""

    repo: str
    age: float | None  # s since the last successful push or check; None: there was none
    waiting: int  # events that are not copied
    error: str | None  # of the last attempt


@dataclass
class EventFile:
    """A file of the dataset: its blob on the Hub, and its events by identity."""

    blob: str
    events: dict[tuple[str, ...], Event] = field(default_factory=dict)


class Mirror:
    """The copy of one study in the dataset `repo` ("owner/name").

    on_keys: called after keys of the study were merged. on_old_votes: stores the votes of a file of version 1.
    """

    def __init__(
        self,
        store: VoteStore,
        study: str,
        repo: str,
        on_keys: Callable[[], None],
        on_old_votes: Callable[[list[Vote]], object],
        api: "HfApi | MountedFolder | None" = None,
    ):
        from huggingface_hub import HfApi  # imported here because it takes time

        self.repo, self._store, self._study = repo, store, study
        self._api: Any = api or HfApi()
        self._on_keys, self._on_old_votes = on_keys, on_old_votes
        self.instance = f"{now()[:19].replace(':', '')}-{secrets.token_hex(4)}"
        self._files: dict[str, EventFile] = {}
        self._copied: frozenset[tuple[str, ...]] = frozenset()
        self._old: str | None = None  # path of a file of version 1
        self._number = 0  # of the file that grows
        self._squash = False  # whether lines were removed that the history still has
        self._synced: float | None = None
        self._error: str | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="mirror of votes")

    def start(self) -> None:
        """Create the dataset if it does not exist, check that it is private and that a push succeeds, merge it, and keep copying.

        Raises GPENError if any of this fails.
        """
        try:
            self._api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)
            self.sync(starting=True)
        except GPENError:
            raise
        except Exception as error:  # of requests, httpx or the Hub, which have no other common base class
            raise GPENError(
                f"The votes cannot be copied to the dataset {self.repo} ({_reason(error)}); check its name and the write access "
                "of HF_TOKEN, or unset GPEN_VOTES_REPO."
            ) from error
        self._thread.start()

    def stop(self) -> None:
        """Push the last events and end the copying. An error is printed, not raised."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try()

    def copied(self, rater: str, names: Iterable[str]) -> set[str]:
        """Those of the ids of a rater that are in the dataset: "ID" of an answer, "undo:ID" of its undo."""
        copied = self._copied
        keys = {name: ("undo", rater, name[5:]) if name.startswith("undo:") else ("answer", rater, name) for name in names}
        return {name for name, key in keys.items() if key in copied}

    def status(self) -> MirrorStatus:
        """The age of the last push and what waits."""
        waiting = sum(identity(event) not in self._copied for event in self._store.events(self._study))
        return MirrorStatus(self.repo, None if self._synced is None else time.monotonic() - self._synced, waiting, self._error)

    def sync(self, starting: bool = False) -> None:
        """Merge the files of the dataset into the store, and push what they lack.

        Raises GPENError, errors of the Hub, and OSError of a mounted folder.
        """
        from huggingface_hub.errors import HfHubHTTPError

        with self._lock:
            for attempt in range(ATTEMPTS):
                info = self._api.repo_info(self.repo, repo_type="dataset")
                if not info.private:
                    raise GPENError(f"The dataset {self.repo} is public, so that the votes would be: make it private.")
                try:
                    self._pull(info.sha or "main")
                    files, operations = self._changes(starting)
                    if operations:
                        message = "Events of the study"
                        named: Any = {"repo_type": "dataset", "commit_message": message, "parent_commit": info.sha}
                        self._api.create_commit(self.repo, operations, **named)
                    break
                except (HfHubHTTPError, FileNotFoundError) as error:
                    if not _is_conflict(error) or attempt + 1 == ATTEMPTS:
                        raise
            self._files = files
            self._copied = frozenset(key for file in files.values() for key in file.events)
            if self._squash:
                self._api.super_squash_history(self.repo, repo_type="dataset")
                self._squash = False
            self._synced, self._error = time.monotonic(), None

    def _pull(self, revision: str) -> None:
        """Read the files that have changed, and merge their events into the store."""
        from huggingface_hub.errors import EntryNotFoundError

        try:
            entries = list(self._api.list_repo_tree(self.repo, self._study, revision=revision, repo_type="dataset"))
        except EntryNotFoundError:  # no file of this study
            entries = []
        blobs = {entry.path: entry.blob_id for entry in entries if hasattr(entry, "blob_id")}
        event_files = {path: blob for path, blob in blobs.items() if path.startswith(f"{self._study}/events-")}
        files = {path: file for path, file in self._files.items() if path in event_files}
        fresh: list[Event] = []
        for path, blob in event_files.items():
            if path not in files or files[path].blob != blob:
                events = [_event(line, path) for line in self._read(path, revision).splitlines() if line.strip()]
                files[path] = EventFile(blob, {identity(event): event for event in events})
                fresh += events
        if fresh:
            self._store.merge(self._study, fresh)
        if any(event["event"] == "key" for event in fresh):
            self._on_keys()
        self._files = files  # only now: after an error, the next attempt reads all of them again
        self._old = f"{self._study}/{OLD_FILE}" if f"{self._study}/{OLD_FILE}" in blobs else None
        if self._old:
            self._on_old_votes(parse_lines(self._read(self._old, revision), self._old))

    def _read(self, path: str, revision: str) -> str:
        with tempfile.TemporaryDirectory() as folder:  # leaves no copy in the cache of the Hub
            named: Any = {"revision": revision, "repo_type": "dataset", "local_dir": folder}
            return Path(self._api.hf_hub_download(self.repo, path, **named)).read_text(encoding="utf-8")

    def _changes(self, starting: bool) -> tuple[dict[str, EventFile], list]:
        """The files as they should be, and the operations of a commit that makes them so."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        events = self._store.events(self._study)
        gone = {event["rater"] for event in events if event["event"] == "delete"}
        kept = {
            path: {key: event for key, event in file.events.items() if key[0] == "delete" or event.get("rater") not in gone}
            for path, file in self._files.items()
        }
        if any(len(kept[path]) < len(file.events) for path, file in self._files.items()):
            self._squash = True
        if starting and len(kept) > MAX_FILES:
            kept = {path: {} for path in kept}  # all events follow as new ones
        known = {key for of_file in kept.values() for key in of_file}
        for event in events:
            if identity(event) not in known:
                if len(kept.get(self._path, ())) >= SEGMENT:
                    self._number += 1
                kept.setdefault(self._path, {})[identity(event)] = event
        operations: list = []
        files: dict[str, EventFile] = {}
        for path, of_file in kept.items():
            before = self._files.get(path)
            if not of_file:
                operations.append(CommitOperationDelete(path))
            elif before and before.events.keys() == of_file.keys():
                files[path] = before
            else:
                data = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in of_file.values()).encode()
                files[path] = EventFile(_git_blob(data), of_file)
                operations.append(CommitOperationAdd(path, data))
        if starting:
            start = {"instance": self.instance, "time": now()}
            operations.append(CommitOperationAdd(f"{self._study}/start.json", json.dumps(start).encode()))
        if self._old:
            operations.append(CommitOperationDelete(self._old))
            self._squash = True
        return files, operations

    @property
    def _path(self) -> str:
        return f"{self._study}/events-{self.instance}-{self._number:04}.jsonl"

    def _serve(self) -> None:
        while not self._stopping.wait(PERIOD):
            self._try()

    def _try(self) -> None:
        """Synchronise; an error is kept for the owner, and printed when it is a new one."""
        try:
            self.sync()
        except Exception as error:
            reason = _reason(error)
            if reason != self._error:
                print(f"warning: the votes are not copied to {self.repo}: {reason}", file=sys.stderr, flush=True)
            self._error = reason


def _event(line: str, path: str) -> Event:
    try:
        return json.loads(line)
    except ValueError as error:
        raise GPENError(f"{path} has a line that is not JSON; restore the file from the history of the dataset.") from error


def _is_conflict(error: Exception) -> bool:
    """Whether another instance changed the dataset meanwhile: commits conflict, or a listed file of a mounted folder is gone."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in CONFLICTS or isinstance(error, FileNotFoundError)


def _reason(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _git_blob(data: bytes) -> str:
    """The id that Git, and so the Hub, gives to the content of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
