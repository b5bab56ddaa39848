"""How far people agree with each other, and metrics with people.

Krippendorff's alpha (K. Krippendorff, "Content analysis", 2004): 1 is perfect agreement, 0 what chance gives.
Of choices it is nominal: a unit is an item and a pair of methods, its values are one method, the other, or
neither. Of ratings it is on the interval scale: a unit is an item and a method.
"""

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import special

from eval.preference.bradley_terry import RESAMPLES
from eval.preference.votes import Comparisons, Vote
from gpen.errors import GPENError

Rows = dict[tuple[str, str], dict[str, float]]  # (item, method) -> metric -> value


def alpha_of_choices(pairs: Comparisons) -> float | None:
    """None where no question has two raters, or all answers are one and the same."""
    units: dict[tuple, dict] = defaultdict(dict)
    for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        units[item, min(a, b), max(a, b)].setdefault(rater, int(outcome if a < b else -outcome))  # a rater's first answer
    return _alpha(units.values(), "nominal")


def alpha_of_ratings(votes: list[Vote]) -> float | None:
    """None where no picture has two raters, or all ratings are one and the same."""
    units: dict[tuple, dict] = defaultdict(dict)
    for vote in votes:
        if not vote["gold"]:
            units[vote["item"], vote["method"]].setdefault(vote["rater"], vote["rating"])
    return _alpha(units.values(), "interval")


def _alpha(units: Iterable[dict], level: Literal["nominal", "interval"]) -> float | None:
    import krippendorff

    shared = [list(of.values()) for of in units if len(of) > 1]
    domain = sorted({value for values in shared for value in values})
    if len(domain) < 2:
        return None
    counts = np.array([[values.count(value) for value in domain] for values in shared])  # [units, values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))


def read_rows(run: str | Path) -> Rows:
    """RUN/per_image.csv by vote item: "TASK/IMAGE", and "IMAGE" where the run has one task."""
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
        raise GPENError(f"{path} is missing or no table of a run; make it with python -m eval run") from error


def metric_agreement(
    pairs: Comparisons, rows: Rows, better: dict[str, str], strength: dict[str, float | None]
) -> dict[str, dict]:
    """How often each metric prefers the picture that a person chose; ties of people are left out.

    better: "higher" | "lower" of each metric. {METRIC: {"agreement", "low", "high", "n", "kendall"}}: intervals are over
    raters; kendall is the rank correlation (tau-b) of the methods' mean values with their strengths. A metric
    that ties is right by half.
    """
    chosen = np.flatnonzero(pairs.outcome)
    winner = np.where(pairs.outcome > 0, pairs.a, pairs.b)[chosen]
    loser = np.where(pairs.outcome > 0, pairs.b, pairs.a)[chosen]
    result = {}
    for metric, direction in better.items():
        sign = 1 if direction == "higher" else -1

        def value(item: int, method: int, metric=metric) -> float:
            return rows.get((pairs.items[item], pairs.methods[method]), {}).get(metric, np.nan)

        differences = np.array(
            [_difference(value(item, w), value(item, x)) for item, w, x in zip(pairs.item[chosen], winner, loser, strict=True)]
        )
        known = np.isfinite(differences)
        if not known.any():
            continue
        right = (np.sign(sign * differences[known]) + 1) / 2
        mean, low, high = mean_over_raters(right, pairs.rater[chosen][known])
        tau = _rank_correlation(metric, sign, rows, set(pairs.items), strength)
        result[metric] = {"agreement": mean, "low": low, "high": high, "n": int(known.sum()), "kendall": tau}
    return result


def people_agreement(pairs: Comparisons) -> dict | None:
    """The same figure for people: how often a rater chooses what most others chose of the same pair.

    No metric can be expected to agree better. None where nobody shares a pair.
    """
    chosen = np.flatnonzero(pairs.outcome)
    low, high = np.minimum(pairs.a, pairs.b)[chosen], np.maximum(pairs.a, pairs.b)[chosen]
    sign = np.where(pairs.a < pairs.b, pairs.outcome, -pairs.outcome)[chosen]
    _, unit = np.unique(np.stack([pairs.item[chosen], low, high]), axis=1, return_inverse=True)
    unit, rater = unit.ravel(), pairs.rater[chosen]
    total = np.bincount(unit, sign)
    _, of_rater = np.unique(np.stack([unit, rater]), axis=1, return_inverse=True)
    own = np.bincount(of_rater.ravel(), sign)[of_rater.ravel()]
    numbers = np.bincount(unit)[unit] > np.bincount(of_rater.ravel())[of_rater.ravel()]  # others chose here too
    if not numbers.any():
        return None
    right = (np.sign((total[unit] - own) * sign) + 1) / 2
    mean, low, high = mean_over_raters(right[numbers], rater[numbers])
    return {"agreement": mean, "low": low, "high": high, "n": int(numbers.sum())}


def mean_over_raters(values: np.ndarray, rater: np.ndarray) -> tuple[float, float | None, float | None]:
    """Mean of values [n] with its 95% interval over raters [n]; without an interval where there is one rater."""
    _, index = np.unique(rater, return_inverse=True)
    sums, counts = np.bincount(index, values)[:, None], np.bincount(index).astype(float)[:, None]  # [r, 1]
    mean, low, high = ratio_interval(sums, counts)
    first, last = (None if np.isnan(end[0]) else float(end[0]) for end in (low, high))
    return float(mean[0]), first, last


def ratio_interval(sums: np.ndarray, counts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) [k] of sums / counts [r, k] over raters: bootstrap variance, Student's t (as strengths)."""
    raters = len(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / counts.sum(0)
        if raters < 2:
            return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        draws = np.random.default_rng(seed).multinomial(raters, np.full(raters, 1 / raters), RESAMPLES)  # [b, r]
        resampled = (draws @ sums) / (draws @ counts)  # [b, k]
    spread = np.sqrt(np.nanvar(resampled, axis=0, ddof=1) * raters / (raters - 1)) * special.stdtrit(raters - 1, 0.975)
    return mean, mean - spread, mean + spread


def _difference(a: float, b: float) -> float:
    """a - b, where two infinite values (the PSNR of identical images) are equal and one is very large."""
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
    from scipy.stats import kendalltau  # late: it alone takes a third of a second

    tau = kendalltau(means, [strength[method] for method in methods]).statistic
    return None if np.isnan(tau) else float(tau)
