"""From rows to a table: RUN/summary.json, a list of entries

    {"task", "method", "metric", "mean", "low", "high", "n", "baseline", "diff", "diff_low", "diff_high"}

mean over images with its bootstrap 95% interval; diff is the mean paired difference to the baseline on the
images that both have. A set metric is one figure for n images, without intervals: resampled sets hold
duplicates, which biases a Fréchet distance. null stands for what does not exist or is infinite ("note" says).
Beside the metrics stand "seconds" an image, "images_per_second", and the peaks "memory_mib" and, on a GPU, "cuda_mib".
"""

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from eval.metrics import METRICS
from eval.results import Held, Row
from eval.statistics import bootstrap_interval
from eval.weights import MetricSettings, MissingMetric

TRUTH = "ground-truth"
UNBIASED = ("kid",)  # of the set metrics; a Fréchet distance falls as n grows
Entry = dict[str, Any]  # strings, numbers, None


def summarise(
    held: Held,
    baseline: str,
    sets: Iterable[str],  # names of set metrics
    settings: MetricSettings,
    bar: Callable[[list], Iterable] = iter,
) -> list[Entry]:
    """The entries of every task, method and metric that has been measured."""
    groups = held.rows.groups()
    figures = {}
    for metric, (task, method) in bar([(metric, group) for metric in sets for group in groups]):
        if entry := _set_entry(metric, held, task, method, settings):
            figures[metric, task, method] = entry
    entries = []
    for task, method in groups:
        own, base = held.rows.get(task, method), held.rows.get(task, baseline)
        measured = [pair_entry(name, own, base) for name in held.rows.metrics]
        measured += [
            _with_difference(figures[name, task, method], figures.get((name, task, baseline)))
            for name in sets
            if (name, task, method) in figures
        ]
        measured.sort(key=lambda entry: list(METRICS).index(entry["metric"]))
        measured += _cost_entries(own, held.store.peaks(task, method))
        entries += [{"task": task, "method": method} | entry | {"baseline": baseline} for entry in measured if entry["n"]]
    return entries


def pair_entry(metric: str, own: dict[str, Row], base: dict[str, Row]) -> Entry:
    measured = np.array([row[metric] for row in own.values() if metric in row])  # [m]
    values = measured[~np.isnan(measured)]  # [n]
    with np.errstate(invalid="ignore"):  # infinity - infinity
        diffs = np.array([row[metric] - base[image][metric] for image, row in own.items() if _both(metric, row, base.get(image))])
    entry = {"metric": metric} | _mean(values, "mean", "low", "high") | {"n": len(measured)}
    entry |= _mean(diffs, "diff", "diff_low", "diff_high")
    if not np.isfinite(values).all():
        entry["note"] = "is infinite: some images equal the true ones"
    elif len(values) < len(measured):
        entry |= {
            "n": len(values) or len(measured),
            "note": f"has no value on {len(measured) - len(values)} of {len(measured)} images",
        }
    return entry


def _both(metric: str, row: Row, other: Row | None) -> bool:
    return other is not None and not math.isnan(row.get(metric, math.nan)) and not math.isnan(other.get(metric, math.nan))


def _mean(values: np.ndarray, mean: str, low: str, high: str) -> Entry:
    if not len(values):
        return {mean: None, low: None, high: None}
    interval = bootstrap_interval(values)
    return {mean: _finite(values.mean()), low: _finite(interval[0]), high: _finite(interval[1])}


def _set_entry(metric: str, held: Held, task: str, method: str, settings: MetricSettings) -> Entry | None:
    """Without the difference to the baseline; None where the features or the reference are not there."""
    own, reference, note = held.store.get(METRICS[metric].features, task, method), None, []
    if METRICS[metric].against == "truths":
        truths = held.store.get(METRICS[metric].features, task, TRUTH)
        own = {image: vector for image, vector in own.items() if image in truths}
        reference = np.stack([truths[image] for image in own]) if own else None  # [n, d]
    else:
        try:
            reference = cast(Callable, METRICS[metric].reference)(settings)
            note = [f"is against {settings.fid_statistics}"]
        except MissingMetric:
            own = {}
    if not own:
        return None
    features = np.stack(list(own.values()))  # [n, d]
    value, problem = _distance(metric, held, features, reference)
    n, dims = features.shape
    if problem:
        note.append(f"cannot be computed: {problem}")
    elif n <= dims and metric not in UNBIASED:
        note.append(f"is biased upwards: {n} images for {dims} dimensions; compare only at equal n")
    return {"metric": metric, "mean": value, "low": None, "high": None, "n": n} | ({"note": "; ".join(note)} if note else {})


def _distance(metric: str, held: Held, features: np.ndarray, reference: Any) -> tuple[float | None, str]:
    """(the figure, or else why there is none); a figure is kept by what it was computed from: a root takes minutes."""
    digest = hashlib.sha256(metric.encode())
    for array in (features, *(reference if isinstance(reference, tuple) else (reference,))):
        digest.update(np.ascontiguousarray(array).data)
    value = held.store.figure(digest.hexdigest())
    if value is None:
        try:
            value = cast(Callable, METRICS[metric].distance)(features, reference)
        except (ValueError, MissingMetric) as error:
            return None, str(error)
        held.store.keep_figure(digest.hexdigest(), value)
    return _finite(value), ""


def _with_difference(entry: Entry, base: Entry | None) -> Entry:
    difference = None if base is None or None in (base["mean"], entry["mean"]) else entry["mean"] - base["mean"]
    return entry | {"diff": difference, "diff_low": None, "diff_high": None}


def _cost_entries(own: dict[str, Row], peaks: dict[str, float]) -> list[Entry]:
    """Seconds an image, images a second, peaks of memory. The images' rate is that of their mean time."""
    seconds = pair_entry("seconds", own, {})
    rate = {new: seconds[old] and 1 / seconds[old] for new, old in (("mean", "mean"), ("low", "high"), ("high", "low"))}
    entries = [seconds, seconds | {"metric": "images_per_second"} | rate]
    return entries + [seconds | {"metric": kind, "mean": mib, "low": None, "high": None} for kind, mib in peaks.items()]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
