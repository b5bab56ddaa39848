"""Images of a run that one of its methods or metrics knows: values measured on them are no test results.

Weight files store fingerprints of such images. `trained_on`: those of the training faces. `chosen_on`: those on which something
was chosen, in training the validation faces, in python -m gpen blend --chosen-on those for alpha, in python -m eval fit-niqe
those of the pristine model.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.data.faces import Faces
from gpen.models.checkpoints import read_metadata
from gpen.training.data.fingerprints import CHOSEN_ON, TRAINED_ON, fingerprint, split_fingerprints


class KnownImages(NamedTuple):
    """Numbers of images of the run by method or metric, without zeros."""

    trained: dict[str, int]
    chosen: dict[str, int]


def count_known_images(weights: Mapping[str, Iterable[Path]], faces: Faces) -> KnownImages:
    """How many images of the run were used for training a method, or for choosing a method or metric, by names in `weights`."""
    stored = {name: [_metadata(path) for path in paths] for name, paths in weights.items()}
    if not any(entries for found in stored.values() for entries in found):
        return KnownImages({}, {})
    own = {fingerprint(path) for path in faces.files.values()}
    return KnownImages(_count(stored, TRAINED_ON, own), _count(stored, CHOSEN_ON, own))


def known_sentences(known: KnownImages, n: int) -> list[str]:
    """A sentence for each method or metric that knows some of n images."""
    sentences = []
    for name in dict.fromkeys([*known.trained, *known.chosen]):
        counts = {"trained": known.trained.get(name), "chosen": known.chosen.get(name)}
        parts = " and ".join(f"{verb} on {count:,}" for verb, count in counts.items() if count)
        sentences.append(f"{name} was {parts} of these {n:,} images: its values are no test results; measure on other images.")
    return sentences


def _count(stored: Mapping[str, list[dict[str, str]]], key: str, own: set[str]) -> dict[str, int]:
    counts = {name: len(own & _fingerprints(found, key)) for name, found in stored.items()}
    return {name: count for name, count in counts.items() if count}


def _fingerprints(entries: Iterable[Mapping[str, str]], key: str) -> set[str]:
    return set().union(*(split_fingerprints(entry.get(key, "")) for entry in entries))


def _metadata(path: Path) -> dict[str, str]:
    """The fingerprints in a weight file by their key."""
    found: dict[str, str] = {}
    if path.suffix == ".safetensors":
        found = read_metadata(path)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = {CHOSEN_ON: str(archive[CHOSEN_ON])} if CHOSEN_ON in archive else {}
    return {key: found[key] for key in (TRAINED_ON, CHOSEN_ON) if key in found}
