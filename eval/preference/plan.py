"""The planned end of a study: every item has its planned number of answers.

Tests between methods are computed once, with the answers up to that point: a test that is repeated while answers arrive, and that
decides when to stop, has a higher rate of false positives than its level (P. Armitage, C. K. McPherson and B. C. Rowe, JRSS A
1969).
"""

from dataclasses import dataclass

from eval.preference.storage.votes import Vote, first_answers
from eval.preference.study import Study


@dataclass(frozen=True)
class Plan:
    """The planned answers: in all, still missing, and the votes until the planned end, all votes before it."""

    answers: int
    missing: int
    votes: list[Vote]


def plan_of(study: Study, votes: list[Vote]) -> Plan:
    """Compare votes, in order of arrival, with the planned answers of a study. Gold trials and repeats do not count."""
    missing = dict.fromkeys((item.id for item in study.items), study.answers)
    total = left = study.answers * len(missing)
    counted = set(map(id, first_answers(votes)))
    for number, vote in enumerate(votes, 1):
        if id(vote) in counted and missing.get(vote.item, 0) > 0:
            missing[vote.item] -= 1
            left -= 1
            if not left:
                return Plan(total, 0, votes[:number])
    return Plan(total, left, votes)
