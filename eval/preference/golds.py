"""Gold and training trials: a ground truth beside a copy with visible damage.

The kinds of damage alternate, so that a rater cannot pass by one habit, such as choosing the sharper image. Their number per
session is a matter of power: analysis/quality.py gives the probability that a rater who answers at random passes.
"""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eval.preference.analysis.quality import MAX_PASSING, golds_needed, pass_probability, random_correct
from eval.preference.storage.images import store_image, store_input
from eval.preference.study import BETTER, WORSE, Study
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.images import ReadableFile, read_image

MIN_EVERY = 3  # at most a third of the trials are gold trials, also in a short session
DAMAGE_SIZE = 256  # px; damage looks the same in larger images
DAMAGES: dict[str, Callable[[int], Degradation]] = {  # of an image of this size, strong enough for every attentive rater
    "blur": lambda side: Degradation(blur_sigma=side / 24, jpeg_quality=25),
    "JPEG compression": lambda side: Degradation(scale=max(side / DAMAGE_SIZE, 1), jpeg_quality=2),
    "low resolution": lambda side: Degradation(scale=side / 16),
    "noise": lambda side: Degradation(scale=max(side / DAMAGE_SIZE, 1), noise_sigma=60, seed=0),
}


def damaged(image: np.ndarray, damage: str) -> np.ndarray:
    """A copy of an image, uint8 RGB [h, w, 3], with a damage of DAMAGES."""
    return DAMAGES[damage](max(image.shape[:2])).resized(image)


def default_gold_every(session: int) -> int:
    """The number of trials per gold trial with which a session has enough gold trials, if it is long enough."""
    return max(MIN_EVERY, session // golds_needed())


def build_golds(
    truths: list[
        tuple[str, ReadableFile, ReadableFile | None]
    ],  # (item, ground truth, input) of the items that have a ground truth
    out: Path,
    golds: int,
    training: int,
    seed: int,
) -> tuple[list[dict], list[dict]]:
    """Write gold trials and training trials of different faces and kinds of damage, as far as there are enough.

    Raises GPENError if trials are needed and no item has a ground truth.
    """
    if not golds + training:
        return [], []
    if not truths:
        raise GPENError(
            "Gold and training trials need ground truths, and no item has one; give them with --results and --truth, "
            "or build the study without them with --gold-every 0 --training 0."
        )
    shuffled = random.Random(seed).sample(truths, len(truths))
    n, kinds = len(shuffled), list(DAMAGES)
    count = min(golds + training, n * len(kinds))
    chosen = [(shuffled[i % n], kinds[(i % n + i // n) % len(kinds)]) for i in range(count)]  # all different
    trials = [_trial(*truth, damage, out) for truth, damage in chosen]
    return trials[training:], trials[:training]


def _trial(item: str, truth: ReadableFile, given: ReadableFile | None, damage: str, out: Path) -> dict:
    better = read_image(truth)
    return {
        "id": f"{item}, {damage}",
        "input": store_input(given, better, out),
        "results": {BETTER: store_image(better, out), WORSE: store_image(damaged(better, damage), out)},
        "width": better.shape[1],
        "height": better.shape[0],
        "damage": damage,
    }


def golds_per_session(study: Study) -> int:
    """Gold trials that a rater answers in a complete session."""
    return min(len(study.golds), study.session // study.gold_every) if study.gold_every else 0


def describe_golds(study: Study) -> str:
    """The power of the gold trials of a study, as text for its owner."""
    golds, correct = golds_per_session(study), random_correct(study.protocol)
    passes = pass_probability(golds, correct=correct)
    text = f"{golds} gold trials per rater: a rater who answers at random passes with a probability of {passes:.1%}"
    if passes <= MAX_PASSING:
        return text + "."
    return f"{text}; use {golds_needed(correct=correct)} or more, with a longer --session or a smaller --gold-every."
