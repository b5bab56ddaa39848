"""Agreement between raters, and between metrics and raters.

Krippendorff's alpha (K. Krippendorff, "Content analysis", 2004): 1 is perfect agreement, 0 is agreement by chance. Choices are
nominal data: a unit is an item with a pair of methods, its values are one method, the other, or neither. Ratings are interval
data: a unit is an item with a method.
"""

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import special

from eval.preference.analysis.bradley_terry import RESAMPLES
from eval.preference.storage.votes import Comparisons, Vote
from gpen.errors import GPENError

Rows = dict[tuple[str, str], dict[str, float]]  # (item, method) -> metric -> value


def choice_alpha(pairs: Comparisons) -> float | None:
    """Alpha of paired comparisons; None if no question has two raters, or all answers are identical."""
    units: dict[tuple, dict] = defaultdict(dict)
    for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        units[item, min(a, b), max(a, b)].setdefault(rater, int(outcome if a < b else -outcome))  # the first answer of a rater
    return _alpha(units.values(), "nominal")


def rating_alpha(votes: list[Vote]) -> float | None:
    """Alpha of ratings; None if no image has two raters, or all ratings are identical."""
    units: dict[tuple, dict] = defaultdict(dict)
    for vote in votes:
        if not vote.gold:
            units[vote.question].setdefault(vote.rater, vote.choice)
    return _alpha(units.values(), "interval")


def _alpha(units: Iterable[dict], level: Literal["nominal", "interval"]) -> float | None:
    import krippendorff

    shared = [list(by_rater.values()) for by_rater in units if len(by_rater) > 1]
    domain = sorted({value for values in shared for value in values})
    if len(domain) < 2:
        return None
    counts = np.array([[values.count(value) for value in domain] for values in shared])  # [units, values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))


def read_rows(run: str | Path) -> Rows:
    """Read RUN/per_image.csv by item: "TASK/IMAGE", and also "IMAGE" if the run has one task."""
    path = Path(run) / "per_image.csv"
    try:
        with open(path, newline="") as file:
            table = list(csv.DictReader(file))
        tasks = {row["task"] for row in table}
        rows = {}
        for row in table:
            values = {name: float(value) for name, value in row.items() if name not in ("image", "task", "method") and value}
            rows[f"{row['task']}/{row['image']}", row["method"]] = values
            if len(tasks) == 1:
                rows[row["image"], row["method"]] = values
        return rows
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise GPENError(f"{path} is missing or not a table of a run; create it with python -m eval run.") from error


def metric_agreement(
    pairs: Comparisons, rows: Rows, lower_better: dict[str, bool], strength: dict[str, float | None]
) -> dict[str, dict]:
    """How often each metric prefers the image that a rater chose; ties of raters are excluded.

    lower_better: by metric. Returns {METRIC: {"agreement", "low", "high", "n", "kendall"}}: 95% intervals are over raters;
    kendall is the rank correlation (tau-b) of the mean values of the methods with their strengths. A tie of the metric counts as
    one half.
    """
    chosen = np.flatnonzero(pairs.outcome)
    winner = np.where(pairs.outcome > 0, pairs.a, pairs.b)[chosen]
    loser = np.where(pairs.outcome > 0, pairs.b, pairs.a)[chosen]
    result = {}
    for metric, lower in lower_better.items():
        sign = -1 if lower else 1

        def value(item: int, method: int, metric: str = metric) -> float:
            return rows.get((pairs.items[item], pairs.methods[method]), {}).get(metric, np.nan)

        differences = np.array(
            [_difference(value(item, w), value(item, x)) for item, w, x in zip(pairs.item[chosen], winner, loser, strict=True)]
        )
        known = np.isfinite(differences)
        if not known.any():
            continue
        agrees = (np.sign(sign * differences[known]) + 1) / 2
        mean, low, high = mean_over_raters(agrees, pairs.rater[chosen][known])
        tau = _rank_correlation(metric, sign, rows, set(pairs.items), strength)
        result[metric] = {"agreement": mean, "low": low, "high": high, "n": int(known.sum()), "kendall": tau}
    return result


def human_agreement(pairs: Comparisons) -> dict | None:
    """How often a rater chooses what most other raters chose for the same pair.

    This is an upper bound for the agreement of a metric. Returns {"agreement", "low", "high", "n"}; None if no two raters have a
    pair in common.
    """
    chosen = np.flatnonzero(pairs.outcome)
    low, high = np.minimum(pairs.a, pairs.b)[chosen], np.maximum(pairs.a, pairs.b)[chosen]
    sign = np.where(pairs.a < pairs.b, pairs.outcome, -pairs.outcome)[chosen]
    _, unit = np.unique(np.stack([pairs.item[chosen], low, high]), axis=1, return_inverse=True)
    unit, rater = unit.ravel(), pairs.rater[chosen]
    total = np.bincount(unit, sign)
    _, of_rater = np.unique(np.stack([unit, rater]), axis=1, return_inverse=True)
    own = np.bincount(of_rater.ravel(), sign)[of_rater.ravel()]
    shared = np.bincount(unit)[unit] > np.bincount(of_rater.ravel())[of_rater.ravel()]  # pairs with other raters
    if not shared.any():
        return None
    agrees = (np.sign((total[unit] - own) * sign) + 1) / 2
    mean, low, high = mean_over_raters(agrees[shared], rater[shared])
    return {"agreement": mean, "low": low, "high": high, "n": int(shared.sum())}


def mean_over_raters(values: np.ndarray, rater: np.ndarray) -> tuple[float, float | None, float | None]:
    """Mean of values [n] with its 95% interval over raters [n]; without an interval for a single rater."""
    _, index = np.unique(rater, return_inverse=True)
    sums, counts = np.bincount(index, values)[:, None], np.bincount(index).astype(float)[:, None]  # [r, 1]
    mean, low, high = ratio_interval(sums, counts)
    first, last = (None if np.isnan(end[0]) else float(end[0]) for end in (low, high))
    return float(mean[0]), first, last


def ratio_interval(sums: np.ndarray, counts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) [k] of sums / counts [r, k] over raters.

    Uses the bootstrap variance and Student's t, as for strengths.
    """
    raters = len(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / counts.sum(0)
        if raters < 2:
            return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        draws = np.random.default_rng(seed).multinomial(raters, np.full(raters, 1 / raters), RESAMPLES)  # [b, r]
        resampled = (draws @ sums) / (draws @ counts)  # [b, k]
    margin = np.sqrt(np.nanvar(resampled, axis=0, ddof=1) * raters / (raters - 1)) * special.stdtrit(raters - 1, 0.975)
    return mean, mean - margin, mean + margin


def _difference(a: float, b: float) -> float:
    """a - b, with 0 for equal infinite values (PSNR of identical images), a large number for one."""
    return 0.0 if a == b else float(np.nan_to_num(a, nan=np.nan, posinf=1e9) - np.nan_to_num(b, nan=np.nan, posinf=1e9))


def _rank_correlation(metric: str, sign: int, rows: Rows, items: set[str], strength: dict[str, float | None]) -> float | None:
    values = defaultdict(list)
    for (item, method), row in rows.items():
        if item in items and metric in row:
            values[method].append(row[metric])
    methods = [method for method, value in strength.items() if value is not None and method in values]
    if len(methods) < 2:
        return None
    means = [sign * np.mean(values[method]) for method in methods]
    from scipy.stats import kendalltau  # imported here because it takes 0.3 s

    tau = kendalltau(means, [strength[method] for method in methods]).statistic
    return None if np.isnan(tau) else float(tau)
