"""Scores of a study: scores.json is a Scores as JSON.

Strengths are on the natural log scale of Bradley-Terry (bradley_terry.py), with mean zero; "both bad" counts as a tie. wins is
the number of wins without ties, n the number of comparisons of the method, both without gold trials. With ratings, each method
also has its mean opinion score, "mos", "mos_low", "mos_high", and "dmos", the mean of rating - reference + 5 (ACR-HR, ITU-T
P.910). Intervals are 95% intervals over raters. A value that cannot be computed is None; a warning gives the reason.
"""

import math
import re
from typing import NotRequired, TypedDict, cast

import numpy as np
from scipy import special

from eval.preference.analysis import bradley_terry
from eval.preference.analysis.agreement import Rows, choice_alpha, human_agreement, metric_agreement, rating_alpha, ratio_interval
from eval.preference.analysis.quality import ExclusionRules, rater_quality
from eval.preference.storage.votes import Comparisons, Vote, comparisons, protocol_of
from eval.preference.study import RATINGS, SEVERITIES, Protocol
from gpen.errors import GPENError

REFERENCES = ("ground-truth", "reference")  # hidden references by name
ALPHA, POWER = 0.05, 0.8  # significance level and power of the tests between pairs
MAX_ANSWERS = 1e7  # methods whose difference needs more answers are considered equal
FEW_RATERS = 5  # a smaller number of raters causes a warning
_TASK = re.compile(r"^(fsr\d+(-[^/]+)?|bfr(-[^/]+)?|wild)/")


class MethodScore(TypedDict):
    """One method of a study."""

    strength: float | None
    low: float | None
    high: float | None
    wins: int
    n: int
    ties: int
    win_rate: float
    mos: NotRequired[float]  # with ratings
    mos_low: NotRequired[float | None]
    mos_high: NotRequired[float | None]
    dmos: NotRequired[float | None]


class PairScore(TypedDict):
    """Two methods of a study; difference is strength of a - strength of b."""

    a: str
    b: str
    wins_a: int
    wins_b: int
    ties: int
    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    significant: bool
    answers_needed: int | None


class DroppedRater(TypedDict):
    """An excluded rater."""

    rater: str
    reason: str
    answers: int


class Scores(TypedDict):
    """The content of scores.json."""

    study: str
    protocol: str
    votes: int
    raters: int
    methods: dict[str, MethodScore]  # best first
    alpha: float | None
    dropped_raters: list[DroppedRater]
    rule: str
    pairs: list[PairScore]
    levels: dict[str, dict[str, MethodScore]]
    metrics: dict[str, dict]  # agreement.metric_agreement
    people: dict | None  # agreement.human_agreement
    warnings: list[str]


def score(
    votes: list[Vote],
    rules: ExclusionRules | None = None,
    levels: dict[str, str] | None = None,
    rows: Rows | None = None,
    lower_better: dict[str, bool] | None = None,
) -> Scores:
    """Compute scores.json from the votes of one study.

    levels: the level of each item, from the study; by default, the task of items named "TASK/IMAGE".
    rows, lower_better: the values of a run and the direction of each metric, for the agreement of metrics with raters.
    Raises GPENError for no votes, for votes of several studies, and if no rater is left after the exclusion.
    """
    rules = rules or ExclusionRules()
    protocol, study = protocol_of(votes), _study_of(votes)
    dropped = [record for record in rater_quality(votes, rules) if record.dropped]
    excluded = {record.rater for record in dropped}
    kept = [vote for vote in votes if vote.rater not in excluded]
    pairs = comparisons(kept) if any(not vote.gold for vote in kept) else None
    if pairs is None or not len(pairs.outcome):
        raise GPENError(
            f"No comparison is left after the exclusion of {len(excluded)} of {len({vote.rater for vote in votes})} raters; "
            "collect more votes, or relax the rule with --max-gold-errors and --min-ms."
        )
    table = ScoreTable(pairs)
    methods = table.methods()
    if protocol == Protocol.RATING:
        for name, opinion in _opinions(kept).items():
            methods[name] = cast(MethodScore, {**methods.get(name, {}), **opinion})
    level_of = levels if levels is not None else {item: match[1] for item in pairs.items if (match := _TASK.match(item))}
    strength = {name: entry.get("strength") for name, entry in methods.items()}
    count = sum(not vote.gold for vote in kept)
    return {
        "study": study,
        "protocol": protocol,
        "votes": count,
        "raters": len(pairs.raters),
        "methods": methods,
        "alpha": rating_alpha(kept) if protocol == Protocol.RATING else choice_alpha(pairs),
        "dropped_raters": [{"rater": record.rater, "reason": record.dropped, "answers": record.answers} for record in dropped],
        "rule": rules.describe(),
        "pairs": table.pairs(count),
        "levels": _levels(pairs, level_of),
        "metrics": metric_agreement(pairs, rows, lower_better or {}, strength) if rows else {},
        "people": human_agreement(pairs),
        "warnings": table.warnings(),
    }


