"""A study: a folder with a manifest, study.json, and its images, images/HASH.png.

    protocol   pairwise: two results side by side, or "tie", or "both bad"
               rating: one image, 1 (bad) to 5 (excellent), with a hidden reference (ACR-HR, ITU-T P.910)
               ranking: all results at once, best first
    item       an input with one result per method, and the degradation and its level if known
    trial      one question to a rater: an item and the methods displayed
    gold       a trial with a known better image, which detects inattentive raters
    repeat     a trial that the rater has answered before, with the sides exchanged

The page receives neither the methods nor the kind of a trial, but a ticket and handles of the images (tickets.py). The manifest
may be public: nothing that raters must not know is computed from it alone.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from gpen.errors import GPENError

MANIFEST = "study.json"
FORMAT = 1


class Protocol(StrEnum):
    """What a rater is asked to do."""

    PAIRWISE = "pairwise"
    RATING = "rating"
    RANKING = "ranking"


class Choice(StrEnum):
    """The answers to a pair."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both_bad"


class TrialKind(StrEnum):
    """The purpose of a trial."""

    ORDINARY = "ordinary"
    REPEAT = "repeat"
    GOLD = "gold"


PROTOCOLS = tuple(Protocol)
CHOICES = tuple(Choice)
RATINGS = range(1, 6)
BETTER, WORSE = "gold:better", "gold:worse"  # the methods of a gold trial
SEVERITIES = ("mild", "medium", "severe")  # levels of random degradations, one per third of the items
GOLD_RATINGS = (1, 2)  # correct ratings of the worse image of a gold trial


@dataclass(frozen=True)
class Item:
    """An item of a study. Images are paths relative to the folder of the study, all of width x height px."""

    id: str
    input: str | None
    results: dict[str, str]  # by method; in a gold trial by BETTER and WORSE
    width: int
    height: int
    level: str | None = None  # strength of the degradation: "fsr8", "bfr mild"
    degradation: dict | None = None
    damage: str | None = None  # of the worse image of a gold trial: "blur", "noise"


@dataclass(frozen=True)
class Trial:
    """An item and the methods displayed, without an order."""

    id: str
    kind: TrialKind
    item: Item
    methods: tuple[str, ...]
    original: str  # id of the trial that is repeated; its own id for other kinds


@dataclass(frozen=True)
class Study:
    """A study as described by its manifest; created with Study.open."""

    folder: Path
    name: str  # key of the votes in the store; changes with the images
    title: str
    protocol: Protocol
    instructions: str
    consent: str
    methods: tuple[str, ...]
    reference: str | None  # method that is the hidden reference of a rating
    seed: int  # of the gold trials when the study was built
    answers: int  # votes that each item needs, over all its trials
    repeats: float  # fraction of a rater's trials that are repeats
    gold_every: int  # one gold trial per this number of trials; 0: none
    session: int  # trials per rater
    pause: int  # trials between two suggested pauses
    items: tuple[Item, ...]
    golds: tuple[Item, ...]
    training: tuple[Item, ...]

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Read a study. Raises GPENError for a folder without a valid manifest and for missing images."""
        folder = Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except OSError as error:
            raise GPENError(f"{folder} is not a study; create one with python -m eval study build.") from error
        except ValueError as error:
            raise GPENError(f"{folder / MANIFEST} is damaged; build the study again.") from error
        study = _from_manifest(folder, manifest)
        for path in sorted(study.image_paths):
            if not (folder / path).is_file():
                raise GPENError(f"The image {path} of the study {folder} is missing; build the study again.")
        return study

    @cached_property
    def consent_version(self) -> str:
        """Hash of the consent text: a rater who agreed to another text has to agree again."""
        return hashlib.sha256(self.consent.encode()).hexdigest()[:8]

    @cached_property
    def method_sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets of methods that a trial can display: every pair, every method, or all methods."""
        size = {Protocol.PAIRWISE: 2, Protocol.RATING: 1, Protocol.RANKING: len(self.methods)}[self.protocol]
        return tuple(itertools.combinations(self.methods, size))

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """All trials by id: ordinary trials, their repeats, and gold trials."""
        trials = {}
        for item, methods in itertools.product(self.items, self.method_sets):
            original = self.trial_id(TrialKind.ORDINARY, item, methods)
            trials[original] = Trial(original, TrialKind.ORDINARY, item, methods, original)
            repeat = self.trial_id(TrialKind.REPEAT, item, methods)
            trials[repeat] = Trial(repeat, TrialKind.REPEAT, item, methods, original)
        for item in self.golds:
            methods = (WORSE,) if self.protocol == Protocol.RATING else (BETTER, WORSE)
            gold = self.trial_id(TrialKind.GOLD, item, methods)
            trials[gold] = Trial(gold, TrialKind.GOLD, item, methods, gold)
        return trials

    def trial_id(self, kind: TrialKind, item: Item, methods: tuple[str, ...]) -> str:
        """The id of a trial in the store and in exports, 16 hexadecimal digits; the page never receives it."""
        key = json.dumps([self.seed, self.name, kind, item.id, methods])
        return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()

    def trial(self, trial_id: str) -> Trial:
        """Look up a trial. Raises GPENError for the id of another study."""
        if trial_id not in self.trials:
            raise GPENError("The trial does not belong to a study on this server; reload the page.")
        return self.trials[trial_id]

    @cached_property
    def image_paths(self) -> frozenset[str]:
        """The paths of all images in the manifest."""
        items = (*self.items, *self.golds, *self.training)
        return frozenset(path for item in items for path in (item.input, *item.results.values()) if path)

    def image(self, relative: str) -> Path:
        """The file of an image in the manifest."""
        return (self.folder / relative).resolve()

    @property
    def shows_input(self) -> bool:
        """Whether raters may see the inputs: not if an input is the same file as a result, which it would identify.

        The answer is the same for all trials, so that it does not distinguish gold trials either.
        """
        return not any(item.input in item.results.values() for item in self.items)

    @property
    def link(self) -> str:
        """The path and query of the link for raters, below the address of the page that serves the study."""
        return f"/rate?study={quote(self.name, safe='')}"

    @property
    def levels(self) -> dict[str, str]:
        """The level of each item that has one."""
        return {item.id: item.level for item in self.items if item.level}

    @property
    def degradations(self) -> dict[str, dict]:
        """The parameters of the degradation of each item where they are known, as Degradation.to_dict."""
        return {item.id: item.degradation for item in self.items if item.degradation}


def _from_manifest(folder: Path, manifest: dict) -> Study:
    try:
        if manifest["format"] != FORMAT:
            raise GPENError(f"The study {folder} has format {manifest['format']}, not {FORMAT}; build it again.")
        if manifest["protocol"] not in PROTOCOLS:
            raise GPENError(
                f"The study {folder} has the protocol {manifest['protocol']!r}, not {', '.join(PROTOCOLS)}; build it again."
            )
        groups = {group: tuple(Item(**item) for item in manifest[group]) for group in ("items", "golds", "training")}
        values = {key: value for key, value in manifest.items() if key not in ("format", *groups)}
        study = Study(
            folder, **values | groups | {"methods": tuple(manifest["methods"]), "protocol": Protocol(manifest["protocol"])}
        )
        if any(item.results.keys() != set(study.methods) for item in study.items):
            raise GPENError(f"The study {folder} has an item without a result for every method; build it again.")
        return study
    except (KeyError, TypeError, AttributeError) as error:
        raise GPENError(f"{folder / MANIFEST} is damaged; build the study again.") from error
