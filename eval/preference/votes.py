"""Votes as others read and write them: votes.jsonl, a line each, checked line by line.

    pairwise   {"study", "rater", "trial", "item", "left", "right", "choice", "ms", "gold", "time"}
    rating     {"study", "rater", "trial", "item", "method", "rating", "ms", "gold", "time"}
    ranking    {"study", "rater", "trial", "item", "order", "ms", "gold", "time"}         order: methods, best first

choice is "left" | "right" | "tie" | "both_bad"; ms is from the pictures' appearance to the answer; time is UTC.
gold says that the trial is a check; in files made elsewhere it may also name the right answer, a side or a method.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.preference.store import Answer
from eval.preference.study import CHOICES, RATINGS
from gpen.errors import GPENError

ASKED = {"pairwise": ("left", "right", "choice"), "rating": ("method", "rating"), "ranking": ("order",)}
Vote = dict


def columns(protocol: str) -> tuple[str, ...]:
    """The keys of a line."""
    return ("study", "rater", "trial", "item", *ASKED[protocol], "ms", "gold", "time")


def protocol_of(votes: Iterable[Vote]) -> str:
    """Of all the votes. Raises GPENError for a mixture, and for none."""
    found = {next(protocol for protocol, keys in ASKED.items() if keys[-1] in vote) for vote in votes}
    if not found:
        raise GPENError("there are no votes; name a file that holds some")
    if len(found) > 1:
        raise GPENError(f"votes of {' and '.join(sorted(found))} are mixed; give one protocol at a time")
    return found.pop()


def read_votes(path: str | Path) -> list[Vote]:
    """The votes of a .jsonl file. Raises GPENError that names the file and the line."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} cannot be read; give a file of votes, one JSON object a line") from error
    return parse_lines(text, str(path))


def parse_lines(text: str, name: str) -> list[Vote]:
    """Of lines that are exact copies of each other and name their trial, one counts: the others are retries."""
    votes: dict[str | int, Vote] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            where = f"{name}, line {number}"
            try:
                vote = json.loads(line)
            except ValueError as error:
                raise GPENError(f"{where}: this is no JSON; give one vote a line") from error
            vote = checked(vote, where)
            votes.setdefault(line.strip() if vote["trial"] else number, vote)
    return list(votes.values())


def checked(vote: object, where: str) -> Vote:
    """The vote with every key, in the types of this module. Raises GPENError that begins with `where`."""
    if not isinstance(vote, dict):
        raise GPENError(f"{where}: a vote is a JSON object; see the keys in eval/preference/votes.py")
    protocol = next((protocol for protocol, keys in ASKED.items() if all(key in vote for key in keys)), None)
    if protocol is None or "rater" not in vote:
        raise GPENError(f"{where}: a vote has a rater, and left, right and choice (or method and rating, or order)")
    whole = {key: vote.get(key, "") for key in columns(protocol)}
    for key in ("study", "rater", "trial", "item"):
        whole[key] = "" if whole[key] is None else str(whole[key])
    whole["ms"] = vote.get("ms")
    whole["gold"] = vote.get("gold") or False
    _CHECKS[protocol](whole, where)
    if whole["ms"] is not None and (
        isinstance(whole["ms"], bool) or not isinstance(whole["ms"], int | float) or not math.isfinite(whole["ms"])
    ):
        raise GPENError(f"{where}: ms is a number of milliseconds, not {whole['ms']!r}")
    return whole


def _check_pair(vote: Vote, where: str) -> None:
    if vote["choice"] not in CHOICES:
        raise GPENError(f"{where}: choice is one of {', '.join(CHOICES)}, not {vote['choice']!r}")
    if not all(isinstance(vote[side], str) and vote[side] for side in ("left", "right")) or vote["left"] == vote["right"]:
        raise GPENError(f"{where}: left and right are the names of two methods, not {vote['left']!r} and {vote['right']!r}")


def _check_rating(vote: Vote, where: str) -> None:
    if isinstance(vote["rating"], bool) or vote["rating"] not in RATINGS:
        raise GPENError(f"{where}: rating is a whole number from {min(RATINGS)} to {max(RATINGS)}, not {vote['rating']!r}")
    if not isinstance(vote["method"], str) or not vote["method"]:
        raise GPENError(f"{where}: method is a name, not {vote['method']!r}")


def _check_ranking(vote: Vote, where: str) -> None:
    order = vote["order"]
    if (
        not isinstance(order, list)
        or len(order) < 2
        or not all(isinstance(name, str) for name in order)
        or len(set(order)) < len(order)
    ):
        raise GPENError(f"{where}: order is a list of two or more different methods, not {order!r}")


