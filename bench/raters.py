"""Load test of the rating store: concurrent raters, and a process killed under load.

    python -m bench.raters [--raters 200] [--answers 15] [--study assets/study]

Every rater is a thread that consents, requests trials and answers them. As browsers do, it sometimes sends an answer twice,
sends it under another id (a second tab), or undoes one. Then the store is compared with the acknowledged answers: none may be
lost, duplicated or assigned to another rater. In the crash test a second process is killed (kill -9) during the load.
Both tests run on SQLite, and on PostgreSQL if it is installed or DATABASE_URL is set. Writes raters.json to bench/results, or
--out.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from tyro.conf import arg

from bench.common.harness import RESULTS, ROOT, write_results
from bench.common.postgres import NoPostgres, postgres
from eval.preference.storage.engines import StoreError
from eval.preference.storage.store import VoteStore
from eval.preference.study import CHOICES, Study
from eval.preference.survey import Survey, new_code
from gpen.cli.parsing import Folder, parse
from gpen.errors import GPENError, exit_status

MAX_RETRIES = 100  # retries while the store is busy

T = TypeVar("T")
OnAcknowledged = Callable[[str, str, str, str], object]  # rater, id, ticket of the trial, choice
Acknowledged = dict[tuple[str, str], tuple[str, str]]  # (rater, id) -> (ticket of the trial, choice)


@dataclass
class RaterLoad:
    """Measurements of the raters; times are seconds of each call."""

    acknowledged: Acknowledged = field(default_factory=dict)
    taken_back: set[tuple[str, str]] = field(default_factory=set)
    answer_seconds: list[float] = field(default_factory=list)
    next_seconds: list[float] = field(default_factory=list)
    busy: int = 0
    seconds: float = 0.0


def load(
    survey: Survey, raters: int, answers: int, on_acknowledged: OnAcknowledged | None = None, undo: bool = True
) -> RaterLoad:
    """Run all raters concurrently.

    on_acknowledged: called after each acknowledgement. undo: whether raters undo some of their answers.
    """
    seen, together = RaterLoad(), threading.Barrier(raters)
    start = time.perf_counter()
    with ThreadPoolExecutor(raters) as pool:
        jobs = [pool.submit(_rate, survey, number, answers, seen, on_acknowledged, undo, together) for number in range(raters)]
        for job in jobs:
            job.result()
    seen.seconds = time.perf_counter() - start
    return seen


def _rate(
    survey: Survey, number: int, answers: int, seen: RaterLoad, on_acknowledged: OnAcknowledged | None, undo: bool,
    together: threading.Barrier,
) -> None:  # fmt: skip
    code, chance = new_code(), random.Random(number)
    rater = survey.rater(code)
    together.wait()
    _with_retries(seen, lambda: survey.consent(code))
    for k in range(answers):
        asked = _timed(seen.next_seconds, lambda: _with_retries(seen, lambda: survey.next(code, 1)))
        if not asked:
            return
        trial, choice, name = asked[0]["trial"], chance.choice(CHOICES), f"answer-{number}-{k}"

        def send(id: str = name, trial: str = trial, choice: str = choice) -> None:
            _with_retries(seen, lambda: survey.answer(code, id=id, trial=trial, choice=choice, ms=500))

        _timed(seen.answer_seconds, send)
        seen.acknowledged[rater, name] = trial, choice
        if on_acknowledged:
            on_acknowledged(rater, name, trial, choice)
        if chance.random() < 0.2:  # a double click, or a retry after a lost connection
            send()
        if chance.random() < 0.1:  # a second tab
            send(f"second-{number}-{k}")
        if undo and chance.random() < 0.05:
            _with_retries(seen, partial(survey.undo, code, name))
            seen.taken_back.add((rater, name))


def _timed(seconds: list[float], call: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


def _with_retries(seen: RaterLoad, call: Callable[[], T]) -> T:
    """Retry a call while the store is busy, as the page does."""
    for _ in range(MAX_RETRIES):
        try:
            return call()
        except StoreError:
            seen.busy += 1
            time.sleep(0.1)
    return call()


def compare(survey: Survey, acknowledged: Acknowledged, taken_back: set[tuple[str, str]]) -> dict[str, int]:
    """Compare the store with the acknowledged answers.

    Returns the number of acknowledged answers that are missing or different ("lost"), of additional answers of one rater to
    one trial ("doubled"), and of answers of unknown raters ("foreign").
    """
    stored = survey.store.votes(survey.study.name)
    by_key = {(answer.rater, answer.id): (answer.trial, answer.choice) for answer in stored}
    trials = {key: survey.tickets.redeem(ticket, key[0])[0].id for key, (ticket, _) in acknowledged.items()}
    standing = {key: (trials[key], choice) for key, (_, choice) in acknowledged.items() if key not in taken_back}
    twice = Counter((answer.rater, answer.trial) for answer in stored)
    raters = {rater for rater, _ in acknowledged}
    return {
        "lost": sum(by_key.get(key) != value for key, value in standing.items()),
        "doubled": sum(count - 1 for count in twice.values()),
        "foreign": sum(answer.rater not in raters for answer in stored),
    }


def crash(study: Path, url: str, raters: int, after: int) -> tuple[dict[str, int], int]:
    """Kill a process under load after `after` acknowledged answers.

    Returns the counts of `compare`, and the number of acknowledged answers.

    Answers that were stored but not acknowledged before the kill count neither as lost nor as foreign.
    """
    command = [sys.executable, "-m", "bench.raters", "--worker", url, "--study", str(study), "--raters", str(raters)]
    worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.append(line)
        if len(lines) == after:
            worker.kill()
    worker.wait()
    acknowledged_lines = [line.split() for line in lines if line.endswith("\n")]
    acknowledged = {(rater, name): (trial, choice) for rater, name, trial, choice in acknowledged_lines}
    with closing(VoteStore.open(url)) as store:
        survey = Survey(Study.open(study), store)
        figures = compare(survey, acknowledged, set())
    return figures | {"foreign": 0}, len(acknowledged)


def _work(url: str, study: Path, raters: int) -> None:
    """Run the process that is killed: prints one line per acknowledged answer and undoes none."""
    writing = threading.Lock()

    def on_acknowledged(*acknowledged: str) -> None:
        with writing:
            sys.stdout.write(" ".join(acknowledged) + "\n")
            sys.stdout.flush()

    survey = Survey(Study.open(study), VoteStore.open(url))
    load(survey, raters, survey.study.session, on_acknowledged, undo=False)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Yield name -> address of new databases."""
    with tempfile.TemporaryDirectory() as folder:
        found = {"SQLite": f"sqlite:///{folder}/votes.sqlite"}
        if "DATABASE_URL" in os.environ:
            yield found | {"PostgreSQL": os.environ["DATABASE_URL"]}
            return
        try:
            with postgres() as url:
                yield found | {"PostgreSQL": url}
        except NoPostgres as reason:
            print(reason, file=sys.stderr)
            yield found


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    raters: int = 200  # concurrent raters, at least 1
    answers: int = 15  # answers per rater, at least 1
    study: Folder = ROOT / "assets" / "study"  # folder of the study
    out: Folder = RESULTS  # folder of the results
    # URL of the database, postgresql:// or sqlite:///; used by the crash test to start its worker process
    worker: Annotated[str | None, arg(metavar="URL")] = None

    def __post_init__(self) -> None:
        if min(self.raters, self.answers) < 1:
            raise GPENError(f"raters and answers are at least 1; got {self.raters} and {self.answers}.")


