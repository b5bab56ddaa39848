"""Curves of a training run, or of several as consecutive phases: one panel per loss, against the images seen.

python -m gpen curves runs/phase1 runs/phase2 --log assets/training.jsonl --out assets/training.png
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from gpen.errors import GPENError
from gpen.images import replace_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4  # of panels
NOT_DRAWN = ("images_seen", "images_per_second", "phase", "environment")


def read_log(path: str | Path) -> list[dict]:
    """Records of a log.jsonl, without a last line that was cut off by a kill. Raises GPENError where there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        raise GPENError(f"There is no log {path}: name the folder of a run.") from None
    return [json.loads(line) for line in lines if line.endswith("}")]


def joined(phases: list[list[dict]]) -> list[dict]:
    """Records of consecutive phases as those of one run: `images_seen` is summed over the phases, `phase` counts them from 1."""
    records, before = [], 0
    for number, phase in enumerate(phases, 1):
        records += [{"phase": number} | record | {"images_seen": record["images_seen"] + before} for record in phase]
        before = records[-1]["images_seen"] if records else 0
    return records


def draw(records: list[dict], path: Path) -> None:
    """Write the plot in the format of the suffix of the path, PNG without one."""
    with replace_atomically(path) as partial:
        plot(records).savefig(partial, format=path.suffix[1:] or "png", dpi=110)


def plot(records: list[dict], columns: int = COLUMNS) -> Figure:
    """A panel per loss, `columns` in a row; a dotted line marks the start of each phase.

    Validation scores are named PRESET/SCORE; the presets of a score share a panel.
    """
    from matplotlib.figure import Figure  # imported here: nothing else in gpen needs matplotlib

    names = [name for name in dict.fromkeys(key for record in records for key in record) if name not in NOT_DRAWN]
    panels: dict[str, list[str]] = {}
    for name in names:
        _, found, score = name.rpartition("/")
        panels.setdefault(f"validation: {score}" if found else name, []).append(name)
    starts = [a["images_seen"] for a, b in zip(records, records[1:], strict=False) if a.get("phase") != b.get("phase")]
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows), layout="constrained")
    for place, (title, series) in enumerate(panels.items(), 1):
        axis = figure.add_subplot(rows, columns, place)
        for name in series:
            points = [(record["images_seen"], record[name]) for record in records if name in record]
            marker = "." if len(points) == 1 else None  # a line of one point is invisible
            axis.plot(*zip(*points, strict=True), linewidth=1, marker=marker, label=name.rsplit("/", 1)[0])
        for start in starts:
            axis.axvline(start, color="0.6", linewidth=0.8, linestyle=":")
        if len(series) > 1:
            axis.legend(fontsize=6)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("images seen", fontsize=8)
        axis.locator_params(axis="x", nbins=5)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    return figure
