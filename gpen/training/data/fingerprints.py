"""Fingerprints of the images that a weight file has seen, stored in it so that an evaluation recognises them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping

from gpen.images import ReadableFile, read_bytes
from gpen.models import checkpoints

TRAINED_ON, CHOSEN_ON = "trained_on", "chosen_on"  # keys in the metadata of a weight file
DIGITS = 16  # hexadecimal, of the sha256 of a file

Notes = dict[str, str]  # the entries of TRAINED_ON and CHOSEN_ON


def fingerprint(file: ReadableFile) -> str:
    """The first digits of the sha256 of a file."""
    return fingerprint_of(read_bytes(file))


def fingerprint_of(content: bytes) -> str:
    """The fingerprint of a file with this content."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def join_fingerprints(files: Iterable[ReadableFile], earlier: str = "") -> str:
    """The metadata entry: fingerprints of the files and those of an earlier entry, sorted, separated by spaces."""
    return " ".join(sorted({fingerprint(path) for path in files} | split_fingerprints(earlier)))


def split_fingerprints(text: str) -> set[str]:
    """The fingerprints of a metadata entry."""
    return set(text.split())


def join_notes(*parts: Mapping[str, str]) -> Notes:
    """Both entries with the fingerprints of all parts, which may hold other entries; empty ones are left out."""
    joined = {
        key: set[str]().union(*(split_fingerprints(part.get(key, "")) for part in parts)) for key in (TRAINED_ON, CHOSEN_ON)
    }
    return {key: " ".join(sorted(found)) for key, found in joined.items() if found}


def inherited_notes(*models: str | os.PathLike | None) -> Notes:
    """Both entries of the files, or names, of the models from which a run starts; None for none."""
    return join_notes(*(checkpoints.read_metadata(checkpoints.find(model)) for model in models if model))
