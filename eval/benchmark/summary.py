"""Statistics of a run: RUN/summary.json, a list of entries

    {"task", "method", "metric", "mean", "low", "high", "n", "baseline", "diff", "diff_low", "diff_high"}

mean over images with its bootstrap 95% interval; diff is the mean paired difference to the baseline over the images of both. A
set metric has one value for n images, without intervals, because a resampled set contains duplicates, which bias a Fréchet
distance. null is a value that does not exist or is infinite, with the reason in "note". "diff_n" is the number of images of the
difference if it is not n. "reference" is the name of the reference set of a metric with given statistics. "trained" and "chosen"
are the numbers of images of the run on which the method, the baseline or the metric was trained or chosen, if there are any: the
value is no test result (eval.benchmark.known_images). "upscaled" is the number of images whose ground truth was enlarged to the
size of the run, if there are any. In addition to the metrics there are the costs "seconds" per image, "images_per_second", and
the peak memory "memory_mib" and, on a GPU, "cuda_mib".
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from eval.benchmark.known_images import KnownImages
from eval.benchmark.store import SECONDS, Row, RunStore
from eval.data.lq_sets import WILD
from eval.metrics.fid import statistics_name
from eval.metrics.registry import METRICS, needs_ground_truth
from eval.metrics.statistics import bootstrap_interval
from eval.metrics.weights import MetricSettings, MissingMetric

GROUND_TRUTH = "ground-truth"
INFINITE = "is infinite: some images are identical to the ground truth"  # note
UNBIASED = ("kid",)  # set metrics without bias; a Fréchet distance decreases with n


@dataclass(frozen=True)
class SummaryEntry:
    """One metric or cost of one method on one task."""

    task: str
    method: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    baseline: str = ""
    diff: float | None = None
    diff_low: float | None = None
    diff_high: float | None = None
    note: str = ""
    diff_n: int | None = None
    trained: int = 0
    chosen: int = 0
    upscaled: int = 0
    reference: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the method, the baseline or the metric was trained or chosen on some of the images."""
        return bool(self.trained or self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without an empty note, diff_n, trained, chosen, upscaled and reference."""
        optional = ("note", "diff_n", "trained", "chosen", "upscaled", "reference")
        return {key: value for key, value in asdict(self).items() if value or key not in optional}


def summarise(
    store: RunStore,
    baseline: str,
    set_metrics: Sequence[str],  # names of set metrics
    settings: MetricSettings,
    known: KnownImages,
    bar: Callable[[list], Iterable] = iter,
    upscaled: int = 0,  # images whose ground truth was enlarged
) -> list[SummaryEntry]:
    """Compute the entries of every task, method and metric in a run."""
    groups = store.rows.groups()
    set_entries = {}
    for metric, (task, method) in bar([(metric, group) for metric in set_metrics for group in groups]):
        if entry := _set_entry(metric, store, SummaryEntry(task, method, metric, None, None, None, 0, baseline), settings):
            set_entries[metric, task, method] = entry
    entries = []
    for task, method in groups:
        own, base = store.rows.get(task, method), store.rows.get(task, baseline)
        empty = SummaryEntry(task, method, "", None, None, None, 0, baseline)
        measured = [per_image_entry(replace(empty, metric=name), own, base) for name in store.rows.metrics]
        measured += [
            _with_difference(set_entries[name, task, method], set_entries.get((name, task, baseline)))
            for name in set_metrics
            if (name, task, method) in set_entries
        ]
        measured = [
            replace(
                entry,
                trained=max(known.trained.get(name, 0) for name in (method, baseline, entry.metric)),
                chosen=max(known.chosen.get(name, 0) for name in (method, baseline, entry.metric)),
                upscaled=0 if task == WILD else upscaled,
            )
            for entry in measured
        ]
        measured.sort(key=lambda entry: list(METRICS).index(entry.metric))
        measured += _cost_entries(empty, own, store.features.peaks(task, method))
        entries += [entry for entry in measured if entry.n]
    return entries


def per_image_entry(empty: SummaryEntry, own: dict[str, Row], base: dict[str, Row]) -> SummaryEntry:
    """The entry of a metric with one value per image; `base` are the rows of the baseline."""
    metric = empty.metric
    measured = np.array([row[metric] for row in own.values() if metric in row])  # [m]
    values = measured[~np.isnan(measured)]  # [n]
    with np.errstate(invalid="ignore"):  # infinity - infinity
        diffs = np.array([row[metric] - base[image][metric] for image, row in own.items() if _both(metric, row, base.get(image))])
    n, note = len(measured), ""
    if not np.isfinite(values).all():
        note = INFINITE
    elif len(values) < len(measured):
        n, note = len(values) or n, f"has no value for {n - len(values)} of {n} images"
    (mean, low, high), (diff, diff_low, diff_high) = _mean(values), _mean(diffs)
    diff_n = len(diffs) if 0 < len(diffs) != n else None
    measured_entry = replace(empty, mean=mean, low=low, high=high, n=n, note=note)
    return replace(measured_entry, diff=diff, diff_low=diff_low, diff_high=diff_high, diff_n=diff_n)


def _both(metric: str, row: Row, other: Row | None) -> bool:
    return other is not None and not math.isnan(row.get(metric, math.nan)) and not math.isnan(other.get(metric, math.nan))


def _mean(values: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """(mean, low, high); None for no values and for infinite ones."""
    if not len(values):
        return None, None, None
    low, high = bootstrap_interval(values)
    return _finite(values.mean()), _finite(low), _finite(high)


def _set_entry(metric: str, store: RunStore, empty: SummaryEntry, settings: MetricSettings) -> SummaryEntry | None:
    """The entry of a set metric without the difference.

    None if the features or the reference are missing.
    """
    own, reference = store.features.get(METRICS[metric].features, empty.task, empty.method), None
    note: list[str] = []
    if needs_ground_truth(metric):
        targets = store.features.get(METRICS[metric].features, empty.task, GROUND_TRUTH)
        own = {image: vector for image, vector in own.items() if image in targets}
        reference = np.stack([targets[image] for image in own]) if own else None  # [n, d]
    else:
        try:
            reference = cast(Callable, METRICS[metric].reference)(settings)
            note = [f"uses the reference {settings.fid_statistics}"]
            empty = replace(empty, reference=statistics_name(settings.fid_statistics))
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
    return replace(empty, mean=value, n=n, note="; ".join(note))


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


def _with_difference(entry: SummaryEntry, base: SummaryEntry | None) -> SummaryEntry:
    if base is None or base.mean is None or entry.mean is None or entry.n != base.n:
        return entry  # a Fréchet distance depends on n
    return replace(entry, diff=entry.mean - base.mean)


def _cost_entries(empty: SummaryEntry, own: dict[str, Row], peaks: dict[str, float]) -> list[SummaryEntry]:
    """Entries of seconds per image, images per second and peak memory.

    The rate is the inverse of the mean time.
    """
    seconds = per_image_entry(replace(empty, metric=SECONDS), own, {})
    mean, low, high = (value and 1 / value for value in (seconds.mean, seconds.high, seconds.low))
    rate = replace(seconds, metric="images_per_second", mean=mean, low=low, high=high)
    memory = [replace(seconds, metric=kind, mean=mib, low=None, high=None) for kind, mib in peaks.items()]
    return [seconds, rate, *memory]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
