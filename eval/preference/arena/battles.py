"""The live arena: a study whose items are made on demand.

A visitor degrades a face; two methods restore it, and the visitor compares the results without their names. The votes are those
of a pairwise study with the name "arena", in the same store, so that scores, exports, deletions and copies are the same. The name
of an item has the degradation and the sample face, or "own" for an image of the visitor (storage/items.py); no image is stored.

The pair, its order and the gold pairs depend on the key of the deployment, the visitor and the number of the visitor's votes, not
on the request: nobody can request pairs until a wanted one appears. A ticket is sealed and bound to its visitor, and each number
counts once.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.preference.build import INSTRUCTIONS
from eval.preference.golds import DAMAGES
from eval.preference.storage.items import item_name
from eval.preference.storage.refusals import ConsentNeededError
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote
from eval.preference.study import BETTER, WORSE, Protocol, Study, TrialKind
from eval.preference.survey import Survey, check_answer
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError

NAME = "arena"  # of the study in the store
MAX_VOTES = 200  # of a visitor
GOLD_EVERY = 8  # one gold pair in as many pairs
CONSENT = (
    "You take part as a volunteer and may stop at any time. We store your choices, how long each took, the two methods, the "
    "settings of the damage, which sample face you used or that it was an image of your own, and a random code that your browser "
    "keeps: no name, no address, nothing about you or your device. An image of your own is never stored. The answers may be "
    "published. With the code you can delete all your answers on this page whenever you like."
)


@dataclass(frozen=True)
class Battle:
    """A pair to compare.

    Attributes:
        ticket: for `Arena.answer`, sealed.
        shown: the methods from left to right; BETTER and WORSE for a gold pair, the face itself and a damaged copy of it.
        damage: of the copy in a gold pair, a name in golds.DAMAGES.
    """

    ticket: str
    shown: tuple[str, str]
    damage: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What an answer reveals: the methods from left to right, whether it was a gold pair, and the votes of the visitor."""

    shown: tuple[str, str]
    is_gold: bool
    votes: int


class Arena:
    """The calls of the page; safe to use from many threads. `survey` has the votes."""

    def __init__(self, methods: Sequence[str], store: VoteStore):
        if len(methods) < 2:
            raise GPENError(f"The arena needs two or more methods, and there is only {', '.join(methods) or 'none'}.")
        self.survey = Survey(_study(tuple(methods)), store)

    def draw(self, code: str, face: str, degradation: Degradation) -> Battle:
        """The next pair of a visitor, for a sample face by name or items.OWN.

        Raises ConsentNeededError, and GPENError for a visitor who has given MAX_VOTES votes.
        """
        if not self.survey.consented(code):
            raise ConsentNeededError
        rater, study, tickets = self.survey.rater(code), self.survey.study, self.survey.tickets
        number = self.survey.store.count(study.name, rater)
        if number >= study.session:
            raise GPENError(f"You have given {number} votes, the most that one visitor gives: thank you.")
        draw = tickets.random("battle", rater, number)
        block, place = divmod(number, GOLD_EVERY)
        is_gold = place == tickets.random("block", rater, block).randrange(GOLD_EVERY)
        left, right = draw.sample((BETTER, WORSE) if is_gold else study.methods, 2)
        kind = TrialKind.GOLD if is_gold else TrialKind.ORDINARY
        content = [number, kind, left, right, item_name(face, degradation)]
        ticket = tickets.seal(json.dumps(content).encode(), rater)
        return Battle(ticket, (left, right), draw.choice(list(DAMAGES)) if is_gold else None)

    def answer(self, code: str, *, id: str, ticket: str, choice: str, ms: int) -> Outcome:
        """Store the vote for the pair of a ticket, and reveal its methods. A second answer to a pair is ignored."""
        rater, study = self.survey.rater(code), self.survey.study
        content = self.survey.tickets.unseal(ticket, rater)
        if content is None:
            raise GPENError("This pair was not given to this visitor; reload the page.")
        number, kind, left, right, item = json.loads(content)
        check_answer(id, ms)
        trial = hashlib.blake2b(f"{NAME}/{rater}/{number}".encode(), digest_size=8).hexdigest()
        shown = [left, right]
        vote = Vote(study.name, rater, trial, item, shown, self.survey.checked_choice(choice, shown), ms, TrialKind(kind), id=id)
        added = self.survey.store.add(vote, study.consent_version, study.session)
        return Outcome((left, right), vote.gold, added.count)


def _study(methods: tuple[str, ...]) -> Study:
    return Study(
        folder=Path(), name=NAME, title="", protocol=Protocol.PAIRWISE, instructions=INSTRUCTIONS[Protocol.PAIRWISE],
        consent=CONSENT, methods=methods, reference=None, seed=0, answers=0, repeats=0.0, gold_every=GOLD_EVERY,
        session=MAX_VOTES, pause=MAX_VOTES, items=(), golds=(), training=(),
    )  # fmt: skip
