"""Plots and tables as HTML for the tabs Leaderboard and Results and the page of the owner."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from demo import languages

ACCENT, INK = "#6366f1", "#010203"  # of plots; INK stands for the text colour of the page


def forest_plot(
    title: str,
    alt_text: str,
    points: dict[str, tuple],
    ends: tuple[float, float] | None = None,
    centre: float | None = None,
) -> str:
    """Return a forest plot as inline SVG: a dot and a confidence interval per name, on a common axis.

    Args:
        title, alt_text: keys of demo.languages; the title of the axis is English.
        points: name -> (value, low, high); names without a value are omitted. A bound of None is an arrow to the end of the axis.
        ends: limits of the axis; default: the range of all intervals.
        centre: position of a vertical reference line.
    """
    known = {name: point for name, point in points.items() if point[0] is not None}
    if not known:
        return ""
    rows, (values, lows, highs) = range(len(known)), np.array(list(known.values()), float).T  # None becomes NaN
    figure = Figure(figsize=(6.4, 0.36 * len(known) + 0.7), layout="constrained")
    axis = figure.subplots()
    style: dict[str, Any] = {"fmt": "o", "color": ACCENT, "elinewidth": 2, "markersize": 7}
    axis.errorbar(values, rows, xerr=np.nan_to_num([values - lows, highs - values]), **style)
    arrow = 0.15 * (np.ptp([*values, *lows[np.isfinite(lows)], *highs[np.isfinite(highs)]]) or 1.0)
    for row, (value, low, high) in enumerate(zip(values, lows, highs, strict=True)):
        if np.isnan(low) != np.isnan(high):  # a bound on one side only
            axis.errorbar(value, row, xerr=arrow, xuplims=np.isnan(low), xlolims=np.isnan(high), **style)
    if centre is not None:
        axis.axvline(centre, color=INK, alpha=0.5, linewidth=0.8)
    if ends:
        axis.set_xlim(*ends)
    axis.set_ylim(len(known) - 0.5, -0.5)  # the first name is at the top
    axis.set_yticks(rows, known, parse_math=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(languages.english(title))
    axis.spines[["top", "left", "right"]].set_visible(False)
    return svg(figure, alt_text)


def strength_plot(methods: dict) -> str:
    """Return the forest plot of the strengths of methods: name -> row with strength, low and high."""
    points = columns(methods, "strength", "low", "high")
    return forest_plot("leaderboard.strength_axis", "leaderboard.strength_plot", points, centre=0.0)


def paired_plot(alt_text: str, colour: str, methods: list[str], series: list[dict[str, tuple]], reach: float) -> str:
    """Return two forest plots on one axis as inline SVG: open circles for the first series, filled ones for the second.

    Args:
        alt_text: key of demo.languages.
        colour: name of the CSS variable with the colour.
        methods: names, from top to bottom.
        series: two of: name -> (value, low, high); names without a value are omitted, a bound of None is an arrow.
        reach: the axis is from -reach to reach; values and bounds beyond it are shown at its end.
    """
    figure = Figure(figsize=(4.4, 0.44 * len(methods) + 0.5), layout="constrained")
    axis = figure.subplots()
    for points, offset, fill in zip(series, (-0.16, 0.16), ("none", ACCENT), strict=True):
        style: dict[str, Any] = {"fmt": "o", "color": ACCENT, "markerfacecolor": fill, "elinewidth": 1.6, "markersize": 6}
        for row, name in enumerate(methods):
            value, low, high = np.clip(np.array(points.get(name, (None,) * 3), float), -reach, reach)  # None becomes NaN
            axis.errorbar(value, row + offset, xerr=np.nan_to_num([[value - low], [high - value]]), **style)
            if np.isnan(low) != np.isnan(high):
                axis.errorbar(value, row + offset, xerr=0.15 * reach, xuplims=np.isnan(low), xlolims=np.isnan(high), **style)
    axis.axvline(0.0, color=INK, alpha=0.5, linewidth=0.8)
    axis.set_xlim(-reach, reach)
    axis.set_ylim(len(methods) - 0.5, -0.5)  # the first name is at the top
    axis.set_yticks(range(len(methods)), methods, parse_math=False)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "left", "right"]].set_visible(False)
    return svg(figure, alt_text).replace(ACCENT, f"var(--{colour})")


def svg(figure: Figure, alt_text: str, **values: object) -> str:
    """Return a figure as inline SVG, whose text and axes have the text colour of the page, in light and dark mode.

    `alt_text` is a key of demo.languages; `values` replace the placeholders of its text.
    """
    for text in figure.findobj(Text):
        text.set_color(INK)
    for axis in figure.axes:
        axis.tick_params(color=INK)
        axis.spines[:].set_color(INK)
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": languages.english(alt_text, **values), "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    return f'<figure class="forest" role="img" {languages.attributes(values, aria_label=alt_text)}>{drawn}</figure>'


def columns(methods: dict, *keys: str) -> dict[str, tuple]:
    """Select values of each row: name -> values of `keys`."""
    return {name: tuple(row[key] for key in keys) for name, row in methods.items()}


def table(heads: list[str], rows: list[list]) -> str:
    """Return an HTML table. Cells are HTML; the first cell of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def number(value: float | None, decimals: int = 2) -> str:
    """Format a number; a dash for None."""
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def interval(row: Mapping[str, Any], *keys: str) -> str:
    """Format the value and the bounds in `keys` as HTML, in bold if the interval excludes 0; None: no bound is known."""
    value, low, high = (row[key] for key in keys)
    if value is None:
        return "–"
    known = {name: number(bound) for name, bound in (("low", low), ("high", high)) if bound is not None}
    text = {("low", "high"): "range", ("low",): "at_least", ("high",): "at_most"}.get(tuple(known))
    bounds = " " + languages.html(f"leaderboard.{text}", tag="small", **known) if text else ""
    excludes_zero = (low is not None and low > 0) or (high is not None and high < 0)
    return f"<b>{number(value)}</b>{bounds}" if excludes_zero else f"{number(value)}{bounds}"