class ScoreTable:
    """The comparisons of one set of votes with the fitted model."""

    def __init__(self, pairs: Comparisons, subset: np.ndarray | slice = slice(None)):
        methods, raters = (
            np.unique(values) for values in (np.concatenate([pairs.a[subset], pairs.b[subset]]), pairs.rater[subset])
        )
        self.names, self.raters = [pairs.methods[i] for i in methods], len(raters)
        by_rater = [table[np.ix_(raters, methods, methods)] for table in pairs.tables(subset)]  # wins, ties [r, m, m]
        self.wins, self.ties = (table.sum(axis=0) for table in by_rater)  # [m, m]
        self.n = self.wins + self.wins.T + self.ties  # [m, m]
        self.components = bradley_terry.components(self.n)
        self.connected = len(self.components) == 1
        if self.connected:
            self.fit = bradley_terry.fit(self.wins, self.ties)
            self.covariance = bradley_terry.bootstrap(*by_rater)
            self.below, self.above = bradley_terry.bounded(self.wins, self.ties)

    def methods(self) -> dict[str, MethodScore]:
        """Statistics by method, best first; ordered by win rate if the strengths do not exist."""
        n, wins, ties = self.n.sum(axis=1), self.wins.sum(axis=1), self.ties.sum(axis=1)
        entries: dict[str, MethodScore] = {}
        for i, name in enumerate(self.names):
            strength, low, high = self._strength(i)
            entries[name] = {
                "strength": strength,
                "low": low,
                "high": high,
                "wins": int(wins[i]),
                "n": int(n[i]),
                "ties": int(ties[i]),
                "win_rate": float((wins[i] + ties[i] / 2) / n[i]),
            }

        def descending(item: tuple[str, MethodScore]) -> float:
            strength = item[1]["strength"]
            return -(item[1]["win_rate"] if strength is None else strength)

        return dict(sorted(entries.items(), key=descending))

    def _strength(self, i: int) -> tuple[float | None, float | None, float | None]:
        """(strength, low, high)."""
        if not self.connected:
            return None, None, None
        strength, margin = float(self.fit.strength[i]), float(self.covariance.t_quantile() * self.covariance.standard_errors()[i])
        low = _finite(strength - margin) if self.below[i] else None
        return strength, low, _finite(strength + margin) if self.above[i] else None

    def pairs(self, votes: int) -> list[PairScore]:
        """Statistics of every pair of methods: difference, its test, answers still needed.

        The test is Student's t on the difference divided by its bootstrap standard error, corrected over all pairs by Holm
        (1979).
        """
        order = [self.names.index(name) for name in self.methods()]
        pairs = [(i, j) for k, i in enumerate(order) for j in order[k + 1 :]]
        tests = [self._difference(i, j) for i, j in pairs]
        corrected = holm([test["p"] for test in tests])
        entries = []
        for (i, j), test, p in zip(pairs, tests, corrected, strict=True):
            significant = p is not None and p < ALPHA
            counts = {"wins_a": int(self.wins[i, j]), "wins_b": int(self.wins[j, i]), "ties": int(self.ties[i, j])}
            entry = {"a": self.names[i], "b": self.names[j]} | counts | {"n": int(self.n[i, j])} | test
            needed = 0 if significant else self._answers_needed(i, j, votes, len(pairs)) if p is not None else None
            entries.append(entry | {"p_holm": p, "significant": significant, "answers_needed": needed})
        return cast(list[PairScore], entries)

    def _difference(self, i: int, j: int) -> dict[str, float | None]:
        unknown: dict[str, float | None] = {"difference": None, "low": None, "high": None, "p": None}
        if not self.connected:
            return unknown
        difference, error = (
            float(self.fit.strength[i] - self.fit.strength[j]),
            float(self.covariance.difference_standard_errors()[i, j]),
        )
        if not math.isfinite(error) or error == 0:
            return unknown | {"difference": difference}
        margin = self.covariance.t_quantile() * error
        p = float(2 * special.stdtr(self.covariance.dof, -abs(difference) / error))
        return {"difference": difference, "low": difference - margin, "high": difference + margin, "p": p}

    def _answers_needed(self, i: int, j: int, votes: int, tests: int) -> int | None:
        """Answers beyond the current `votes` until the difference is significant with probability POWER.

        The standard error decreases with the square root of the number of answers, if raters and pairs keep their proportions.
        The level is divided by the number of tests, as in the first step of Holm's correction. None beyond MAX_ANSWERS.
        """
        difference, error = abs(self.fit.strength[i] - self.fit.strength[j]), self.covariance.difference_standard_errors()[i, j]
        quantiles = self.covariance.t_quantile(1 - ALPHA / tests) + special.ndtri(POWER)
        needed = votes * ((quantiles * error / max(difference, 1e-12)) ** 2 - 1)
        return max(1, math.ceil(needed)) if needed < MAX_ANSWERS else None

    def warnings(self) -> list[str]:
        """One sentence for every limitation of the scores."""
        if not self.connected:
            groups = "; ".join(", ".join(self.names[i] for i in group) for group in self.components)
            return [
                f"The comparisons form groups that were never compared with each other ({groups}): strengths do not exist. "
                "Collect votes between the groups."
            ]
        found = []
        if self.raters == 1:
            found.append("Intervals need at least two raters.")
        elif self.raters < FEW_RATERS:
            found.append(f"Only {self.raters} raters: the intervals are wide and unreliable.")
        for ends, result in ((self.above, "never lost or tied"), (self.below, "never won or tied")):
            if not ends.all():
                names = ", ".join(name for name, bound in zip(self.names, ends, strict=True) if not bound)
                found.append(
                    f"{names} {result} compared with the other methods: the interval of the strength has no bound on that side."
                )
        return found


