"""Figures of a RUN folder, from per_image.csv, lq/ and restored/.

python -m eval figures RUN [--out DIR]     all figures that the run has the data for, as PNG

grid         faces, a row per image and a column per method, with an enlarged detail   (needs run --keep)
strength     a metric as a function of the strength of the degradation
trade_off    distortion versus perception, a point per method    (Y. Blau, T. Michaeli, CVPR 2018)
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eval.benchmark.store import RowKey
from eval.benchmark.summary import GROUND_TRUTH
from eval.data.lq_sets import FSR_TASKS, OPERATORS
from eval.metrics.registry import METRICS
from eval.metrics.statistics import bootstrap_interval
from eval.report.plots import TILE, line_plot, palette, scatter_plot
from eval.report.tables import method_labels
from gpen.errors import GPENError
from gpen.images import read_image, replace_atomically

if TYPE_CHECKING:
    import pandas

ZOOM = (0.26, 0.36, 0.25)  # left, top, side as fractions of the image: the left eye of an FFHQ-aligned face
BINS = 6  # of a parameter that is sampled for each image
PERCEPTION = ("lpips_alex", "lpips_vgg", "lpips_squeeze", "squeezenet", "niqe_fitted")
LABELS = {
    "scale": "scale s",
    "blur_sigma": "blur sigma, px",
    "noise_sigma": "noise sigma, 0-255",
    "jpeg_quality": "JPEG quality q",
}


def rows(run: str | Path, tasks: Iterable[str] | None = None, methods: Iterable[str] | None = None) -> "pandas.DataFrame":
    """Read per_image.csv, for the given tasks and methods in this order; None: all.

    Raises GPENError for a folder without a run, and for an unknown task or method.
    """
    import pandas

    path = Path(run, "per_image.csv")
    try:
        # by default, images called NA, nan or null would be read as missing
        columns = pandas.read_csv(path, nrows=0).columns.difference(RowKey._fields)
        table = pandas.read_csv(
            path, dtype=dict.fromkeys(RowKey._fields, str), keep_default_na=False, na_values=dict.fromkeys(columns, ["", "nan"])
        )
    except OSError as error:
        raise GPENError(f"{run} is not a run; create one with python -m eval run.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} is damaged; run the command again.") from error
    for column, wanted in (("task", tasks), ("method", methods)):
        if wanted is None:
            continue
        wanted = list(wanted)
        if unknown := [name for name in wanted if name not in set(table[column])]:
            raise GPENError(f"{run} has no {column} {unknown[0]!r}; choose from {', '.join(table[column].unique())}.")
        table = table[table[column].isin(wanted)].sort_values(column, key=lambda names: names.map(wanted.index), kind="stable")
    return table


def grid(
    run: str | Path,
    task: str,
    methods: Sequence[str] | None = None,
    images: Sequence[str] | int = 4,  # names, or a number of images, evenly spaced by name
    zoom: tuple[float, float, float] = ZOOM,
    metric: str = "psnr",  # displayed on each detail
) -> Figure:
    """Plot faces of a task with the same detail of each.

    Raises GPENError if images were not kept and for unknown names.
    """
    table = rows(run, [task], methods)
    methods = list(table["method"].unique())
    if methods[-1] != GROUND_TRUTH and GROUND_TRUTH in methods:
        methods = [name for name in methods if name != GROUND_TRUTH] + [GROUND_TRUTH]
    names = _select_images(sorted(table["image"].unique()), images)
    short, values = method_labels(methods), table.set_index(["image", "method"])[metric].to_dict() if metric in table else {}
    width, height = TILE * len(methods), (2 * TILE + 0.1) * len(names) + 0.25
    figure = Figure(figsize=(width, height))
    margins = {"left": 0.003, "right": 0.997, "bottom": 0.01 / height, "top": 1 - 0.25 / height}
    row_grid = figure.add_gridspec(len(names), 1, hspace=0.035, **margins)
    for row, name in enumerate(names):
        axes = row_grid[row].subgridspec(2, len(methods), wspace=0.03, hspace=0.03).subplots(squeeze=False)
        for column, method in enumerate(methods):
            _face(axes[:, column], _restored_path(run, task, method, name), zoom)
            if not row:
                axes[0, column].set_title(short[method].partition(" (")[0], fontsize=8, pad=4)
            if np.isfinite(value := values.get((name, method), np.nan)):
                text = f"{value:.2f} dB" if metric.startswith("psnr") else f"{value:.3f}"
                axes[1, column].text(
                    0.03,
                    0.03,
                    text,
                    transform=axes[1, column].transAxes,
                    fontsize=7,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "linewidth": 0},
                )
    return figure


def strength(
    run: str | Path,
    metric: str = "psnr",
    parameter: str = "scale",  # of the degradation, a key of LABELS
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str | None = None,
) -> Figure:
    """Plot the mean of a metric with 95% bootstrap intervals for each strength of the degradation.

    A parameter with many values (sampled for each image) is divided into BINS bins of equal size. The faces differ between bins,
    so the paired difference to a baseline is more informative. Raises GPENError if no degradation has the parameter.
    """
    table = _measured(rows(run, tasks, methods), metric, run)
    if baseline:
        table = _differences(table, metric, baseline)
    table = table.assign(x=_parameters(run, table, parameter)).dropna(subset=["x"])
    if table.empty:
        raise GPENError(f"No degradation in {run} has {parameter}; choose another parameter or task.")
    table["x"] = _binned(table["x"])
    figure = line_plot(table, metric, LABELS.get(parameter, parameter), _colours(run))
    if baseline:
        (axis,) = figure.axes
        axis.axhline(0, color="#6b7280", linewidth=0.8)
        axis.set_ylabel(f"{axis.get_ylabel()}\ndifference to {baseline}", fontsize=9)
    return figure


def trade_off(
    run: str | Path,
    task: str,
    distortion: str = "psnr",
    perception: str | None = None,  # None: the first measured metric of PERCEPTION
    methods: Sequence[str] | None = None,
) -> Figure:
    """Plot the mean of each method with 95% intervals on both axes.

    Blau and Michaeli prove that beyond a bound no method improves distortion without a loss in perception, and vice versa.
    """
    table = rows(run, [task], methods)
    if perception is None:
        perception = next((name for name in PERCEPTION if name in table), PERCEPTION[0])
    table = _measured(_measured(table, distortion, run), perception, run)
    points = {
        method: tuple((values.mean(), *bootstrap_interval(values)) for values in own[[distortion, perception]].to_numpy().T)
        for method, own in table.groupby("method", sort=False)
    }
    return scatter_plot(cast(dict, points), distortion, perception, _colours(run))


def write_all(run: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write all figures of a run as PNG to `out` (default RUN/figures); returns the files.

    Raises GPENError without a run.
    """
    run, out = Path(run), Path(out or Path(run, "figures"))
    table = rows(run)
    figures = {}
    for task in table["task"].unique():
        if _restored_path(run, task, "bilinear", table["image"].iloc[0]).is_file():
            figures[f"grid-{task}"] = grid(run, task)
        if set(PERCEPTION) & set(table.columns) and "psnr" in table:
            figures[f"trade-off-{task}"] = trade_off(run, task)
    measured = [task for task in FSR_TASKS if task in set(table["task"])]
    for metric in (name for name in ("psnr", "ssim", "lpips_alex", "squeezenet", "identity") if name in table):
        for operator in OPERATORS:  # a curve has inputs of one operator
            tasks = [task for task in measured if FSR_TASKS[task][1] == operator]
            if len(tasks) > 1:
                figures[f"strength-fsr-{operator}-{metric}"] = strength(run, metric, tasks=tasks)
        for task in (task for task in table["task"].unique() if task.startswith("bfr")):
            figures[f"strength-{task}-{metric}"] = strength(run, metric, tasks=[task], baseline="bilinear")
    for name, figure in figures.items():
        with replace_atomically(out / f"{name}.png") as partial:
            figure.savefig(partial, format="png", dpi=160)
    return [out / f"{name}.png" for name in figures]


