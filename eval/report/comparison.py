"""Comparison of runs: the same method on the same task, paired by image for identical inputs.

Its JSON form is a list of {"task", "method", "metric", "runs": {RUN: mean}, "differences": {RUN: {"diff", "diff_low",
"diff_high", "n"}}}, with the differences to the first run.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmark.store import Row, RowKey, read_rows
from eval.benchmark.summary import SummaryEntry, per_image_entry
from eval.data.lq_sets import task_label
from eval.metrics.registry import METRICS, is_per_image
from eval.report.document import Block, Heading, Note, Paragraph, Table
from eval.report.tables import format_difference, format_value, in_order, method_labels, metric_headings, table_notes
from gpen.errors import GPENError


@dataclass(frozen=True)
class FinishedRun:
    """The files of a finished run."""

    folder: Path
    summary: list[SummaryEntry]
    recipe: dict

    @classmethod
    def open(cls, folder: str | Path) -> "FinishedRun":
        """Read the files of a run. Raises GPENError for a folder without a finished run."""
        folder = Path(folder)
        try:
            summary = in_order(SummaryEntry(**entry) for entry in json.loads((folder / "summary.json").read_text()))
            recipe = json.loads((folder / "recipe.json").read_text())
        except OSError as error:
            raise GPENError(f"{folder} is not a finished run; create one with python -m eval run.") from error
        except (ValueError, TypeError) as error:
            raise GPENError(f"{folder} has a damaged summary.json or recipe.json; run the command again.") from error
        if "tasks" not in recipe:
            raise GPENError(f"{folder} was made by a version whose fsr and bfr tasks differ from today's; run the command again.")
        return cls(folder, summary, recipe)

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(entry.task for entry in self.summary))

    def entries(self) -> dict[tuple[str, str, str], SummaryEntry]:
        """The entries by task, method and metric, without the costs."""
        return {(entry.task, entry.method, entry.metric): entry for entry in self.summary if entry.metric in METRICS}

    def inputs(self, task: str) -> dict[str, tuple[str, str]]:
        """sha256 of the low-quality file and of the ground truth of each image of a task."""
        path = self.folder / "lq" / task / "params.json"
        images = json.loads(path.read_text())["images"] if path.is_file() else {}
        return {name: (entry["sha256"], entry["truth_sha256"]) for name, entry in images.items()}


def run_names(runs: list[FinishedRun]) -> dict[str, FinishedRun]:
    """The runs by the names of their folders, or by their paths where two folders have the same name."""
    short = [run.folder.resolve().name for run in runs]
    return {name if short.count(name) == 1 else str(run.folder): run for name, run in zip(short, runs, strict=True)}


@dataclass(frozen=True)
class ComparisonEntry:
    """One metric of one method on one task in several runs."""

    task: str
    method: str
    metric: str
    runs: dict[str, float | None]  # run -> mean
    sizes: dict[str, int]  # run -> number of images
    differences: dict[str, SummaryEntry]  # run -> paired difference to the first run

    def to_dict(self) -> dict:
        """The JSON form."""
        keys = ("diff", "diff_low", "diff_high", "n")
        differences = {name: {key: getattr(entry, key) for key in keys} for name, entry in self.differences.items()}
        return {"task": self.task, "method": self.method, "metric": self.metric, "differences": differences, "runs": self.runs}


def comparison(runs: list[FinishedRun]) -> list[ComparisonEntry]:
    """The entries that the first run has in common with others."""
    if len(runs) < 2:
        return []
    (first_name, first), *others = run_names(runs).items()
    rows = {name: read_rows(run.folder / "per_image.csv")[1] for name, run in run_names(runs).items()}
    tables = {name: run.entries() for name, run in run_names(runs).items()}
    inputs = {task: first.inputs(task) for task in first.tasks}
    shared = {name: {task: _same(inputs[task], run.inputs(task)) for task in first.tasks} for name, run in others}
    found = []
    for key, entry in tables[first_name].items():
        task, method, metric = key
        sharing = [name for name, _ in others if key in tables[name]]
        empty = replace(entry, diff=None, diff_low=None, diff_high=None, baseline=first_name)
        differences = {
            name: _paired(
                replace(
                    empty,
                    trained=max(entry.trained, tables[name][key].trained),
                    chosen=max(entry.chosen, tables[name][key].chosen),
                    upscaled=max(entry.upscaled, tables[name][key].upscaled),
                    environments=max(entry.environments, tables[name][key].environments),
                ),
                _pick(rows[name], task, method, shared[name][task]),
                _pick(rows[first_name], task, method, shared[name][task]),
            )
            for name in sharing
        }
        if sharing:
            own = {first_name: entry} | {name: tables[name][key] for name in sharing}
            means, sizes = {name: one.mean for name, one in own.items()}, {name: one.n for name, one in own.items()}
            found.append(ComparisonEntry(task, method, metric, means, sizes, differences))
    return found


def _same(a: dict[str, tuple], b: dict[str, tuple]) -> set[str]:
    """The images with identical hashes in both."""
    return {name for name in a.keys() & b.keys() if a[name] == b[name]}


def _pick(rows: dict[RowKey, Row], task: str, method: str, images: set[str]) -> dict[str, Row]:
    keys = [RowKey(image, task, method) for image in sorted(images)]
    return {key.image: rows[key] for key in keys if key in rows}


def _paired(entry: SummaryEntry, own: dict[str, Row], base: dict[str, Row]) -> SummaryEntry:
    """The paired difference over the images of both; None for a set metric."""
    both = own.keys() & base.keys()
    return per_image_entry(entry, {image: row for image, row in own.items() if image in both}, base)


def comparison_blocks(runs: list[FinishedRun]) -> list[Block]:
    """One table per task: a row per method and metric, a column per run and per difference."""
    entries = comparison(runs)
    if not entries:
        return []
    (first, *others), short = run_names(runs), method_labels(entry.method for entry in entries)
    headings = metric_headings(one for run in runs for one in run.summary)
    blocks: list[Block] = [Heading(1, "Comparison of runs")]
    for task in dict.fromkeys(entry.task for entry in entries):
        rows = [
            [
                short[entry.method],
                headings[entry.metric],
                *(_mean(entry, name) for name in (first, *others)),
                *(format_difference(entry.differences.get(name)) for name in others),
            ]
            for entry in entries
            if entry.task == task
        ]
        head = ["method", "metric", first, *others, *(f"{name} - {first}" for name in others)]
        blocks += [Heading(2, task_label(task)), Table(head, rows)]
    blocks.append(Paragraph(f"Differences to {first} are paired over the images with identical files in both runs."))
    return blocks + [Note(note) for note in table_notes(one for entry in entries for one in entry.differences.values())]


def _mean(entry: ComparisonEntry, name: str) -> str:
    if name not in entry.runs:
        return "not measured"
    value = entry.runs[name]
    size = "" if is_per_image(entry.metric) else f" (n = {entry.sizes[name]})"
    return "-" if value is None else format_value(entry.metric, value) + size
