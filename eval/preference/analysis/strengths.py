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
MIN_RATERS = 5  # for an interval over raters: Student's t with fewer is useless, 12.7 standard errors for two raters
MIN_COMPARISONS = 10  # of each method


class MethodScore(TypedDict, total=False):
    """One method of a study.

    win_rate is the mean over the opponents of (wins + ties / 2) / comparisons with that opponent: every opponent has the same
    weight, because the number of comparisons depends on the strengths (schedule.py).
    """

    group: int  # of methods that were compared; strengths of different groups cannot be compared
    strength: float | None  # None: too few votes
    low: float | None  # None with a strength: the votes give no bound, "at most high"
    high: float | None  # the same, "at least low"
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


class Need(TypedDict):
    """What is missing for strengths of methods that were compared with each other, directly or through others."""

    methods: list[str]
    raters: int
    comparisons: int


def strength_spread(
    pairs: Comparisons, over_faces: bool, resamples: int = RESAMPLES, seed: int = 0, added: np.ndarray | float = 0.0
) -> Spread:
    """Spread of the strengths over raters, and with over_faces also over faces. added: wins [m, m] in every resample."""

    def strengths(weights: np.ndarray) -> np.ndarray:
        wins, ties = pairs.tables(weights)
        return bradley_terry.fit(wins + added, ties).strength  # [b, m]

    return spread(strengths, pairs.rater, pairs.face if over_faces else None, resamples, seed)


class _Group:
    """Methods that were compared with each other, directly or through others: their strengths, if there are enough votes."""

    def __init__(self, pairs: Comparisons, over_faces: bool, resamples: int):
        self.names = pairs.methods
        wins, ties = (table[0] for table in pairs.tables(np.ones((1, len(pairs.outcome)))))  # [m, m]
        lacking = np.maximum(MIN_COMPARISONS - (wins + wins.T + ties).sum(axis=1), 0)  # [m]
        self.need: Need = {
            "methods": self.names,
            "raters": max(0, MIN_RATERS - len(pairs.raters)),
            "comparisons": int(max(lacking.max(), math.ceil(lacking.sum() / 2))),
        }
        self.fitted = not (self.need["raters"] or self.need["comparisons"])
        self.below, self.above = bradley_terry.bounded(wins, ties)
        if not self.fitted:
            return
        added = bradley_terry.half_wins(wins, ties)
        self.fit = bradley_terry.fit(wins + added, ties)
        estimated = strength_spread(pairs, over_faces, resamples, added=added)
        self.dof, self.quantile = estimated.dof, estimated.t_quantile
        self.errors, self.difference_errors = estimated.standard_errors(), estimated.difference_standard_errors()
        if added.any():  # resamples of votes without a contradiction have none either: their spread is too small
            of_model = bradley_terry.information_covariance(wins + added, ties, self.fit)
            of_differences = bradley_terry.information_standard_errors(wins + added, ties, self.fit)
            unbounded = ~(self.below & self.above)
            self.errors = np.where(unbounded, np.fmax(self.errors, np.sqrt(np.diag(of_model))), self.errors)
            either = unbounded[:, None] | unbounded[None]
            self.difference_errors = np.where(either, np.fmax(self.difference_errors, of_differences), self.difference_errors)

    def strength(self, name: str) -> tuple[float | None, float | None, float | None]:
        """(strength, low, high); a bound that the votes do not give is None."""
        if not self.fitted:
            return None, None, None
        i = self.names.index(name)
        strength, margin = float(self.fit.strength[i]), self.quantile() * float(self.errors[i])
        low = finite(strength - margin) if self.below[i] else None
        return strength, low, finite(strength + margin) if self.above[i] else None

    def difference(self, a: str, b: str) -> tuple[float, float | None, bool, bool]:
        """(difference, standard error, whether it is bounded from below, from above)."""
        i, j = self.names.index(a), self.names.index(b)
        error = float(self.difference_errors[i, j])
        bounds = bool(self.below[i] and self.above[j]), bool(self.above[i] and self.below[j])
        return float(self.fit.strength[i] - self.fit.strength[j]), error if math.isfinite(error) and error > 0 else None, *bounds


