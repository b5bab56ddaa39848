"""The vote of a rater, its JSON form (votes.jsonl), and votes as arrays of paired comparisons.

    pairwise   {"study", "rater", "trial", "item", "left", "right", "choice", "ms", "gold", "time"}
    rating     {"study", "rater", "trial", "item", "method", "rating", "ms", "gold", "time"}
    ranking    {"study", "rater", "trial", "item", "order", "ms", "gold", "time"}         order: methods, best first

choice is "left", "right", "tie" or "both_bad". ms is the response time, from the display of the images to the answer. time is
UTC, ISO 8601. gold is true for a gold trial; files of other programs may give the expected answer there, a side or a method.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from eval.preference.storage.items import sample_face_of
from eval.preference.study import CHOICES, RATINGS, Choice, Protocol, TrialKind
from gpen.errors import GPENError

ANSWER_KEYS = {  # the keys of a JSON vote that hold the methods displayed and the answer; the last key identifies the protocol
    Protocol.PAIRWISE: ("left", "right", "choice"),
    Protocol.RATING: ("method", "rating"),
    Protocol.RANKING: ("order",),
}
COLUMNS = ("id", "study", "rater", "trial", "item", "shown", "choice", "ms", "kind", "time")  # of the store, which a Vote has too
TASK = re.compile(r"^(fsr\d+(-[^/]+)?|bfr(-[^/]+)?|wild|paired)/")  # of an item named "TASK/IMAGE"


@dataclass(frozen=True)
class Vote:
    """One answer of a rater to a trial, for every protocol."""

    study: str
    rater: str
    trial: str
    item: str
    shown: list[str]  # methods as displayed, from left to right
    choice: str | int | list[str]  # a Choice; a rating, 1 to 5; the methods in order of preference, best first
    ms: float | None = None  # response time
    kind: TrialKind = TrialKind.ORDINARY
    time: str = ""  # UTC, ISO 8601; the store sets its own where this is empty
    id: str = ""  # set by the page, unique for a rater
    expected: str = ""  # the correct answer to a gold trial, a side or a method, where a file gives it

    @property
    def protocol(self) -> Protocol:
        if isinstance(self.choice, list):
            return Protocol.RANKING
        return Protocol.PAIRWISE if isinstance(self.choice, str) else Protocol.RATING

    @property
    def gold(self) -> bool:
        return self.kind == TrialKind.GOLD

    @property
    def question(self) -> tuple[str, ...]:
        """The item and the methods displayed, independent of their order on the screen."""
        return self.item, *sorted(self.shown)

    @property
    def preferred(self) -> str | None:
        """The method chosen in a pair; None for "tie" and "both_bad"."""
        sides = {Choice.LEFT: 0, Choice.RIGHT: 1}
        return self.shown[sides[Choice(self.choice)]] if self.choice in sides else None

    @property
    def answer(self) -> object:
        """The answer independent of the order on the screen.

        A method, "tie", "both_bad", a rating, or an order.
        """
        if isinstance(self.choice, list):
            return tuple(self.choice)
        return self.preferred or self.choice

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        answers = {
            Protocol.PAIRWISE: (*self.shown, self.choice),
            Protocol.RATING: (self.shown[0], self.choice),
            Protocol.RANKING: (self.choice,),
        }
        values = dict(zip(ANSWER_KEYS[self.protocol], answers[self.protocol], strict=True))
        values["gold"] = self.expected or self.gold
        return {key: values[key] if key in values else getattr(self, key) for key in columns(self.protocol)}

    @classmethod
    def from_dict(cls, values: object, source: str = "The vote") -> "Vote":
        """Validate a vote in its JSON form. Missing keys are empty.

        Raises GPENError whose message starts with `source`.
        """
        if not isinstance(values, dict):
            raise GPENError(
                f"{source}: A vote is a JSON object, not {values!r}; see eval/preference/storage/votes.py for its keys."
            )
        protocol = next((name for name, keys in ANSWER_KEYS.items() if all(key in values for key in keys)), None)
        if protocol is None or "rater" not in values:
            raise GPENError(f"{source}: A vote needs rater, and left, right and choice (or method and rating, or order).")
        shown, choice = _PARSERS[protocol](values, source)
        ms, gold = values.get("ms"), values.get("gold") or False
        if ms is not None and (isinstance(ms, bool) or not isinstance(ms, int | float) or not math.isfinite(ms)):
            raise GPENError(f"{source}: ms must be a number of milliseconds, not {ms!r}.")
        study, rater, trial, item = (_text(values.get(key)) for key in ("study", "rater", "trial", "item"))
        kind = TrialKind.GOLD if gold else TrialKind.ORDINARY
        expected = gold if isinstance(gold, str) else ""
        return cls(study, rater, trial, item, shown, choice, ms, kind, _text(values.get("time")), expected=expected)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of the sha256 of the JSON form: the id of an imported vote."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:32]


def vote_row(vote: Vote) -> dict[str, Any]:
    """The columns of a vote in the store; an imported vote without an id or a trial has its digest instead."""
    row = {name: getattr(vote, name) for name in COLUMNS}
    if not vote.id:
        row["id"] = vote.digest
    return row | {"trial": vote.trial or row["id"], "ms": round(vote.ms or 0), "kind": vote.kind.value}


def columns(protocol: Protocol) -> tuple[str, ...]:
    """The keys of the JSON form."""
    return ("study", "rater", "trial", "item", *ANSWER_KEYS[protocol], "ms", "gold", "time")


def protocol_of(votes: Iterable[Vote]) -> Protocol:
    """The protocol of all votes. Raises GPENError for no votes and for several protocols."""
    found = {vote.protocol for vote in votes}
    if not found:
        raise GPENError("There are no votes; give a file that has some.")
    if len(found) > 1:
        raise GPENError(f"The votes have the protocols {' and '.join(sorted(found))}; give one protocol at a time.")
    return found.pop()


def parse_lines(text: str, name: str) -> list[Vote]:
    """Parse votes.jsonl. Identical lines with a trial are retries of one vote and count once."""
    votes: dict[str | int, Vote] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            source = f"{name}, line {number}"
            try:
                values = json.loads(line)
            except ValueError as error:
                raise GPENError(f"{source}: Not valid JSON; write one vote per line.") from error
            vote = Vote.from_dict(values, source)
            votes.setdefault(line.strip() if vote.trial else number, vote)
    return list(votes.values())


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _pair(values: dict, source: str) -> tuple[list[str], str]:
    left, right, choice = (values[key] for key in ANSWER_KEYS[Protocol.PAIRWISE])
    if choice not in CHOICES:
        raise GPENError(f"{source}: choice must be one of {', '.join(CHOICES)}, not {choice!r}.")
    if not all(isinstance(side, str) and side for side in (left, right)) or left == right:
        raise GPENError(f"{source}: left and right must be the names of two methods, not {left!r} and {right!r}.")
    return [left, right], str(choice)


def _rating(values: dict, source: str) -> tuple[list[str], int]:
    method, rating = (values[key] for key in ANSWER_KEYS[Protocol.RATING])
    if isinstance(rating, bool) or rating not in RATINGS:
        raise GPENError(f"{source}: rating must be an integer from {min(RATINGS)} to {max(RATINGS)}, not {rating!r}.")
    if not isinstance(method, str) or not method:
        raise GPENError(f"{source}: method must be a name, not {method!r}.")
    return [method], rating


def _ranking(values: dict, source: str) -> tuple[list[str], list[str]]:
    order = values["order"]
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order) or not 2 <= len(order) == len(set(order)):
        raise GPENError(f"{source}: order must be a list of two or more different methods, not {order!r}.")
    return sorted(order), order


_PARSERS: dict[Protocol, Callable[[dict, str], tuple[list[str], Any]]] = {
    Protocol.PAIRWISE: _pair,
    Protocol.RATING: _rating,
    Protocol.RANKING: _ranking,
}


@dataclass(frozen=True)
class Comparisons:
    """Votes as arrays: for item[k], rater[k] preferred a[k] (outcome 1), b[k] (-1), or neither (0)."""

    methods: list[str]
    raters: list[str]
    items: list[str]
    rater: np.ndarray  # [n], index into raters
    item: np.ndarray  # [n], index into items
    a: np.ndarray  # [n], index into methods
    b: np.ndarray  # [n], index into methods
    outcome: np.ndarray  # [n]

    @property
    def face(self) -> np.ndarray:
        """[n], index of the face: the items of one image under several tasks show the same face."""
        return np.unique([face_of(item) for item in self.items], return_inverse=True)[1].ravel()[self.item]

    def select(self, subset: np.ndarray) -> "Comparisons":
        """The comparisons with True in subset [n], with their methods, raters and items only."""
        a, b, outcome = self.a[subset], self.b[subset], self.outcome[subset]
        methods, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
        raters, rater = np.unique(self.rater[subset], return_inverse=True)
        items, item = np.unique(self.item[subset], return_inverse=True)
        return Comparisons(
            [self.methods[i] for i in methods],
            [self.raters[i] for i in raters],
            [self.items[i] for i in items],
            rater.ravel(),
            item.ravel(),
            ends.ravel()[: len(a)],
            ends.ravel()[len(a) :],
            outcome,
        )

    def tables(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(wins, ties) [b, m, m]: the sum of the weights [b, n] of the comparisons of each pair of methods."""
        from scipy.sparse import csr_array  # imported here because it takes time

        n, m = len(self.outcome), len(self.methods)
        forward, backward = self.a * m + self.b, self.b * m + self.a
        tied = np.flatnonzero(self.outcome == 0)
        rows = np.concatenate([np.arange(n), tied])
        columns = np.concatenate([np.where(self.outcome < 0, backward, forward), backward[tied]])
        columns[np.concatenate([tied, np.arange(n, n + len(tied))])] += m * m  # ties follow wins
        pairs = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, 2 * m * m))
        wins, ties = np.split(np.asarray(weights @ pairs), 2, axis=1)
        return wins.reshape(-1, m, m), ties.reshape(-1, m, m)


