"""Runs kept in the repository: one JSON file each, what RUN/summary.json and RUN/recipe.json hold, without the images.

python -m eval.archive RUN assets/results/NAME.json

{"title": NAME, "recipe": {"command", "time", "settings", "versions", ...}, "summary": [entry, ...]}
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from eval.cells import heading, labels, number
from eval.comparison import Run
from eval.drawing import COLOURS, Estimate, scatter
from eval.figures import PERCEPTION
from eval.files import write_atomically
from eval.metrics import METRICS
from gpen.checkpoints import ASSETS
from gpen.errors import GPENError, exit_status

if TYPE_CHECKING:
    import pandas

RESULTS = ASSETS / "results"


@dataclass(frozen=True)
class Archived:
    """A finished run."""

    title: str
    recipe: dict
    summary: list[dict]  # entries as eval/summary.py makes them

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(entry["task"] for entry in self.summary))

    def metrics(self, task: str) -> list[str]:
        """The metrics that were measured in a task."""
        return list(dict.fromkeys(e["metric"] for e in self.summary if e["task"] == task and e["metric"] in METRICS))

    @property
    def commands(self) -> list[str]:
        """The commands that made it, earlier calls first, without the path of that machine's Python."""
        calls = [*self.recipe.get("earlier", []), self.recipe]
        return list(dict.fromkeys(re.sub(r"^\S*/(?=python)", "", call["command"]) for call in calls if "command" in call))

    def table(self, task: str) -> "pandas.DataFrame":
        """A row a method, a column a metric, numbers to sort by; a mean that is infinite or was not measured is NaN."""
        import pandas

        metrics = self.metrics(task)
        entries = [entry for entry in self.summary if entry["task"] == task and entry["metric"] in metrics]
        cells = {(entry["method"], entry["metric"]): entry["mean"] for entry in entries}
        methods = labels(entry["method"] for entry in entries)
        rows = [
            [short, *(_rounded(cells.get((method, metric)), metric) for metric in metrics)] for method, short in methods.items()
        ]
        return pandas.DataFrame(rows, columns=["method", *map(heading, metrics)])

    def trade_off(self, task: str) -> Figure | None:
        """Distortion against perception, a point a method; None where one of the two was not measured."""
        measured = self.metrics(task)
        perception = next((name for name in PERCEPTION if name in measured), None)
        if perception is None or "psnr" not in measured:
            return None
        x, y = self._estimates(task, "psnr"), self._estimates(task, perception)
        return scatter({method: (x[method], y[method]) for method in x if method in y}, "psnr", perception)

    def _estimates(self, task: str, metric: str) -> dict[str, Estimate]:
        """By method; a mean that is infinite is left out."""
        entries = [entry for entry in self.summary if (entry["task"], entry["metric"]) == (task, metric)]
        return {e["method"]: (e["mean"], e["low"], e["high"]) for e in entries if e["mean"] is not None}

    def bars(self, task: str, metric: str) -> Figure:
        """The means of a metric with their 95% intervals, the best method first. Raises GPENError where it was not measured."""
        entries = [entry for entry in self.summary if (entry["task"], entry["metric"]) == (task, metric)]
        entries = [entry for entry in entries if entry["mean"] is not None and entry["method"] != "ground-truth"]
        if not entries:
            raise GPENError(f"{self.title} holds no {metric} of {task}; choose from {', '.join(self.metrics(task))}")
        entries.sort(key=lambda entry: entry["mean"], reverse=METRICS[metric].better == "lower")  # drawn from below
        figure = Figure(figsize=(5.6, 0.3 * len(entries) + 0.8), layout="constrained")
        axis = figure.subplots()
        for row, entry in enumerate(entries):
            if entry["low"] is not None:
                interval = [entry["low"], entry["high"]]
                axis.plot(interval, [row, row], color=COLOURS[0], linewidth=4, alpha=0.3, solid_capstyle="butt")
            axis.plot(entry["mean"], row, "o", color=COLOURS[0], markersize=5)
        axis.set_yticks(range(len(entries)), labels(entry["method"] for entry in entries).values(), fontsize=8)
        axis.set_xlabel(f"{heading(metric)}   {task}, n = {entries[0]['n']}", fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(-0.6, len(entries) - 0.4)
        return figure


def read(path: str | Path) -> Archived:
    """Raises GPENError where the file is missing or no archived run."""
    path = Path(path)
    try:
        content = json.loads(path.read_text())
        archived = Archived(content.get("title", path.stem), content["recipe"], content["summary"])
        if not all({"task", "method", "metric", "mean", "low", "high", "n"} <= entry.keys() for entry in archived.summary):
            raise ValueError("an entry lacks a key")
        return archived
    except FileNotFoundError:
        raise GPENError(f"there is no {path}; make it with python -m eval.archive RUN {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GPENError(f"{path} is no archived run; make it again with python -m eval.archive RUN {path}") from error


def read_all(folder: str | Path = RESULTS, names: str = "*.json") -> list[Archived]:
    """Every run of a folder, the latest first; none where there is none. Raises GPENError as `read` does."""
    archived = [read(path) for path in sorted(Path(folder).glob(names))]
    return sorted(archived, key=lambda run: run.recipe.get("time", ""), reverse=True)


def of(run: str | Path) -> Archived:
    """A RUN folder, as it would be archived. Raises GPENError where the run is not finished."""
    opened = Run.open(run)
    return Archived(opened.folder.name, opened.recipe, opened.summary)


def write(run: str | Path, path: str | Path) -> Path:
    """Archive a RUN folder; returns the file. Raises GPENError where the run is not finished."""
    path = Path(path)
    content = {**asdict(of(run)), "title": path.stem}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def _rounded(mean: float | None, metric: str) -> float:
    return float("nan") if mean is None else float(number(metric, mean))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for a user's mistake, with one sentence on standard error."""
    parser = argparse.ArgumentParser("python -m eval.archive", description="Keep a run's figures as one JSON file.")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("file", metavar="FILE")
    options = parser.parse_args(arguments)
    return exit_status(lambda: print(write(options.run, options.file)))


if __name__ == "__main__":
    sys.exit(main())
