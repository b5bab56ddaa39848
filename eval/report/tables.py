"""Cells of tables: names of methods and metrics, values with their intervals.

Metrics on the network that the default model was trained with are marked: SEEN_MARK in headings, SEEN_NOTE below the table.
"""

from collections.abc import Iterable

from eval.benchmark.summary import SummaryEntry
from eval.methods.registry import method_label
from eval.metrics.registry import METRICS

COSTS = {"seconds": "s / image", "images_per_second": "images / s", "memory_mib": "peak memory, MiB",
         "cuda_mib": "peak GPU memory, MiB"}  # fmt: skip
_DECIMALS = {"psnr": 2, "psnr_y": 2, "squeezenet_fd": 1, "fid": 2, "fid_statistics": 2, "niqe": 3, "niqe_fitted": 3,
             "seconds": 4, "images_per_second": 2, "memory_mib": 0, "cuda_mib": 0}  # default 4  # fmt: skip


SEEN_MARK = "†"  # in the headings of metrics seen in training
SEEN_NOTE = (
    f"{SEEN_MARK} Seen in training: the default model was trained with features of this network, so the metric is not "
    "independent of its training. Compare with the identity metrics and NIQE, which training has not seen."
)


def arrow(lower_better: bool) -> str:
    """The symbol for the direction of a metric."""
    return "↓" if lower_better else "↑"


def metric_heading(metric: str) -> str:
    """The heading of a column, for example "PSNR (RGB) ↑"; with SEEN_MARK for a metric seen in training."""
    known = METRICS.get(metric)
    if known is None:
        return COSTS.get(metric, metric)
    return f"{known.title} {arrow(known.lower_better)}" + f" {SEEN_MARK}" * known.seen_in_training


def metric_label(metric: str) -> str:
    """The label of an axis, for example "SqueezeNet distance ↓ (seen in training)"."""
    return metric_heading(metric).replace(SEEN_MARK, "(seen in training)")


def seen_note(metrics: Iterable[str]) -> str:
    """SEEN_NOTE if one of the metrics was seen in training, else ""."""
    return SEEN_NOTE if any(name in METRICS and METRICS[name].seen_in_training for name in metrics) else ""


def method_labels(methods: Iterable[str]) -> dict[str, str]:
    """Short names of methods.

    "gpen:runs/a/model.pth" becomes "gpen:model" unless another method has the same short name; see registry.method_label.
    """
    short = {method: _short(method) for method in dict.fromkeys(methods)}
    names = list(short.values())
    return {method: name if names.count(name) == 1 else method for method, name in short.items()}


def _short(method: str) -> str:
    return "bilinear (the input)" if method == "bilinear" else method_label(method)


def format_mean(entry: SummaryEntry | None) -> str:
    """The mean with its interval.

    "∞" if some images are identical to the ground truth, "none" without values.
    """
    if entry is None:
        return "not measured"
    if entry.mean is None:
        return "∞" if entry.note.startswith("is infinite") else "none"
    return _with_interval(entry.metric, entry.mean, entry.low, entry.high)


def format_difference(entry: SummaryEntry | None) -> str:
    """The mean difference with its interval."""
    if entry is None or entry.diff is None:
        return "-"
    return _with_interval(entry.metric, entry.diff, entry.diff_low, entry.diff_high, "+")


def format_value(metric: str, value: float, sign: str = "") -> str:
    """A value with the number of decimals of its metric."""
    return f"{value:{sign}z.{_DECIMALS.get(metric, 4)}f}"


def _with_interval(metric: str, mean: float, low: float | None, high: float | None, sign: str = "") -> str:
    text = format_value(metric, mean, sign)
    if low is None or high is None:
        return text
    return f"{text} [{format_value(metric, low, sign)}, {format_value(metric, high, sign)}]"
