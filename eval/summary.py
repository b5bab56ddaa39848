"""Statistics of a run: RUN/summary.json, a list of entries

    {"task", "method", "metric", "mean", "low", "high", "n", "baseline", "diff", "diff_low", "diff_high"}

mean over images with its bootstrap 95% interval; diff is the mean paired difference to the baseline over the images of both. A
set metric has one value for n images, without intervals, because a resampled set contains duplicates, which bias a Fréchet
distance. null is a value that does not exist or is infinite, with the reason in "note". In addition to the metrics there are the
costs "seconds" per image, "images_per_second", and the peak memory "memory_mib" and, on a GPU, "cuda_mib".
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from eval.metrics import METRICS, needs_ground_truth
from eval.results import SECONDS, Row, RunStore
from eval.statistics import bootstrap_interval
from eval.weights import MetricSettings, MissingMetric

GROUND_TRUTH = "ground-truth"
UNBIASED = ("kid",)  # set metrics without bias; a Fréchet distance decreases with n
Entry = dict[str, Any]  # strings, numbers, None


def summarise(
    store: RunStore,
    baseline: str,
    set_metrics: Sequence[str],  # names of set metrics
    settings: MetricSettings,
    bar: Callable[[list], Iterable] = iter,
) -> list[Entry]:
    """Compute the entries of every task, method and metric in a run."""
    groups = store.rows.groups()
    set_entries = {}
    for metric, (task, method) in bar([(metric, group) for metric in set_metrics for group in groups]):
        if entry := _set_entry(metric, store, task, method, settings):
            set_entries[metric, task, method] = entry
    entries = []
    for task, method in groups:
        own, base = store.rows.get(task, method), store.rows.get(task, baseline)
        measured = [per_image_entry(name, own, base) for name in store.rows.metrics]
        measured += [
            _with_difference(set_entries[name, task, method], set_entries.get((name, task, baseline)))
            for name in set_metrics
            if (name, task, method) in set_entries
        ]
        measured.sort(key=lambda entry: list(METRICS).index(entry["metric"]))
        measured += _cost_entries(own, store.features.peaks(task, method))
        entries += [{"task": task, "method": method} | entry | {"baseline": baseline} for entry in measured if entry["n"]]
    return entries


def per_image_entry(metric: str, own: dict[str, Row], base: dict[str, Row]) -> Entry:
    """The entry of a metric with one value per image, without task, method and baseline."""
    measured = np.array([row[metric] for row in own.values() if metric in row])  # [m]
    values = measured[~np.isnan(measured)]  # [n]
    with np.errstate(invalid="ignore"):  # infinity - infinity
        diffs = np.array([row[metric] - base[image][metric] for image, row in own.items() if _both(metric, row, base.get(image))])
    entry: Entry = {"metric": metric} | _mean(values, "mean", "low", "high") | {"n": len(measured)}
    entry |= _mean(diffs, "diff", "diff_low", "diff_high")
    if not np.isfinite(values).all():
        entry["note"] = "is infinite: some images are identical to the ground truth"
    elif len(values) < len(measured):
        entry |= {
            "n": len(values) or len(measured),
            "note": f"has no value for {len(measured) - len(values)} of {len(measured)} images",
        }
    return entry


def _both(metric: str, row: Row, other: Row | None) -> bool:
    return other is not None and not math.isnan(row.get(metric, math.nan)) and not math.isnan(other.get(metric, math.nan))


def _mean(values: np.ndarray, mean: str, low: str, high: str) -> Entry:
    if not len(values):
        return {mean: None, low: None, high: None}
    interval = bootstrap_interval(values)
    return {mean: _finite(values.mean()), low: _finite(interval[0]), high: _finite(interval[1])}


def _set_entry(metric: str, store: RunStore, task: str, method: str, settings: MetricSettings) -> Entry | None:
    """The entry of a set metric without the difference.

    None if the features or the reference are missing.
    """
    own, reference, note = store.features.get(METRICS[metric].features, task, method), None, []
    if needs_ground_truth(metric):
        targets = store.features.get(METRICS[metric].features, task, GROUND_TRUTH)
        own = {image: vector for image, vector in own.items() if image in targets}
        reference = np.stack([targets[image] for image in own]) if own else None  # [n, d]
    else:
        try:
            reference = cast(Callable, METRICS[metric].reference)(settings)
            note = [f"uses the reference {settings.fid_statistics}"]
        except MissingMetric:
            own = {}
    if not own:
        return None
    features = np.stack(list(own.values()))  # [n, d]
    value, problem = _distance(metric, store, features, reference)
    n, dims = features.shape
    if problem:
        note.append(f"cannot be computed: {problem}")
    elif n <= dims and metric not in UNBIASED:
        note.append(f"is biased upwards: {n} images for {dims} dimensions; compare only for equal n")
    return {"metric": metric, "mean": value, "low": None, "high": None, "n": n} | ({"note": "; ".join(note)} if note else {})


def _distance(metric: str, store: RunStore, features: np.ndarray, reference: Any) -> tuple[float | None, str]:
    """(distance, or the reason why there is none).

    Distances are stored by their inputs: a matrix root takes minutes.
    """
    digest = hashlib.sha256(metric.encode())
    for array in (features, *(reference if isinstance(reference, tuple) else (reference,))):
        digest.update(np.ascontiguousarray(array).data)
    value = store.features.distance(digest.hexdigest())
    if value is None:
        try:
            value = cast(Callable, METRICS[metric].distance)(features, reference)
        except (ValueError, MissingMetric) as error:
            return None, str(error)
        store.features.put_distance(digest.hexdigest(), value)
    return _finite(value), ""


def _with_difference(entry: Entry, base: Entry | None) -> Entry:
    difference = None if base is None or None in (base["mean"], entry["mean"]) else entry["mean"] - base["mean"]
    return entry | {"diff": difference, "diff_low": None, "diff_high": None}


def _cost_entries(own: dict[str, Row], peaks: dict[str, float]) -> list[Entry]:
    """Entries of seconds per image, images per second and peak memory.

    The rate is the inverse of the mean time.
    """
    seconds = per_image_entry(SECONDS, own, {})
    rate = {new: seconds[old] and 1 / seconds[old] for new, old in (("mean", "mean"), ("low", "high"), ("high", "low"))}
    entries = [seconds, seconds | {"metric": "images_per_second"} | rate]
    return entries + [seconds | {"metric": kind, "mean": mib, "low": None, "high": None} for kind, mib in peaks.items()]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