def _measured(table: "pandas.DataFrame", metric: str, run: str | Path) -> "pandas.DataFrame":
    """The rows with a finite value of the metric, without the ground truth."""
    if metric not in table or metric not in METRICS:
        known = [name for name in table.columns if name in METRICS]
        raise GPENError(f"{run} has no values of {metric}; choose from {', '.join(known)}.")
    return table[np.isfinite(table[metric]) & (table["method"] != GROUND_TRUTH)]


def _differences(table: "pandas.DataFrame", metric: str, baseline: str) -> "pandas.DataFrame":
    """The rows of the other methods, with the difference of the metric to the baseline on the same image."""
    own = table[table["method"] == baseline].set_index(["task", "image"])[metric]
    if own.empty:
        raise GPENError(f"The run has no baseline {baseline}; choose from {', '.join(table['method'].unique())}.")
    table = table[table["method"] != baseline]
    base = own.reindex([*zip(table["task"], table["image"], strict=True)]).to_numpy()
    return table.assign(**{metric: table[metric] - base}).dropna(subset=[metric])


def _parameters(run: str | Path, table: "pandas.DataFrame", parameter: str) -> list[float]:
    """The parameter of the degradation of each row; NaN if the degradation does not have it."""
    values: dict[tuple[str, str], float | None] = {}
    for task in table["task"].unique():
        images = json.loads(Path(run, "lq", task, "params.json").read_text())["images"]
        values |= {(task, name): (image["degradation"] or {}).get(parameter) for name, image in images.items()}
    found = [values.get(key) for key in zip(table["task"], table["image"], strict=True)]
    return [np.nan if value is None else float(value) for value in found]


def _binned(x: "pandas.Series") -> "pandas.Series":
    """The values if there are few different ones; else the median of the bin of each value."""
    import pandas

    if x.nunique() <= 2 * BINS:
        return x
    return x.groupby(pandas.qcut(x, BINS, duplicates="drop"), observed=True).transform("median")


def _select_images(names: list[str], images: Sequence[str] | int) -> list[str]:
    if not isinstance(images, int):
        if unknown := [name for name in images if name not in names]:
            raise GPENError(f"The run has no image {unknown[0]!r}; choose from {', '.join(names[:5])} ....")
        return list(images)
    return [names[k] for k in np.unique(np.linspace(0, len(names) - 1, min(images, len(names))).round().astype(int))]


def _restored_path(run: str | Path, task: str, method: str, name: str) -> Path:
    return Path(run, "restored", task, quote(method, safe=""), f"{name}.png")


def _face(axes: np.ndarray, path: Path, zoom: tuple[float, float, float]) -> None:
    """Draw the face at `path` in the first of two axes, its detail in the second."""
    if not path.is_file():
        raise GPENError(f"{path} is missing; keep the restored images with python -m eval run --keep.")
    image = read_image(path)  # [size, size, 3]
    size = len(image)
    left, top, side = (round(fraction * size) for fraction in zoom)
    axes[0].imshow(image, interpolation="nearest")
    axes[0].add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=0.8))
    axes[1].imshow(image[top : top + side, left : left + side], interpolation="nearest")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def _colours(run: str | Path) -> dict[str, str]:
    """A colour per method, the same in all figures of the run."""
    return palette(rows(run)["method"].unique())
