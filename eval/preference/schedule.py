"""Selection of the next trial.

Every set of methods (a pair, in pairwise studies) has a target share of the answers: half of all answers are distributed evenly,
the other half by uncertainty, the probability that the estimated order of two methods is wrong. The set with the largest deficit
is selected, with the item that has the fewest answers to it. The positions of gold trials and repeats depend on the rater and on
the secret key of the deployment (tickets.py).
"""

import threading
import time

import numpy as np
from scipy import special

from eval.preference.analysis.bradley_terry import fit, information_standard_errors
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote
from eval.preference.study import Choice, Protocol, Study, Trial, TrialKind
from eval.preference.tickets import Tickets

EVEN_SHARE = 0.5  # of the answers, independent of the uncertainty, so that every pair receives answers
REFRESH = 60.0  # s, between reads of the store, which update the counts of other processes and unanswered trials
REPEAT_GAP = 5  # answers between a trial and its repeat


class Schedule:
    """The answer counts of a study in memory; safe to use from many threads.

    A trial that was handed out counts as answered until the next refresh, so that simultaneous raters receive different trials.
    """

    def __init__(self, study: Study, store: VoteStore, tickets: Tickets):
        self._study, self._store, self._tickets = study, store, tickets
        self._lock = threading.Lock()
        self._random = np.random.default_rng(tickets.random("schedule").getrandbits(64))
        self._set_index = {unit: i for i, unit in enumerate(study.method_sets)}
        self._item_index = {item.id: i for i, item in enumerate(study.items)}
        self._ids = [[study.trial_id(TrialKind.ORDINARY, item, unit) for item in study.items] for unit in study.method_sets]
        self._golds = [trial for trial in study.trials.values() if trial.kind == TrialKind.GOLD]
        self._refreshed = -np.inf

    def next(self, rater: str, history: list[Vote], holding: list[Trial]) -> Trial | None:
        """The next trial for a rater with the votes `history`, whose page holds the trials `holding`.

        None if the session is complete or the rater has answered every trial.
        """
        position = len(history) + len(holding)
        if position >= self._study.session:
            return None
        seen = {vote.trial for vote in history} | {trial.id for trial in holding}
        trial = self._gold(rater, seen) if self._is_gold(rater, position) else None
        if not trial and self._repeat_is_due(rater, position, history, holding):
            trial = self._repeat(history, seen)
        return trial or self._ordinary(history, holding)

    def _is_gold(self, rater: str, position: int) -> bool:
        """Whether the position is the gold trial of its block; the place in the block is pseudorandom."""
        if not self._study.gold_every:
            return False
        block, place = divmod(position, self._study.gold_every)
        return place == self._tickets.random("block", rater, block).randrange(self._study.gold_every)

    def _repeat_is_due(self, rater: str, position: int, history: list[Vote], holding: list[Trial]) -> bool:
        everything: list[Vote | Trial] = [*history, *holding]
        repeated = sum(known.kind == TrialKind.REPEAT for known in everything)
        return repeated < int(self._study.repeats * position + self._tickets.random("repeats", rater).random())

    def _gold(self, rater: str, seen: set[str]) -> Trial | None:
        golds = [trial for trial in self._golds if trial.id not in seen]
        return self._tickets.random("gold", rater, len(golds)).choice(golds) if golds else None

    def _repeat(self, history: list[Vote], seen: set[str]) -> Trial | None:
        """The repeat of the oldest answer that has not been repeated."""
        for vote in history[:-REPEAT_GAP]:
            trial = self._study.trials.get(vote.trial)
            if trial and trial.kind == TrialKind.ORDINARY:
                repeat = self._study.trial_id(TrialKind.REPEAT, trial.item, trial.methods)
                if repeat not in seen:
                    return self._study.trials[repeat]
        return None

    def _ordinary(self, history: list[Vote], holding: list[Trial]) -> Trial | None:
        known = [trial for vote in history if (trial := self._study.trials.get(vote.trial))] + holding
        places = [
            (self._set_index[trial.methods], self._item_index[trial.item.id])
            for trial in known
            if trial.kind == TrialKind.ORDINARY
        ]
        with self._lock:
            if time.monotonic() - self._refreshed > REFRESH:
                self._refresh()
            return self._choose(places)

    def _choose(self, seen: list[tuple[int, int]]) -> Trial | None:
        counts = self._counts  # [units, items]
        per_item = counts.sum(axis=0)
        lacking = per_item < self._study.answers
        open_items = lacking if lacking.any() else np.ones_like(lacking)  # a complete study continues with all items
        seen_items = np.zeros(counts.shape[1])  # number of times this rater has seen each item
        for _, item in seen:
            seen_items[item] += 1
        deficit = self._share * (counts.sum() + 1) - counts.sum(axis=1) + self._random.random(len(counts)) * 1e-6
        for unit in np.argsort(-deficit):
            free = open_items.copy()
            free[[item for u, item in seen if u == unit]] = False
            items = np.flatnonzero(free)
            if len(items):
                keys = (self._random.random(len(items)), per_item[items], seen_items[items], counts[unit, items])
                item = items[np.lexsort(keys)[0]]  # fewest answers to this set of methods first; ties are broken at random
                counts[unit, item] += 1
                return self._study.trials[self._ids[unit][item]]
        return None

    def _refresh(self) -> None:
        stored = self._store.counts(self._study.name)
        self._counts = np.array([[stored[trial] for trial in row] for row in self._ids])  # [units, items]
        uncertain = self._uncertainty()
        self._share = EVEN_SHARE / len(uncertain) + (1 - EVEN_SHARE) * uncertain / uncertain.sum()
        self._refreshed = time.monotonic()

    def _uncertainty(self) -> np.ndarray:
        """[method sets]: the probability that the order of a pair is wrong; constant for other protocols."""
        units = self._study.method_sets
        if self._study.protocol != Protocol.PAIRWISE:
            return np.ones(len(units))
        names = {name: i for i, name in enumerate(self._study.methods)}
        wins, ties = np.zeros((2, len(names), len(names)))
        for shown, choice, count in self._store.outcomes(self._study.name):
            left, right = (names[name] for name in shown)
            if choice in (Choice.LEFT, Choice.RIGHT):
                wins[(left, right) if choice == Choice.LEFT else (right, left)] += count
            else:
                ties[[left, right], [right, left]] += count
        fitted = fit(wins, ties)
        errors = information_standard_errors(wins, ties, fitted)
        a, b = np.array([[names[x], names[y]] for x, y in units]).T
        return special.ndtr(-np.abs(fitted.strength[a] - fitted.strength[b]) / errors[a, b]) + 1e-3
