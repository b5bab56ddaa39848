"""Archived runs: RUN/summary.json and RUN/recipe.json in one JSON file per run.

python -m eval archive RUN assets/results/NAME.json

{"title": NAME, "recipe": {"command", "time", "settings", "versions", ...}, "summary": [entry, ...]}
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import BFR_TASKS, COLORIZE, FSR_TASKS, INPAINT, PAIRED, WILD, task_label
from eval.data.protocols import protocols
from eval.metrics.registry import METRICS
from eval.report.claims import claim_sentences
from eval.report.comparison import FinishedRun
from eval.report.figures import PERCEPTION
from eval.report.plots import COLOURS, Estimate, error_bar, scatter_plot
from eval.report.tables import by_size, format_value, in_order, method_labels, metric_headings, metric_label, table_notes
from gpen.errors import GPENError
from gpen.images import write_atomically
from gpen.models.checkpoints import ASSETS

if TYPE_CHECKING:
    import pandas

RESULTS = ASSETS / "results"
SUBJECTS: dict[str, Collection[str]] = {  # of runs, in the order in which they are listed
    "blind restoration": BFR_TASKS,
    "super-resolution": FSR_TASKS,
    "colourisation": (COLORIZE,),
    "inpainting": (INPAINT,),
    "given pairs": (PAIRED,),
    "photographs without ground truth": (WILD,),
}


@dataclass(frozen=True)
class ArchivedRun:
    """A finished run."""

    title: str
    recipe: dict
    summary: list[SummaryEntry]

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of the summary."""
        return list(dict.fromkeys(entry.task for entry in self.summary))

    @property
    def subjects(self) -> list[str]:
        """The keys of SUBJECTS to which the tasks belong."""
        return [subject for subject, tasks in SUBJECTS.items() if any(task in tasks for task in self.tasks)]

    @property
    def images(self) -> int:
        """The number of images; that of the largest task if they differ."""
        return max((entry.n for entry in self.summary), default=0)

    @property
    def faces(self) -> str:
        """The set of images for readers: "CelebA-HQ, 200 faces".

        The set is the published one whose short name the name of the data ends with, otherwise the name of the data.
        """
        data = Path(self.recipe.get("settings", {}).get("data", "")).stem or self.title
        known = {name: protocol.title for name, protocol in protocols().items() if data.removesuffix("-test").endswith(name)}
        name = known[max(known, key=len)] if known else data
        return f"{name}, {self.images} face{'s' * (self.images != 1)}"

    @property
    def heading(self) -> str:
        """The title for readers: "CelebA-HQ, 200 faces: super-resolution"."""
        return f"{self.faces}: {', '.join(self.subjects or self.tasks)}"

    def metrics(self, task: str) -> list[str]:
        """The metrics measured in a task."""
        return list(dict.fromkeys(entry.metric for entry in self.summary if entry.task == task and entry.metric in METRICS))

    @property
    def commands(self) -> list[str]:
        """The commands of the run, in order of time, without the path of the Python executable."""
        calls = [*self.recipe.get("earlier", []), self.recipe]
        return list(dict.fromkeys(re.sub(r"^\S*/(?=python)", "", call["command"]) for call in calls if "command" in call))

    def table(self, task: str) -> "pandas.DataFrame":
        """A row per method, a column per metric, sortable; an infinite or missing mean is NaN.

        A column n if the methods were measured on different numbers of images; otherwise the headings of distances between sets
        name it.
        """
        import pandas

        metrics = self.metrics(task)
        entries = [entry for entry in self.summary if entry.task == task and entry.metric in metrics]
        cells = {(entry.method, entry.metric): entry.mean for entry in entries}
        methods = method_labels(entry.method for entry in entries)
        sizes = {entry.method: n for n, group in by_size(entries).items() for entry in group}
        n = next(iter(sizes.values())) if len(set(sizes.values())) == 1 else None
        rows = [
            [short, *(_rounded(cells.get((method, metric)), metric) for metric in metrics)] for method, short in methods.items()
        ]
        table = pandas.DataFrame(rows, columns=["method", *metric_headings(entries, n).values()])
        if n is None:
            table.insert(1, "n", [sizes[method] for method in methods])
        return table

    def notes(self, task: str) -> list[str]:
        """The notes below the table of a task: claims about each method, the number of comparisons, and marks."""
        entries = [entry for entry in self.summary if entry.task == task and entry.metric in METRICS]
        sentences = claim_sentences(entries, method_labels(entry.method for entry in entries))
        return [*sentences, *table_notes(entries, self.recipe.get("settings", {}).get("size"), in_type=False)]

    def trade_off(self, task: str) -> Figure | None:
        """Distortion versus perception, a point per method; None if one of the two was not measured."""
        measured = self.metrics(task)
        perception = next((name for name in PERCEPTION if name in measured), None)
        if perception is None or "psnr" not in measured:
            return None
        x, y = self._estimates(task, "psnr"), self._estimates(task, perception)
        return scatter_plot({method: (x[method], y[method]) for method in x if method in y}, "psnr", perception)

    def _estimates(self, task: str, metric: str) -> dict[str, Estimate]:
        """By method; infinite means are omitted."""
        entries = [entry for entry in self.summary if (entry.task, entry.metric) == (task, metric)]
        return {entry.method: (entry.mean, entry.low, entry.high) for entry in entries if entry.mean is not None}

    def interval_plot(self, task: str, metric: str) -> Figure:
        """Plot the means of a metric with 95% intervals, best method first.

        Raises GPENError if it was not measured.
        """
        estimates = {method: of for method, of in self._estimates(task, metric).items() if method != GROUND_TRUTH}
        if not estimates:
            raise GPENError(f"{self.title} has no {metric} for {task}; choose from {', '.join(self.metrics(task))}.")
        # the last row is at the top
        methods = sorted(estimates, key=lambda method: estimates[method][0], reverse=METRICS[metric].lower_better)
        n = next(entry.n for entry in self.summary if (entry.task, entry.method, entry.metric) == (task, methods[-1], metric))
        figure = Figure(figsize=(5.6, 0.3 * len(methods) + 0.8), layout="constrained")
        axis = figure.subplots()
        axis.errorbar(
            [estimates[method][0] for method in methods],
            range(len(methods)),
            xerr=np.transpose([error_bar(estimates[method]) for method in methods]),
            fmt="o",
            color=COLOURS[0],
            markersize=5,
            capsize=3,
        )
        axis.set_yticks(range(len(methods)), method_labels(methods).values(), fontsize=8)
        axis.set_xlabel(f"{metric_label(metric)}   {task_label(task)}, n = {n}", fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(-0.6, len(methods) - 0.4)
        return figure


def read(path: str | Path) -> ArchivedRun:
    """Read an archived run. Raises GPENError for a missing file and for another file."""
    path = Path(path)
    try:
        content = json.loads(path.read_text())
        summary = in_order(SummaryEntry(**entry) for entry in content["summary"])
        return ArchivedRun(content.get("title", path.stem), content["recipe"], summary)
    except FileNotFoundError:
        raise GPENError(f"{path} does not exist; create it with python -m eval archive RUN {path}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not an archived run; create it with python -m eval archive RUN {path}."
        raise GPENError(message) from error


def read_all(folder: str | Path = RESULTS, names: str = "*.json") -> list[ArchivedRun]:
    """Read all archived runs in a folder: by subject, the largest set first. Raises GPENError as `read` does."""
    archived = [read(path) for path in sorted(Path(folder).glob(names))]
    subjects = list(SUBJECTS)
    return sorted(archived, key=lambda run: ([subjects.index(subject) for subject in run.subjects], -run.images))


def headings(runs: Iterable[ArchivedRun]) -> dict[str, ArchivedRun]:
    """The runs by their headings, followed by the title of the file where several have the same heading."""
    runs = list(runs)
    count = Counter(run.heading for run in runs)
    return {run.heading + f" ({run.title})" * (count[run.heading] > 1): run for run in runs}


def from_run(run: str | Path) -> ArchivedRun:
    """Convert a RUN folder without writing a file. Raises GPENError if the run is not finished."""
    opened = FinishedRun.open(run)
    return ArchivedRun(opened.folder.name, opened.recipe, opened.summary)


def write(run: str | Path, path: str | Path) -> Path:
    """Archive a RUN folder; returns the file. Raises GPENError if the run is not finished."""
    path = Path(path)
    archived = from_run(run)
    summary = [entry.to_dict() for entry in archived.summary]
    content = {"title": path.stem, "recipe": archived.recipe, "summary": summary}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def _rounded(mean: float | None, metric: str) -> float:
    return float("nan") if mean is None else float(format_value(metric, mean))