def face_of(item: str) -> str:
    """The face that an item shows: "IMAGE" of "TASK/IMAGE", the sample face of an item of the arena."""
    return sample_face_of(item) or TASK.sub("", item)


def first_answers(votes: Iterable[Vote]) -> list[Vote]:
    """The votes that count for scores: without gold trials, and of each question only the first answer of a rater.

    Later answers are repeats, which measure the consistency of a rater. A vote without an item is never a repeat.
    """
    counted: dict[object, Vote] = {}
    for number, vote in enumerate(votes):
        if not vote.gold:
            counted.setdefault((vote.rater, vote.question) if vote.item else number, vote)
    return list(counted.values())


def comparisons(votes: Iterable[Vote]) -> Comparisons:
    """Convert the votes that count for scores (first_answers) to paired comparisons.

    Two ratings of an item by one rater make one comparison (equal ratings are a tie); a ranking makes one for each pair.
    Raises GPENError without such votes.
    """
    votes = first_answers(votes)
    rows = _ROWS[protocol_of(votes)](votes)
    names = [sorted({row[i] for row in rows}) for i in (0, 1)] + [sorted({row[i] for row in rows for i in (2, 3)})]
    index = [{name: i for i, name in enumerate(group)} for group in names]
    array = np.array(
        [[index[0][r], index[1][item], index[2][a], index[2][b], sign] for r, item, a, b, sign in rows], dtype=int
    ).reshape(-1, 5)
    return Comparisons(names[2], names[0], names[1], *array.T)


