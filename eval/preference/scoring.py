"""What the answers mean: scores.json.

    {"study", "protocol", "votes", "raters",
     "methods": {NAME: {"strength", "low", "high", "wins", "n", "ties", "win_rate"}},          best first
     "alpha", "dropped_raters": [{"rater", "reason", "answers"}], "rule",
     "pairs": [{"a", "b", "wins_a", "wins_b", "ties", "n", "difference", "low", "high", "p", "p_holm", "parted",
                "answers_needed"}],
     "levels": {LEVEL: {NAME: {"strength", "low", "high", "wins", "n", ...}}}, "metrics", "people", "warnings"}

Strengths are on the natural log scale of Bradley-Terry (bradley_terry.py), mean zero; "both bad" is a tie. wins
counts outright wins, n all comparisons of the method, gold trials none. Of ratings, each method also has its mean
opinion score, "mos", "mos_low", "mos_high", and "dmos", the mean of rating - reference + 5 (ACR-HR, ITU-T P.910).
Intervals are at 95%, over raters. None stands for what the votes cannot say; a warning tells why.
"""

import math
import re

import numpy as np
from scipy import special

from eval.preference import bradley_terry
from eval.preference.agreement import (
    Rows,
    alpha_of_choices,
    alpha_of_ratings,
    metric_agreement,
    people_agreement,
    ratio_interval,
)
from eval.preference.quality import Rules, rater_quality
from eval.preference.study import RATINGS, SEVERITIES
from eval.preference.votes import Comparisons, Vote, comparisons, protocol_of
from gpen.errors import GPENError

REFERENCES = ("ground-truth", "reference")  # hidden references by name
ALPHA, POWER = 0.05, 0.8  # of the tests between pairs
MOST_ANSWERS = 1e7  # methods that need more to part are as good as one
FEW_RATERS = 5  # fewer than this get a warning
_TASK = re.compile(r"^(fsr\d+|bfr(-[^/]+)?|wild)/")


def score(
    votes: list[Vote],
    rules: Rules | None = None,
    levels: dict[str, str] | None = None,
    rows: Rows | None = None,
    better: dict[str, str] | None = None,
) -> dict:
    """scores.json of the votes of one study.

    levels: the level of each item, from the study; without it, items named "TASK/IMAGE" have their task's.
    rows, better: a run's values, and "higher" | "lower" for each metric, for their agreement with people.
    Raises GPENError where there are no votes, votes of two studies, or nobody left after the rule.
    """
    rules = rules or Rules()
    protocol, study = protocol_of(votes), _study_of(votes)
    dropped = [record for record in rater_quality(votes, rules) if record["dropped"]]
    out = {record["rater"] for record in dropped}
    kept = [vote for vote in votes if vote["rater"] not in out]
    pairs = comparisons(kept) if any(not vote["gold"] for vote in kept) else None
    if pairs is None or not len(pairs.outcome):
        raise GPENError(
            f"no comparison is left after dropping {len(out)} of {len({vote['rater'] for vote in votes})} raters; "
            "collect more votes, or loosen the rule with --max-gold-errors and --min-ms"
        )
    table = Table(pairs)
    methods = table.methods()
    if protocol == "rating":
        for name, opinion in _opinions(kept).items():
            methods.setdefault(name, {}).update(opinion)
    level_of = levels if levels is not None else {item: match[1] for item in pairs.items if (match := _TASK.match(item))}
    strength = {name: entry.get("strength") for name, entry in methods.items()}
    count = sum(not vote["gold"] for vote in kept)
    return {
        "study": study,
        "protocol": protocol,
        "votes": count,
        "raters": len(pairs.raters),
        "methods": methods,
        "alpha": alpha_of_ratings(kept) if protocol == "rating" else alpha_of_choices(pairs),
        "dropped_raters": [
            {"rater": record["rater"], "reason": record["dropped"], "answers": record["answers"]} for record in dropped
        ],
        "rule": rules.sentence(),
        "pairs": table.pairs(count),
        "levels": _levels(pairs, level_of),
        "metrics": metric_agreement(pairs, rows, better or {}, strength) if rows else {},
        "people": people_agreement(pairs),
        "warnings": table.warnings(),
    }


