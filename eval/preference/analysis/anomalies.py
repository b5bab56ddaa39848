"""Unusual patterns in votes, for the owner of a study to look at: nobody is excluded because of them."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from statistics import mean, pstdev

from eval.preference.storage.votes import Vote
from eval.preference.study import Choice

BURST, BURST_SECONDS = 30, 60  # answers of one rater within so many seconds
MIN_ANSWERS = 10  # of a rater, for a statement about its response times
EVEN_TIMING = 0.05  # smallest plausible SD / mean of the response times of a person
SAME_TIMES = 0.5  # fraction of response times, in ms, that two raters have in common
MAX_SHARING = 20  # raters with one response time; a time that more share, such as a round number, says nothing
ONE_SIDE, ONE_SIDE_ANSWERS = 0.95, 20  # fraction and number of choices of one side
NETWORK_RATERS, NETWORK_SHARE = 5, 0.2  # raters of one network: number, and fraction of all raters


@dataclass(frozen=True)
class Anomaly:
    """A pattern: "burst", "even timing", "same timing", "one side" or "one network"."""

    kind: str
    raters: tuple[str, ...]
    sentence: str


def find_anomalies(votes: list[Vote], networks: dict[str, list[str]]) -> list[Anomaly]:
    """Patterns in the votes of a study. networks: the raters of each network, where known."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    found = [anomaly for rater, own in sorted(by_rater.items()) for anomaly in _of_rater(rater, own)]
    found += _same_timing({rater: [vote.ms for vote in own if vote.ms] for rater, own in sorted(by_rater.items())})
    for raters in networks.values():
        own = sorted(set(raters) & by_rater.keys())
        if len(own) >= NETWORK_RATERS and len(own) > NETWORK_SHARE * len(by_rater):
            answers = sum(len(by_rater[rater]) for rater in own)
            found.append(Anomaly("one network", tuple(own), f"{len(own)} raters with {answers} answers share one network."))
    return found


def _of_rater(rater: str, votes: list[Vote]) -> list[Anomaly]:
    found = []
    times = sorted(datetime.fromisoformat(vote.time).timestamp() for vote in votes if vote.time)
    shortest = min((times[i + BURST - 1] - times[i] for i in range(len(times) - BURST + 1)), default=BURST_SECONDS + 1)
    if shortest <= BURST_SECONDS:
        found.append(Anomaly("burst", (rater,), f"{BURST} answers within {shortest:.0f} s."))
    ms = [vote.ms for vote in votes if vote.ms]
    if len(ms) >= MIN_ANSWERS and pstdev(ms) < EVEN_TIMING * mean(ms):
        found.append(Anomaly("even timing", (rater,), f"Response times of {mean(ms):.0f} ms vary by {pstdev(ms):.0f} ms only."))
    sides = [vote.choice for vote in votes if vote.choice in (Choice.LEFT, Choice.RIGHT)]
    share = max((sides.count(side) / len(sides) for side in set(sides)), default=0)
    if len(sides) >= ONE_SIDE_ANSWERS and share >= ONE_SIDE:
        found.append(Anomaly("one side", (rater,), f"One side in {share:.0%} of {len(sides)} choices."))
    return found


def _same_timing(times: dict[str, list[float]]) -> list[Anomaly]:
    """Pairs of raters with the same response times in ms, found through the times that they have in common."""
    raters_of: dict[float, set[str]] = defaultdict(set)
    for rater, own in times.items():
        for value in set(own):
            raters_of[value].add(rater)
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for raters in raters_of.values():
        if len(raters) <= MAX_SHARING:
            for pair in combinations(sorted(raters), 2):
                shared[pair] += 1
    return [
        Anomaly("same timing", pair, f"{count} response times are equal to the millisecond.")
        for pair, count in sorted(shared.items())
        if count >= max(MIN_ANSWERS, SAME_TIMES * min(len(set(times[rater])) for rater in pair))
    ]
