"""What stands in the cells of a table: names of methods and metrics, figures with their intervals."""

from collections.abc import Iterable
from pathlib import Path

from eval.metrics import METRICS

ARROWS = {"higher": "↑", "lower": "↓"}
COSTS = {"seconds": "s an image", "images_per_second": "images a second", "memory_mib": "peak memory, MiB",
         "cuda_mib": "peak GPU memory, MiB"}  # fmt: skip
_DECIMALS = {"psnr": 2, "psnr_y": 2, "squeezenet_fd": 1, "fid": 2, "fid_statistics": 2, "niqe": 3, "niqe_fitted": 3,
             "seconds": 4, "images_per_second": 2, "memory_mib": 0, "cuda_mib": 0}  # others have four  # fmt: skip


def heading(metric: str) -> str:
    """ "PSNR (RGB) ↑"."""
    known = METRICS.get(metric)
    return f"{known.title} {ARROWS[known.better]}" if known else COSTS.get(metric, metric)


def labels(methods: Iterable[str]) -> dict[str, str]:
    """Short names: "gpen:runs/a/model.pth" is "gpen:model" where no other method would be called that."""
    short = {method: _short(method) for method in dict.fromkeys(methods)}
    names = list(short.values())
    return {method: name if names.count(name) == 1 else method for method, name in short.items()}


def _short(method: str) -> str:
    kind, colon, argument = method.partition(":")
    if method == "bilinear":
        return "bilinear (the input)"
    return f"{kind}:{Path(argument).stem}" if colon else method


def figure(entry: dict | None) -> str:
    """The mean with its interval; ∞ where some images equal the true ones, "none" where no image has a value."""
    if entry is None:
        return "not measured"
    if entry["mean"] is None:
        return "∞" if "infinite" in entry.get("note", "") else "none"
    return _with_interval(entry, "mean", "low", "high", "")


def difference(entry: dict | None) -> str:
    """The mean difference with its interval."""
    if entry is None or entry.get("diff") is None:
        return "-"
    return _with_interval(entry, "diff", "diff_low", "diff_high", "+")


def number(metric: str, value: float, sign: str = "") -> str:
    """A value with as many decimals as its metric has."""
    return f"{value:{sign}z.{_DECIMALS.get(metric, 4)}f}"


def _with_interval(entry: dict, mean: str, low: str, high: str, sign: str) -> str:
    text = number(entry["metric"], entry[mean], sign)
    if entry[low] is None:
        return text
    return f"{text} [{number(entry['metric'], entry[low], sign)}, {number(entry['metric'], entry[high], sign)}]"
