"""Benchmark the engines against the textbook form of the network and plain convolutions.

    python -m bench.speed           three models, batch sizes 1 and 8; 15 minutes on two cores, 16 GB of memory
    python -m bench.speed --check   regression test, one to two minutes: batch size 1, exit code 1 if a ratio is below its floor

Engines and references are timed alternately, so that other load affects them equally; ratios are medians over the rounds. On
a machine with other load, --cpu-time uses one thread and measures its CPU time.

    textbook   bench.textbook: the formulation of the StyleGAN2 paper, float32, as in the published code of GPEN
    roofline   PyTorch's plain 3x3 convolutions with the widths, sizes and number of operations of the network

The same run compares the outputs. Writes speed.json and speed.png to bench/results, or --out, and prints the table of
docs/performance.md. Rows of other cases from the same machine are kept (--models, --batches).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tyro.conf import arg

import gpen
from bench import textbook
from bench.common.harness import RESULTS, ROOT, Clock, machine, set_clock
from bench.speed_report import REFERENCES, Row, accuracy_failures, merge_results, plot, speed_failures, table
from eval.benchmark import profiling
from gpen.cli.parsing import EngineName, Flag, Folder, parse
from gpen.engines.registry import load_engine
from gpen.errors import exit_status
from gpen.faces.samples import SAMPLES
from gpen.images import resize_to, to_tensor
from gpen.models.network import resolutions

ModelName = Literal["default", "GPEN-BFR-256", "GPEN-BFR-512"]
Call = Callable[[], Tensor | None]  # a function to time

MODELS: tuple[ModelName, ...] = get_args(ModelName)
CONFIGS = {  # with random weights; the default model is loaded
    "GPEN-BFR-256": gpen.GPENConfig(size=256, channel_multiplier=1, narrow=0.5),
    "GPEN-BFR-512": gpen.GPENConfig(size=512, channel_multiplier=2, narrow=1),
}
ENGINES = ("torch", "onnx", "openvino", "torch-bf16", "openvino-bf16")  # default of --engines, except for
SKIPPED = {("GPEN-BFR-512", 8): {"onnx"}}  # together they would need more than 24 GB of memory
ROUNDS, SECONDS = (3, 15), 60  # minimum and maximum rounds of a case, and their approximate total time in seconds
SLOW_CALL = 5.0  # seconds; slower calls are made once per round instead of twice
PAUSE = 0.1  # seconds before each turn, until the threads of the previous engine have stopped spinning


def network(name: ModelName) -> gpen.GPEN:
    """Return the model; in models with random weights all terms are non-zero."""
    if name == "default":
        return gpen.load()
    torch.manual_seed(0)
    net = gpen.GPEN(CONFIGS[name]).requires_grad_(False).eval()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the type stubs of torch
    for key, parameter in net.named_parameters():
        if key.endswith("noise_scale"):
            parameter.fill_(0.5)
    return net


def inputs(side: int, n: int) -> Tensor:
    """Return a face degraded with n seeds: [n, 3, side, side] in [-1, 1]."""
    face = SAMPLES["astronaut"].load(side)
    draws = (gpen.Degradation.sample("gpen-release-scaled", seed=k, size=side) for k in range(n))
    return torch.stack([to_tensor(resize_to(draw.resized(face), side)) for draw in draws])


def convolutions(config: gpen.GPENConfig) -> Iterator[tuple[int, int, int]]:
    """Yield (inputs, outputs, side) of plain 3x3 convolutions.

    They have the same number of operations as those of the network.
    """
    c = config.channels
    for side in resolutions(config.in_size)[1:]:  # stride 2: computed at the smaller size
        yield c(side), c(side // 2), side // 2
    for side in resolutions(config.size):
        if side > 4:  # upsampling: nine products for each sample at the smaller size
            yield 2 * c(side // 2), c(side), side // 2
        yield (c(4) if side == 4 else 2 * c(side)), c(side), side


def roofline(config: gpen.GPENConfig, n: int, dtype: torch.dtype) -> Callable[[], None]:
    shapes = list(convolutions(config))
    memory = torch.randn(n * max(i * side * side for i, _, side in shapes)).to(dtype)
    weights = [torch.randn(o, i, 3, 3).to(dtype, memory_format=torch.channels_last) for i, o, _ in shapes]

    @torch.inference_mode()
    def run() -> None:
        for weight, (i, _, side) in zip(weights, shapes, strict=True):
            x = memory[: n * i * side * side].view(n, side, side, i).permute(0, 3, 1, 2)
            F.conv2d(x, weight, padding=1)

    return run


def flop(config: gpen.GPENConfig, n: int) -> int:
    """Return the FLOP of the 3x3 convolutions of one call; a multiply-add counts as two.

    Other operations are a few percent of the total.
    """
    return n * sum(2 * 9 * i * o * side**2 for i, o, side in convolutions(config))


def runners(name: ModelName, n: int, engines: tuple[str, ...]) -> tuple[dict[str, Call], int]:
    """Return the functions to time, and the FLOP of one call.

    The functions of networks return [n, 3, size, size], those of rooflines None.
    """
    net = network(name)
    x = inputs(net.in_size, n)
    runs: dict[str, Call] = {}
    for engine in engines:
        if engine == "textbook":
            runs[engine] = partial(textbook.forward, net, x)
        elif engine in REFERENCES:
            runs[engine] = roofline(net.config, n, torch.bfloat16 if engine.endswith("bf16") else torch.float32)
        else:
            try:
                runs[engine] = partial(load_engine(net, engine), x)
            except gpen.GPENError as error:
                print(f"{engine} is skipped: {error}", file=sys.stderr)
    return runs, flop(net.config, n)


def measure(runs: dict[str, Call], rounds: tuple[int, int], clock: Clock) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Time all functions alternately; return the seconds per round, [rounds] each, and the first output of each network.

    The first call of each function is not timed. Every second round has the reverse order.
    """
    outputs = {name: y for name, run in runs.items() if (y := run()) is not None}
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for k in range(rounds[1]):
        if k >= rounds[0] and time.perf_counter() - start > SECONDS:
            break
        for name in list(runs)[:: -1 if k % 2 else 1]:
            time.sleep(PAUSE)
            for _ in range(2):  # the second call is timed, with warm caches
                begin = clock()
                runs[name]()
                seconds = clock() - begin
                if seconds > SLOW_CALL:
                    break
            times[name].append(seconds)
    return {name: np.array(values) for name, values in times.items()}, outputs


