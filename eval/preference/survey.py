"""A study with its store: the calls of the page, for raters and for the owner of the study.

A rater receives tickets instead of trials (tickets.py), and is identified by a random code that the browser keeps. The store and
the exports contain a hash of the code, so that nobody with access to the votes can act for a rater.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING

from eval.preference import exports
from eval.preference.analysis.anomalies import Anomaly, find_anomalies
from eval.preference.analysis.quality import (
    ExclusionRules,
    RaterQuality,
    agreement_with_others,
    gold_passed,
    rater_quality,
    self_consistency,
)
from eval.preference.analysis.scoring import Scores, score
from eval.preference.plan import plan_of
from eval.preference.schedule import Schedule
from eval.preference.sessions import IssuedTrials, Networks, ReadCache
from eval.preference.storage.refusals import ConsentNeededError, DeletedError
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote, protocol_of
from eval.preference.study import CHOICES, RATINGS, Protocol, Study, TrialKind
from eval.preference.tickets import Tickets
from gpen.errors import GPENError

if TYPE_CHECKING:
    from eval.preference.mirror.hub import Mirror, MirrorStatus

LEADERBOARD_AGE = 30.0  # s, of cached scores
COUNTS_AGE = 5.0  # s, of cached counts
MAX_PENDING = 20  # trials of a rater that were given out and not answered
MAX_RESPONSE_TIME = 24 * 3600 * 1000  # ms
_CODE = re.compile(r"[A-Za-z0-9_-]{22}")
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def new_code() -> str:
    """Create the code of a rater: 128 random bits, 22 characters."""
    return secrets.token_urlsafe(16)


def check_answer(id: object, ms: object) -> None:
    """Raise GPENError if the id of an answer or its response time is invalid."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise GPENError("The id of an answer must have 8 to 64 letters, digits, - or _; reload the page.")
    if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= MAX_RESPONSE_TIME:
        raise GPENError("The response time must be an integer number of milliseconds, at most one day; reload the page.")


