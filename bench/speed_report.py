"""Rows of bench.speed: requirements, Markdown table, plot, and merging with the results of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bench.common.harness import write_results
from gpen.images import replace_atomically

REFERENCES = ("textbook", "roofline", "roofline-bf16")
TOLERANCE, PSNR = 1e-4, 40.0  # maximum relative error in float32; minimum PSNR in bfloat16, dB, default model
FLOORS = {"float32 against textbook": 2.0, "bfloat16 against textbook": 3.0, "float32 against roofline": 0.45}  # --check


@dataclass(frozen=True)
class Row:
    """Results of an engine or reference for a model and a batch size. A roofline has no output and no memory measurement."""

    model: str
    batch: int
    engine: str
    precision: str  # float32 or bfloat16
    rounds: int
    seconds: float  # median over the rounds
    gflops: float  # GFLOP/s
    against_textbook: float  # speed relative to the textbook form, median over the rounds
    of_roofline: float  # speed relative to the roofline of the same precision, median over the rounds
    error: float | None = None  # largest difference to the output of the textbook form, relative to its largest value
    psnr: float | None = None  # dB, against the output of the textbook form
    memory: float | None = None  # peak memory in MB

    def compared(self, y: Tensor, expected: Tensor) -> Row:
        """Add the difference between the outputs of the engine and of the textbook form, both [n, 3, size, size]."""
        largest = expected.abs().max().item()
        rmse = (y - expected).square().mean().sqrt().item()
        psnr = 20 * float(np.log10(2 * max(1.0, largest) / max(rmse, 1e-12)))
        return replace(self, error=(y - expected).abs().max().item() / largest, psnr=psnr)


def accuracy_failures(rows: Sequence[Row]) -> list[str]:
    """Return a message for each output that differs too much from that of the textbook form."""
    found = []
    for row in rows:
        what = f"{row.engine} on {row.model}, batch {row.batch}"
        if row.precision == "float32" and row.error is not None and row.error > TOLERANCE:
            found.append(f"{what}: the relative error is {row.error:.1e}, above {TOLERANCE:.0e}.")
        if row.precision == "bfloat16" and row.model == "default" and row.psnr is not None and row.psnr < PSNR:
            found.append(f"{what}: the PSNR is {row.psnr:.1f} dB, below {PSNR:.0f} dB.")
    return found


def speed_failures(rows: Sequence[Row]) -> list[str]:
    """Return a message for each floor that the best engine of its precision misses at batch size 1."""
    found, rows = [], [row for row in rows if row.model != "default" and row.engine not in REFERENCES]
    for name in dict.fromkeys(row.model for row in rows):
        for floor, least in FLOORS.items():
            precision, reference = floor.split(" against ")
            mine = [row for row in rows if (row.model, row.precision, row.batch) == (name, precision, 1)]
            best = max((row.of_roofline if reference == "roofline" else row.against_textbook for row in mine), default=None)
            if best is not None and best < least:
                found.append(f"{name}: the best engine in {floor} reaches {best:.2f}, below {least}.")
    return found


def table(rows: Sequence[Row]) -> str:
    """Format the results as a Markdown table."""
    lines = ["| model | batch | engine | seconds | GFLOP/s | × textbook | of roofline | peak MB | error |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for row in rows:
        numbers = f"{row.seconds:.3f} | {row.gflops:.0f} | {row.against_textbook:.2f} | {row.of_roofline:.0%}"
        memory = "" if row.memory is None else f"{row.memory:.0f}"
        error = ""
        if row.error is not None:
            error = f"{row.psnr:.0f} dB" if row.precision == "bfloat16" else f"{row.error:.0e}"
        lines.append(f"| {row.model} | {row.batch} | {row.engine} | {numbers} | {memory} | {error} |")
    return "\n".join(lines)


def merge_results(rows: list[Row], machine: dict[str, str | int], path: Path, models: Sequence[str]) -> list[Row]:
    """Merge the rows with those of other cases from the same machine, write them to `path`, and return all.

    models: the order of the models in the file.
    """
    old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"machine": None}
    measured = {(row.model, row.batch) for row in rows}
    if old["machine"] == machine:
        kept = [Row(**row) for row in old["rows"]]
        rows = [row for row in kept if (row.model, row.batch) not in measured] + rows
    rows = sorted(rows, key=lambda row: (models.index(row.model), row.batch))
    write_results(path, {"machine": machine, "rows": rows})
    return rows


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot the speed relative to the textbook form, one group of bars per model and batch size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys((row.model, row.batch) for row in rows))
    engines = list(dict.fromkeys(row.engine for row in rows if row.engine != "textbook"))
    engines.sort(key=lambda engine: engine in REFERENCES)  # the references last
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    for k, engine in enumerate(engines):
        found = {(row.model, row.batch): row.against_textbook for row in rows if row.engine == engine}
        places = [place + (k - len(engines) / 2 + 0.5) * 0.12 for place, one in enumerate(cases) if one in found]
        heights, reference = [found[one] for one in cases if one in found], engine in REFERENCES
        axes.bar(places, heights, 0.11, label=engine, fill=not reference, hatch="//" if reference else None)
    axes.axhline(1, color="0.4", linewidth=0.8)
    axes.set_xticks(range(len(cases)), [f"{name}\nbatch {n}" for name, n in cases])
    axes.set_ylabel("speed relative to the textbook form")
    figure.legend(loc="outside upper center", ncols=len(engines), frameon=False, fontsize=8)
    with replace_atomically(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)
