"""Quality control of raters: statistics of each rater, the rule for exclusion and its power.

A gold trial has a known better image: the expected answer in the vote, else the method "gold:better" or "ground-truth" of the
two. The choice of most raters is not a known answer: a rule based on it would exclude raters for their taste.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Annotated

from eval.options import option
from eval.preference.storage.votes import Vote
from eval.preference.study import BETTER, GOLD_RATINGS, RATINGS, WORSE, Choice, Protocol
from gpen.errors import GPENError

KNOWN_BETTER = (BETTER, "ground-truth")
MAX_GOLD_ERRORS = 1 / 6
MAX_GOLDS = 500  # no session has more gold trials
MAX_PASSING = 0.05  # largest probability with which a rater who answers at random may pass


@dataclass(frozen=True)
class ExclusionRules:
    """Thresholds for the exclusion of a rater, which are also options of python -m eval study score."""

    max_gold_errors: Annotated[float, option(default="1/6")] = MAX_GOLD_ERRORS
    """allowed fraction of wrong answers to gold trials, 0 to 1; 1 disables the rule"""
    min_ms: Annotated[float, option("MS")] = 300
    """response times below this many milliseconds are fast, 0 or more; 0 disables the rule"""
    max_fast: float = 0.25
    """allowed fraction of fast answers, 0 to 1; a few are accepted as accidental clicks"""

    def describe(self) -> str:
        """The rule as a sentence for readers of the scores."""
        return (
            f"A rater is excluded with wrong answers to more than {self.max_gold_errors:.0%} of the gold trials, "
            f"or with response times below {self.min_ms:.0f} ms in more than {self.max_fast:.0%} of the trials."
        )


@dataclass(frozen=True)
class RaterQuality:
    """Statistics of one rater."""

    rater: str
    answers: int
    golds: int  # gold trials with a known correct answer
    passed: int  # correct answers to them
    repeats: int  # repeated questions
    consistent: int  # those with the same answer as the first time
    median_ms: float | None  # response time; None without times
    fast: int  # answers faster than the rule allows
    dropped: str  # the reason for the exclusion, or ""


def rater_quality(votes: list[Vote], rules: ExclusionRules) -> list[RaterQuality]:
    """Statistics of each rater, most answers first. Raises GPENError for a gold trial without a known answer."""
    by_rater = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    records = [_record(rater, own, rules) for rater, own in by_rater.items()]
    return sorted(records, key=lambda record: (-record.answers, record.rater))


def kept_votes(votes: Iterable[Vote], records: Iterable[RaterQuality]) -> list[Vote]:
    """The votes without those of the raters whose records, of `rater_quality`, say that they are excluded."""
    excluded = {record.rater for record in records if record.dropped}
    return [vote for vote in votes if vote.rater not in excluded]


def pass_probability(golds: int, max_errors: float = MAX_GOLD_ERRORS, correct: float = 0.5) -> float:
    """Probability that a rater passes the rule with this many gold trials.

    correct: the probability of a correct answer to one of them, 1/2 for a rater who chooses a side at random. The number of wrong
    answers is binomial, and the rule allows at most max_errors * golds of them.
    """
    allowed = math.floor(max_errors * golds + 1e-9)
    return sum(math.comb(golds, k) * (1 - correct) ** k * correct ** (golds - k) for k in range(min(allowed, golds) + 1))


def random_correct(protocol: Protocol) -> float:
    """Probability that a random answer to a gold trial is correct."""
    return len(GOLD_RATINGS) / len(RATINGS) if protocol == Protocol.RATING else 0.5


@cache
def golds_needed(max_errors: float = MAX_GOLD_ERRORS, correct: float = 0.5) -> int:
    """The smallest number of gold trials from which on a rater who answers at random passes with at most MAX_PASSING.

    Raises GPENError for a rule that such a rater passes with any number of gold trials.
    """
    if max_errors >= 1 - correct:
        raise GPENError(
            f"--max-gold-errors {max_errors:g} accepts raters who answer at random; choose less than {1 - correct:g}."
        )
    enough = 1
    for golds in range(1, MAX_GOLDS):
        if pass_probability(golds, max_errors, correct) > MAX_PASSING:
            enough = golds + 1
    return enough


def _record(rater: str, votes: list[Vote], rules: ExclusionRules) -> RaterQuality:
    passed = [gold_passed(vote) for vote in votes if vote.gold]
    times = [vote.ms for vote in votes if vote.ms is not None]
    fast = sum(ms < rules.min_ms for ms in times)
    repeats, consistent = self_consistency(votes)
    wrong = len(passed) - sum(passed)
    reasons = []
    if passed and wrong / len(passed) > rules.max_gold_errors:
        reasons.append(f"wrong in {wrong} of {len(passed)} gold trials")
    if times and fast / len(times) > rules.max_fast:
        reasons.append(f"faster than {rules.min_ms:.0f} ms in {fast} of {len(times)} answers")
    return RaterQuality(
        rater,
        answers=len(votes),
        golds=len(passed),
        passed=sum(passed),
        repeats=repeats,
        consistent=consistent,
        median_ms=median(times) if times else None,
        fast=fast,
        dropped=" and ".join(reasons),
    )


def gold_passed(vote: Vote) -> bool:
    """Whether the answer to a gold trial is correct. Raises GPENError if the correct answer is not known."""
    if vote.protocol == Protocol.RATING and vote.shown == [WORSE]:
        return vote.choice in GOLD_RATINGS
    if isinstance(vote.choice, list) and BETTER in vote.choice:
        return vote.choice[0] == BETTER
    if vote.protocol == Protocol.PAIRWISE:
        sides = {Choice.LEFT: vote.shown[0], Choice.RIGHT: vote.shown[1]}
        expected: str | None = sides[Choice(vote.expected)] if vote.expected in sides else vote.expected
        known = [expected] if expected in vote.shown else [name for name in vote.shown if name in KNOWN_BETTER]
        if len(known) == 1:
            return vote.preferred == known[0]
    raise GPENError(
        f"The gold trial of the item {vote.item!r} with {', '.join(vote.shown)} has no ground truth, so that no answer is known "
        "to be correct; give the better side or method in the key gold of the vote, or set gold to false."
    )


def self_consistency(votes: list[Vote]) -> tuple[int, int]:
    """(repeated questions, those with the same answer as the first time) of one rater."""
    first: dict[tuple, object] = {}
    repeats, consistent = 0, 0
    for vote in votes:
        if vote.item and not vote.gold:
            if vote.question in first:
                repeats += 1
                consistent += first[vote.question] == vote.answer
            first.setdefault(vote.question, vote.answer)
    return repeats, consistent


def agreement_with_others(own: list[Vote], others: list[Vote]) -> tuple[int, int]:
    """(questions that others answered too, those where the rater agreed with the most frequent answer).

    All answers that are equally frequent count as agreement.
    """
    answers: dict[tuple, Counter] = defaultdict(Counter)
    for vote in others:
        answers[vote.question][vote.answer] += 1
    questions = {vote.question: vote.answer for vote in reversed(own) if not vote.gold}
    compared = [(answer, answers[question]) for question, answer in questions.items() if question in answers]
    return len(compared), sum(counts[answer] == max(counts.values()) for answer, counts in compared)
