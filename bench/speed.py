"""How fast the engines are: against the textbook form of the network and against the machine's own rate for convolutions.

    python -m bench.speed           three models, batches of 1 and 8; a quarter of an hour on two cores, 16 GB of memory
    python -m bench.speed --check   a regression check, one to two minutes: batch 1, exit code 1 where a ratio is below its floor

Engines and references take turns, so that what else the machine does slows them all; ratios are medians over the rounds. On a
machine that is never idle, --cpu-time takes one thread and its own time in place of the clock's.

    textbook   bench.textbook: StyleGAN2's formulation, float32; GPEN's published code computes so
    roofline   PyTorch's plain 3x3 convolutions of the network's widths and sizes and of as many operations, nothing between them

Outputs are compared in the same run. Written: bench/results/speed.json, speed.png and, on the screen, README's table. Cases that
were measured before on the same machine and not now (--models, --batches) keep their rows.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

import gpen
from bench import textbook
from eval import meter
from gpen.engines import load_engine
from gpen.network import sides
from gpen.restore import resize, square, to_tensor

Clock = Callable[[], float]
RESULTS = Path(__file__).resolve().parent / "results"
MODELS = {  # without a configuration: the file of the default model; the others have random weights
    "default": None,
    "GPEN-BFR-256": gpen.GPENConfig(size=256, channel_multiplier=1, narrow=0.5),
    "GPEN-BFR-512": gpen.GPENConfig(size=512, channel_multiplier=2, narrow=1),
}
ENGINES = ("torch", "onnx", "openvino", "torch-bf16", "openvino-bf16")
LEFT_OUT = {("GPEN-BFR-512", 8): {"onnx"}}  # without --engines: beside the others it would take more than 24 GB of memory
REFERENCES = ("textbook", "roofline", "roofline-bf16")
ROUNDS, SECONDS = (3, 15), 60  # rounds of a case: at least, at most, and for about how long
LONG = 5.0  # s; a call that takes longer is made once a turn
PAUSE = 0.1  # s before each turn: the threads of the engine before it stop spinning for more work
TOLERANCE, PSNR = 1e-4, 40.0  # of float32: share of the largest value; of bfloat16: dB, default model
FLOORS = {"float32 against textbook": 2.0, "bfloat16 against textbook": 3.0, "float32 against roofline": 0.45}  # --check


def network(name: str) -> gpen.GPEN:
    """The model, for those of random weights with every term at work."""
    if MODELS[name] is None:
        return gpen.load()
    torch.manual_seed(0)
    net = gpen.GPEN(MODELS[name]).requires_grad_(False).eval().to(memory_format=torch.channels_last)
    for key, parameter in net.named_parameters():
        if key.endswith("noise_scale"):
            parameter.fill_(0.5)
    return net


def inputs(side: int, n: int) -> Tensor:
    """A photographed face, degraded in n ways: [n, 3, side, side] in [-1, 1]."""
    face = square(skimage.data.astronaut()[18:196, 136:314], side)
    draws = (gpen.Degradation.sample("gpen-release", seed=k, size=side) for k in range(n))
    return torch.stack([to_tensor(resize(draw.resized(face), side)) for draw in draws])


def convolutions(config: gpen.GPENConfig) -> Iterator[tuple[int, int, int]]:
    """(inputs, outputs, side) of plain 3x3 convolutions, one for each of the network's and with as many operations."""
    c = config.channels
    for side in sides(config.in_size)[1:]:  # of stride 2: computed at the smaller side
        yield c(side), c(side // 2), side // 2
    for side in sides(config.size):
        if side > 4:  # doubling: nine products for each sample of the smaller side
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
    """Of the 3x3 convolutions of one call, all but a few percent of it: a multiplication and an addition are two."""
    return n * sum(2 * 9 * i * o * side**2 for i, o, side in convolutions(config))


def runners(name: str, n: int, engines: tuple[str, ...]) -> tuple[dict[str, Callable], float]:
    """What takes turns: functions without arguments; those of networks return [n, 3, size, size]. And FLOP of one call."""
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
                print(f"{engine} is left out: {error}", file=sys.stderr)
    return runs, flop(net.config, n)


def measure(runs: dict[str, Callable], rounds: tuple[int, int], clock: Clock) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Seconds of each call in each round, and what each returned in a first one, which does not count.

    Every second round goes the other way about.
    """
    outputs = {name: run() for name, run in runs.items()}
    times, start = {name: [] for name in runs}, time.perf_counter()
    for k in range(rounds[1]):
        if k >= rounds[0] and time.perf_counter() - start > SECONDS:
            break
        for name in list(runs)[:: -1 if k % 2 else 1]:
            time.sleep(PAUSE)
            for _ in range(2):  # the second counts: in use, an engine's weights and memory are not cold
                begin = clock()
                runs[name]()
                seconds = clock() - begin
                if seconds > LONG:
                    break
            times[name].append(seconds)
    return {name: np.array(values) for name, values in times.items()}, outputs


def case(name: str, n: int, engines: tuple[str, ...], rounds: tuple[int, int], clock: Clock) -> list[dict]:
    """One model at one batch size: a row for each engine and reference."""
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
    """MB that a process of its own takes at most that loads the model and calls the engine twice."""
    command = [sys.executable, "-m", "bench.speed", "--memory", name, str(n), engine, "--threads", str(torch.get_num_threads())]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=RESULTS.parents[1])
    return float(result.stdout.splitlines()[-1])


def wrong(rows: list[dict]) -> list[str]:
    """A sentence for each output that differs from the textbook's by more than it may."""
    found = []
    for row in rows:
        what = f"{row['engine']} on {row['model']}, batch {row['batch']}"
        if row["precision"] == "float32" and row.get("error", 0) > TOLERANCE:
            found.append(f"{what}: an output is off by {row['error']:.1e} of the largest value.")
        if row["precision"] == "bfloat16" and row["model"] == "default" and row.get("psnr", PSNR) < PSNR:
            found.append(f"{what}: {row['psnr']:.1f} dB is less than {PSNR:.0f}.")
    return found


def slow(rows: list[dict]) -> list[str]:
    """A sentence for each floor that the best engine of its precision misses at batch 1."""
    found = []
    for name in dict.fromkeys(row["model"] for row in rows if row["model"] != "default"):
        for floor, least in FLOORS.items():
            precision, reference = floor.split(" against ")
            ratio = "of_roofline" if reference == "roofline" else "against_textbook"
            mine = [row for row in rows if row["model"] == name and row["precision"] == precision and row["batch"] == 1]
            best = max((row[ratio] for row in mine if row["engine"] in ENGINES), default=None)
            if best is not None and best < least:
                found.append(f"{name}: the best engine in {floor} reaches {best:.2f}, less than {least}.")
    return found


def table(rows: list[dict]) -> str:
    """Markdown."""
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


def keep(rows: list[dict], where: dict) -> list[dict]:
    """Write the rows beside those of other cases that the same machine measured; returns all."""
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
    """Times faster than the textbook form, a group of bars for each model and batch size."""
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
    axes.set_ylabel("times as fast as the textbook form")
    figure.legend(loc="outside upper center", ncols=len(engines), frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="all that there is memory for without it")
    parser.add_argument("--rounds", nargs=2, type=int, default=ROUNDS, metavar=("LEAST", "MOST"))
    parser.add_argument("--threads", type=int, help="without it PyTorch's own choice: one a core")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and the time that it had a processor")
    parser.add_argument("--check", action="store_true", help="batch 1 and no memory; fail below the floors")
    parser.add_argument("--memory", nargs=3, metavar=("MODEL", "BATCH", "ENGINE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.cpu_time or arguments.threads:
        torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.memory:
        name, n, engine = arguments.memory
        runs, _ = runners(name, int(n), (engine,))
        for _ in range(2):
            runs[engine]()
        print(meter.peak_memory())
        return 0
    where, rows = machine() | {"clock": "cpu" if arguments.cpu_time else "wall"}, []
    for name in arguments.models:
        for n in [1] if arguments.check else arguments.batches:
            engines = arguments.engines or [one for one in ENGINES if one not in LEFT_OUT.get((name, n), ())]
            found = case(name, n, tuple(engines), tuple(arguments.rounds), clock)
            if arguments.check:
                rows += found
                continue
            for row in found:
                if not row["engine"].startswith("roofline"):
                    row["memory"] = peak_memory(name, n, row["engine"])
            rows = keep(found, where)
    if not arguments.check:
        plot(rows, RESULTS / "speed.png")
    print(table(rows))
    failures = wrong(rows) + slow(rows)
    for sentence in failures:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