def case(name: ModelName, n: int, engines: tuple[str, ...], rounds: tuple[int, int], clock: Clock) -> list[Row]:
    """Benchmark one model at one batch size; returns a row for each engine and reference."""
    runs, operations = runners(name, n, (*REFERENCES, *engines))
    times, outputs = measure(runs, rounds, clock)
    rows = []
    for engine, values in times.items():
        bf16, seconds = engine.endswith("bf16"), float(np.median(values))
        roof = times["roofline-bf16" if bf16 else "roofline"]
        row = Row(
            name, n, engine, "bfloat16" if bf16 else "float32", len(values), seconds, operations / seconds / 1e9,
            against_textbook=float(np.median(times["textbook"] / values)), of_roofline=float(np.median(roof / values)),
        )  # fmt: skip
        rows.append(row.compared(outputs[engine], outputs["textbook"]) if engine in outputs else row)
        print(f"{name} x{n} {engine}: {row.seconds:.3f} s, {row.against_textbook:.2f} x textbook", file=sys.stderr)
    return rows


def print_memory(name: ModelName, n: int, engine: str) -> None:
    """Call the engine twice and print the peak memory of this process in MB as JSON: null if the system does not report it."""
    runs, _ = runners(name, n, (engine,))
    for run in runs.values():
        run()
        run()
    print(json.dumps(profiling.peak_memory()))


def with_memory(row: Row) -> Row:
    """Add the peak memory of a separate process that loads the model and calls the engine twice."""
    case = [row.model, str(row.batch), row.engine]
    command = [sys.executable, "-m", "bench.speed", "--memory", *case, "--threads", str(torch.get_num_threads())]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return replace(row, memory=json.loads(result.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    models: tuple[ModelName, ...] = MODELS  # models to time
    batches: tuple[int, ...] = (1, 8)  # batch sizes, at least 1
    engines: tuple[EngineName, ...] = ()  # engines to time; none: all for which the memory suffices
    rounds: tuple[int, int] = ROUNDS  # smallest and largest number of rounds of a case, at least 1
    threads: int | None = None  # number of threads; None: chosen by PyTorch, one per core
    cpu_time: Flag = False  # use one thread and measure its CPU time, for machines with other load
    check: Flag = False  # batch size 1, no memory measurement, no files; exit code 1 below the floors
    # model, batch size and engine whose peak memory this process measures and prints in MB
    memory: Annotated[tuple[ModelName, int, str] | None, arg(metavar="MODEL BATCH ENGINE")] = None
    out: Folder = RESULTS  # folder of the results


def run(options: Options) -> int:
    """Run the benchmark; returns 1 if a result does not meet a requirement."""
    clock = set_clock(options.cpu_time, options.threads)
    if options.memory:
        print_memory(*options.memory)
        return 0
    where = machine(options.cpu_time)
    rows: list[Row] = []
    for name in options.models:
        for n in (1,) if options.check else options.batches:
            engines = options.engines or tuple(one for one in ENGINES if one not in SKIPPED.get((name, n), ()))
            found = case(name, n, engines, options.rounds, clock)
            if options.check:
                rows += found
                continue
            found = [row if row.error is None else with_memory(row) for row in found]
            rows = merge_results(found, where, options.out / "speed.json", MODELS)
    if not options.check:
        plot(rows, options.out / "speed.png")
    print(table(rows))
    failures = accuracy_failures(rows) + speed_failures(rows)
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    return int(bool(failures))


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.speed", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
