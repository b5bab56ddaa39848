"""Scores of a study: scores.json is a Scores as JSON.

Strengths are on the natural log scale of Bradley-Terry (bradley_terry.py), with mean zero; "both bad" counts as a tie. wins is
the number of wins without ties, n the number of comparisons of the method, both without gold trials and repeats. With ratings,
each method also has its mean opinion score, "mos", "mos_low", "mos_high", and "dmos", the mean of rating - reference + 5 (ACR-HR,
ITU-T P.910). Intervals are 95% intervals over raters and faces, or over raters alone (bootstrap.py); "intervals" states which. A
value that cannot be computed is None; a warning gives the reason.
"""

import re
from collections import Counter
from typing import TypedDict, cast

import numpy as np

from eval.preference.analysis.agreement import Rows, choice_alpha, human_agreement, metric_agreement, rating_alpha
from eval.preference.analysis.opinions import opinions
from eval.preference.analysis.quality import ExclusionRules, RaterQuality, kept_votes, rater_quality
from eval.preference.analysis.slices import Slice, degradation_slices
from eval.preference.analysis.strengths import MethodScore, Need, PairScore, StrengthTable
from eval.preference.plan import Plan
from eval.preference.storage.items import known_degradation
from eval.preference.storage.votes import TASK, Comparisons, Vote, comparisons, first_answers, protocol_of
from eval.preference.study import SEVERITIES, Protocol
from gpen.errors import GPENError

MIN_FACES = 5  # for intervals over faces; the variance over fewer is not known


class DroppedRater(TypedDict):
    """An excluded rater."""

    rater: str
    reason: str
    answers: int


class Scores(TypedDict):
    """The content of scores.json."""

    study: str
    protocol: str
    votes: int  # answers that count
    repeats: int  # answers to repeated questions, which do not count
    planned: int | None  # answers of the plan; None without a study
    missing: int | None  # of them; tests are None until it is 0
    raters: int
    faces: int
    methods: dict[str, MethodScore]  # best first
    groups: list[list[str]]  # methods that were compared with each other, directly or through others
    needed: list[Need]  # what is missing for strengths, by group
    intervals: str  # their meaning
    alpha: float | None
    dropped_raters: list[DroppedRater]
    rule: str
    pairs: list[PairScore]
    levels: dict[str, dict[str, MethodScore]]
    slices: dict[str, list[Slice]]  # by parameter of the degradation
    metrics: dict[str, dict]  # agreement.metric_agreement
    people: dict | None  # agreement.human_agreement
    warnings: list[str]


