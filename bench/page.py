"""Benchmark the response time of the page: start the app and move its slider.

    python -m bench.page [--moves 30] [--visitors 10]

    start     seconds from `python app.py` to the first complete page
    alone     seconds from a slider movement to the new image, one visitor
    together  the same with several visitors, each of whom moves the slider again as soon as the image is there

Writes page.json to bench/results, or --out. The exit code is 1 if a value exceeds twice its target.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from bench.common.harness import RESULTS, ROOT, free_port, write_results
from gpen.cli.parsing import Folder, parse
from gpen.errors import GPENError, exit_status

SLIDER, START, STEP = "blur-sigma", 1.0, 0.05  # slider, first value and increment: every image is a new one
WARM = 3  # movements of the single visitor before those that are measured
TOGETHER_MOVES = 5  # movements of each of several visitors
TARGETS = {"start": 10.0, "alone": 0.3, "together": 5.0}  # seconds; "together" is the longest wait of ten visitors
TIMEOUT = 300  # seconds, timeout of the app and of each image


class BenchmarkError(GPENError):
    """The page did not respond as expected."""


class App:
    """`python app.py` on a free port, with all its files in a temporary folder."""

    def __enter__(self) -> App:
        port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.votes = f"{self.folder.name}/votes.db"
        own = {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": self.folder.name, "GPEN_VOTES": self.votes}
        own["GPEN_TRUSTED_PROXIES"] = "1"  # every visitor has an own address, as behind the proxy of a Space
        self.environment, self.address = os.environ | own, f"http://127.0.0.1:{port}"
        self.run()
        return self

    def run(self) -> None:
        """Start or restart the app; `start` is the time to the first page in seconds."""
        begin = time.perf_counter()
        self.process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        while not self._served():
            if self.process.poll() is not None or time.perf_counter() - begin > TIMEOUT:
                self.close()
                raise BenchmarkError("The app did not start: run python app.py to see the reason.")
            time.sleep(0.02)
        self.start = time.perf_counter() - begin

    def _served(self) -> bool:
        try:
            return httpx.get(self.address, timeout=TIMEOUT).status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the app and delete its files."""
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.folder.cleanup()


_addresses = itertools.count(1)


def from_new_address() -> dict[str, str]:
    """Return the header of requests that a proxy passes on from another address than those before."""
    number = next(_addresses)
    return {"X-Forwarded-For": f"198.{18 + number // 2**16 % 2}.{number // 256 % 256}.{number % 256}"}


class Visitor:
    """A session of the page with an own address; knows the slider's event and the values of all its inputs."""

    def __init__(self, address: str):
        self.http = httpx.Client(base_url=f"{address}/gradio_api", timeout=TIMEOUT, headers=from_new_address())
        self.session = secrets.token_hex(8)
        config = self.http.get(f"{address}/config").raise_for_status().json()  # with the cookie of a visitor
        parts = {part["id"]: part for part in config["components"]}
        slider = next(key for key, part in parts.items() if part["props"].get("elem_id") == SLIDER)
        self.event = next(one for one in config["dependencies"] if [slider, "input"] in [list(t) for t in one["targets"]])
        self.values = [parts[key]["props"].get("value") for key in self.event["inputs"]]
        self.place, self.slider = self.event["inputs"].index(slider), slider

    def move(self, value: float) -> float:
        """Move the slider to `value`; returns the seconds until the restored image is received."""
        begin = time.perf_counter()
        self.values[self.place] = value
        request = {"data": self.values, "event_data": None, "fn_index": self.event["id"], "trigger_id": self.slider}
        self.http.post("/queue/join", json=request | {"session_hash": self.session}).raise_for_status()
        embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', self._answer()[0])  # damaged, restored, original
        content = base64.b64decode(embedded[1]) if len(embedded) == 3 else b""
        if not content.startswith(b"\x89PNG"):
            raise BenchmarkError("The response is not a PNG image.")
        return time.perf_counter() - begin

    def _answer(self) -> list[Any]:
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise BenchmarkError(f"The page responded with an error: {message['output']}.")
                    return message["output"]["data"]
        raise BenchmarkError("The page closed the connection without a response.")


def together(address: str, visitors: int, moves: int) -> list[list[float]]:
    """Return the waiting times of each visitor in seconds; no two visitors request the same image."""
    everyone = [Visitor(address) for _ in range(visitors)]

    def visit(k: int) -> list[float]:
        return [everyone[k].move(START + STEP * (1 + k * moves + i)) for i in range(moves)]

    with ThreadPoolExecutor(visitors) as pool:
        return list(pool.map(visit, range(visitors)))


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    moves: int = 30  # slider movements of the single visitor, at least 1
    visitors: int = 10  # number of simultaneous visitors, at least 1
    out: Folder = RESULTS  # folder of the results

    def __post_init__(self) -> None:
        if min(self.moves, self.visitors) < 1:
            raise GPENError(f"moves and visitors are at least 1; got {self.moves} and {self.visitors}.")


def run(options: Options) -> int:
    """Run the benchmark; returns 1 if a value exceeds twice its target."""
    with App() as app:
        one = Visitor(app.address)
        alone = [one.move(START + STEP * k) for k in range(options.moves + WARM)][WARM:]
        waits = together(app.address, options.visitors, TOGETHER_MOVES)
    means = [float(np.mean(each)) for each in waits]
    figures = {  # seconds; the fairness is a ratio
        "start": app.start, "alone": float(np.median(alone)), "alone_p90": float(np.quantile(alone, 0.9)),
        "together": float(np.max(waits)), "together_median": float(np.median(waits)), "fairness": max(means) / min(means),
    }  # fmt: skip
    write_results(options.out / "page.json", figures)
    print("| measurement | seconds | target |\n| --- | ---: | ---: |")
    print(f"| `python app.py` to first page | {figures['start']:.1f} | {TARGETS['start']:.0f} |")
    print(f"| slider to image, one visitor, median | {figures['alone']:.3f} | {TARGETS['alone']} |")
    print(f"| longest wait of {options.visitors} visitors | {figures['together']:.2f} | {TARGETS['together']:.0f} |")
    missed = [name for name, target in TARGETS.items() if figures[name] > 2 * target]
    if missed:
        print(f"error: These values exceed twice their target: {', '.join(missed)}.", file=sys.stderr)
    return int(bool(missed))


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.page", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