class Table:
    """The comparisons of one set of votes, fitted once: of the methods and raters that take part in it."""

    def __init__(self, pairs: Comparisons, which: np.ndarray | slice = slice(None)):
        methods, raters = (np.unique(values) for values in (np.concatenate([pairs.a[which], pairs.b[which]]), pairs.rater[which]))
        self.names, self.raters = [pairs.methods[i] for i in methods], len(raters)
        by_rater = [table[np.ix_(raters, methods, methods)] for table in pairs.tables(which)]  # wins, ties [r, m, m]
        self.wins, self.ties = (table.sum(axis=0) for table in by_rater)  # [m, m]
        self.n = self.wins + self.wins.T + self.ties  # [m, m]
        self.components = bradley_terry.components(self.n)
        self.connected = len(self.components) == 1
        if self.connected:
            self.fit = bradley_terry.fit(self.wins, self.ties)
            self.spread = bradley_terry.bootstrap(*by_rater)
            self.below, self.above = bradley_terry.bounded(self.wins, self.ties)

    def methods(self) -> dict[str, dict]:
        """By name, best first; by win rate where strengths cannot be had."""
        n, wins, ties = self.n.sum(axis=1), self.wins.sum(axis=1), self.ties.sum(axis=1)
        entries: dict[str, dict] = {}
        for i, name in enumerate(self.names):
            counts = {"wins": int(wins[i]), "n": int(n[i]), "ties": int(ties[i])}
            entries[name] = self._strength(i) | counts | {"win_rate": float((wins[i] + ties[i] / 2) / n[i])}
        key = "strength" if self.connected else "win_rate"
        return dict(sorted(entries.items(), key=lambda entry: -entry[1][key]))

    def _strength(self, i: int) -> dict[str, float | None]:
        if not self.connected:
            return {"strength": None, "low": None, "high": None}
        strength, reach = float(self.fit.strength[i]), float(self.spread.reach() * self.spread.errors()[i])
        return {
            "strength": strength,
            "low": _finite(strength - reach) if self.below[i] else None,
            "high": _finite(strength + reach) if self.above[i] else None,
        }

    def pairs(self, votes: int) -> list[dict]:
        """Every pair of methods, with the difference of their strengths, its test and the answers it still needs.

        The test is Student's t on the difference over its bootstrap error, corrected over all pairs by Holm (1979).
        """
        order = [self.names.index(name) for name in self.methods()]
        duels = [(i, j) for k, i in enumerate(order) for j in order[k + 1 :]]
        tests = [self._difference(i, j) for i, j in duels]
        corrected = holm([test["p"] for test in tests])
        entries = []
        for (i, j), test, p in zip(duels, tests, corrected, strict=True):
            parted = p is not None and p < ALPHA
            counts = {"wins_a": int(self.wins[i, j]), "wins_b": int(self.wins[j, i]), "ties": int(self.ties[i, j])}
            entry = {"a": self.names[i], "b": self.names[j]} | counts | {"n": int(self.n[i, j])} | test
            needed = 0 if parted else self._answers_needed(i, j, votes, len(duels)) if p is not None else None
            entries.append(entry | {"p_holm": p, "parted": parted, "answers_needed": needed})
        return entries

    def _difference(self, i: int, j: int) -> dict[str, float | None]:
        nothing: dict[str, float | None] = {"difference": None, "low": None, "high": None, "p": None}
        if not self.connected:
            return nothing
        difference, error = float(self.fit.strength[i] - self.fit.strength[j]), float(self.spread.difference_errors()[i, j])
        if not math.isfinite(error) or error == 0:
            return nothing | {"difference": difference}
        reach = self.spread.reach() * error
        p = float(2 * special.stdtr(self.spread.freedom, -abs(difference) / error))
        return {"difference": difference, "low": difference - reach, "high": difference + reach, "p": p}

    def _answers_needed(self, i: int, j: int, votes: int, tests: int) -> int | None:
        """Answers that the study needs beyond its `votes` until two methods part, with a chance of POWER.

        The error of a difference shrinks with the root of the answers, as long as raters and pairs come in as before;
        the level is divided by the number of tests, as the correction does for the first. None beyond MOST_ANSWERS.
        """
        difference, error = abs(self.fit.strength[i] - self.fit.strength[j]), self.spread.difference_errors()[i, j]
        reach = self.spread.reach(1 - ALPHA / tests) + special.ndtri(POWER)
        needed = votes * ((reach * error / max(difference, 1e-12)) ** 2 - 1)
        return max(1, math.ceil(needed)) if needed < MOST_ANSWERS else None

    def warnings(self) -> list[str]:
        """A sentence for everything that the figures cannot say."""
        if not self.connected:
            groups = "; ".join(", ".join(self.names[i] for i in group) for group in self.components)
            return [
                f"The comparisons fall into groups that were never compared with each other ({groups}), "
                "so no strengths exist: collect votes between the groups."
            ]
        found = []
        if self.raters == 1:
            found.append("One rater gives no interval: it would say nothing about other people.")
        elif self.raters < FEW_RATERS:
            found.append(f"Only {self.raters} raters: intervals are wide, and rest on few people.")
        for ends, said in ((self.above, "never lost or tied"), (self.below, "never won or tied")):
            if not ends.all():
                names = ", ".join(name for name, bound in zip(self.names, ends, strict=True) if not bound)
                found.append(
                    f"{names} {said} against the other methods: on that side only a weak prior bounds the strength, "
                    "and the interval stays open."
                )
        return found