def _pair_rows(votes: list[Vote]) -> list[tuple]:
    outcome = {Choice.LEFT: 1, Choice.RIGHT: -1, Choice.TIE: 0, Choice.BOTH_BAD: 0}
    return [(vote.rater, vote.item, *vote.shown, outcome[Choice(str(vote.choice))]) for vote in votes]


def _rating_rows(votes: list[Vote]) -> list[tuple]:
    ratings: dict[tuple[str, str], dict[str, int]] = {}
    for vote in votes:
        ratings.setdefault((vote.rater, vote.item), {}).setdefault(vote.shown[0], cast(int, vote.choice))
    rows = []
    for (rater, item), by_method in ratings.items():
        pairs = itertools.combinations(sorted(by_method.items()), 2)
        rows += [(rater, item, a, b, int(np.sign(x - y))) for (a, x), (b, y) in pairs]
    return rows


def _ranking_rows(votes: list[Vote]) -> list[tuple]:
    orders = [(vote, cast(list[str], vote.choice)) for vote in votes]
    return [(v.rater, v.item, better, worse, 1) for v, order in orders for better, worse in itertools.combinations(order, 2)]


_ROWS = {Protocol.PAIRWISE: _pair_rows, Protocol.RATING: _rating_rows, Protocol.RANKING: _ranking_rows}