class StrengthTable:
    """Strengths of one set of comparisons. over_faces: intervals over raters and faces instead of raters alone.

    Methods that were never compared with each other, directly or through others, are in separate groups, each with mean zero.
    """

    def __init__(self, pairs: Comparisons, over_faces: bool, resamples: int = RESAMPLES):
        self.names, self.comparisons = pairs.methods, len(pairs.outcome)
        self.wins, self.ties = (table[0] for table in pairs.tables(np.ones((1, self.comparisons))))  # [m, m]
        self.n = self.wins + self.wins.T + self.ties  # [m, m]
        groups = sorted(bradley_terry.components(self.n), key=lambda group: (-len(group), group))
        of_group = [pairs if len(groups) == 1 else pairs.select(np.isin(pairs.a, group)) for group in groups]
        self.groups = [_Group(subset, over_faces, resamples) for subset in of_group]
        self.group_of = {name: i for i, group in enumerate(self.groups) for name in group.names}

    def needs(self) -> list[Need]:
        """What is missing, for each group without strengths."""
        return [group.need for group in self.groups if not group.fitted]

    def methods(self) -> dict[str, MethodScore]:
        """Statistics by method: by group, and best first; ordered by win rate in a group without strengths."""
        n, wins, ties = self.n.sum(axis=1), self.wins.sum(axis=1), self.ties.sum(axis=1)
        entries: dict[str, MethodScore] = {}
        for i, name in enumerate(self.names):
            strength, low, high = self.groups[self.group_of[name]].strength(name)
            entries[name] = {
                "group": self.group_of[name],
                "strength": strength,
                "low": low,
                "high": high,
                "wins": int(wins[i]),
                "n": int(n[i]),
                "ties": int(ties[i]),
                "win_rate": float(self.win_rates[i]),
            }

        def rank(item: tuple[str, MethodScore]) -> tuple[int, float]:
            strength = item[1]["strength"]
            return item[1]["group"], -(item[1]["win_rate"] if strength is None else strength)

        return dict(sorted(entries.items(), key=rank))

    @cached_property
    def win_rates(self) -> np.ndarray:
        """[m], mean over the opponents."""
        compared = self.n > 0
        rates = (self.wins + self.ties / 2) / np.where(compared, self.n, 1)  # [m, m]
        return rates.sum(axis=1) / np.maximum(compared.sum(axis=1), 1)

    def pairs(self) -> list[PairScore]:
        """Statistics of every pair of methods: counts, and the difference with its interval, without tests."""
        order = [self.names.index(name) for name in self.methods()]
        entries = []
        for i, j in ((i, j) for k, i in enumerate(order) for j in order[k + 1 :]):
            entry: dict[str, object] = {"a": self.names[i], "b": self.names[j]}
            entry |= {"wins_a": int(self.wins[i, j]), "wins_b": int(self.wins[j, i]), "ties": int(self.ties[i, j])}
            entry |= {"n": int(self.n[i, j]), "difference": None, "low": None, "high": None}
            if group := self._common_group(self.names[i], self.names[j]):
                difference, error, below, above = group.difference(self.names[i], self.names[j])
                entry["difference"] = difference
                if error is not None:
                    margin = group.quantile() * error
                    entry |= {"low": difference - margin if below else None, "high": difference + margin if above else None}
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

    def _common_group(self, a: str, b: str) -> _Group | None:
        """The group of two methods, if it has strengths."""
        if not {a, b} <= self.group_of.keys() or self.group_of[a] != self.group_of[b]:
            return None
        group = self.groups[self.group_of[a]]
        return group if group.fitted else None

    def _p(self, a: str, b: str) -> float | None:
        group = self._common_group(a, b)
        difference, error = group.difference(a, b)[:2] if group else (None, None)
        if group is None or difference is None or error is None:
            return None
        return float(2 * special.stdtr(group.dof, -abs(difference) / error))

    def _answers_needed(self, a: str, b: str, votes: int, tests: int) -> int | None:
        """Answers beyond the current `votes` until the difference is significant with probability POWER.

        The standard error decreases with the square root of the number of answers, if raters, faces and pairs keep their
        proportions. The level is divided by the number of tests, as in the first step of Holm's correction. None beyond
        MAX_ANSWERS.
        """
        group = self._common_group(a, b)
        difference, error = group.difference(a, b)[:2] if group else (None, None)
        if group is None or difference is None or error is None:
            return None
        quantiles = group.quantile(1 - ALPHA / tests) + special.ndtri(POWER)
        needed = votes * ((quantiles * error / max(abs(difference), 1e-12)) ** 2 - 1)
        return max(1, math.ceil(needed)) if needed < MAX_ANSWERS else None

    def warnings(self) -> list[str]:
        """One sentence for every limitation of the scores."""
        found = []
        if len(self.groups) > 1:
            groups = "; ".join(", ".join(group.names) for group in self.groups)
            found.append(
                f"Methods of different groups were never compared, directly or through other methods ({groups}): each group is "
                "ranked separately, and strengths of different groups cannot be compared. Collect votes between the groups."
            )
        found += [describe_need(need) for need in self.needs()]
        for group in self.groups:
            for ends, result, bound in ((group.above, "never lost", "at least"), (group.below, "never won", "at most")):
                names = [name for name, bounded in zip(group.names, ends, strict=True) if not bounded]
                if group.fitted and names:
                    found.append(
                        f"{', '.join(names)} {result} or tied compared with the other methods: the votes give no bound of the "
                        f'strength on that side, and the interval says "{bound}". The strength is finite because half a win is '
                        "added to both methods of each pair whose order no vote contradicts."
                    )
        return found


def describe_need(need: Need) -> str:
    """What is missing for strengths, as a sentence."""
    parts = [(need["raters"], "rater"), (need["comparisons"], "comparison")]
    missing = " and ".join(f"{count} more {noun}{'' if count == 1 else 's'}" for count, noun in parts if count)
    return f"There are no strengths of {', '.join(need['methods'])} yet: an interval needs at least {missing}."


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
