"""One writer for SQLite, which can have no more: jobs run in the order they came, and those that wait share a commit.

A commit costs a write to the disk that nothing can hurry; with two hundred raters at once, one serves them all.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as StillWaiting

import sqlalchemy as sa

from gpen.errors import GPENError

MOST = 64  # jobs of one commit


class Busy(Exception):
    """The job did not have its turn in time, and will not be run."""


class Writer:
    """A thread with a queue of jobs: functions of a connection, which refuse (GPENError) before they write."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True, name="study writer").start()

    def run(self, job: Callable[[sa.Connection], object], timeout: float) -> object:
        """The job's result, once it is on disk. Raises what the job or the commit raised, and Busy."""
        future: Future = Future()
        self._jobs.put((job, future))
        try:
            return future.result(timeout)
        except StillWaiting:
            if future.cancel():
                raise Busy from None
            return future.result()  # its turn has come: it ends, or fails by the database's own time limit
        except CancelledError:
            raise Busy from None

    def stop(self) -> None:
        """Jobs that wait are done first."""
        self._jobs.put(None)

    def _serve(self) -> None:
        going = True
        while going:
            batch = [self._jobs.get()]
            while len(batch) < MOST and batch[-1] is not None:
                try:
                    batch.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            going = batch[-1] is not None
            self._commit([entry for entry in batch if entry and entry[1].set_running_or_notify_cancel()])

    def _commit(self, batch: list[tuple[Callable, Future]]) -> None:
        """All in one transaction: a failure of the database is everyone's, a refusal only the job's own."""
        done: list[tuple[Callable, object]] = []
        try:
            with self._engine.connect().execution_options(write=True) as connection, connection.begin():
                for job, future in batch:
                    try:
                        done.append((future.set_result, job(connection)))
                    except GPENError as refusal:
                        done.append((future.set_exception, refusal))
        except Exception as failure:
            done = [(future.set_exception, failure) for _, future in batch]
        for tell, outcome in done:
            tell(outcome)
