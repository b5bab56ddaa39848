"""The comparisons of one set of votes with the fitted model: strengths, differences of pairs, their tests, warnings."""

import math
from functools import cached_property
from typing import TypedDict, cast

import numpy as np
from scipy import special

from eval.preference.analysis import bradley_terry
from eval.preference.analysis.bootstrap import RESAMPLES, Spread, finite, spread
from eval.preference.storage.votes import Comparisons

ALPHA, POWER = 0.05, 0.8  # significance level and power of the tests between pairs
MAX_ANSWERS = 1e7  # methods whose difference needs more answers are considered equal
FEW_RATERS = 5  # a smaller number of raters causes a warning


class MethodScore(TypedDict, total=False):
    """One method of a study.

    win_rate is the mean over the opponents of (wins + ties / 2) / comparisons with that opponent: every opponent has the same
    weight, because the number of comparisons depends on the strengths (schedule.py).
    """

    strength: float | None
    low: float | None
    high: float | None
    wins: int
    n: int
    ties: int
    win_rate: float
    mos: float  # with ratings
    mos_low: float | None
    mos_high: float | None
    dmos: float | None


class PairScore(TypedDict):
    """Two methods of a study; difference is strength of a - strength of b.

    p, p_holm, significant and answers_needed are None before the planned end of a study.
    """

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
    significant: bool | None
    answers_needed: int | None


def strength_spread(pairs: Comparisons, over_faces: bool, resamples: int = RESAMPLES, seed: int = 0) -> Spread:
    """Spread of the strengths over raters, and with over_faces also over faces."""

    def strengths(weights: np.ndarray) -> np.ndarray:
        return bradley_terry.fit(*pairs.tables(weights)).strength  # [b, m]

    return spread(strengths, pairs.rater, pairs.face if over_faces else None, resamples, seed)


class StrengthTable:
    """Strengths of one set of comparisons. over_faces: intervals over raters and faces instead of raters alone."""

    def __init__(self, pairs: Comparisons, over_faces: bool):
        self.names, self.raters, self.comparisons = pairs.methods, len(pairs.raters), len(pairs.outcome)
        self.wins, self.ties = (table[0] for table in pairs.tables(np.ones((1, self.comparisons))))  # [m, m]
        self.n = self.wins + self.wins.T + self.ties  # [m, m]
        self.components = bradley_terry.components(self.n)
        self.connected = len(self.components) == 1
        if self.connected:
            self.fit = bradley_terry.fit(self.wins, self.ties)
            self.spread = strength_spread(pairs, over_faces)
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
                "win_rate": float(self.win_rates[i]),
            }

        def descending(item: tuple[str, MethodScore]) -> float:
            strength = item[1]["strength"]
            return -(item[1]["win_rate"] if strength is None else strength)

        return dict(sorted(entries.items(), key=descending))

    @cached_property
    def win_rates(self) -> np.ndarray:
        """[m], mean over the opponents."""
        compared = self.n > 0
        rates = (self.wins + self.ties / 2) / np.where(compared, self.n, 1)  # [m, m]
        return rates.sum(axis=1) / np.maximum(compared.sum(axis=1), 1)

    def _strength(self, i: int) -> tuple[float | None, float | None, float | None]:
        """(strength, low, high)."""
        if not self.connected:
            return None, None, None
        strength, margin = float(self.fit.strength[i]), float(self.spread.margins()[i])
        low = finite(strength - margin) if self.below[i] else None
        return strength, low, finite(strength + margin) if self.above[i] else None

    def pairs(self) -> list[PairScore]:
        """Statistics of every pair of methods: counts, and the difference with its interval, without tests."""
        order = [self.names.index(name) for name in self.methods()]
        entries = []
        for i, j in ((i, j) for k, i in enumerate(order) for j in order[k + 1 :]):
            entry: dict[str, object] = {"a": self.names[i], "b": self.names[j]}
            entry |= {"wins_a": int(self.wins[i, j]), "wins_b": int(self.wins[j, i]), "ties": int(self.ties[i, j])}
            difference, error = self._difference(self.names[i], self.names[j])
            entry |= {"n": int(self.n[i, j]), "difference": difference, "low": None, "high": None}
            if difference is not None and error is not None:
                margin = self.spread.t_quantile() * error
                entry |= {"low": difference - margin, "high": difference + margin}
            entries.append(entry | dict.fromkeys(("p", "p_holm", "significant", "answers_needed")))
        return cast(list[PairScore], entries)

    def test(self, pairs: list[PairScore], votes: int) -> list[PairScore]:
        """The pairs with the tests of this table, which holds `votes` answers.

        The test is Student's t on the difference divided by its standard error, corrected over all pairs by Holm (1979).
        """
        values = [self._p(pair["a"], pair["b"]) for pair in pairs]
        tested: list[PairScore] = []
        for pair, p, corrected in zip(pairs, values, holm(values), strict=True):
            significant = corrected is not None and corrected < ALPHA
            needed = 0 if significant else None if p is None else self._answers_needed(pair["a"], pair["b"], votes, len(pairs))
            tested.append({**pair, "p": p, "p_holm": corrected, "significant": significant, "answers_needed": needed})
        return tested

    def _difference(self, a: str, b: str) -> tuple[float | None, float | None]:
        """(difference, standard error); None if it does not exist."""
        if not self.connected or not {a, b} <= set(self.names):
            return None, None
        i, j = self.names.index(a), self.names.index(b)
        error = float(self.spread.difference_standard_errors()[i, j])
        return float(self.fit.strength[i] - self.fit.strength[j]), error if math.isfinite(error) and error > 0 else None

    def _p(self, a: str, b: str) -> float | None:
        difference, error = self._difference(a, b)
        if difference is None or error is None:
            return None
        return float(2 * special.stdtr(self.spread.dof, -abs(difference) / error))

    def _answers_needed(self, a: str, b: str, votes: int, tests: int) -> int | None:
        """Answers beyond the current `votes` until the difference is significant with probability POWER.

        The standard error decreases with the square root of the number of answers, if raters, faces and pairs keep their
        proportions. The level is divided by the number of tests, as in the first step of Holm's correction. None beyond
        MAX_ANSWERS.
        """
        difference, error = self._difference(a, b)
        if difference is None or error is None:
            return None
        quantiles = self.spread.t_quantile(1 - ALPHA / tests) + special.ndtri(POWER)
        needed = votes * ((quantiles * error / max(abs(difference), 1e-12)) ** 2 - 1)
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
