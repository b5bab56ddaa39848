"""Compact tables of archived runs, and the copies of them in README.md and docs.

A copy stands between two comments, with the path of the archived run relative to the Markdown file:

    <!-- table assets/results/NAME.json tasks=fsr8,fsr16 methods=bilinear,gpen metrics=psnr,identity -->

    <!-- /table -->

Without tasks, methods or metrics, all are copied. `python -m eval tables README.md docs/results.md` writes the copies anew, and
the figures of sentences (eval.report.prose); a test compares them with the archived runs.
"""

import re
from pathlib import Path

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import task_label
from eval.metrics.registry import METRICS
from eval.report.archive import ArchivedRun, read
from eval.report.document import Block, Note, Table, markdown
from eval.report.prose import ROOT, sentences, with_figures
from eval.report.tables import KNOWN_MARK, by_size, emphasised, format_value, method_labels, metric_headings, table_notes
from gpen.errors import GPENError
from gpen.images import write_atomically

_COPY = re.compile(r"(<!-- table (?P<path>\S+)(?P<selection>( \w+=\S+)*) -->\n).*?(?P<end><!-- /table -->)", re.DOTALL)
SELECTIONS = {"tasks": "task", "methods": "method", "metrics": "metric"}  # key of a selection -> field of an entry


def compact_blocks(run: ArchivedRun, selection: dict[str, list[str]] | None = None) -> list[Block]:
    """The means of all tasks, one table per number of images: a row per task and method, without intervals.

    selection: names of those tasks, methods and metrics that are not left out, see SELECTIONS. Bold and italic as decided by
    eval.report.claims, in comparison with the baseline of the run. Raises GPENError for a name that the run does not have.
    """
    blocks: list[Block] = []
    measured = [entry for entry in run.summary if entry.metric in METRICS and entry.method != GROUND_TRUTH]
    for key, names in (selection or {}).items():
        measured = _selected(measured, key, names)
    size = run.recipe.get("settings", {}).get("size")
    for n, entries in by_size(measured).items():
        labels = method_labels(entry.method for entry in entries)
        headings = metric_headings(entries, n)
        metrics = sorted(headings, key=list(METRICS).index)
        cells = {(entry.task, entry.method, entry.metric): entry for entry in entries}
        rows = [
            [task_label(task), labels[method], *(_cell(cells.get((task, method, metric))) for metric in metrics)]
            for task, method in dict.fromkeys((entry.task, entry.method) for entry in entries)
        ]
        pixels = f" of {size} px" if size else ""
        notes = [f"{n} images{pixels}.", *table_notes(entries, size)]
        blocks += [Table(["task", "method", *(headings[metric] for metric in metrics)], rows, 2), Note(" ".join(notes))]
    return blocks


def _selected(entries: list[SummaryEntry], key: str, names: list[str]) -> list[SummaryEntry]:
    """The entries of these names."""
    if key not in SELECTIONS:
        raise GPENError(f"A table is selected by {', '.join(SELECTIONS)}; got {key}.")
    found = {getattr(entry, SELECTIONS[key]) for entry in entries}
    if missing := [name for name in names if name not in found]:
        raise GPENError(f"The archived run has no {SELECTIONS[key]} {missing[0]}: choose among {', '.join(sorted(found))}.")
    return [entry for entry in entries if getattr(entry, SELECTIONS[key]) in names]


def _cell(entry: SummaryEntry | None) -> str:
    if entry is None or entry.mean is None:
        return "-"
    return emphasised(format_value(entry.metric, entry.mean, fewer=1) + f" {KNOWN_MARK}" * entry.is_known, entry)


def with_tables(text: str, folder: Path) -> str:
    """The text of a Markdown file in `folder` with new copies of its tables. Raises GPENError for a missing archived run."""

    def copy(match: re.Match) -> str:
        pairs = (part.split("=") for part in match["selection"].split())
        selection = {key: names.split(",") for key, names in pairs}
        return f"{match[1]}\n{markdown(compact_blocks(read(folder / match['path']), selection))}\n{match['end']}"

    return _COPY.sub(copy, text)


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
