"""From rows to a table: RUN/summary.json, a list of entries

    {"task", "method", "metric", "mean", "low", "high", "n", "baseline", "diff", "diff_low", "diff_high"}

mean over images with its bootstrap 95% interval; diff is the mean paired difference to the baseline on the
images that both have. A set metric is one figure for n images, without intervals: resampled sets hold
duplicates, which biases a Fréchet distance. null stands for what does not exist or is infinite ("note" says).
"""

import math

import numpy as np

from eval.metrics import METRICS
from eval.results import Features, Row, Rows
from eval.statistics import bootstrap_interval

TRUTH = "ground-truth"
Entry = dict[str, str | float | int | None]


def summarise(rows: Rows, features: Features, baseline: str) -> list[Entry]:
    """The entries of every task, method and metric that has been measured."""
    entries = []
    for task, method in rows.groups():
        own, base = rows.get(task, method), rows.get(task, baseline)
        measured = [_pair_entry(name, own, base) for name in rows.metrics]
        measured += [_set_entry(name, features, task, method, baseline) for name in features.metrics()]
        measured.sort(key=lambda entry: list(METRICS).index(entry["metric"]))
        measured.append(_pair_entry("seconds", own, {}))
        entries += [{"task": task, "method": method} | entry | {"baseline": baseline}
                    for entry in measured if entry["n"]]
    return entries


def _pair_entry(metric: str, own: dict[str, Row], base: dict[str, Row]) -> Entry:
    values = np.array([row[metric] for row in own.values() if metric in row])  # [n]
    both = [image for image, row in own.items() if metric in row and metric in base.get(image, {})]
    with np.errstate(invalid="ignore"):  # infinity - infinity
        diffs = np.array([own[image][metric] - base[image][metric] for image in both])  # [m]
    entry = {"metric": metric} | _mean(values, "mean", "low", "high") | {"n": len(values)}
    entry |= _mean(diffs, "diff", "diff_low", "diff_high")
    if len(values) and not np.isfinite(values).all():
        entry["note"] = "infinite: some images equal the true ones"
    return entry


def _mean(values: np.ndarray, mean: str, low: str, high: str) -> Entry:
    if not len(values):
        return {mean: None, low: None, high: None}
    interval = bootstrap_interval(values)
    return {mean: _finite(values.mean()), low: _finite(interval[0]), high: _finite(interval[1])}


def _set_entry(metric: str, features: Features, task: str, method: str, baseline: str) -> Entry:
    value, n, dims = _set_value(metric, features, task, method)
    base, *_ = _set_value(metric, features, task, baseline)
    diff = None if value is None or base is None else value - base
    entry = {"metric": metric, "mean": value, "low": None, "high": None, "n": n}
    entry |= {"diff": diff, "diff_low": None, "diff_high": None}
    if 0 < n <= dims:
        entry["note"] = f"biased upwards: {n} images for {dims} dimensions; compare only at equal n"
    return entry


def _set_value(metric: str, features: Features, task: str, method: str) -> tuple[float | None, int, int]:
    """(value, images, dimensions) against the truths of the same images."""
    own, truth = features.get(metric, task, method), features.get(metric, task, TRUTH)
    images = [image for image in own if image in truth]
    if len(images) < 2:
        return None, 0, 0
    a, b = (np.stack([side[image] for image in images]) for side in (own, truth))  # [n, d]
    return METRICS[metric].distance(a, b), *a.shape


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