def score(
    votes: list[Vote],
    rules: ExclusionRules | None = None,
    levels: dict[str, str] | None = None,
    rows: Rows | None = None,
    lower_better: dict[str, bool] | None = None,
    plan: Plan | None = None,
    over_faces: bool = True,
    degradations: dict[str, dict] | None = None,
) -> Scores:
    """Compute scores.json from the votes of one study.

    levels: the level of each item, from the study; by default, the task of items named "TASK/IMAGE".
    rows, lower_better: the values of a run and the direction of each metric, for the agreement of metrics with raters.
    plan: without it, the tests between methods are computed at once with all votes.
    over_faces: intervals for faces like these, with at least MIN_FACES; otherwise for these images.
    degradations: the parameters of each item, from the study; items of the arena have them in their names.
    Raises GPENError for no votes, for votes of several studies, for a gold trial without a known answer, and if no rater is left
    after the exclusion.
    """
    rules = rules or ExclusionRules()
    protocol, study = protocol_of(votes), _study_of(votes)
    dropped = [record for record in rater_quality(votes, rules) if record.dropped]
    kept = kept_votes(votes, dropped)
    counted = first_answers(kept)
    pairs = comparisons(counted) if counted else None
    if pairs is None or not len(pairs.outcome):
        raise GPENError(
            f"No comparison is left after the exclusion of {len(dropped)} of {len({vote.rater for vote in votes})} raters; "
            "collect more votes, or relax the rule with --max-gold-errors and --min-ms."
        )
    faces, warnings = len(np.unique(pairs.face)), []
    if over_faces and faces < MIN_FACES:
        over_faces = False
        warnings.append(f"Only {_counted(faces, 'face')}: the intervals are for these images, not for faces like these.")
    table = StrengthTable(pairs, over_faces)
    methods = table.methods()
    if protocol == Protocol.RATING:
        for name, opinion in opinions(counted, over_faces).items():
            methods[name] = cast(MethodScore, {**methods.get(name, {}), **opinion})
    level_of = levels if levels is not None else {item: match[1] for item in pairs.items if (match := TASK.match(item))}
    known = {item: known_degradation(item, degradations) for item in pairs.items}
    strength = {name: entry.get("strength") for name, entry in methods.items()}
    return {
        "study": study,
        "protocol": protocol,
        "votes": len(counted),
        "repeats": sum(not vote.gold for vote in kept) - len(counted),
        "planned": plan.answers if plan else None,
        "missing": plan.missing if plan else None,
        "raters": len(pairs.raters),
        "faces": faces,
        "methods": methods,
        "groups": [group.names for group in table.groups],
        "needed": table.needs(),
        "intervals": _meaning(len(pairs.raters), faces if over_faces else None),
        "alpha": rating_alpha(counted) if protocol == Protocol.RATING else choice_alpha(pairs),
        "dropped_raters": [{"rater": record.rater, "reason": record.dropped, "answers": record.answers} for record in dropped],
        "rule": rules.describe(),
        "pairs": _tested(table, plan, dropped, len(counted), over_faces),
        "levels": _levels(pairs, level_of, over_faces),
        "slices": degradation_slices(pairs, known, Counter(vote.item for vote in counted), MIN_FACES if over_faces else None),
        "metrics": metric_agreement(pairs, rows, lower_better or {}, strength, over_faces) if rows else {},
        "people": human_agreement(pairs, over_faces),
        "warnings": warnings + table.warnings(),
    }


def _meaning(raters: int, faces: int | None) -> str:
    """The population that the intervals are for."""
    people = _counted(raters, "rater")
    if faces is None:
        return f"95% confidence, bootstrap over {people}: for raters like these and for these images."
    return f"95% confidence, two-way bootstrap over {people} and {_counted(faces, 'face')}: for raters and faces like these."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tested(
    table: StrengthTable, plan: Plan | None, dropped: list[RaterQuality], count: int, over_faces: bool
) -> list[PairScore]:
    """The pairs, with tests if the study has no plan or has reached its planned end."""
    if plan is None:
        return table.test(table.pairs(), count)
    if plan.missing:
        return table.pairs()
    planned = first_answers(kept_votes(plan.votes, dropped))
    if len(planned) == count:
        return table.test(table.pairs(), count)
    pairs = comparisons(planned) if planned else None
    if pairs is None or not len(pairs.outcome):
        return table.pairs()
    return StrengthTable(pairs, over_faces).test(table.pairs(), len(planned))


def _study_of(votes: list[Vote]) -> str:
    studies = sorted({vote.study for vote in votes})
    if len(studies) > 1:
        raise GPENError(f"The votes belong to {len(studies)} studies ({', '.join(studies)}); choose one with --study-name.")
    return studies[0]


def _levels(pairs: Comparisons, level_of: dict[str, str], over_faces: bool) -> dict[str, dict[str, MethodScore]]:
    """Scores of each level, from the weakest degradation to the strongest."""
    found = sorted({level_of[item] for item in pairs.items if item in level_of}, key=_level_order)
    levels = {}
    for level in found:
        of_level = np.array([level_of.get(item) == level for item in pairs.items])  # [items]
        levels[level] = StrengthTable(pairs.select(of_level[pairs.item]), over_faces).methods()
    return levels


def _level_order(level: str) -> list[str | int]:
    """Sort key: numbers by value, severities from mild to severe, other text alphabetically."""
    parts = re.split(r"(\d+|mild|medium|severe)", level)  # the odd parts are the separators
    return [(int(part) if part.isdigit() else SEVERITIES.index(part)) if i % 2 else part for i, part in enumerate(parts)]
