"""Compact tables of archived runs, and the copies of them in README.md and docs.

A copy stands between two comments, with the path of the archived run relative to the Markdown file:

    <!-- table assets/results/NAME.json -->

    <!-- /table -->

`python -m eval tables README.md docs/evaluation.md` writes the copies anew; a test compares them with the archived runs.
"""

import re
from pathlib import Path

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.data.lq_sets import task_label
from eval.metrics.registry import METRICS
from eval.report.archive import ArchivedRun, read
from eval.report.document import Block, Note, Table, markdown
from eval.report.tables import KNOWN_MARK, by_size, emphasised, format_value, method_labels, metric_headings, table_notes
from gpen.errors import GPENError
from gpen.images import write_atomically

_COPY = re.compile(r"(<!-- table (?P<path>\S+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def compact_blocks(run: ArchivedRun) -> list[Block]:
    """The means of all tasks, one table per number of images: a row per task and method, without intervals.

    Bold and italic as decided by eval.report.claims, in comparison with the baseline of the run.
    """
    blocks: list[Block] = []
    measured = [entry for entry in run.summary if entry.metric in METRICS and entry.method != GROUND_TRUTH]
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


def _cell(entry: SummaryEntry | None) -> str:
    if entry is None or entry.mean is None:
        return "-"
    return emphasised(format_value(entry.metric, entry.mean, fewer=1) + f" {KNOWN_MARK}" * entry.is_known, entry)


def with_tables(text: str, folder: Path) -> str:
    """The text of a Markdown file in `folder` with new copies of its tables. Raises GPENError for a missing archived run."""

    def copy(match: re.Match) -> str:
        return f"{match[1]}\n{markdown(compact_blocks(read(folder / match['path'])))}\n{match[3]}"

    return _COPY.sub(copy, text)


def write_tables(path: str | Path) -> Path:
    """Write the copies of tables in a Markdown file anew; returns the file. Raises GPENError for a file without copies."""
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} cannot be read as text; give a Markdown file.") from error
    if not _COPY.search(text):
        raise GPENError(f"{path} contains no table; add the lines <!-- table ARCHIVE.json --> and <!-- /table -->.")
    write_atomically(path, with_tables(text, path.parent).encode())
    return path
