"""Comparison of variants of GPEN, with several training seeds per variant.

A folder contains the weight files NAME.safetensors, or NAME-SEED.safetensors for several trainings.

The ablation in the publication of GPEN (Yang et al., CVPR 2021) compares GPEN-w/o-ft, GPEN-w/o-noise, GPEN-noise-add and GPEN.
The standard deviation over seeds is given with each mean: smaller differences between variants are not meaningful.
"""

import re
import statistics
from pathlib import Path
from typing import cast

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import task_label
from eval.metrics.registry import METRICS
from eval.report.document import Block, Heading, Note, Paragraph, Table
from eval.report.tables import by_size, environments_note, format_value, metric_heading, seen_note, upscaled_note
from gpen.errors import GPENError

TASKS = ("bfr-gpen-release-scaled", "bfr-codeformer-2")  # blind restoration with a mild and a severe degradation
_VARIANT = re.compile(r"gpen:(?:.*/)?(?P<name>[^/]+)-(?P<seed>\d+)\.\w+")


def models(folder: str | Path) -> list[Path]:
    """The weight files of a folder, sorted by name. Raises GPENError for a folder without weights."""
    files = sorted(path for path in Path(folder).glob("*") if path.suffix in (".safetensors", ".pth"))
    if not files:
        raise GPENError(f"--models {folder} contains no weights; add files NAME.safetensors or NAME-SEED.safetensors.")
    return files


def common_size(files: list[Path]) -> int:
    """The side in px of the outputs of the networks. Raises GPENError for different sizes."""
    import gpen

    sizes = {path.name: gpen.load(path).size for path in files}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise GPENError(f"The models have several sizes ({listed}); choose one with --size.")
    return next(iter(sizes.values()))


def seed_blocks(summary: list[SummaryEntry]) -> list[Block]:
    """One table per task for variants with several seeds: mean over seeds and standard deviation."""
    blocks: list[Block] = []
    for task in dict.fromkeys(entry.task for entry in summary):
        of_task = [entry for entry in summary if entry.task == task and entry.metric in METRICS and entry.mean is not None]
        for n, entries in by_size(of_task).items():
            blocks += _task_blocks(task, n, entries)
    return blocks


def merged_table(summary: list[SummaryEntry]) -> list[Block]:
    """One table of all tasks: mean over seeds ± standard deviation of variants with several seeds, the mean of other methods."""
    blocks: list[Block] = []
    for n, entries in by_size(entry for entry in summary if entry.metric in METRICS and entry.mean is not None).items():
        metrics = sorted({entry.metric for entry in entries}, key=list(METRICS).index)
        rows = []
        for task in dict.fromkeys(entry.task for entry in entries):
            of_task = [entry for entry in entries if entry.task == task and entry.method != GROUND_TRUTH]
            for name, values in _by_variant(of_task, others=True).items():
                rows.append([task_label(task), name, *(_spread(metric, values.get(metric, [])) for metric in metrics)])
        table = Table(["task", "variant", *(metric_heading(metric, n) for metric in metrics)], rows, 2)
        blocks += [table, Note(" ".join([f"{n} images. Mean over seeds ± standard deviation.", *_notes(metrics, entries)]))]
    return blocks


def _task_blocks(task: str, n: int, entries: list[SummaryEntry]) -> list[Block]:
    """The table of the variants with several seeds, and its notes."""
    metrics = list(dict.fromkeys(entry.metric for entry in entries))
    rows = [
        [name, str(max(map(len, values.values()))), *(_spread(metric, values.get(metric, [])) for metric in metrics)]
        for name, values in _by_variant(entries).items()
        if max(map(len, values.values())) > 1
    ]
    if not rows:
        return []
    blocks: list[Block] = [
        Heading(2, f"{task_label(task)}, over seeds, n = {n}"),
        Table(["variant", "seeds", *(metric_heading(metric, n) for metric in metrics)], rows),
        Paragraph("Mean over trainings ± standard deviation."),
    ]
    return blocks + [Note(note) for note in _notes(metrics, entries)]


def _notes(metrics: list[str], entries: list[SummaryEntry]) -> list[str]:
    """The notes of a table over seeds."""
    return [note for note in (seen_note(metrics), upscaled_note(entries), environments_note(entries)) if note]


def _by_variant(entries: list[SummaryEntry], others: bool = False) -> dict[str, dict[str, list[float]]]:
    """variant -> metric -> the means of its seeds. others: also the other methods, by their names."""
    variants: dict[str, dict[str, list[float]]] = {}
    for entry in entries:
        match = _VARIANT.fullmatch(entry.method)
        if match or others:
            name = match["name"] if match else entry.method
            variants.setdefault(name, {}).setdefault(entry.metric, []).append(cast(float, entry.mean))
    return variants


def _spread(metric: str, values: list[float]) -> str:
    if len(values) < 2:
        return format_value(metric, values[0]) if values else "-"
    return f"{format_value(metric, statistics.mean(values))} ± {format_value(metric, statistics.stdev(values))}"
