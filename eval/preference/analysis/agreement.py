"""Agreement between raters, and between metrics and raters.

Krippendorff's alpha (K. Krippendorff, "Content analysis", 2004): 1 is perfect agreement, 0 is agreement by chance. Choices are
nominal data: a unit is an item with a pair of methods, its values are one method, the other, or neither. Every unit counts in
both orders of its methods: otherwise the agreement expected by chance, and so alpha, depends on which method of a pair is named
first. Ratings are ordinal data: a unit is an item with a method.

The noise ceiling is the agreement that a perfect metric can reach with raters who disagree with each other (H. Nili et al., "A
toolbox for representational similarity analysis", PLoS Computational Biology 2014). Its lower bound is the agreement of a rater
with the most frequent answer of the other raters; it can be exceeded, because that answer is estimated from few raters. Its upper
bound is the agreement with the most frequent answer of all raters, the rater included; no metric can exceed it.
"""

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, cast

import numpy as np

from eval.benchmark.store import PROVENANCE, RowKey
from eval.preference.analysis.bootstrap import mean_interval
from eval.preference.storage.votes import Comparisons, Vote, first_answers
from gpen.errors import GPENError

Rows = dict[tuple[str, str], dict[str, float]]  # (item, method) -> metric -> value


def choice_alpha(pairs: Comparisons) -> float | None:
    """Alpha of paired comparisons; None if no question has two raters, or all answers are ties."""
    pairs, units = _with_item(pairs), defaultdict(list)
    for item, a, b, outcome in zip(pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        units[item, a, b].append(int(outcome))
        units[item, b, a].append(-int(outcome))
    return _alpha(units.values(), "nominal")


def rating_alpha(votes: list[Vote]) -> float | None:
    """Alpha of ratings; None if no image has two raters, or all ratings are identical."""
    units: dict[tuple, list[int]] = defaultdict(list)
    for vote in first_answers(votes):
        if vote.item:
            units[vote.question].append(cast(int, vote.choice))
    return _alpha(units.values(), "ordinal")


def _alpha(units: Iterable[list[int]], level: Literal["nominal", "ordinal"]) -> float | None:
    import krippendorff

    shared = [values for values in units if len(values) > 1]
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
            values = {name: float(value) for name, value in row.items() if name not in (*RowKey._fields, PROVENANCE) and value}
            rows[f"{row['task']}/{row['image']}", row["method"]] = values
            if len(tasks) == 1:
                rows[row["image"], row["method"]] = values
        return rows
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise GPENError(f"{path} is missing or not a table of a run; create it with python -m eval run.") from error


def metric_agreement(
    pairs: Comparisons,
    rows: Rows,
    lower_better: dict[str, bool],
    strength: dict[str, float | None],
    over_faces: bool = True,
) -> dict[str, dict]:
    """How often each metric prefers the image that a rater chose; ties of raters are excluded.

    lower_better: by metric. Returns {METRIC: {"agreement", "low", "high", "n", "ceiling", "kendall"}}: 95% intervals are over
    raters, and with over_faces also over faces; ceiling is the upper bound of the noise ceiling on the same comparisons; kendall
    is the rank correlation (tau-b) of the mean values of the methods with their strengths. A tie of the metric counts as 1/2.
    """
    decided = pairs.select(pairs.outcome != 0)
    winner, loser = _winners(decided)
    result = {}
    for metric, lower in lower_better.items():
        sign = -1 if lower else 1

        def value(item: int, method: int, metric: str = metric) -> float:
            return rows.get((decided.items[item], decided.methods[method]), {}).get(metric, np.nan)

        differences = np.array(
            [_difference(value(item, w), value(item, x)) for item, w, x in zip(decided.item, winner, loser, strict=True)]
        )
        known = np.isfinite(differences)
        if not known.any():
            continue
        agrees = (np.sign(sign * differences[known]) + 1) / 2
        of_metric = decided.select(known)
        mean, low, high = mean_interval(agrees, of_metric.rater, of_metric.face if over_faces else None)
        result[metric] = {
            "agreement": mean,
            "low": low,
            "high": high,
            "n": len(agrees),
            "ceiling": float(np.mean(_Majority(of_metric).with_own())),
            "kendall": _rank_correlation(metric, sign, rows, set(pairs.items), strength),
        }
    return result


def human_agreement(pairs: Comparisons, over_faces: bool = True) -> dict | None:
    """The noise ceiling: how often a rater chooses what most raters chose for the same question; ties are excluded.

    Returns {"agreement", "low", "high", "n", "ceiling"}: agreement with the other raters, the lower bound of the noise ceiling,
    with its 95% interval, and agreement with all raters, the upper bound, on the n answers to questions with two or more raters.
    An even vote counts as one half. None if no two raters have a question in common.
    """
    decided = _with_item(pairs.select(pairs.outcome != 0))
    majority = _Majority(decided)
    shared = majority.raters > 1  # [n]
    if not shared.any():
        return None
    face = decided.face[shared] if over_faces else None
    mean, low, high = mean_interval(majority.of_others()[shared], decided.rater[shared], face)
    ceiling = float(np.mean(majority.with_own()[shared]))
    return {"agreement": mean, "low": low, "high": high, "n": int(shared.sum()), "ceiling": ceiling}


def _with_item(pairs: Comparisons) -> Comparisons:
    """The comparisons whose item is known, so that it is known which raters answered the same question."""
    return pairs.select(np.array([bool(item) for item in pairs.items], bool)[pairs.item])


class _Majority:
    """The most frequent answer to each question; comparisons without ties, one of each rater to a question."""

    def __init__(self, decided: Comparisons):
        winner, loser = _winners(decided)
        self.choice = np.where(winner < loser, 1, -1)  # [n]
        questions = np.stack([decided.item, np.minimum(winner, loser), np.maximum(winner, loser)])
        question = np.unique(questions, axis=1, return_inverse=True)[1].ravel()  # [n]
        self.raters = np.bincount(question)[question]  # [n], of the same question
        self.votes = np.bincount(question, self.choice)[question]  # [n], sum of the choices

    def of_others(self) -> np.ndarray:
        """[n]: 1 if the choice is that of most other raters, 1/2 for an even vote, else 0."""
        return (np.sign((self.votes - self.choice) * self.choice) + 1) / 2

    def with_own(self) -> np.ndarray:
        """[n]: the same for all raters, this one included."""
        return (np.sign(self.votes * self.choice) + 1) / 2


def _winners(decided: Comparisons) -> tuple[np.ndarray, np.ndarray]:
    """(winner, loser) [n] of comparisons without ties."""
    won = decided.outcome > 0
    return np.where(won, decided.a, decided.b), np.where(won, decided.b, decided.a)


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
