"""Figures that the notebooks share: the architecture of a network, sweeps of a degradation, points with intervals."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from eval.metrics.statistics import bootstrap_interval
from eval.report import archive
from eval.report.plots import COLOURS, Estimate, line_plot, scatter_plot
from eval.report.tables import method_labels, metric_label
from gpen.models.config import GPENConfig
from gpen.models.network import resolutions

if TYPE_CHECKING:
    import pandas

GREY = "#6b7280"


def archived(name: str) -> archive.ArchivedRun:
    """An archived run of assets/results. Raises GPENError if there is none of this name."""
    return archive.read(Path(archive.RESULTS, f"{name}.json"))


def command(run: archive.ArchivedRun) -> str:
    """The last command of a run, an option a line, as it can be pasted into a shell."""
    return run.commands[-1].replace(" --", " \\\n    --")


def notes(run: archive.ArchivedRun, task: str) -> Markdown:
    """The notes below the table of a task, as a list."""
    return Markdown("\n".join(f"- {note}" for note in run.notes(task)))


def architecture(config: GPENConfig) -> Figure:
    """Draw GPEN with these settings: encoder, z, mapping network, w, and the GAN blocks with their feature inputs."""
    sides = resolutions(config.size)[::-1]  # the highest resolution is at the top
    figure = Figure(figsize=(9.6, 0.62 * len(sides) + 1.6), layout="constrained")
    axis = figure.subplots()
    joins = {"concat": "concatenated", "add": "added", "none": "not used"}[config.noise_mode]
    for row, side in enumerate(sides):
        y, channels = len(sides) - row, config.channels(side)
        if side <= config.in_size:
            _box(axis, 0, y, 2.5, f"{side} x {side}, {channels} channels", COLOURS[0])
            if config.noise_mode != "none":
                _arrow(axis, (2.5, y), (6.1, y), f"feature {joins}" if side == config.in_size else "")
        _box(axis, 6.1, y, 3.1, f"GAN block {side} px, {channels} channels", COLOURS[2])
        if row:
            below, above = (y, y + 1)
            _arrow(axis, (7.65, below + 0.27), (7.65, above - 0.27))
            if side < config.in_size:
                _arrow(axis, (1.25, above - 0.27), (1.25, below + 0.27))
    _box(axis, 0, 0, 2.5, f"fully connected: z [{config.style_dim}]", COLOURS[1])
    _box(axis, 3.0, 0, 2.6, f"mapping network, {config.mapping_layers} layers: w", COLOURS[1])
    _arrow(axis, (1.25, 0.73), (1.25, 0.27))
    _arrow(axis, (2.5, 0), (3.0, 0))
    _arrow(axis, (5.6, 0), (9.7, 0), colour=COLOURS[1])
    axis.plot([9.7, 9.7], [0, len(sides)], color=COLOURS[1], linewidth=1.2)
    for y in range(1, len(sides) + 1):
        _arrow(axis, (9.7, y), (9.2, y), colour=COLOURS[1])
    axis.text(1.25, len(sides) + 0.55, f"encoder, input {config.in_size} px", ha="center", fontsize=9)
    axis.text(7.65, len(sides) + 0.55, f"GAN prior ({config.block}), output {config.size} px", ha="center", fontsize=9)
    axis.text(9.75, 0.4, "w", fontsize=9, color=COLOURS[1])
    axis.set(xlim=(-0.1, 10.1), ylim=(-0.5, len(sides) + 0.9))
    axis.axis("off")
    return figure


def sweep_plot(table: "pandas.DataFrame", metric: str, xlabel: str) -> Figure:
    """`line_plot` of a sweep in which values without an effect are drawn as "off": the image is unchanged, the mean infinite."""
    infinite = table.groupby("x")[metric].apply(lambda values: not np.isfinite(values).all())
    off = infinite.index[infinite]
    figure = line_plot(table[~table["x"].isin(off)], metric, xlabel)
    (axis,) = figure.axes
    if len(off) and min(off) <= 0:
        axis.set_xscale("linear")
    top = axis.get_ylim()[1]
    for x in off:
        axis.plot([x], [top], marker="^", markersize=8, color=GREY, clip_on=False)
        axis.annotate(f"{x:g}: off, unchanged (infinite)", (x, top), (8, -3), textcoords="offset points", fontsize=7, color=GREY)
    if len(off):
        axis.set_ylim(axis.get_ylim()[0], top)
        axis.set_xlim(left=min(*off, axis.get_xlim()[0]))
    return figure


def facets(sweeps: "dict[str, pandas.DataFrame]", metric: str, reference: str = "bilinear") -> Figure:
    """A row per sweep and a column per method: its mean with 95% interval over the faces; the reference is grey in every column.

    sweeps: label of the x axis -> table of `eval.benchmark.sweep.sweep`. All axes of a row have the same limits.
    """
    labels = method_labels(next(iter(sweeps.values()))["method"])
    methods = [name for name in labels if name != reference]
    figure = Figure(figsize=(1.75 * len(methods), 1.75 * len(sweeps)), layout="constrained")
    axes = figure.subplots(len(sweeps), len(methods), sharey="row", squeeze=False)
    for row, (xlabel, table) in zip(axes, sweeps.items(), strict=True):
        for axis, method, colour in zip(row, methods, COLOURS, strict=False):
            _band(axis, table[table["method"] == reference], metric, GREY)
            _band(axis, table[table["method"] == method], metric, colour)
            axis.set_xlabel(xlabel, fontsize=7)
        row[0].set_ylabel(metric_label(metric), fontsize=7)
    for axis, method in zip(axes[0], methods, strict=True):
        axis.set_title(labels[method].partition(" (")[0], fontsize=8)
    figure.suptitle(f"colour: the method; grey: {labels[reference]}", fontsize=8)
    return figure


def plane(
    run: archive.ArchivedRun, task: str, perception: str = "niqe_fitted", methods: tuple[str, ...] = (), distortion: str = "psnr"
) -> Figure:
    """The perception-distortion plane of a task: a point per method with 95% intervals; methods: () for all.

    Of several methods with equal values, the first is drawn.
    """
    estimates: dict[str, dict[str, Estimate]] = {}
    for entry in run.summary:
        if entry.task == task and entry.metric in (distortion, perception) and entry.mean is not None:
            estimates.setdefault(entry.method, {})[entry.metric] = (entry.mean, entry.low, entry.high)
    chosen = {
        method: (of[distortion], of[perception])
        for method, of in estimates.items()
        if len(of) == 2 and (not methods or method.partition("=")[0] in methods)
    }
    drawn: dict[tuple[Estimate, Estimate], str] = {}
    for method, point in chosen.items():
        drawn.setdefault(point, method)
    return scatter_plot({method: point for point, method in drawn.items()}, distortion, perception)


def forest(rows: list[tuple[str, float, float, float]], xlabel: str, colour_of: Callable[[str], str] | None = None) -> Figure:
    """Forest plot: a row per (name, value, low, high), in this order from the top, with a line at 0."""
    figure = Figure(figsize=(6.2, 0.32 * len(rows) + 0.8), layout="constrained")
    axis = figure.subplots()
    for y, (name, value, low, high) in enumerate(reversed(rows)):
        colour = colour_of(name) if colour_of else COLOURS[0]
        axis.plot([low, high], [y, y], color=colour, linewidth=1.5)
        axis.plot([value], [y], "s", color=colour, markersize=5)
    axis.axvline(0, color=GREY, linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)], fontsize=8)
    axis.set_xlabel(xlabel, fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _band(axis: Axes, table: "pandas.DataFrame", metric: str, colour: str) -> None:
    groups = [(x, group[metric].to_numpy()) for x, group in table.groupby("x")]
    x = [x for x, _ in groups]
    low, high = np.array([bootstrap_interval(values) for _, values in groups]).T
    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(x, [values.mean() for _, values in groups], "o-", color=colour, markersize=2.5, linewidth=1.2)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def _box(axis: Axes, x: float, y: float, width: float, text: str, colour: str) -> None:
    axis.add_patch(FancyBboxPatch((x, y - 0.25), width, 0.5, boxstyle="round,pad=0.02", facecolor="white", edgecolor=colour))
    axis.text(x + width / 2, y, text, ha="center", va="center", fontsize=7.5)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", colour: str = GREY) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1})
    if text:
        axis.text((start[0] + end[0]) / 2, start[1] + 0.12, text, ha="center", fontsize=7, color=colour)
