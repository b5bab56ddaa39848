"""A writer thread for SQLite, which allows one writer at a time.

Queued jobs run in order and share a transaction. A commit waits for the disk (fsync). With many raters at once, one commit stores
the votes of all jobs in the queue.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

import sqlalchemy as sa

from gpen.errors import GPENError

MAX_BATCH = 64  # jobs in one transaction
Result = TypeVar("Result")
Job = Callable[[sa.Connection], object]


class WriterBusy(Exception):
    """The job did not start before the timeout and will not be run."""


class BatchWriter:
    """A thread with a queue of jobs.

    Jobs are functions of a connection that raise GPENError only before they write.
    """

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="vote writer")
        self._thread.start()

    def run(self, job: Callable[[sa.Connection], Result], timeout: float) -> Result:
        """Run a job and return its result after the commit.

        timeout limits the time in the queue, in seconds. Raises the exception of the job or of the commit, and WriterBusy.
        """
        future: Future = Future()
        self._jobs.put((job, future))
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.cancel():
                raise WriterBusy from None
            return future.result()  # already running; the timeout of the database limits it
        except CancelledError:
            raise WriterBusy from None

    def stop(self) -> None:
        """Run the jobs in the queue, then end the thread. No lock on the database remains when this returns."""
        self._jobs.put(None)
        self._thread.join()

    def _serve(self) -> None:
        running = True
        while running:
            batch = [self._jobs.get()]
            while len(batch) < MAX_BATCH and batch[-1] is not None:
                try:
                    batch.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            running = batch[-1] is not None
            self._commit([entry for entry in batch if entry and entry[1].set_running_or_notify_cancel()])

    def _commit(self, batch: list[tuple[Job, Future]]) -> None:
        """Run the jobs in one transaction. A database error fails all of them, a GPENError only its own job."""
        if not batch:
            return
        outcomes: list[tuple[Callable, object]] = []
        try:
            with self._engine.connect().execution_options(write=True) as connection, connection.begin():
                for job, future in batch:
                    try:
                        outcomes.append((future.set_result, job(connection)))
                    except GPENError as refusal:
                        outcomes.append((future.set_exception, refusal))
        except Exception as failure:
            outcomes = [(future.set_exception, failure) for _, future in batch]
        for resolve, outcome in outcomes:
            resolve(outcome)
