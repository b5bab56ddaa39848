"""A study with its answers: every call that a page makes, for its raters and for its owner.

A rater is a random code that the browser keeps. The store and the exports hold a hash of it, so that nobody who
reads the votes can read, take back or delete anyone's answers.
"""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator

from eval.preference import exports
from eval.preference.quality import Rules, consistency, others_agreement, passed, rater_quality
from eval.preference.schedule import Schedule
from eval.preference.scoring import score
from eval.preference.store import Answer, Store
from eval.preference.study import CHOICES, RATINGS, Study, Trial
from eval.preference.votes import Vote, from_answer, protocol_of, to_answer
from gpen.errors import GPENError

LEADERBOARD_AGE = 30.0  # s, that a leaderboard may be old
LONGEST = 24 * 3600 * 1000  # ms; a page left open overnight
_CODE = re.compile(r"[A-Za-z0-9_-]{22}")
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def new_code() -> str:
    """A rater's code: 128 random bits, 22 characters."""
    return secrets.token_urlsafe(16)


class Survey:
    """Safe to use from many threads. Rater's calls raise GPENError for misuse and StoreError, one of its kind, for an
    answer that could not be stored."""

    def __init__(self, study: Study, store: Store, rules: Rules | None = None):
        self.study, self.store, self.rules = study, store, rules or Rules()
        self._schedule = Schedule(study, store)
        self._lock = threading.Lock()
        self._leaderboard: tuple[float, dict] | None = None

    def rater(self, code: str) -> str:
        """The name under which a code's answers are stored and published."""
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise GPENError("this rater code is damaged; clear this site's data in your browser and start anew")
        return hashlib.sha256(f"{self.study.name}/{code}".encode()).hexdigest()[:16]

    def consented(self, code: str) -> bool:
        """Whether the rater agreed to the consent text as it is now."""
        return self.store.consented(self.study.name, self.rater(code), self.study.consent_version)

    def consent(self, code: str) -> None:
        self.store.consent(self.study.name, self.rater(code), self.study.consent_version)

    def training(self) -> list[dict]:
        """The trials of the training round with their answers; nothing of them is stored."""
        return self.study.training_trials()

    def next(self, code: str, n: int = 2, holding: Iterable[str] = ()) -> list[dict]:
        """Up to n public trials beyond those that the page holds; fewer, or none, where the session ends."""
        if not self.consented(code):
            raise GPENError("agree to the consent text first; reload the page")
        rater, history = self.rater(code), self._history(code)
        answered = {answer.trial for answer in history}
        held = [self.study.trial(trial) for trial in dict.fromkeys(holding) if trial not in answered]
        found: list[Trial] = []
        while len(found) < n and (trial := self._schedule.next(rater, history, held + found)):
            found.append(trial)
        return [self.study.public(trial, rater) for trial in found]

    def answer(self, code: str, *, id: str, trial: str, choice: str | int | list[int], ms: int) -> dict:
        """Store an answer under the page's id for it, once; the rater's progress. On disk when this returns."""
        rater, asked = self.rater(code), self.study.trial(trial)
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise GPENError("the answer's id must have 8 to 64 letters, digits, - or _; reload the page")
        if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= LONGEST:
            raise GPENError("the response time must be whole milliseconds, at most a day; reload the page")
        shown = list(self.study.order(asked, rater))
        self.store.add(
            Answer(id, self.study.name, rater, asked.id, asked.item.id, shown, self._choice(choice, shown), ms, asked.kind)
        )
        return self.progress(code)

    def undo(self, code: str, id: str | None = None) -> dict | None:
        """Take back the answer with this id, or the last one; its public trial."""
        answer = self.store.undo(self.study.name, self.rater(code), id)
        return None if answer is None else self.study.public(self.study.trial(answer.trial), self.rater(code))

    def progress(self, code: str) -> dict:
        done, total = self.store.count(self.study.name, self.rater(code)), self.study.session
        pause = 0 < done < total and done % self.study.pause == 0
        return {"done": done, "total": total, "finished": done >= total, "pause": pause}

    def agreement(self, code: str) -> dict:
        """The rater's agreement with the gold trials, with the rater's own earlier answers, and with others."""
        own = self._votes(self._history(code))
        questions = {vote["item"] for vote in own}
        others = [
            vote
            for vote in self._votes(self.store.answers(self.study.name, items=sorted(questions)))
            if vote["rater"] != self.rater(code)
        ]
        repeats, consistent = consistency(own)
        verdicts = [verdict for vote in own if vote["gold"] and (verdict := passed(vote)) is not None]
        compared, alike = others_agreement(own, others)
        return {
            "answers": len(own),
            "repeats": repeats,
            "consistent": consistent,
            "golds": len(verdicts),
            "passed": sum(verdicts),
            "others": alike / compared if compared else None,
            "compared": compared,
        }

    def delete(self, code: str) -> int:
        """Delete the rater's answers for good; how many there were."""
        return self.store.delete(self.study.name, self.rater(code))

    def close(self) -> None:
        self.store.close()

    def counts(self) -> dict:
        """How far the study is: answers, raters, items done, answers of each pair."""
        per_trial, totals = self.store.counts(self.study.name), self.store.totals(self.study.name)
        per_item, per_unit = dict.fromkeys((item.id for item in self.study.items), 0), dict.fromkeys(self.study.units, 0)
        for trial_id, count in per_trial.items():
            trial = self.study.trials.get(trial_id)
            if trial and trial.kind == "ordinary":
                per_item[trial.item.id] += count
                per_unit[trial.methods] += count
        needed = sum(max(0, self.study.answers - count) for count in per_item.values())
        done = sum(count >= self.study.answers for count in per_item.values())
        pairs = [{"a": unit[0], "b": unit[1], "n": count} for unit, count in per_unit.items() if len(unit) == 2]
        return totals | {
            "trials": self.study.answers * len(per_item),
            "needed": needed,
            "items": {"total": len(per_item), "done": done},
            "pairs": pairs,
        }

    def leaderboard(self) -> dict:
        """The scores (scoring.py), at most half a minute old. Raises GPENError where there is nothing to score yet."""
        with self._lock:
            if self._leaderboard is None or time.monotonic() - self._leaderboard[0] > LEADERBOARD_AGE:
                self._leaderboard = time.monotonic(), score(self._all(), self.rules, self.study.levels)
            return self._leaderboard[1]

    def quality(self) -> list[dict]:
        """Each rater's record (quality.py), most answers first."""
        return rater_quality(self._all(), self.rules)

    def export(self, form: str) -> Iterator[str]:
        """The votes in one of exports.FORMATS, in pieces."""
        return exports.write(self._all(), form)

    def import_votes(self, text: str, form: str) -> int:
        """Store votes of this study that were made elsewhere; how many were new."""
        votes = exports.read(text, form)
        if votes and protocol_of(votes) != self.study.protocol:
            raise GPENError(f"these are votes of {protocol_of(votes)}, and the study's protocol is {self.study.protocol}")
        names = set(self.study.methods)
        for number, vote in enumerate(votes, 1):
            answer = to_answer(vote, self.study.name)
            if not vote["gold"] and (strange := set(answer.shown) - names):
                raise GPENError(
                    f"vote {number} names {strange.pop()!r}, which is no method of this study; import it where it belongs"
                )
        return self.store.add_all([to_answer(vote, self.study.name) for vote in votes])

    def _choice(self, choice: object, shown: list[str]) -> str | int | list[str]:
        """The choice as it is stored; a ranking's places become methods."""
        if self.study.protocol == "pairwise" and choice in CHOICES:
            return choice
        if self.study.protocol == "rating" and type(choice) is int and choice in RATINGS:
            return choice
        if self.study.protocol == "ranking" and isinstance(choice, list) and all(type(place) is int for place in choice):
            if sorted(choice) == list(range(len(shown))):
                return [shown[place] for place in choice]
        raise GPENError(f"{choice!r} is no answer to this trial; reload the page")

    def _history(self, code: str) -> list[Answer]:
        return self.store.answers(self.study.name, self.rater(code))

    def _all(self) -> list[Vote]:
        return self._votes(self.store.answers(self.study.name))

    def _votes(self, answers: list[Answer]) -> list[Vote]:
        return [from_answer(answer, self.study.protocol) for answer in answers]
