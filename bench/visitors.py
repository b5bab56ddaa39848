"""Load test of the page: concurrent visitors, memory, and a killed server.

    python -m bench.visitors [--visitors 50] [--seconds 120] [--restorations 2000]

    load      every visitor moves the playground's slider as soon as the previous image is received, and answers trials of the
              study in another thread; reports errors by kind ("busy" is status 429), waits, and the fairness between visitors
    memory    resident memory of the server in MB during many restorations by a few visitors: at the start and at the end, each
              the median of a tenth of the run, and the slope over the second half, MB per 1,000 restorations
    crash     kill -9 during the same load, then a restart: seconds to the first page, and acknowledged answers that are missing
              or different in the store

The app runs in a process of its own. Writes visitors.json to bench/results, or --out. The exit code is 1 if there is an error
other than "busy", if memory grows or if an answer is lost.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx
import numpy as np

from bench.common.harness import RESULTS, ROOT, write_results
from bench.page import START, STEP, TIMEOUT, App, BenchmarkError, Visitor, from_new_address
from bench.raters import Acknowledged, compare
from eval.benchmark import profiling
from eval.preference.storage.store import VoteStore
from eval.preference.study import CHOICES, Study
from eval.preference.survey import Survey, new_code
from gpen.cli.parsing import Folder, parse
from gpen.errors import GPENError, exit_status

T = TypeVar("T")

STAYING = 4  # visitors during the memory measurement
WARM = 0.1  # fraction of the restorations before the memory measurement starts
THINKING = 0.5  # seconds of a rater per trial
BUSY_WAIT = 1.0  # seconds until a rejected visitor tries again
MIN_RESTORATIONS = 20  # of the memory measurement: enough points for the slope of its second half
GROWTH = 20.0  # MB per 1,000 restorations, less than 1 % of the size of all images


@dataclass
class VisitorLoad:
    """Measurements of the visitors: waits in seconds by visitor, times of the answers in seconds, number of errors by kind."""

    waits: dict[int, list[float]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    acknowledged: Acknowledged = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def attempt(self, call: Callable[[], T]) -> T | None:
        """Return the result of the call; if it is rejected or fails, count the error, wait and return None."""
        try:
            return call()
        except httpx.HTTPStatusError as error:
            busy = error.response.status_code == 429
            self.errors["busy" if busy else f"status {error.response.status_code}"] += 1
        except (httpx.TransportError, BenchmarkError) as error:
            if not self.stop.is_set():  # errors after the server was killed are expected
                self.errors[str(error) or type(error).__name__] += 1
        self.stop.wait(BUSY_WAIT)
        return None


def visit(app: App, seen: VisitorLoad, number: int) -> None:
    """Move the slider until the load test stops; no two visitors request the same image."""
    visitor: Visitor | None = None
    moves = 0
    while not seen.stop.is_set():
        visitor = visitor or seen.attempt(partial(Visitor, app.address))
        moves += 1
        value = START + STEP * (1 + number) + moves / 1000
        if visitor and (wait := seen.attempt(partial(visitor.move, value))) is not None:
            seen.waits[number].append(wait)


def rate(app: App, seen: VisitorLoad, survey: Survey) -> None:
    """Answer trials until the load test stops, with a new rater after each session."""
    with httpx.Client(base_url=f"{app.address}/study", timeout=TIMEOUT, headers=from_new_address()) as web:

        def ask(call: str, **body: str | int) -> Any:
            return web.post(f"/{call}", json=body).raise_for_status().json()

        while not seen.stop.is_set():
            code, number = new_code(), 0
            if seen.attempt(partial(ask, "consent", code=code)) is None:
                continue
            while not seen.stop.is_set() and (asked := seen.attempt(partial(ask, "next", code=code, n=1))):
                seen.stop.wait(THINKING)
                trial, choice, name = asked[0]["trial"], random.choice(CHOICES), f"answer-{number:04}"
                answer = partial(ask, "answer", code=code, id=name, trial=trial, choice=choice, ms=500)
                begin = time.perf_counter()
                if seen.attempt(answer) is not None:
                    seen.answers.append(time.perf_counter() - begin)
                    seen.acknowledged[survey.rater(code), name] = trial, choice
                number += 1


def load(app: App, visitors: int, seconds: float, survey: Survey, kill: bool = False) -> VisitorLoad:
    """Run all visitors concurrently for `seconds`; with `kill`, kill the server at the end."""
    seen = VisitorLoad(waits={number: [] for number in range(visitors)})
    with ThreadPoolExecutor(2 * visitors) as pool:
        jobs = [pool.submit(visit, app, seen, number) for number in range(visitors)]
        jobs += [pool.submit(rate, app, seen, survey) for _ in range(visitors)]
        time.sleep(seconds)
        seen.stop.set()
        if kill:
            app.process.kill()
            app.process.wait()
        for job in jobs:
            job.result()
    return seen


def memory(app: App, restorations: int) -> np.ndarray:
    """Return the resident memory of the server in MB after each restoration, [restorations]."""
    seen: list[float] = []

    def stay(number: int) -> None:
        visitor = Visitor(app.address)
        for k in range(restorations // STAYING):
            visitor.move(START + STEP * (number + 1) + k / 1000)
            seen.append(resident(app.process.pid))

    with ThreadPoolExecutor(STAYING) as pool:
        for job in [pool.submit(stay, number) for number in range(STAYING)]:
            job.result()
    return np.array(seen)


def resident(process: int) -> float:
    """Return the resident memory of a process in MB."""
    held = profiling.process_memory("VmRSS", process)
    if held is None:
        raise BenchmarkError("The memory is measured with /proc, which is not available: run this on Linux.")
    return held


@dataclass(frozen=True)
class Flatness:
    """Memory at the start and at the end in MB, and its slope in MB per 1,000 restorations."""

    start_mb: float
    end_mb: float
    slope_mb: float


def flatness(mb: np.ndarray) -> Flatness:
    """Return the memory at both ends and its slope over the second half.

    mb [n] is the memory after each restoration; the first WARM of it is ignored.
    """
    mb = mb[int(WARM * len(mb)) :]
    tenth, half = max(1, len(mb) // 10), mb[len(mb) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0] * 1000
    return Flatness(float(np.median(mb[:tenth])), float(np.median(mb[-tenth:])), float(slope))


@dataclass(frozen=True)
class Figures(Flatness):
    """Results of the load test, as in visitors.json; times are in seconds."""

    visitors: int
    seconds: float
    errors: dict[str, int]  # number by kind
    restorations: int
    wait: float  # median
    wait_p90: float
    wait_max: float
    fairness: float  # restorations per visitor, maximum / minimum
    answers: int
    answer: float  # median
    answer_p99: float
    watched: int  # restorations of the memory measurement
    start: float
    restart: float
    acknowledged: int  # answers
    lost: int
    doubled: int


def measure(visitors: int, seconds: float, restorations: int) -> Figures:
    """Run the whole load test on a new app."""
    with App() as app:
        study = Study.open(app.environment.get("GPEN_STUDY") or ROOT / "assets" / "study")
        with closing(VoteStore.open(f"sqlite:///{app.votes}")) as store:
            survey = Survey(study, store)
            start = app.start
            seen = load(app, visitors, seconds, survey)
            flat = flatness(memory(app, restorations))
            cut = load(app, visitors, seconds / 4, survey, kill=True)
            app.run()
            kept = compare(survey, seen.acknowledged | cut.acknowledged, set())
    waits = [wait for each in seen.waits.values() for wait in each] or [float("nan")]
    answers = seen.answers or [float("nan")]
    counts = [len(each) for each in seen.waits.values()]
    return Figures(
        flat.start_mb, flat.end_mb, flat.slope_mb, visitors, seconds, dict(seen.errors + cut.errors), sum(counts),
        wait=float(np.median(waits)), wait_p90=float(np.quantile(waits, 0.9)), wait_max=float(np.max(waits)),
        fairness=max(counts) / max(1, min(counts)), answers=len(seen.answers),
        answer=float(np.median(answers)), answer_p99=float(np.quantile(answers, 0.99)),
        watched=restorations, start=start, restart=app.start,
        acknowledged=len(seen.acknowledged) + len(cut.acknowledged), lost=kept["lost"], doubled=kept["doubled"],
    )  # fmt: skip


def failures(figures: Figures) -> list[str]:
    """Return a message for each failed requirement."""
    wrong = [f"{count} errors of kind {kind!r}" for kind, count in figures.errors.items() if kind != "busy"]
    if not figures.restorations or not figures.answers:
        wrong.append("There were no restorations or no answers")
    if figures.slope_mb > GROWTH and figures.end_mb > figures.start_mb + GROWTH:
        wrong.append(f"Memory grows by {figures.slope_mb:.0f} MB per 1,000 restorations")
    counts = {"lost": figures.lost, "doubled": figures.doubled}
    return wrong + [f"Answers {kind}: {count}" for kind, count in counts.items() if count]


def table(f: Figures) -> str:
    """Format the results as a Markdown table."""
    errors = ", ".join(f"{kind}: {count}" for kind, count in f.errors.items()) or "none"
    waits = f"{f.wait:.1f} / {f.wait_p90:.1f} / {f.wait_max:.1f} s"
    memory = f"{f.start_mb:.0f} to {f.end_mb:.0f} MB, {f.slope_mb:+.1f} MB per 1,000"
    lines = [
        f"| {f.visitors} visitors, {f.seconds:.0f} s | |",
        "| --- | ---: |",
        f"| restorations; wait, median / 90th percentile / maximum | {f.restorations}; {waits} |",
        f"| restorations per visitor, maximum / minimum | {f.fairness:.2f} |",
        f"| answers; median / 99th percentile | {f.answers}; {1000 * f.answer:.0f} / {1000 * f.answer_p99:.0f} ms |",
        f"| errors | {errors} |",
        f"| memory over {f.watched} restorations | {memory} |",
        f"| restart after kill -9; answers lost of {f.acknowledged} | {f.restart:.1f} s; {f.lost} |",
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    visitors: int = 50  # concurrent visitors, at least 1
    seconds: float = 120  # duration of the load test in s; the crash test takes a quarter of it
    restorations: int = 2000  # restorations of the memory measurement, at least 20
    out: Folder = RESULTS  # folder of the results

    def __post_init__(self) -> None:
        if self.visitors < 1 or self.restorations < MIN_RESTORATIONS:
            values = f"{self.visitors} and {self.restorations}"
            raise GPENError(f"visitors is at least 1 and restorations at least {MIN_RESTORATIONS}; got {values}.")


def run(options: Options) -> int:
    """Run the benchmark; returns 1 if a requirement is not met."""
    figures = measure(options.visitors, options.seconds, options.restorations)
    write_results(options.out / "visitors.json", figures)
    print(table(figures))
    wrong = failures(figures)
    for sentence in wrong:
        print(f"error: {sentence}.", file=sys.stderr)
    return int(bool(wrong))


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.visitors", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
