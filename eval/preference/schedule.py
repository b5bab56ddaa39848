"""What to ask next.

Every set of methods (a pair, in pairwise) has a share of the answers: half of all answers are spread evenly, the
other half by uncertainty, the chance that the order of two methods is still taken the wrong way round. The set
that lags furthest behind its share is asked next, of the item that has the fewest answers to it. Gold trials and
repeats are strewn in at places that follow from the seed and the rater.
"""

import random
import threading
import time

import numpy as np
from scipy import special

from eval.preference.bradley_terry import fit, standard_errors
from eval.preference.store import Answer, Store
from eval.preference.study import Study, Trial

EVEN_SHARE = 0.5  # of the answers, whatever the uncertainty: no pair is forgotten
REFRESH = 60.0  # s, between looks at the store: what other processes stored, what was asked and never answered
REPEAT_GAP = 5  # answers between a trial and its repeat


class Schedule:
    """Counts of a study in memory; safe to use from many threads.

    A trial that was handed out counts as answered until the next look at the store, so that raters who come at
    once are asked different things.
    """

    def __init__(self, study: Study, store: Store):
        self._study, self._store = study, store
        self._lock = threading.Lock()
        self._random = np.random.default_rng(study.seed)
        self._unit = {unit: i for i, unit in enumerate(study.units)}
        self._item = {item.id: i for i, item in enumerate(study.items)}
        self._ids = [[study.trial_id("ordinary", item, unit) for item in study.items] for unit in study.units]
        self._golds = [trial for trial in study.trials.values() if trial.kind == "gold"]
        self._refreshed = -np.inf

    def next(self, rater: str, history: list[Answer], holding: list[Trial]) -> Trial | None:
        """What to ask a rater who has given the answers `history` and whose page holds the trials `holding`.

        None where nothing is left: the session is over, or the rater has answered everything.
        """
        position = len(history) + len(holding)
        if position >= self._study.session:
            return None
        seen = {answer.trial for answer in history} | {trial.id for trial in holding}
        trial = self._gold(rater, seen) if self._is_gold(rater, position) else None
        if not trial and self._repeat_is_due(rater, position, history, holding):
            trial = self._repeat(history, seen)
        return trial or self._ordinary(history, holding)

    def _is_gold(self, rater: str, position: int) -> bool:
        """One trial of each block is, at a place that nobody can guess."""
        if not self._study.gold_every:
            return False
        block, place = divmod(position, self._study.gold_every)
        return place == random.Random(f"{self._study.seed}/{rater}/{block}").randrange(self._study.gold_every)

    def _repeat_is_due(self, rater: str, position: int, history: list[Answer], holding: list[Trial]) -> bool:
        everything: list[Answer | Trial] = [*history, *holding]
        asked = sum(known.kind == "repeat" for known in everything)
        return asked < int(self._study.repeats * position + random.Random(f"{self._study.seed}/{rater}").random())

    def _gold(self, rater: str, seen: set[str]) -> Trial | None:
        golds = [trial for trial in self._golds if trial.id not in seen]
        return random.Random(f"{self._study.seed}/{rater}/{len(golds)}").choice(golds) if golds else None

    def _repeat(self, history: list[Answer], seen: set[str]) -> Trial | None:
        """The repeat of the oldest answer that has none yet."""
        for answer in history[:-REPEAT_GAP]:
            trial = self._study.trials.get(answer.trial)
            if trial and trial.kind == "ordinary":
                repeat = self._study.trial_id("repeat", trial.item, trial.methods)
                if repeat not in seen:
                    return self._study.trials[repeat]
        return None

    def _ordinary(self, history: list[Answer], holding: list[Trial]) -> Trial | None:
        known = [trial for answer in history if (trial := self._study.trials.get(answer.trial))] + holding
        places = [(self._unit[trial.methods], self._item[trial.item.id]) for trial in known if trial.kind == "ordinary"]
        with self._lock:
            if time.monotonic() - self._refreshed > REFRESH:
                self._refresh()
            return self._choose(places)

    def _choose(self, seen: list[tuple[int, int]]) -> Trial | None:
        counts = self._counts  # [units, items]
        per_item = counts.sum(axis=0)
        lacking = per_item < self._study.answers
        open_items = lacking if lacking.any() else np.ones_like(lacking)  # more answers than needed are welcome
        met = np.zeros(counts.shape[1])  # how often this rater has seen each item
        for _, item in seen:
            met[item] += 1
        lag = self._share * (counts.sum() + 1) - counts.sum(axis=1) + self._random.random(len(counts)) * 1e-6
        for unit in np.argsort(-lag):
            free = open_items.copy()
            free[[item for u, item in seen if u == unit]] = False
            items = np.flatnonzero(free)
            if len(items):
                keys = (self._random.random(len(items)), per_item[items], met[items], counts[unit, items])
                item = items[np.lexsort(keys)[0]]  # fewest answers to this unit first, chance last
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
        """[units]: the chance that the order of a pair is the other way round; equal for other protocols."""
        units = self._study.units
        if self._study.protocol != "pairwise":
            return np.ones(len(units))
        names = {name: i for i, name in enumerate(self._study.methods)}
        wins, ties = np.zeros((2, len(names), len(names)))
        for shown, choice, count in self._store.outcomes(self._study.name):
            left, right = (names[name] for name in shown)
            if choice in ("left", "right"):
                wins[(left, right) if choice == "left" else (right, left)] += count
            else:
                ties[[left, right], [right, left]] += count
        fitted = fit(wins, ties)
        errors = standard_errors(wins, ties, fitted)
        a, b = np.array([[names[x], names[y]] for x, y in units]).T
        return special.ndtr(-np.abs(fitted.strength[a] - fitted.strength[b]) / errors[a, b]) + 1e-3
