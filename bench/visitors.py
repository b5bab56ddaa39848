"""Fifty visitors at once, restoring and rating: python -m bench.visitors [--visitors 50] [--seconds 120] [--restorations 2000]

    load      every visitor moves the playground's slider, again as soon as the picture is there, and answers the study's trials
              in another thread; errors by kind ("busy" is the queue's own answer), waits, the most over the least a visitor got
    memory    of the server, over many restorations by a few visitors who stay: resident MB at the start and at the end, each the
              median of a tenth of the run, and the slope of the line through the second half, MB per 1,000 restorations
    crash     kill -9 in the middle of the load, then the same again: seconds to the first page, and the answers that were
              acknowledged and are not in the store as they were given

The app is the real one in a process of its own. Written: bench/results/visitors.json, or --out. The exit code is 1 where there
was an error that is not "busy", where memory grows or an answer is lost.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from bench.page import PATIENCE, RESULTS, ROOT, START, STEP, App, Failed, Visitor
from bench.raters import compare
from eval import meter
from eval.preference.store import VoteStore
from eval.preference.study import CHOICES, Study
from eval.preference.survey import Survey, new_code

STAYING = 4  # visitors, while memory is watched
WARM = 0.1  # of the restorations, before memory is looked at
THINKING = 0.5  # s, of a rater over each trial
BUSY_WAIT = 1.0  # s, of a visitor who was told that it is busy
GROWTH = 20.0  # MB per 1,000 restorations: less than a hundredth of what a visitor's pictures would take if they were kept


@dataclass
class Load:
    """What the visitors saw: waits in seconds by visitor, what went wrong by kind, and acknowledged answers as bench.raters'."""

    waits: dict[int, list[float]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    errors: Counter = field(default_factory=Counter)
    acknowledged: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def attempt(self, call):
        """The call's result; None where it was refused or failed, which is counted, after a while."""
        try:
            return call()
        except httpx.HTTPStatusError as error:
            busy = error.response.status_code == 429
            self.errors["busy" if busy else f"status {error.response.status_code}"] += 1
        except (httpx.TransportError, Failed) as error:
            if not self.stop.is_set():  # what a visitor of a killed server sees is no error of the load
                self.errors[str(error) or type(error).__name__] += 1
        self.stop.wait(BUSY_WAIT)
        return None


def visit(app: App, seen: Load, number: int) -> None:
    """Move the slider until the load stops; no two visitors ask for the same picture."""
    visitor, moves = None, 0
    while not seen.stop.is_set():
        visitor = visitor or seen.attempt(lambda: Visitor(app.address))
        moves += 1
        value = START + STEP * (1 + number) + moves / 1000
        if visitor and (wait := seen.attempt(lambda visitor=visitor, value=value: visitor.move(value))) is not None:
            seen.waits[number].append(wait)


def rate(app: App, seen: Load, survey: Survey) -> None:
    """Answer trials until the load stops, as one rater after another: a session has an end."""
    with httpx.Client(base_url=f"{app.address}/study", timeout=PATIENCE) as web:

        def ask(call: str, **body) -> dict | list:
            return web.post(f"/{call}", json=body).raise_for_status().json()

        while not seen.stop.is_set():
            code, number = new_code(), 0
            if seen.attempt(lambda code=code: ask("consent", code=code)) is None:
                continue
            while not seen.stop.is_set() and (asked := seen.attempt(lambda code=code: ask("next", code=code, n=1))):
                seen.stop.wait(THINKING)
                trial, choice, name = asked[0]["trial"], random.choice(CHOICES), f"answer-{number:04}"
                body = {"code": code, "id": name, "trial": trial, "choice": choice, "ms": 500}
                begin = time.perf_counter()
                if seen.attempt(lambda body=body: ask("answer", **body)) is not None:
                    seen.answers.append(time.perf_counter() - begin)
                    seen.acknowledged[survey.rater(code), name] = trial, choice
                number += 1


def load(app: App, visitors: int, seconds: float, survey: Survey, kill: bool = False) -> Load:
    """All visitors at once, for so long; `kill` ends it by ending the server."""
    seen = Load(waits={number: [] for number in range(visitors)})
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
    """The server's resident MB after each restoration by STAYING visitors, [restorations]."""
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
    """MB of a process's memory that are in RAM."""
    held = meter.process_memory("VmRSS", process)
    if held is None:
        raise SystemExit("error: memory is watched through /proc, which is not here: run this on Linux.")
    return held


def flatness(mb: np.ndarray) -> dict[str, float]:
    """mb [n] after each restoration -> MB at the start (after WARM of them) and at the end, and the slope per 1,000."""
    mb = mb[int(WARM * len(mb)) :]
    tenth, half = max(1, len(mb) // 10), mb[len(mb) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0] * 1000
    return {"start_mb": float(np.median(mb[:tenth])), "end_mb": float(np.median(mb[-tenth:])), "slope_mb": float(slope)}


def measure(visitors: int, seconds: float, restorations: int) -> dict:
    """The whole bench on a fresh app."""
    with App() as app:
        study = Study.open(app.environment.get("GPEN_STUDY") or ROOT / "assets" / "study")
        with closing(VoteStore.open(f"sqlite:///{app.votes}")) as store:
            survey = Survey(study, store)
            first = app.start
            seen = load(app, visitors, seconds, survey)
            figures = flatness(memory(app, restorations))
            cut = load(app, visitors, seconds / 4, survey, kill=True)
            app.run()
            kept = compare(survey, seen.acknowledged | cut.acknowledged, set())
    waits = [wait for each in seen.waits.values() for wait in each] or [float("nan")]
    counts = [len(each) for each in seen.waits.values()]
    return {
        "visitors": visitors, "seconds": seconds, "errors": dict(seen.errors + cut.errors), "restorations": sum(counts),
        "wait": float(np.median(waits)), "wait_p90": float(np.quantile(waits, 0.9)), "wait_max": float(np.max(waits)),
        "fairness": max(counts) / max(1, min(counts)), "answers": len(seen.answers),
        "answer": float(np.median(seen.answers or [np.nan])), "answer_p99": float(np.quantile(seen.answers or [np.nan], 0.99)),
        "watched": restorations, **figures, "start": first, "restart": app.start,
        "acknowledged": len(seen.acknowledged) + len(cut.acknowledged), "lost": kept["lost"], "doubled": kept["doubled"],
    }  # fmt: skip


def failures(figures: dict) -> list[str]:
    """What is not as it should be, a sentence each."""
    wrong = [f"{count} times: {kind}" for kind, count in figures["errors"].items() if kind != "busy"]
    if not figures["restorations"] or not figures["answers"]:
        wrong.append("nothing was restored, or nothing answered")
    if figures["slope_mb"] > GROWTH and figures["end_mb"] > figures["start_mb"] + GROWTH:
        wrong.append(f"memory grows by {figures['slope_mb']:.0f} MB per 1,000 restorations")
    return wrong + [f"answers {kind}: {figures[kind]}" for kind in ("lost", "doubled") if figures[kind]]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.visitors", description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120, help="of the load; the crash comes after a quarter of it")
    parser.add_argument("--restorations", type=int, default=2000, help="over which memory is watched")
    parser.add_argument("--out", type=Path, default=RESULTS / "visitors.json")
    options = parser.parse_args(argv)
    figures = measure(options.visitors, options.seconds, options.restorations)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    f = figures
    print(f"| {f['visitors']} visitors, {f['seconds']:.0f} s | |\n| --- | ---: |")
    print(
        f"| restorations; wait, median / 90% / longest | {f['restorations']}; "
        f"{f['wait']:.1f} / {f['wait_p90']:.1f} / {f['wait_max']:.1f} s |"
    )
    print(f"| most over least a visitor got | {f['fairness']:.2f} |")
    print(f"| answers; median / 99% | {f['answers']}; {1000 * f['answer']:.0f} / {1000 * f['answer_p99']:.0f} ms |")
    print(f"| errors | {', '.join(f'{kind}: {count}' for kind, count in f['errors'].items()) or 'none'} |")
    print(
        f"| memory over {f['watched']} restorations | {f['start_mb']:.0f} to {f['end_mb']:.0f} MB, "
        f"{f['slope_mb']:+.1f} MB per 1,000 |"
    )
    print(f"| kill -9: restart; answers lost of {f['acknowledged']} | {f['restart']:.1f} s; {f['lost']} |")
    wrong = failures(figures)
    for sentence in wrong:
        print(f"error: {sentence}.", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
