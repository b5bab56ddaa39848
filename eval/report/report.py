"""Reports of runs: tables, comparison and, if asked, published results; as Markdown, LaTeX or JSON."""

import json
from collections.abc import Iterable
from pathlib import Path

from eval.benchmark.diversity import Diversity
from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import task_label
from eval.methods.registry import method_label
from eval.metrics.registry import METRICS
from eval.report.ablation import seed_blocks
from eval.report.comparison import FinishedRun, comparison, comparison_blocks, run_names
from eval.report.document import Block, Bullets, Heading, Note, Paragraph, Table, latex, markdown
from eval.report.published import published_blocks, published_json
from eval.report.tables import (
    COSTS,
    by_size,
    few_note,
    format_difference,
    format_mean,
    method_labels,
    metric_heading,
    metric_headings,
    seen_note,
    table_notes,
)
from gpen.errors import GPENError
from gpen.images import write_atomically

FORMATS = ("md", "latex", "json")


def report(runs: Iterable[str | Path], form: str = "md", published: bool = False) -> str:
    """The tables of RUN folders and their comparison.

    form: "md", "latex" (tables only) or "json". published: also the published results with the protocol of the runs, or all of
    them if there are no runs. Raises GPENError for a folder without a finished run and for an unknown form.
    """
    opened = [FinishedRun.open(run) for run in runs]
    if form == "json":
        measured = [
            {"run": name, "summary": [entry.to_dict() for entry in run.summary], "recipe": run.recipe}
            for name, run in run_names(opened).items()
        ]
        content = {
            "runs": measured,
            "comparison": [entry.to_dict() for entry in comparison(opened)],
            "published": published_json() if published else [],
            "seen_in_training": [name for name, metric in METRICS.items() if metric.seen_in_training],
        }
        return json.dumps(content, indent=1, ensure_ascii=False)
    blocks = [block for name, run in run_names(opened).items() for block in _run_blocks(name, run)]
    blocks += comparison_blocks(opened)
    if published:
        blocks += published_blocks([run.recipe["settings"].get("protocol", "") for run in opened] or None)
    if form not in FORMATS:
        raise GPENError(f"Unknown format {form!r}; choose from {', '.join(FORMATS)}.")
    return (markdown if form == "md" else latex)(blocks)


def diversity_report(found: Diversity) -> str:
    """The table of `python -m eval diversity` in Markdown."""
    table = {(entry.method, entry.metric): entry for entry in found.entries}
    pairs, measures = (list(dict.fromkeys(keys)) for keys in zip(*table, strict=True))
    task, n = found.entries[0].task, found.entries[0].n
    rows = [[pair, *(format_mean(table[pair, measure]) for measure in measures)] for pair in pairs]
    note = (
        f"{found.variations} variations of {n} faces, 95% intervals over the faces. PSNR to the input after downsampling: "
        f"variations {found.fits[0]:.1f} dB, default output {found.fits[1]:.1f} dB. {seen_note(measures)}"
    )
    notes = [Note(text) for text in (note, few_note(found.entries), *found.missing.values()) if text]
    head = [task_label(task), *map(metric_heading, measures)]
    return markdown([Table(head, rows), *notes])


def write_reports(out: str | Path) -> None:
    """Write summary.md and summary.tex of a finished run."""
    for suffix, form in ((".md", "md"), (".tex", "latex")):
        write_atomically(Path(out, f"summary{suffix}"), (report([out], form) + "\n").encode())


def _run_blocks(name: str, run: FinishedRun) -> list[Block]:
    blocks: list[Block] = [Heading(1, name)]
    for task in run.tasks:
        for n, entries in by_size(entry for entry in run.summary if entry.task == task).items():
            blocks += _task_blocks(task, n, entries, run.recipe["settings"]["size"])
    return blocks + seed_blocks(run.summary) + _notes(run)


def _task_blocks(task: str, n: int, entries: list[SummaryEntry], size: int) -> list[Block]:
    methods = method_labels(entry.method for entry in entries)
    measured = list(dict.fromkeys(entry.metric for entry in entries))
    metrics = [metric for metric in measured if metric in METRICS]
    cells = {(entry.method, entry.metric): entry for entry in entries}
    headings = metric_headings(entries, n)
    baseline, heads = entries[0].baseline, [headings[metric] for metric in metrics]
    blocks: list[Block] = [Heading(2, f"{task_label(task)}, n = {n}")]
    if metrics:
        rows = [[short, *(format_mean(cells.get((method, metric))) for metric in metrics)] for method, short in methods.items()]
        blocks.append(Table(["method", *heads], rows))
    others = [method for method in methods if method not in (baseline, GROUND_TRUTH)]
    if others and metrics:
        rows = [[methods[method], *(format_difference(cells.get((method, metric))) for metric in metrics)] for method in others]
        blocks.append(Table([f"difference to {method_label(baseline)}", *heads], rows))
    blocks += map(Note, table_notes(entries, size))
    costs = [cost for cost in COSTS if cost in measured]
    rows = [
        [short, *(format_mean(cells.get((method, cost))) for cost in costs)]
        for method, short in methods.items()
        if method != GROUND_TRUTH
    ]
    return [*blocks, Table(["cost", *map(metric_heading, costs)], rows)]


def _notes(run: FinishedRun) -> list[Block]:
    """The commands, the definitions of the metrics, and the metrics that are not available."""
    recipe, settings = run.recipe, run.recipe["settings"]
    calls = [call["command"] for call in recipe["earlier"]] + [recipe["command"]]
    items = [f"`{command}`" for command in dict.fromkeys(calls)]
    if not settings["verify"]:
        items.append("The weights were not verified (GPEN_UNVERIFIED_WEIGHTS): the values are for tests only.")
    items += [f"Data: {recipe['data']}."] if "data" in recipe else []
    items += [f"{task}: {text}." for task, text in recipe["tasks"].items()]
    items += [
        f"{metric_heading(name)}: {about['library']}, version {about.get('version')}; backbone: {about['backbone']}; "
        f"on {about['colour']}; cropped border: {about.get('crop')}."
        for name, about in recipe["metrics"].items()
    ]
    items += _remarks([entry for entry in run.summary if entry.method != GROUND_TRUTH and entry.metric in METRICS])
    items += [f"Missing: {message}" for message in recipe["missing"].values()]
    text = (
        "Means over images with bootstrap 95% intervals; differences are paired, image by image. "
        f"Images of {settings['size']} px, seed {settings['seed']}. Costs are those of the restoration only; memory is the "
        "peak of the process."
    )
    return [Paragraph(text), Bullets(list(dict.fromkeys(items)))]


def _remarks(entries: list[SummaryEntry]) -> list[str]:
    """Each note once, with its methods and tasks unless it applies to the whole metric."""
    short = method_labels(entry.method for entry in entries)
    about: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry.note:
            about.setdefault((entry.metric, entry.note), []).append(f"{short[entry.method]} on {entry.task}")
    metrics, headings = [entry.metric for entry in entries], metric_headings(entries)
    return [
        f"{headings[metric]} {note}" + ("." if len(labels) == metrics.count(metric) else f" ({', '.join(labels)}).")
        for (metric, note), labels in about.items()
    ]
