"""What is shown: a study is a folder with a manifest, study.json, and its pictures, images/HASH.png.

    protocol   pairwise: two results side by side, or "tie", or "both bad"
               rating: one picture, 1 (bad) to 5 (excellent), the reference hidden among them (ACR-HR, ITU-T P.910)
               ranking: all results at once, best first
    item       an input with one result of each method, its degradation and its level, if known
    trial      what a rater is asked once: an item and the methods shown of it
    gold       a trial with a known better picture; it tells who looks from who clicks
    repeat     a trial that the rater has answered before, with sides swapped

A page that holds a trial knows neither methods nor kinds: pictures are named by their content, trials by a
keyed hash, and sides follow from the study's seed, the rater and the trial, so that they can be asked for again.
"""

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gpen.errors import GPENError

MANIFEST = "study.json"
FORMAT = 1
PROTOCOLS = ("pairwise", "rating", "ranking")
CHOICES = ("left", "right", "tie", "both_bad")
RATINGS = range(1, 6)
BETTER, WORSE = "gold:better", "gold:worse"  # the methods of a gold trial
SEVERITIES = ("mild", "medium", "severe")  # levels of random degradations, in thirds
GOLD_RATINGS = (1, 2)  # right answers to the worse picture of a gold trial


@dataclass(frozen=True)
class Item:
    """Pictures are paths below the study's folder, all of width x height px."""

    id: str
    input: str | None
    results: dict[str, str]  # by method; of a gold trial by BETTER and WORSE
    width: int
    height: int
    level: str | None = None  # of the degradation's strength: "fsr8", "bfr mild"
    degradation: dict | None = None


@dataclass(frozen=True)
class Trial:
    """An item and the methods shown of it, in no order yet."""

    id: str
    kind: str  # "ordinary" | "repeat" | "gold"
    item: Item
    methods: tuple[str, ...]
    original: str  # the id of the trial that a repeat repeats; its own for others


@dataclass(frozen=True)
class Study:
    """A study as its manifest has it; open it with Study.open."""

    folder: Path
    name: str  # what answers are stored under; it changes with the pictures
    title: str
    protocol: str
    instructions: str
    consent: str
    methods: tuple[str, ...]
    reference: str | None  # the method that is the hidden reference of a rating
    seed: int
    answers: int  # how many each item needs, over all its trials
    repeats: float  # share of a rater's trials that are repeats
    gold_every: int  # a gold trial in every so many; 0: none
    session: int  # trials a rater is asked for
    pause: int  # a pause is offered after every so many
    items: tuple[Item, ...]
    golds: tuple[Item, ...]
    training: tuple[Item, ...]

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Raises GPENError, in one sentence, for a folder that is no study or lacks pictures."""
        folder = Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except OSError as error:
            raise GPENError(f"{folder} holds no study; make one with python -m eval study build") from error
        except ValueError as error:
            raise GPENError(f"{folder / MANIFEST} is damaged; build the study again") from error
        study = _from_manifest(folder, manifest)
        for path in sorted(study.pictures):
            if not (folder / path).is_file():
                raise GPENError(f"the study {folder} lacks {path}; build it again")
        return study

    @cached_property
    def consent_version(self) -> str:
        """Follows from the text: whoever agreed to another text is asked again."""
        return hashlib.sha256(self.consent.encode()).hexdigest()[:8]

    @cached_property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """The sets of methods that a trial may show: every pair, every method, or all at once."""
        size = {"pairwise": 2, "rating": 1, "ranking": len(self.methods)}[self.protocol]
        return tuple(itertools.combinations(self.methods, size))

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """Every trial by id: ordinary ones, their repeats, gold ones."""
        trials = {}
        for item, unit in itertools.product(self.items, self.units):
            original = self.trial_id("ordinary", item, unit)
            trials[original] = Trial(original, "ordinary", item, unit, original)
            repeat = self.trial_id("repeat", item, unit)
            trials[repeat] = Trial(repeat, "repeat", item, unit, original)
        for item in self.golds:
            unit = (WORSE,) if self.protocol == "rating" else (BETTER, WORSE)
            gold = self.trial_id("gold", item, unit)
            trials[gold] = Trial(gold, "gold", item, unit, gold)
        return trials

    def trial_id(self, kind: str, item: Item, methods: tuple[str, ...]) -> str:
        """16 hexadecimal digits that say nothing without the study's seed."""
        key = json.dumps([self.seed, self.name, kind, item.id, methods])
        return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()

    def trial(self, trial_id: str) -> Trial:
        """Raises GPENError for an id of another study."""
        if trial_id not in self.trials:
            raise GPENError("this trial belongs to no study on this server; reload the page")
        return self.trials[trial_id]

    def order(self, trial: Trial, rater: str) -> tuple[str, ...]:
        """The methods as this rater sees them, from left to right; a repeat turns the order round."""
        methods = list(trial.methods)
        random.Random(f"{self.seed}/{rater}/{trial.original}").shuffle(methods)
        return tuple(reversed(methods) if trial.kind == "repeat" else methods)

    def public(self, trial: Trial, rater: str) -> dict:
        """The trial as it may be sent to a page."""
        return {"trial": trial.id} | self._shown(trial.item, self.order(trial, rater))

    def training_trials(self) -> list[dict]:
        """Public trials with their answers and a sentence, for the round before the first trial."""
        rounds = []
        for number, item in enumerate(self.training):
            if self.protocol == "rating":
                answer: dict = {"scores": list(GOLD_RATINGS), "why": "This picture is blurred: a low score is right."}
                order: tuple[str, ...] = (WORSE,)
            else:
                order = (BETTER, WORSE) if number % 2 else (WORSE, BETTER)
                answer = {"better": order.index(BETTER), "why": "The other picture is blurred: this one is better."}
            rounds.append({"trial": f"training-{number}"} | self._shown(item, order) | answer)
        return rounds

    def _shown(self, item: Item, order: tuple[str, ...]) -> dict:
        return {
            "protocol": self.protocol,
            "images": [item.results[method] for method in order],
            "input": item.input,
            "width": item.width,
            "height": item.height,
        }

    @cached_property
    def pictures(self) -> frozenset[str]:
        """Every picture of the manifest."""
        items = (*self.items, *self.golds, *self.training)
        return frozenset(path for item in items for path in (item.input, *item.results.values()) if path)

    def image(self, relative: str) -> Path:
        """The file of a picture. Raises GPENError for a path that the manifest does not name."""
        if relative not in self.pictures:
            raise GPENError("the study has no such picture")
        return (self.folder / relative).resolve()

    @property
    def levels(self) -> dict[str, str]:
        """The level of each item that has one."""
        return {item.id: item.level for item in self.items if item.level}


def _from_manifest(folder: Path, manifest: dict) -> Study:
    try:
        if manifest["format"] != FORMAT:
            raise GPENError(f"the study {folder} has format {manifest['format']}, not {FORMAT}; build it again")
        if manifest["protocol"] not in PROTOCOLS:
            raise GPENError(f"the study {folder} has no protocol of {', '.join(PROTOCOLS)}; build it again")
        groups = {group: tuple(Item(**item) for item in manifest[group]) for group in ("items", "golds", "training")}
        values = {key: value for key, value in manifest.items() if key not in ("format", *groups)}
        study = Study(folder, **values | groups | {"methods": tuple(manifest["methods"])})
        if any(item.results.keys() != set(study.methods) for item in study.items):
            raise GPENError(f"the study {folder} has an item without a result of every method; build it again")
        return study
    except (KeyError, TypeError, AttributeError) as error:
        raise GPENError(f"{folder / MANIFEST} is damaged; build the study again") from error
