"""Markdown tables of runs: figures with their intervals, what they stand for and what is missing."""

import json
from collections.abc import Iterable
from pathlib import Path

from eval.metrics import METRICS
from gpen.errors import GPENError

ARROWS = {"higher": "↑", "lower": "↓"}
DECIMALS = {"psnr": 2, "psnr_y": 2, "squeezenet_fd": 1}  # others have four


def report(runs: Iterable[str | Path]) -> str:
    """Markdown of the summaries of RUN folders. Raises GPENError where one has none."""
    return "\n".join(_run_section(Path(run)) for run in runs)


def _run_section(run: Path) -> str:
    try:
        summary = json.loads((run / "summary.json").read_text())
        recipe = json.loads((run / "recipe.json").read_text())
    except OSError as error:
        raise GPENError(f"{run} holds no finished run; make one with python -m eval run") from error
    except ValueError as error:
        raise GPENError(f"{run} holds a damaged summary or recipe; run the command again") from error
    tasks = dict.fromkeys(entry["task"] for entry in summary)
    parts = [f"## {run.name}\n"]
    parts += [_task_section(task, [entry for entry in summary if entry["task"] == task]) for task in tasks]
    return "\n".join(parts + [_notes(summary, recipe)])


def _task_section(task: str, entries: list[dict]) -> str:
    methods = dict.fromkeys(entry["method"] for entry in entries)
    metrics = dict.fromkeys(entry["metric"] for entry in entries)
    cells = {(entry["method"], entry["metric"]): entry for entry in entries}
    baseline, n = entries[0]["baseline"], max(entry["n"] for entry in entries)
    head = ["method", *(_heading(metric) for metric in metrics)]
    rows = [[method, *(_figure(cells.get((method, metric))) for metric in metrics)] for method in methods]
    text = f"### {task}, n = {n}\n\n{_table(head, rows)}"
    compared = [metric for metric in metrics if metric in METRICS]
    others = [method for method in methods if method not in (baseline, "ground-truth")]
    if others and compared:
        rows = [[method, *(_difference(cells.get((method, metric))) for metric in compared)]
                for method in others]
        head = [f"difference to {baseline}", *(_heading(metric) for metric in compared)]
        text += f"\n{_table(head, rows)}"
    return text


def _heading(metric: str) -> str:
    known = METRICS.get(metric)
    return f"{known.title} {ARROWS[known.better]}" if known else metric


def _figure(entry: dict | None) -> str:
    if entry is None:
        return "not measured"
    if entry["mean"] is None:
        return "∞"
    return _with_interval(entry, "mean", "low", "high", "")


def _difference(entry: dict | None) -> str:
    if entry is None or entry["diff"] is None:
        return "-"
    return _with_interval(entry, "diff", "diff_low", "diff_high", "+")


def _with_interval(entry: dict, mean: str, low: str, high: str, sign: str) -> str:
    form = f"{{:{sign}.{DECIMALS.get(entry['metric'], 4)}f}}".format
    text = form(entry[mean])
    return text if entry[low] is None else f"{text} [{form(entry[low])}, {form(entry[high])}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _notes(summary: list[dict], recipe: dict) -> str:
    settings = recipe["settings"]
    lines = ["Means over images with bootstrap 95% intervals; differences are paired, image by image.",
             f"Images of {settings['size']} px, seed {settings['seed']}.", ""]
    calls = [call["command"] for call in recipe["earlier"]] + [recipe["command"]]
    lines += [f"- `{command}`" for command in dict.fromkeys(calls)]
    if not settings["verify"]:
        lines.append("- Weights were not verified (GPEN_UNVERIFIED_WEIGHTS): figures for tests only.")
    lines += [f"- {about['title']}: {about['library']}; backbone: {about['backbone']}; on {about['colour']}."
              for about in recipe["metrics"].values()]
    notes = dict.fromkeys(f"- {_heading(entry['metric'])} {entry['note']}." for entry in summary
                          if "note" in entry and entry["method"] != "ground-truth")
    lines += [*notes, *(f"- Missing: {sentence}" for sentence in recipe["missing"].values())]
    return "\n".join(lines) + "\n"