_CHECKS = {"pairwise": _check_pair, "rating": _check_rating, "ranking": _check_ranking}


def from_answer(answer: Answer, protocol: str) -> Vote:
    """An answer of the store as a vote."""
    asked = {
        "pairwise": lambda: (*answer.shown, answer.choice),
        "rating": lambda: (answer.shown[0], answer.choice),
        "ranking": lambda: (answer.choice,),
    }[protocol]()
    values = dict(zip(ASKED[protocol], asked, strict=True)) | {"gold": answer.kind == "gold"}
    return {key: values[key] if key in values else getattr(answer, key) for key in columns(protocol)}


def to_answer(vote: Vote, study: str) -> Answer:
    """A vote as an answer of `study`; the same vote always gets the same id."""
    shown, choice = {
        "pairwise": lambda: ([vote["left"], vote["right"]], vote["choice"]),
        "rating": lambda: ([vote["method"]], vote["rating"]),
        "ranking": lambda: (sorted(vote["order"]), vote["order"]),
    }[protocol_of([vote])]()
    digest = hashlib.sha256(json.dumps(vote, sort_keys=True).encode()).hexdigest()[:32]
    return Answer(
        digest,
        study,
        vote["rater"],
        vote["trial"] or digest,
        vote["item"],
        shown,
        choice,
        round(vote["ms"] or 0),
        "gold" if vote["gold"] else "ordinary",
        str(vote["time"] or ""),
    )


@dataclass(frozen=True)
class Comparisons:
    """Votes as arrays: of item[k], rater[k] found a[k] better (outcome 1), worse (-1), or neither (0) than b[k]."""

    methods: list[str]
    raters: list[str]
    items: list[str]
    rater: np.ndarray  # [n], as the next four
    item: np.ndarray
    a: np.ndarray
    b: np.ndarray
    outcome: np.ndarray

    def tables(self, which: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(wins, ties) [r, m, m] of each rater, over the comparisons that `which` selects."""
        shape = (len(self.raters), len(self.methods), len(self.methods))
        wins, ties = np.zeros(shape), np.zeros(shape)
        rater, a, b, outcome = (values[which] for values in (self.rater, self.a, self.b, self.outcome))
        for winner, loser, sign in ((a, b, 1), (b, a, -1)):
            won, tied = outcome == sign, outcome == 0
            np.add.at(wins, (rater[won], winner[won], loser[won]), 1)
            np.add.at(ties, (rater[tied], winner[tied], loser[tied]), 1)
        return wins, ties


def comparisons(votes: list[Vote]) -> Comparisons:
    """Every vote but the gold ones. Ratings and rankings are taken apart into the pairs they order.

    Two ratings of one item by one rater make a pair, equal ones a tie; a ranking is all of its pairs.
    """
    votes = [vote for vote in votes if not vote["gold"]]
    rows = _ROWS[protocol_of(votes)](votes)
    names = [sorted({row[i] for row in rows}) for i in (0, 1)] + [sorted({row[i] for row in rows for i in (2, 3)})]
    index = [{name: i for i, name in enumerate(group)} for group in names]
    array = np.array(
        [[index[0][r], index[1][item], index[2][a], index[2][b], sign] for r, item, a, b, sign in rows], dtype=int
    ).reshape(-1, 5)
    return Comparisons(names[2], names[0], names[1], *array.T)


def _pair_rows(votes: list[Vote]) -> list[tuple]:
    outcome = {"left": 1, "right": -1, "tie": 0, "both_bad": 0}
    return [(vote["rater"], vote["item"], vote["left"], vote["right"], outcome[vote["choice"]]) for vote in votes]


def _rating_rows(votes: list[Vote]) -> list[tuple]:
    scores: dict[tuple, dict[str, list]] = {}
    for vote in votes:
        scores.setdefault((vote["rater"], vote["item"]), {}).setdefault(vote["method"], []).append(vote["rating"])
    rows = []
    for (rater, item), of in scores.items():
        means = sorted((method, sum(values) / len(values)) for method, values in of.items())
        rows += [(rater, item, a, b, int(np.sign(x - y))) for i, (a, x) in enumerate(means) for b, y in means[i + 1 :]]
    return rows


def _ranking_rows(votes: list[Vote]) -> list[tuple]:
    pairs = [(vote, *pair) for vote in votes for pair in itertools.combinations(vote["order"], 2)]
    return [(vote["rater"], vote["item"], better, worse, 1) for vote, better, worse in pairs]


_ROWS = {"pairwise": _pair_rows, "rating": _rating_rows, "ranking": _ranking_rows}
