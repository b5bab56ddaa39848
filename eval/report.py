"""Tables of runs: figures with their intervals, what they stand for and what is missing; as Markdown, LaTeX or JSON."""

import json
from collections.abc import Iterable
from pathlib import Path

from eval.ablation import seed_blocks
from eval.cells import COSTS, difference, figure, heading, labels
from eval.comparison import Run, comparison, comparison_blocks, names
from eval.document import Block, Bullets, Heading, Paragraph, Table, latex, markdown
from eval.files import write_atomically
from eval.metrics import METRICS
from eval.published import published_blocks, published_json
from eval.summary import TRUTH
from gpen.errors import GPENError

FORMATS = ("md", "latex", "json")


def report(runs: Iterable[str | Path], form: str = "md") -> str:
    """The tables of RUN folders, what they share, and the published figures that may be read beside them.

    form: "md", "latex" or "json". Raises GPENError where a folder holds no finished run, or the form is another one.
    """
    opened = [Run.open(run) for run in runs]
    if form == "json":
        measured = [{"run": name, "summary": run.summary, "recipe": run.recipe} for name, run in names(opened).items()]
        content = {"runs": measured, "comparison": comparison(opened), "published": published_json()}
        return json.dumps(content, indent=1, ensure_ascii=False)
    blocks = [block for name, run in names(opened).items() for block in _run_blocks(name, run)]
    blocks += comparison_blocks(opened) + published_blocks(task for run in opened for task in run.tasks)
    if form not in FORMATS:
        raise GPENError(f"there is no format {form!r}; choose from {', '.join(FORMATS)}")
    return (markdown if form == "md" else latex)(blocks)


def write_reports(out: Path) -> None:
    """summary.md and summary.tex of a finished run."""
    for suffix, form in ((".md", "md"), (".tex", "latex")):
        write_atomically(out / f"summary{suffix}", (report([out], form) + "\n").encode())


def _run_blocks(name: str, run: Run) -> list[Block]:
    blocks: list[Block] = [Heading(1, name)]
    for task in run.tasks:
        blocks += _task_blocks(task, [entry for entry in run.summary if entry["task"] == task])
    return blocks + seed_blocks(run.summary) + _notes(run)


def _task_blocks(task: str, entries: list[dict]) -> list[Block]:
    methods = labels(entry["method"] for entry in entries)
    measured = list(dict.fromkeys(entry["metric"] for entry in entries))
    metrics = [metric for metric in measured if metric in METRICS]
    cells = {(entry["method"], entry["metric"]): entry for entry in entries}
    baseline, n = entries[0]["baseline"], max(entry["n"] for entry in entries)
    blocks: list[Block] = [Heading(2, f"{task}, n = {n}")]
    if metrics:
        rows = [[short, *(figure(cells.get((method, metric))) for metric in metrics)] for method, short in methods.items()]
        blocks.append(Table(["method", *map(heading, metrics)], rows))
    others = [method for method in methods if method not in (baseline, TRUTH)]
    if others and metrics:
        rows = [[methods[method], *(difference(cells.get((method, metric))) for metric in metrics)] for method in others]
        blocks.append(Table([f"difference to {baseline}", *map(heading, metrics)], rows))
    costs = [cost for cost in COSTS if cost in measured]
    rows = [
        [short, *(figure(cells.get((method, cost))) for cost in costs)] for method, short in methods.items() if method != TRUTH
    ]
    return [*blocks, Table(["cost", *map(heading, costs)], rows)]


def _notes(run: Run) -> list[Block]:
    """What the figures stand for, how they were made, what is missing."""
    recipe, settings = run.recipe, run.recipe["settings"]
    calls = [call["command"] for call in recipe["earlier"]] + [recipe["command"]]
    items = [f"`{command}`" for command in dict.fromkeys(calls)]
    if not settings["verify"]:
        items.append("Weights were not verified (GPEN_UNVERIFIED_WEIGHTS): figures for tests only.")
    items += [
        f"{about['title']}: {about['library']}; backbone: {about['backbone']}; on {about['colour']}."
        for about in recipe["metrics"].values()
    ]
    items += _remarks([entry for entry in run.summary if entry["method"] != TRUTH and entry["metric"] in METRICS])
    items += [f"Missing: {sentence}" for sentence in recipe["missing"].values()]
    text = (
        "Means over images with bootstrap 95% intervals; differences are paired, image by image. "
        f"Images of {settings['size']} px, seed {settings['seed']}. Costs are of the restoration alone; memory is the "
        "process's peak during it."
    )
    return [Paragraph(text), Bullets(list(dict.fromkeys(items)))]


def _remarks(entries: list[dict]) -> list[str]:
    """Each note once, with the figures that it is about, unless it is about all of its metric."""
    short = labels(entry["method"] for entry in entries)
    about: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if "note" in entry:
            about.setdefault((entry["metric"], entry["note"]), []).append(f"{short[entry['method']]} on {entry['task']}")
    figures = [entry["metric"] for entry in entries]
    return [
        f"{heading(metric)} {note}" + ("." if len(whose) == figures.count(metric) else f" ({', '.join(whose)}).")
        for (metric, note), whose in about.items()
    ]
