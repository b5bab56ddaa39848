"""Benchmark the engines against the textbook form of the network and plain convolutions.

    python -m bench.speed           three models, batch sizes 1 and 8; 15 minutes on two cores, 16 GB of memory
    python -m bench.speed --check   regression test, one to two minutes: batch size 1, exit code 1 if a ratio is below its floor

Engines and references are timed alternately, so that other load affects them equally; ratios are medians over the rounds. On
a machine with other load, --cpu-time uses one thread and measures its CPU time.

    textbook   bench.textbook: the formulation of the StyleGAN2 paper, float32, as in the published code of GPEN
    roofline   PyTorch's plain 3x3 convolutions with the widths, sizes and number of operations of the network

The same run compares the outputs. Writes bench/results/speed.json and speed.png, and prints the table of docs/performance.md.
Rows of other cases from the same machine are kept (--models, --batches).
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import gpen
from bench import textbook
from eval.benchmark import profiling
from gpen.cli.parsing import Flag, parse
from gpen.engines.registry import load_engine
from gpen.images import astronaut_face, resize_to, to_tensor
from gpen.models.network import resolutions

Clock = Callable[[], float]
RESULTS = Path(__file__).resolve().parent / "results"
MODELS = {  # None: the default model; the others have random weights
    "default": None,
    "GPEN-BFR-256": gpen.GPENConfig(size=256, channel_multiplier=1, narrow=0.5),
    "GPEN-BFR-512": gpen.GPENConfig(size=512, channel_multiplier=2, narrow=1),
}
ENGINES = ("torch", "onnx", "openvino", "torch-bf16", "openvino-bf16")
SKIPPED = {("GPEN-BFR-512", 8): {"onnx"}}  # default of --engines: together they would need more than 24 GB of memory
REFERENCES = ("textbook", "roofline", "roofline-bf16")
ROUNDS, SECONDS = (3, 15), 60  # minimum and maximum rounds of a case, and their approximate total time in seconds
SLOW_CALL = 5.0  # seconds; slower calls are made once per round instead of twice
PAUSE = 0.1  # seconds before each turn, until the threads of the previous engine have stopped spinning
TOLERANCE, PSNR = 1e-4, 40.0  # maximum relative error in float32; minimum PSNR in bfloat16, dB, default model
FLOORS = {"float32 against textbook": 2.0, "bfloat16 against textbook": 3.0, "float32 against roofline": 0.45}  # --check


def network(name: str) -> gpen.GPEN:
    """Return the model; in models with random weights all terms are non-zero."""
    if MODELS[name] is None:
        return gpen.load()
    torch.manual_seed(0)
    net = gpen.GPEN(MODELS[name]).requires_grad_(False).eval().to(memory_format=torch.channels_last)
    for key, parameter in net.named_parameters():
        if key.endswith("noise_scale"):
            parameter.fill_(0.5)
    return net


def inputs(side: int, n: int) -> Tensor:
    """Return a face degraded with n seeds: [n, 3, side, side] in [-1, 1]."""
    face = astronaut_face(side)
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


def runners(name: str, n: int, engines: tuple[str, ...]) -> tuple[dict[str, Callable], float]:
    """Return the functions to time, and the FLOP of one call.

    The functions have no arguments; those of networks return [n, 3, size, size].
    """
    net = network(name)
    x = inputs(net.in_size, n)
    runs = {}
    for engine in engines:
        if engine == "textbook":
            runs[engine] = partial(textbook.forward, net, x)
        elif engine.startswith("roofline"):
            runs[engine] = roofline(net.config, n, torch.bfloat16 if engine.endswith("bf16") else torch.float32)
        else:
            try:
                runs[engine] = partial(load_engine(net, engine), x)
            except gpen.GPENError as error:
                print(f"{engine} is skipped: {error}", file=sys.stderr)
    return runs, flop(net.config, n)


def measure(runs: dict[str, Callable], rounds: tuple[int, int], clock: Clock) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Time all functions alternately; return the seconds per round, and first outputs.

    The first call of each function is not timed.

    Every second round has the reverse order.
    """
    outputs = {name: run() for name, run in runs.items()}
    times, start = {name: [] for name in runs}, time.perf_counter()
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