def holm(p: list[float | None]) -> list[float | None]:
    """Adjusted p values (S. Holm, 1979): the k-th smallest of n is multiplied by n - k, and none falls behind a smaller one."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted, largest = list(p), 0.0
    for k, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - k)))
        adjusted[i] = largest
    return adjusted


def _study_of(votes: list[Vote]) -> str:
    studies = sorted({vote["study"] for vote in votes})
    if len(studies) > 1:
        raise GPENError(f"the votes are of {len(studies)} studies ({', '.join(studies)}); choose one with --study-name")
    return studies[0]


def _levels(pairs: Comparisons, level_of: dict[str, str]) -> dict[str, dict]:
    """Scores of each level that some of the items have, lightest first."""
    found = sorted({level_of[item] for item in pairs.items if item in level_of}, key=_level_order)
    levels = {}
    for level in found:
        of_level = np.array([level_of.get(item) == level for item in pairs.items])  # [items]
        levels[level] = Table(pairs, of_level[pairs.item]).methods()
    return levels


def _level_order(level: str) -> list[str | int]:
    """Numbers by size, severities from mild to severe, the rest by the alphabet."""
    parts = re.split(r"(\d+|mild|medium|severe)", level)  # every second part is one of these
    return [(int(part) if part.isdigit() else SEVERITIES.index(part)) if i % 2 else part for i, part in enumerate(parts)]


def _opinions(votes: list[Vote]) -> dict[str, dict]:
    """{"mos", "mos_low", "mos_high", "dmos"} of each method; dmos is None without a hidden reference."""
    votes = [vote for vote in votes if not vote["gold"]]
    names = sorted({vote["method"] for vote in votes})
    raters = {rater: i for i, rater in enumerate(sorted({vote["rater"] for vote in votes}))}
    sums, counts = np.zeros((2, len(raters), len(names)))
    for vote in votes:
        place = raters[vote["rater"]], names.index(vote["method"])
        sums[place] += vote["rating"]
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
    reference = {(vote["rater"], vote["item"]): vote["rating"] for vote in votes if vote["method"] in REFERENCES}
    differences: dict[str, list[float]] = {}
    for vote in votes:
        if (key := (vote["rater"], vote["item"])) in reference and vote["method"] not in REFERENCES:
            differences.setdefault(vote["method"], []).append(vote["rating"] - reference[key] + max(RATINGS))
    return differences


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
