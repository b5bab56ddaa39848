"""Quality control of raters: statistics of each rater and the rule for exclusion.

A gold trial has a known better image: the expected answer in the vote, else the method "gold:better" or "ground-truth" of the
two, else the choice of more than half of at least MIN_MAJORITY raters.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from eval.options import option
from eval.preference.storage.votes import Vote
from eval.preference.study import BETTER, GOLD_RATINGS, WORSE, Choice, Protocol

KNOWN_BETTER = (BETTER, "ground-truth")
MIN_MAJORITY = 3  # raters, for the majority to define the correct answer to a gold trial


@dataclass(frozen=True)
class ExclusionRules:
    """Thresholds for the exclusion of a rater, which are also options of python -m eval study score."""

    max_gold_errors: Annotated[float, option(default="1/3")] = 1 / 3
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
    """Statistics of each rater, most answers first."""
    by_rater = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    majority = _majorities(votes)
    records = [_record(rater, own, majority, rules) for rater, own in by_rater.items()]
    return sorted(records, key=lambda record: (-record.answers, record.rater))


def _record(rater: str, votes: list[Vote], majority: dict, rules: ExclusionRules) -> RaterQuality:
    passed = [result for vote in votes if vote.gold and (result := gold_passed(vote, majority)) is not None]
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


def gold_passed(vote: Vote, majority: dict | None = None) -> bool | None:
    """Whether the answer to a gold trial is correct; None if the correct answer is unknown."""
    if vote.protocol == Protocol.RATING:
        return vote.choice in GOLD_RATINGS if vote.shown == [WORSE] else None
    if isinstance(vote.choice, list):
        return vote.choice[0] == BETTER if BETTER in vote.choice else None
    sides = {Choice.LEFT: vote.shown[0], Choice.RIGHT: vote.shown[1]}
    expected: str | None = sides[Choice(vote.expected)] if vote.expected in sides else vote.expected
    if expected not in vote.shown:
        known = [name for name in vote.shown if name in KNOWN_BETTER]
        expected = known[0] if len(known) == 1 else (majority or {}).get(vote.question)
    return None if expected is None else vote.preferred == expected


def _majorities(votes: list[Vote]) -> dict:
    """The method chosen by the majority for each gold pair with enough raters."""
    chosen: dict[tuple, dict[str, str | None]] = defaultdict(dict)  # question -> rater -> method: one answer per rater
    for vote in votes:
        if vote.gold and vote.protocol == Protocol.PAIRWISE:
            chosen[vote.question][vote.rater] = vote.preferred
    majorities = {}
    for question, by_rater in chosen.items():
        method, count = Counter(by_rater.values()).most_common(1)[0]
        if len(by_rater) >= MIN_MAJORITY and count > len(by_rater) / 2 and method is not None:
            majorities[question] = method
    return majorities


def self_consistency(votes: list[Vote]) -> tuple[int, int]:
    """(repeated questions, those with the same answer as the first time) of one rater."""
    first: dict[tuple, object] = {}
    repeats, consistent = 0, 0
    for vote in votes:
        if not vote.gold:
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