def case(name: str, n: int, engines: tuple[str, ...], rounds: tuple[int, int], clock: Clock) -> list[dict]:
    """Benchmark one model at one batch size; returns a row for each engine and reference."""
    runs, operations = runners(name, n, (*REFERENCES, *engines))
    times, outputs = measure(runs, rounds, clock)
    expected = outputs["textbook"]
    rows = []
    for engine, values in times.items():
        bf16 = engine.endswith("bf16")
        row = {
            "model": name, "batch": n, "engine": engine, "precision": "bfloat16" if bf16 else "float32", "rounds": len(values),
            "seconds": float(np.median(values)), "gflops": operations / float(np.median(values)) / 1e9,
            "against_textbook": float(np.median(times["textbook"] / values)),
            "of_roofline": float(np.median(times["roofline-bf16" if bf16 else "roofline"] / values)),
        }  # fmt: skip
        if not engine.startswith("roofline"):
            y = outputs[engine]
            row["error"] = ((y - expected).abs().max() / expected.abs().max()).item()
            rmse = (y - expected).square().mean().sqrt().item()
            row["psnr"] = 20 * np.log10(2 * max(1.0, expected.abs().max().item()) / max(rmse, 1e-12))
        rows.append(row)
        print(f"{name} x{n} {engine}: {row['seconds']:.3f} s, {row['against_textbook']:.2f} x textbook", file=sys.stderr)
    return rows


def peak_memory(name: str, n: int, engine: str) -> float:
    """Return the peak memory in MB of a separate process that loads the model and calls the engine twice."""
    command = [sys.executable, "-m", "bench.speed", "--memory", name, str(n), engine, "--threads", str(torch.get_num_threads())]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=RESULTS.parents[1])
    return float(result.stdout.splitlines()[-1])


def accuracy_failures(rows: list[dict]) -> list[str]:
    """Return a message for each output that differs too much from that of the textbook form."""
    found = []
    for row in rows:
        what = f"{row['engine']} on {row['model']}, batch {row['batch']}"
        if row["precision"] == "float32" and row.get("error", 0) > TOLERANCE:
            found.append(f"{what}: the relative error is {row['error']:.1e}, above {TOLERANCE:.0e}.")
        if row["precision"] == "bfloat16" and row["model"] == "default" and row.get("psnr", PSNR) < PSNR:
            found.append(f"{what}: the PSNR is {row['psnr']:.1f} dB, below {PSNR:.0f} dB.")
    return found


def speed_failures(rows: list[dict]) -> list[str]:
    """Return a message for each floor that the best engine of its precision misses at batch size 1."""
    found = []
    for name in dict.fromkeys(row["model"] for row in rows if row["model"] != "default"):
        for floor, least in FLOORS.items():
            precision, reference = floor.split(" against ")
            ratio = "of_roofline" if reference == "roofline" else "against_textbook"
            mine = [row for row in rows if row["model"] == name and row["precision"] == precision and row["batch"] == 1]
            best = max((row[ratio] for row in mine if row["engine"] in ENGINES), default=None)
            if best is not None and best < least:
                found.append(f"{name}: the best engine in {floor} reaches {best:.2f}, below {least}.")
    return found


def table(rows: list[dict]) -> str:
    """Format the results as a Markdown table."""
    lines = ["| model | batch | engine | seconds | GFLOP/s | × textbook | of roofline | peak MB | error |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for row in rows:
        numbers = f"{row['seconds']:.3f} | {row['gflops']:.0f} | {row['against_textbook']:.2f} | {row['of_roofline']:.0%}"
        memory = f"{row['memory']:.0f}" if "memory" in row else ""
        error = ""
        if "error" in row:
            error = f"{row['psnr']:.0f} dB" if row["precision"] == "bfloat16" else f"{row['error']:.0e}"
        lines.append(f"| {row['model']} | {row['batch']} | {row['engine']} | {numbers} | {memory} | {error} |")
    return "\n".join(lines)


def machine() -> dict[str, str | int]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.processor()]
    return {"processor": names[0], "threads": torch.get_num_threads(), "torch": torch.__version__}


