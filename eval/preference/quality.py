"""Who looked and who clicked: the rule by which raters are left out of the scores, and their record.

A gold trial has a known better picture. Where the vote does not name it (files made elsewhere), it is the
method "gold:better" or "ground-truth" of the two, or else what more than half of at least three raters chose.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median

from eval.preference.study import BETTER, GOLD_RATINGS, WORSE
from eval.preference.votes import Vote

KNOWN_BETTER = (BETTER, "ground-truth")
ENOUGH = 3  # raters, for the majority to stand for the truth of a gold trial


@dataclass(frozen=True)
class Rules:
    """When a rater is left out."""

    max_gold_errors: float = 1 / 3  # share of the gold trials answered wrongly; 1 turns the rule off
    min_ms: float = 300  # a faster answer is no look at two pictures; 0 turns the rule off
    max_fast: float = 0.25  # share of answers that may be faster: a slip of the finger is no reason

    def sentence(self) -> str:
        return (
            f"A rater is dropped who is wrong in more than {self.max_gold_errors:.0%} of the gold trials, "
            f"or answers faster than {self.min_ms:.0f} ms in more than {self.max_fast:.0%} of the trials."
        )


def rater_quality(votes: list[Vote], rules: Rules) -> list[dict]:
    """A record of each rater, most answers first; "dropped" is the reason, or empty.

    {"rater", "answers", "golds", "passed", "repeats", "consistent", "median_ms", "fast", "dropped"}
    """
    of_rater = defaultdict(list)
    for vote in votes:
        of_rater[vote["rater"]].append(vote)
    majority = _majorities(votes)
    records = [_record(rater, own, majority, rules) for rater, own in of_rater.items()]
    return sorted(records, key=lambda record: (-record["answers"], record["rater"]))


def _record(rater: str, votes: list[Vote], majority: dict, rules: Rules) -> dict:
    verdicts = [verdict for vote in votes if vote["gold"] and (verdict := passed(vote, majority)) is not None]
    times = [vote["ms"] for vote in votes if vote["ms"] is not None]
    fast = sum(ms < rules.min_ms for ms in times)
    repeats, consistent = consistency(votes)
    wrong = len(verdicts) - sum(verdicts)
    reasons = []
    if verdicts and wrong / len(verdicts) > rules.max_gold_errors:
        reasons.append(f"wrong in {wrong} of {len(verdicts)} gold trials")
    if times and fast / len(times) > rules.max_fast:
        reasons.append(f"faster than {rules.min_ms:.0f} ms in {fast} of {len(times)} answers")
    return {
        "rater": rater,
        "answers": len(votes),
        "golds": len(verdicts),
        "passed": sum(verdicts),
        "repeats": repeats,
        "consistent": consistent,
        "median_ms": median(times) if times else None,
        "fast": fast,
        "dropped": " and ".join(reasons),
    }


def passed(vote: Vote, majority: dict | None = None) -> bool | None:
    """Whether the answer to a gold trial is right; None where nothing says what is."""
    if "rating" in vote:
        return vote["rating"] in GOLD_RATINGS if vote["method"] == WORSE else None
    if "order" in vote:
        return vote["order"][0] == BETTER if BETTER in vote["order"] else None
    sides = {"left": vote["left"], "right": vote["right"]}
    expected = sides.get(vote["gold"], vote["gold"])  # a side, a method, or True
    if expected not in sides.values():
        known = [name for name in sides.values() if name in KNOWN_BETTER]
        expected = known[0] if len(known) == 1 else (majority or {}).get(_question(vote))
    return None if expected is None else sides.get(vote["choice"]) == expected


def _majorities(votes: list[Vote]) -> dict:
    """The chosen method of each gold pair that enough raters agree about."""
    chosen: dict[tuple, dict[str, str | None]] = defaultdict(dict)  # by question, then by rater: one voice each
    for vote in votes:
        if vote["gold"] and "choice" in vote:
            chosen[_question(vote)][vote["rater"]] = vote.get(vote["choice"])  # the method; None for tie and both bad
    majorities = {}
    for question, of in chosen.items():
        method, count = Counter(of.values()).most_common(1)[0]
        if len(of) >= ENOUGH and count > len(of) / 2 and method is not None:
            majorities[question] = method
    return majorities


def consistency(votes: list[Vote]) -> tuple[int, int]:
    """(repeats, consistent) of one rater: questions met again, and those answered as the first time."""
    first: dict[tuple, object] = {}
    repeats, consistent = 0, 0
    for vote in votes:
        if not vote["gold"]:
            question, answer = _question(vote), preference(vote)
            if question in first:
                repeats += 1
                consistent += first[question] == answer
            first.setdefault(question, answer)
    return repeats, consistent


def others_agreement(own: list[Vote], others: list[Vote]) -> tuple[int, int]:
    """(questions that others answered too, those where the rater chose what most of them chose).

    Where others are divided evenly, each of their leading answers agrees.
    """
    told: dict[tuple, Counter] = defaultdict(Counter)
    for vote in others:
        told[_question(vote)][preference(vote)] += 1
    questions = {_question(vote): preference(vote) for vote in reversed(own) if not vote["gold"]}
    compared = [(answer, told[question]) for question, answer in questions.items() if question in told]
    return len(compared), sum(counts[answer] == max(counts.values()) for answer, counts in compared)


def preference(vote: Vote) -> object:
    """What was chosen, whatever the sides: a method, "tie" or "both_bad"; a rating; an order."""
    if "choice" in vote:
        return vote.get(vote["choice"], vote["choice"])
    return vote["rating"] if "rating" in vote else tuple(vote["order"])


def _question(vote: Vote) -> tuple:
    """The item and the methods shown, whatever the sides."""
    shown = (vote["left"], vote["right"]) if "choice" in vote else (vote["method"],) if "rating" in vote else vote["order"]
    return vote["item"], *sorted(shown)