def holm(p: list[float | None]) -> list[float | None]:
    """Adjusted p values (S. Holm, 1979): the k-th smallest of n is multiplied by n - k.

    The result is monotonic.
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted, largest = list(p), 0.0
    for k, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - k)))
        adjusted[i] = largest
    return adjusted


def _study_of(votes: list[Vote]) -> str:
    studies = sorted({vote.study for vote in votes})
    if len(studies) > 1:
        raise GPENError(f"The votes belong to {len(studies)} studies ({', '.join(studies)}); choose one with --study-name.")
    return studies[0]


def _levels(pairs: Comparisons, level_of: dict[str, str]) -> dict[str, dict[str, MethodScore]]:
    """Scores of each level, from the weakest degradation to the strongest."""
    found = sorted({level_of[item] for item in pairs.items if item in level_of}, key=_level_order)
    levels = {}
    for level in found:
        of_level = np.array([level_of.get(item) == level for item in pairs.items])  # [items]
        levels[level] = ScoreTable(pairs, of_level[pairs.item]).methods()
    return levels


def _level_order(level: str) -> list[str | int]:
    """Sort key: numbers by value, severities from mild to severe, other text alphabetically."""
    parts = re.split(r"(\d+|mild|medium|severe)", level)  # the odd parts are the separators
    return [(int(part) if part.isdigit() else SEVERITIES.index(part)) if i % 2 else part for i, part in enumerate(parts)]


def _opinions(votes: list[Vote]) -> dict[str, dict[str, float | None]]:
    """Mean opinion scores ("mos", "mos_low", "mos_high", "dmos") of each method; dmos is None without a hidden reference."""
    votes = [vote for vote in votes if not vote.gold]
    names = sorted({vote.shown[0] for vote in votes})
    raters = {rater: i for i, rater in enumerate(sorted({vote.rater for vote in votes}))}
    sums, counts = np.zeros((2, len(raters), len(names)))
    for vote in votes:
        place = raters[vote.rater], names.index(vote.shown[0])
        sums[place] += vote.choice
        counts[place] += 1
    mean, low, high = ratio_interval(sums, counts)
    differences = _differences_to_reference(votes)
    return {
        name: {
            "mos": float(mean[i]),
            "mos_low": _finite(low[i]),
            "mos_high": _finite(high[i]),
            "dmos": float(np.mean(differences[name])) if name in differences else None,
        }
        for i, name in enumerate(names)
    }


def _differences_to_reference(votes: list[Vote]) -> dict[str, list[float]]:
    reference = {(vote.rater, vote.item): vote.choice for vote in votes if vote.shown[0] in REFERENCES}
    differences: dict[str, list[float]] = {}
    for vote in votes:
        if (key := (vote.rater, vote.item)) in reference and vote.shown[0] not in REFERENCES:
            differences.setdefault(vote.shown[0], []).append(cast(int, vote.choice) - cast(int, reference[key]) + max(RATINGS))
    return differences


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