def merge_results(rows: list[dict], where: dict) -> list[dict]:
    """Merge the rows with those of other cases from the same machine, write them, and return all."""
    path = RESULTS / "speed.json"
    old = json.loads(path.read_text()) if path.exists() else {"machine": None}
    measured = {(row["model"], row["batch"]) for row in rows}
    if old["machine"] == where:
        rows = [row for row in old["rows"] if (row["model"], row["batch"]) not in measured] + rows
    rows.sort(key=lambda row: (list(MODELS).index(row["model"]), row["batch"]))
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")
    return rows


def plot(rows: list[dict], path: Path) -> None:
    """Plot the speed relative to the textbook form, one group of bars per model and batch size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys((row["model"], row["batch"]) for row in rows))
    engines = [engine for engine in (*ENGINES, "roofline", "roofline-bf16") if any(row["engine"] == engine for row in rows)]
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    for k, engine in enumerate(engines):
        found = {(row["model"], row["batch"]): row["against_textbook"] for row in rows if row["engine"] == engine}
        places = [place + (k - len(engines) / 2 + 0.5) * 0.12 for place, one in enumerate(cases) if one in found]
        style = {"fill": False, "hatch": "//"} if engine.startswith("roofline") else {}
        axes.bar(places, [found[one] for one in cases if one in found], 0.11, label=engine, **style)
    axes.axhline(1, color="0.4", linewidth=0.8)
    axes.set_xticks(range(len(cases)), [f"{name}\nbatch {n}" for name, n in cases])
    axes.set_ylabel("speed relative to the textbook form")
    figure.legend(loc="outside upper center", ncols=len(engines), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    models: tuple[str, ...] = tuple(MODELS)  # models to time: default, GPEN-BFR-256, GPEN-BFR-512
    batches: tuple[int, ...] = (1, 8)  # batch sizes, at least 1
    engines: tuple[str, ...] = ()  # engines to time; none: all for which the memory suffices
    rounds: tuple[int, int] = ROUNDS  # smallest and largest number of rounds of a case
    threads: int | None = None  # number of threads; None: chosen by PyTorch, one per core
    cpu_time: Flag = False  # use one thread and measure its CPU time, for machines with other load
    check: Flag = False  # batch size 1, no memory measurement; exit code 1 below the floors
    memory: tuple[str, int, str] | None = None  # model, batch size and engine whose memory this process measures


def main(argv: list[str] | None = None) -> int:
    arguments = parse(Options, argv, "python -m bench.speed", description=__doc__.splitlines()[0])
    if arguments.cpu_time or arguments.threads:
        torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.memory:
        name, n, engine = arguments.memory
        runs, _ = runners(name, int(n), (engine,))
        for _ in range(2):
            runs[engine]()
        print(profiling.peak_memory())
        return 0
    where, rows = machine() | {"clock": "cpu" if arguments.cpu_time else "wall"}, []
    for name in arguments.models:
        for n in [1] if arguments.check else arguments.batches:
            engines = arguments.engines or [one for one in ENGINES if one not in SKIPPED.get((name, n), ())]
            found = case(name, n, tuple(engines), tuple(arguments.rounds), clock)
            if arguments.check:
                rows += found
                continue
            for row in found:
                if not row["engine"].startswith("roofline"):
                    row["memory"] = peak_memory(name, n, row["engine"])
            rows = merge_results(found, where)
    if not arguments.check:
        plot(rows, RESULTS / "speed.png")
    print(table(rows))
    failures = accuracy_failures(rows) + speed_failures(rows)
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
