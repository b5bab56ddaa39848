"""Compact tables of archived runs, and the copies of them in README.md and docs.

A copy stands between two comments, with the path of the archived run relative to the Markdown file:

    <!-- table assets/results/NAME.json tasks=fsr8,fsr16 methods=bilinear,gpen metrics=psnr,identity -->

    <!-- /table -->

Without tasks, methods or metrics, all are copied. seeds=merged has one row for all seeds of a variant. Several runs
(FIRST.json,SECOND.json) have one table, whose first column names the set of faces. `python -m eval tables README.md
docs/results.md` writes the copies anew, and the figures of sentences (eval.report.prose); a test compares them with the archived
runs.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import task_label
from eval.metrics.registry import METRICS, is_per_image
from eval.report.ablation import merged_table
from eval.report.archive import ArchivedRun, read
from eval.report.document import Block, Note, Table, markdown
from eval.report.prose import ROOT, sentences, with_figures
from eval.report.tables import KNOWN_MARK, by_size, emphasised, format_value, method_labels, metric_headings, table_notes
from gpen.errors import GPENError
from gpen.images import write_atomically

_COPY = re.compile(r"(<!-- table (?P<path>\S+)(?P<selection>( \w+=\S+)*) -->\n).*?(?P<end><!-- /table -->)", re.DOTALL)
SELECTIONS = {"tasks": "task", "methods": "method", "metrics": "metric"}  # key of a selection -> field of an entry


def compact_blocks(runs: Sequence[ArchivedRun], selection: dict[str, list[str]] | None = None) -> list[Block]:
    """The means of all tasks of one run, one table per number of images: a row per task and method, without intervals.

    Several runs have one table, whose first column names the set of faces. selection: names of those tasks, methods and metrics
    that are not left out, see SELECTIONS. Bold and italic as decided by eval.report.claims, in comparison with the baseline of a
    run. Raises GPENError for a name that a run does not have, and for several runs with distances between sets or several sizes.
    """
    measured = [
        (run.faces, [entry for entry in run.summary if entry.metric in METRICS and entry.method != GROUND_TRUTH]) for run in runs
    ]
    measured = [(faces, _selected(entries, selection or {})) for faces, entries in measured]
    sizes = {run.recipe.get("settings", {}).get("size") for run in runs}
    pixels = f" of {size} px" if (size := next(iter(sizes))) else ""
    if len(runs) == 1:
        groups = by_size(measured[0][1])
        return [block for n, of_n in groups.items() for block in _blocks([("", of_n)], n, size, f"{n} images{pixels}.")]
    sets = sorted({entry.metric for _, entries in measured for entry in entries if not is_per_image(entry.metric)})
    if sets or len(sizes) > 1:
        reason = f"{sets[0]} depends on the number of images" if sets else "their images have different sizes"
        raise GPENError(f"{len(runs)} archived runs have no common table: {reason}; copy each run into a table of its own.")
    return _blocks(measured, None, size, f"Images{pixels}.")


def _blocks(measured: list[tuple[str, list[SummaryEntry]]], n: int | None, size: int | None, images: str) -> list[Block]:
    """A table and its notes. measured: (name of a set of faces, its entries); the name "" omits the column of names.

    n: number of images, in the headings of distances between sets. images: the first note.
    """
    # the same task of two sets is two tasks for the notes, which count images
    entries = [replace(entry, task=f"{faces} {entry.task}") for faces, of_set in measured for entry in of_set]
    labels, headings = method_labels(entry.method for entry in entries), metric_headings(entries, n)
    metrics = sorted(headings, key=list(METRICS).index)
    names = ["faces"] * all(faces for faces, _ in measured) + ["task", "method"]
    rows = []
    for faces, of_set in measured:
        cells = {(entry.task, entry.method, entry.metric): entry for entry in of_set}
        for task, method in dict.fromkeys((entry.task, entry.method) for entry in of_set):
            values = [_cell(cells.get((task, method, metric))) for metric in metrics]
            rows.append([*([faces] if faces else []), task_label(task), labels[method], *values])
    notes = " ".join([images, *table_notes(entries, size)])
    return [Table([*names, *(headings[metric] for metric in metrics)], rows, len(names)), Note(notes)]


def _selected(entries: list[SummaryEntry], selection: dict[str, list[str]]) -> list[SummaryEntry]:
    """The entries of the names in a selection."""
    for key, names in selection.items():
        if key not in SELECTIONS:
            raise GPENError(f"A table is selected by {', '.join(SELECTIONS)}; got {key}.")
        found = {getattr(entry, SELECTIONS[key]) for entry in entries}
        if missing := [name for name in names if name not in found]:
            raise GPENError(f"The archived run has no {SELECTIONS[key]} {missing[0]}: choose among {', '.join(sorted(found))}.")
        entries = [entry for entry in entries if getattr(entry, SELECTIONS[key]) in names]
    return entries


def _cell(entry: SummaryEntry | None) -> str:
    if entry is None or entry.mean is None:
        return "-"
    return emphasised(format_value(entry.metric, entry.mean, fewer=1) + f" {KNOWN_MARK}" * entry.is_known, entry)


def with_tables(text: str, folder: Path) -> str:
    """The text of a Markdown file in `folder` with new copies of its tables. Raises GPENError for a missing archived run."""

    def copy(match: re.Match) -> str:
        pairs = (part.split("=") for part in match["selection"].split())
        selection = {key: names.split(",") for key, names in pairs}
        if merged := selection.get("seeds") == ["merged"]:
            del selection["seeds"]
        runs = [read(folder / name) for name in match["path"].split(",")]
        blocks = _merged(runs, selection) if merged else compact_blocks(runs, selection)
        return f"{match[1]}\n{markdown(blocks)}\n{match['end']}"

    return _COPY.sub(copy, text)


def _merged(runs: Sequence[ArchivedRun], selection: dict[str, list[str]]) -> list[Block]:
    """The table of variants over seeds. Raises GPENError for several runs, and for a name that the run does not have."""
    if len(runs) > 1:
        raise GPENError(f"{len(runs)} archived runs have no common table over seeds: copy each run into a table of its own.")
    return merged_table(_selected(runs[0].summary, selection))


def page_name(path: Path) -> str:
    """The name of a page in docs/figures.toml: its path in the repository; "" for other files."""
    path = path.resolve()
    return path.relative_to(ROOT.resolve()).as_posix() if path.is_relative_to(ROOT.resolve()) else ""


def write_tables(path: str | Path) -> Path:
    """Write the copies of tables and the figures of sentences in a Markdown file anew; returns the file.

    Raises GPENError for a file without copies and figures.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} cannot be read as text; give a Markdown file.") from error
    described = sentences(page_name(path))
    if not _COPY.search(text) and not described:
        raise GPENError(f"{path} contains no table; add the lines <!-- table ARCHIVE.json --> and <!-- /table -->.")
    write_atomically(path, with_figures(with_tables(text, path.parent), described).encode())
    return path
