"""The variants of GPEN side by side: a folder of weight files NAME.safetensors, or NAME-SEED.safetensors for several trainings.

The paper's ablation (GPEN, Yang et al., CVPR 2021) compares GPEN-w/o-ft, GPEN-w/o-noise, GPEN-noise-add and GPEN; whichever files
the folder holds are compared here. What a training's seed alone changes stands beside each mean: a smaller difference is none.
"""

import re
import statistics
from pathlib import Path

from eval.cells import heading, number
from eval.document import Block, Heading, Paragraph, Table
from eval.metrics import METRICS
from gpen.errors import GPENError

TASKS = ("bfr", "bfr-codeformer-2")  # blind restoration, lightly and heavily degraded
_VARIANT = re.compile(r"gpen:(?:.*/)?(?P<name>[^/]+)-(?P<seed>\d+)\.\w+")


def models(folder: str | Path) -> list[Path]:
    """The weight files of a folder, by name. Raises GPENError where there is none."""
    files = sorted(path for path in Path(folder).glob("*") if path.suffix in (".safetensors", ".pth"))
    if not files:
        raise GPENError(f"--models {folder} holds no weights; put NAME.safetensors or NAME-SEED.safetensors there")
    return files


def common_size(files: list[Path]) -> int:
    """The side in px of the networks' results, read off the files. Raises GPENError where they differ."""
    import gpen

    sizes = {path.name: gpen.load(path).size for path in files}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise GPENError(f"the models are of several sizes ({listed}); choose one with --size")
    return next(iter(sizes.values()))


def seed_blocks(summary: list[dict]) -> list[Block]:
    """A table for each task with variants of two seeds or more: the mean over seeds, and their standard deviation."""
    blocks: list[Block] = []
    for task in dict.fromkeys(entry["task"] for entry in summary):
        entries = [
            entry for entry in summary if entry["task"] == task and entry["metric"] in METRICS and entry["mean"] is not None
        ]
        variants = _by_variant(entries)
        metrics = list(dict.fromkeys(entry["metric"] for entry in entries))
        rows = [
            [name, str(max(map(len, values.values()))), *(_spread(metric, values.get(metric, [])) for metric in metrics)]
            for name, values in variants.items()
            if max(map(len, values.values())) > 1
        ]
        if rows:
            blocks += [
                Heading(2, f"{task}, over seeds"),
                Table(["variant", "seeds", *map(heading, metrics)], rows),
                Paragraph("Means over trainings ± their standard deviation."),
            ]
    return blocks


def _by_variant(entries: list[dict]) -> dict[str, dict[str, list[float]]]:
    """variant -> metric -> the means of its seeds."""
    variants: dict[str, dict[str, list[float]]] = {}
    for entry in entries:
        if match := _VARIANT.fullmatch(entry["method"]):
            variants.setdefault(match["name"], {}).setdefault(entry["metric"], []).append(entry["mean"])
    return variants


def _spread(metric: str, values: list[float]) -> str:
    if len(values) < 2:
        return number(metric, values[0]) if values else "-"
    return f"{number(metric, statistics.mean(values))} ± {number(metric, statistics.stdev(values))}"
