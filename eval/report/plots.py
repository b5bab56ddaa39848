"""Plots: image grids, lines and points, for runs (eval/report/figures.py) and notebooks.

Each function returns a matplotlib Figure created without pyplot, so that it can be used in a server and displayed by a notebook.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from eval.benchmark.summary import GROUND_TRUTH
from eval.metrics.statistics import bootstrap_interval
from eval.report.tables import method_labels, metric_label

if TYPE_CHECKING:
    import pandas

TILE = 1.35  # width of an image, inches
COLOURS = ("#4063d8", "#d1495b", "#2a9d62", "#b07aa1", "#e08a1e", "#17899b", "#8c6d46", "#6b7280", "#c23a94", "#7f9a1e")
MARKERS = "osD^vPX"  # the pairs of colour and marker repeat after 70 methods
Estimate = tuple[float, float | None, float | None]  # mean, low, high


def image_grid(images: dict[str, np.ndarray], columns: int = 0, tile: float = TILE) -> Figure:
    """Images uint8 [h, w, 3] or [h, w] with titles, each `tile` inches wide.

    columns: images per row; 0: all in one row.
    """
    columns = min(columns or len(images), len(images))
    count = -(-len(images) // columns)
    height = tile * max(image.shape[0] / image.shape[1] for image in images.values())
    figure = Figure(figsize=(columns * tile, count * (height + 0.22)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(count, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (title, image) in zip(axes, images.items(), strict=False):
        axis.imshow(image, cmap="gray" if image.ndim == 2 else None, interpolation="nearest", vmin=0, vmax=255)
        axis.set_title(title, fontsize=8, pad=3)
    cast(ConstrainedLayoutEngine, figure.get_layout_engine()).set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    return figure


def line_plot(table: "pandas.DataFrame", metric: str, xlabel: str, colours: dict[str, str] | None = None) -> Figure:
    """One line per method: mean of `metric` for each x with 95% intervals; columns x, method, metric."""
    marker = _markers(table["method"].unique(), colours)
    colours, short = colours or palette(table["method"].unique()), method_labels(table["method"])
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axis = figure.subplots()
    for method, own in table.groupby("method", sort=False):
        groups = [(x, group[metric].to_numpy()) for x, group in own.groupby("x")]
        x, y = np.array([x for x, _ in groups]), np.array([values.mean() for _, values in groups])
        low, high = np.array([bootstrap_interval(values) for _, values in groups]).T
        axis.fill_between(x, low, high, color=colours[method], alpha=0.13, linewidth=0)
        axis.plot(x, y, f"{marker[method]}-", color=colours[method], markersize=3.5, linewidth=1.3, label=short[method])
    if table["x"].min() >= 1 and table["x"].max() / table["x"].min() >= 8 and "JPEG" not in xlabel:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(xlabel, fontsize=9)
    _finish(axis, axis.set_ylabel, metric)
    _legend(axis)
    return figure


def scatter_plot(points: dict[str, tuple[Estimate, Estimate]], x: str, y: str, colours: dict[str, str] | None = None) -> Figure:
    """One point per method: the estimates of the metrics x and y with their intervals."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axis = figure.subplots()
    marker = _markers(points, colours)
    colours, short = colours or palette(points), method_labels(points)
    for method, (across, up) in points.items():
        errors = [np.reshape(error_bar(estimate), (2, 1)) for estimate in (across, up)]
        axis.errorbar(
            across[0],
            up[0],
            xerr=errors[0],
            yerr=errors[1],
            fmt=marker[method],
            color=colours[method],
            markersize=5,
            elinewidth=0.9,
            label=short[method],
        )
    _finish(axis, axis.set_xlabel, x)
    _finish(axis, axis.set_ylabel, y)
    _legend(axis)
    return figure


def error_bar(estimate: Estimate) -> tuple[float, float]:
    """Lengths of the error bar below and above the mean; 0 without an interval.

    Rounding can put the mean of equal values outside their interval, hence the maximum with 0.
    """
    mean, low, high = estimate
    return (0.0 if low is None else max(0.0, mean - low)), (0.0 if high is None else max(0.0, high - mean))


def palette(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method except the ground truth."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(name for name in methods if name != GROUND_TRUTH)}


def _markers(methods: Iterable[str], colours: dict[str, str] | None) -> dict[str, str]:
    """A marker for each method, so that it can be identified without its colour; circles where the caller chose the colours."""
    return {name: "o" if colours else MARKERS[k % len(MARKERS)] for k, name in enumerate(methods)}


def _finish(axis: Axes, set_label: Callable, metric: str) -> None:
    set_label(metric_label(metric), fontsize=9)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _legend(axis: Axes) -> None:
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