@dataclass(frozen=True)
class Row:
    """Results of the load test or the crash test on a database.

    The load test also has the rate of the answers per second, and medians and 99th percentiles of both calls in seconds.
    """

    store: str
    raters: int
    answers: int
    lost: int
    doubled: int
    foreign: int
    rate: float | None = None
    answer_median: float | None = None
    answer_p99: float | None = None
    next_median: float | None = None
    next_p99: float | None = None


def run(options: Options) -> int:
    """Run both tests on all databases; returns 1 if an answer was lost, duplicated or assigned to another rater."""
    if options.worker:
        _work(options.worker, options.study, options.raters)
        return 0
    rows: list[Row] = []
    with databases() as urls:
        for name, url in urls.items():
            rows += [loaded(name, url, options), killed(name, url, options)]
    write_results(options.out / "raters.json", rows)
    print(table(rows))
    return int(any(row.lost or row.doubled or row.foreign for row in rows))


def loaded(name: str, url: str, options: Options) -> Row:
    """Run the load test on a database; returns its row of the table."""
    with closing(VoteStore.open(url)) as store:
        survey = Survey(Study.open(options.study), store)
        seen = load(survey, options.raters, options.answers)
        figures = compare(survey, seen.acknowledged, seen.taken_back)
    answer, next_ = np.array(seen.answer_seconds), np.array(seen.next_seconds)
    return Row(
        name, options.raters, len(seen.acknowledged), figures["lost"], figures["doubled"], figures["foreign"],
        rate=len(seen.acknowledged) / seen.seconds,
        answer_median=float(np.median(answer)), answer_p99=float(np.quantile(answer, 0.99)),
        next_median=float(np.median(next_)), next_p99=float(np.quantile(next_, 0.99)),
    )  # fmt: skip


def killed(name: str, url: str, options: Options) -> Row:
    """Run the crash test on a database; returns its row of the table."""
    figures, count = crash(options.study, url, options.raters, after=options.raters * 2)
    return Row(f"{name}, kill -9", options.raters, count, figures["lost"], figures["doubled"], figures["foreign"])


def table(rows: Sequence[Row]) -> str:
    """Format the results as a Markdown table."""
    heads = ["store", "raters", "answers", "lost", "duplicated", "foreign", "answers/s"]
    heads += [f"{what}, median / 99th percentile" for what in ("answer", "next trial")]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        counts = (row.store, row.raters, row.answers, row.lost, row.doubled, row.foreign)
        rate = "" if row.rate is None else f"{row.rate:.0f}"
        cells = [*map(str, counts), rate, _ms(row.answer_median, row.answer_p99), _ms(row.next_median, row.next_p99)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ms(median: float | None, p99: float | None) -> str:
    return "" if median is None or p99 is None else f"{median * 1000:.0f} / {p99 * 1000:.0f} ms"


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.raters", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