class Survey:
    """The calls of the page; safe to use from many threads.

    Calls of raters raise GPENError for invalid arguments, ConsentNeededError without consent to the current text, DeletedError
    after a deletion, and StoreError if a vote could not be stored; all are GPENErrors.
    """

    def __init__(self, study: Study, store: VoteStore, rules: ExclusionRules | None = None):
        self.study, self.store, self.rules = study, store, rules or ExclusionRules()
        self.networks = Networks()
        self.mirror: Mirror | None = None  # started by the page (demo/tabs/rate.py)
        self._issued = IssuedTrials()
        self._cache = ReadCache()

    @cached_property
    def tickets(self) -> Tickets:
        """The tickets; the store creates a key when they are first used, unless the mirror has brought one."""
        return Tickets(self.study, self.store.keys(self.study.name))

    @cached_property
    def _schedule(self) -> Schedule:
        return Schedule(self.study, self.store, self.tickets)

    def reload_keys(self) -> None:
        """Use the keys that the mirror has added to the store."""
        for name in ("tickets", "_schedule"):
            self.__dict__.pop(name, None)

    def rater(self, code: str) -> str:
        """The hash of a code, under which votes are stored and published."""
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise GPENError("The rater code is not valid; clear the data of this site in your browser and start again.")
        return hashlib.sha256(f"{self.study.name}/{code}".encode()).hexdigest()[:16]

    def consented(self, code: str) -> bool:
        """Whether the rater agreed to the current consent text."""
        return self.store.consented(self.study.name, self.rater(code), self.study.consent_version)

    def deleted(self, code: str) -> bool:
        """Whether the rater deleted the votes; nothing more is stored under the code."""
        return self.store.deleted(self.study.name, self.rater(code))

    def consent(self, code: str, address: str | None = None) -> None:
        """Store the consent of a rater to the current text.

        address: of the client; it limits the number of sessions of a network and is not stored. Raises TooManySessionsError.
        """
        rater = self.rater(code)
        self.networks.enter(rater, address)
        self.store.consent(self.study.name, rater, self.study.consent_version)

    def training(self) -> list[dict]:
        """The trials of the training round with their answers; votes for them are not stored."""
        return self.tickets.training_trials()

    def next(self, code: str, n: int = 2, holding: Iterable[str] = ()) -> list[dict]:
        """Up to n public trials in addition to those whose tickets the page holds; fewer at the end of the session.

        Trials that were given to the rater and not answered come first, so that nobody can choose among trials.
        """
        rater = self.rater(code)
        history = self.store.history(self.study.name, rater, self.study.consent_version)
        if history is None:
            raise ConsentNeededError
        answered = {vote.trial for vote in history}
        held = [self.tickets.redeem(ticket, rater)[0] for ticket in dict.fromkeys(holding)]
        held_ids = {trial.id for trial in held}
        pending = self._issued.pending(rater, held, answered)
        found = [trial for trial in pending if trial.id not in held_ids][:n]
        while len(found) < n and len(pending) < MAX_PENDING and (trial := self._schedule.next(rater, history, pending)):
            found.append(trial)
            pending.append(trial)
        self._issued.keep(rater, pending)
        originals = {vote.trial: vote.shown for vote in history}
        orders = [self.tickets.order(trial, rater, originals.get(trial.original)) for trial in found]
        return [self.tickets.issue(trial, rater, order) for trial, order in zip(found, orders, strict=True)]

    def answer(self, code: str, *, id: str, trial: str, choice: str | int | list[int], ms: int) -> dict:
        """Store a vote for the trial of a ticket, under the id given by the page; returns the progress.

        The vote is on disk when this returns. A ticket counts once: a second answer is ignored, unless the first was undone.
        """
        rater = self.rater(code)
        asked, shown = self.tickets.redeem(trial, rater)
        check_answer(id, ms)
        given = self.checked_choice(choice, shown)
        vote = Vote(self.study.name, rater, asked.id, asked.item.id, shown, given, ms, asked.kind, id=id)
        return self._progress(self.store.add(vote, self.study.consent_version, self.study.session).count)

    def undo(self, code: str, id: str | None = None) -> dict | None:
        """Undo the vote with this id, or the last one; returns its public trial."""
        rater = self.rater(code)
        vote = self.store.undo(self.study.name, rater, self.study.consent_version, id)
        if vote is None:
            return None
        return self.tickets.issue(self.study.trials[vote.trial], rater, tuple(vote.shown))

    def unconfirmed(self, code: str, ids: list[str]) -> dict[str, list[str]]:
        """Which of the answers and undos with these ids are not safe yet.

        Returns "missing", the ids that the store does not have and the page must send again, and "waiting", those that a lost
        disk would still lose, until the mirror has copied them. An id stands for an answer; "undo:ID" for its undo.
        """
        rater = self.rater(code)
        if self.deleted(code):
            raise DeletedError
        known = self.store.ids(self.study.name, rater)
        stored = [name for name in ids if name in known]
        copied = self.mirror.copied(rater, stored) if self.mirror else set(stored)
        return {
            "missing": [name for name in ids if name not in known],
            "waiting": [name for name in stored if name not in copied],
        }

    def progress(self, code: str) -> dict:
        """The number of answers of a rater and whether a pause is suggested."""
        return self._progress(self.store.count(self.study.name, self.rater(code)))

    def _progress(self, done: int) -> dict:
        total = self.study.session
        pause = 0 < done < total and done % self.study.pause == 0
        return {"done": done, "total": total, "finished": done >= total, "pause": pause}

    def agreement(self, code: str) -> dict:
        """Agreement of a rater with the gold trials, with earlier own answers, and with other raters."""
        own, rater = self._history(code), self.rater(code)
        items = sorted({vote.item for vote in own})
        others = [vote for vote in self.store.votes(self.study.name, items=items) if vote.rater != rater]
        repeats, consistent = self_consistency(own)
        passed = [gold_passed(vote) for vote in own if vote.gold]
        compared, agreeing = agreement_with_others(own, others)
        return {
            "answers": len(own),
            "repeats": repeats,
            "consistent": consistent,
            "golds": len(passed),
            "passed": sum(passed),
            "others": agreeing / compared if compared else None,
            "compared": compared,
        }

    def delete(self, code: str) -> int:
        """Delete all votes of a rater permanently; returns their number."""
        return self.store.delete(self.study.name, self.rater(code))

    def stop_mirror(self) -> None:
        """Copy the last votes to the mirror, if there is one."""
        if self.mirror:
            self.mirror.stop()
            self.mirror = None

    def close(self) -> None:
        """Copy the last votes to the mirror, if there is one, and close the store."""
        self.stop_mirror()
        self.store.close()

    def counts(self) -> dict:
        """Progress of the study: answers, raters, completed items, answers for each pair; at most COUNTS_AGE old."""
        return self._cache.read("counts", self._counts, COUNTS_AGE)

    def _counts(self) -> dict:
        per_trial, totals = self.store.counts(self.study.name), self.store.totals(self.study.name)
        per_item, per_set = dict.fromkeys((item.id for item in self.study.items), 0), dict.fromkeys(self.study.method_sets, 0)
        for trial_id, count in per_trial.items():
            trial = self.study.trials.get(trial_id)
            if trial and trial.kind == TrialKind.ORDINARY:
                per_item[trial.item.id] += count
                per_set[trial.methods] += count
        needed = sum(max(0, self.study.answers - count) for count in per_item.values())
        done = sum(count >= self.study.answers for count in per_item.values())
        pairs = [{"a": methods[0], "b": methods[1], "n": count} for methods, count in per_set.items() if len(methods) == 2]
        return asdict(totals) | {
            "trials": self.study.answers * len(per_item),
            "needed": needed,
            "items": {"total": len(per_item), "done": done},
            "pairs": pairs,
        }

    def leaderboard(self) -> Scores:
        """The scores (scoring.py), at most LEADERBOARD_AGE old. Raises GPENError without enough votes."""

        def compute() -> Scores:
            votes = self._all()
            plan = plan_of(self.study, votes)
            return score(votes, self.rules, self.study.levels, plan=plan, degradations=self.study.degradations)

        return self._cache.read("leaderboard", compute, LEADERBOARD_AGE)

    def quality(self) -> list[RaterQuality]:
        """Statistics of each rater (quality.py), most answers first; at most LEADERBOARD_AGE old."""
        return self._cache.read("quality", lambda: rater_quality(self._all(), self.rules), LEADERBOARD_AGE)

    def anomalies(self) -> list[Anomaly]:
        """Unusual patterns in the votes (anomalies.py); at most LEADERBOARD_AGE old."""
        return self._cache.read("anomalies", lambda: find_anomalies(self._all(), self.networks.groups()), LEADERBOARD_AGE)

    def copy_status(self) -> "MirrorStatus | None":
        """The state of the mirror, at most COUNTS_AGE old; None without a mirror."""
        return self._cache.read("mirror", self.mirror.status, COUNTS_AGE) if self.mirror else None

    def export(self, form: str) -> Iterator[str]:
        """The votes in one of exports.FORMATS, in pieces of text."""
        return exports.write(self._all(), form, self.study.degradations)

    def import_votes(self, votes: list[Vote]) -> int:
        """Store votes that were collected elsewhere; returns the number of new votes.

        Votes of raters who deleted theirs are ignored. Raises GPENError for votes that do not belong to this study.
        """
        if votes and (protocol := protocol_of(votes)) != self.study.protocol:
            raise GPENError(f"The votes have the protocol {protocol}, the study {self.study.protocol}; choose another study.")
        names = set(self.study.methods)
        for number, vote in enumerate(votes, 1):
            if not vote.gold and (unknown := set(vote.shown) - names):
                raise GPENError(
                    f"Vote {number} has the method {unknown.pop()!r}, which is not in this study; choose another study."
                )
            if vote.gold:
                gold_passed(replace(vote, expected=""))  # the store keeps no expected answer
        new = self.store.add_all([self._imported(vote) for vote in votes])
        self._cache.clear()
        return new

    def _imported(self, vote: Vote) -> Vote:
        """The vote as stored: its id is the digest of the vote in the file, so that a second import finds the same id."""
        trial = self.study.trials.get(vote.trial)
        kind = TrialKind.REPEAT if trial and trial.kind == TrialKind.REPEAT else vote.kind
        return replace(vote, study=self.study.name, id=vote.digest, kind=kind)

    def checked_choice(self, choice: object, shown: list[str]) -> str | int | list[str]:
        """The answer in the form of Vote.choice; the indices of a ranking become methods.

        Raises GPENError for an invalid answer.
        """
        if self.study.protocol == Protocol.PAIRWISE and choice in CHOICES:
            return str(choice)
        if self.study.protocol == Protocol.RATING and type(choice) is int and choice in RATINGS:
            return choice
        if self.study.protocol == Protocol.RANKING and isinstance(choice, list) and all(type(place) is int for place in choice):
            if sorted(choice) == list(range(len(shown))):
                return [shown[place] for place in choice]
        raise GPENError(f"{choice!r} is not a valid answer to this trial; reload the page.")

    def _history(self, code: str) -> list[Vote]:
        return self.store.votes(self.study.name, self.rater(code))

    def _all(self) -> list[Vote]:
        return self.store.votes(self.study.name)
