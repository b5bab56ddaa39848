"""Fingerprints of images on which a setting was chosen, stored in a weight file so that an evaluation recognises the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gpen.images import ReadableFile, read_bytes

CHOSEN_ON = "chosen_on"  # key in the metadata of a weight file
DIGITS = 16  # hexadecimal, of the sha256 of a file


def fingerprint(file: ReadableFile) -> str:
    """The first digits of the sha256 of a file."""
    return hashlib.sha256(read_bytes(file)).hexdigest()[:DIGITS]


def join_fingerprints(files: Iterable[ReadableFile], earlier: str = "") -> str:
    """The metadata entry: fingerprints of the files and those of an earlier entry, sorted, separated by spaces."""
    return " ".join(sorted({fingerprint(path) for path in files} | split_fingerprints(earlier)))


def split_fingerprints(text: str) -> set[str]:
    """The fingerprints of a metadata entry."""
    return set(text.split())
