"""The registry of methods: how a low-quality face becomes a face of full size.

METHODS maps a name to a loader(argument, device) -> Method; "gpen:PATH" calls METHODS["gpen"]("PATH", ...).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import gpen
from eval.frozen import Sample
from gpen.checkpoints import find
from gpen.errors import GPENError

Restore = Callable[[list[Sample], int], list[np.ndarray]]


@dataclass(frozen=True)
class Method:
    """restore(samples, size) -> uint8 RGB [size, size, 3] each; a restoration looks at Sample.lq alone."""

    restore: Restore
    weights: Path | None = None  # the file it stands on, for the record of a run


def resize(image: np.ndarray, size: int, how: int) -> np.ndarray:
    """uint8 RGB [h, w, 3] -> [size, size, 3], with one of OpenCV's interpolations."""
    return cv2.resize(image, (size, size), interpolation=how)


def _interpolation(how: int) -> Callable[[str, str], Method]:
    def load(argument: str, device: str) -> Method:
        return Method(lambda samples, size: [resize(sample.lq, size, how) for sample in samples])

    return load


def _gpen(argument: str, device: str) -> Method:
    from gpen.restore import Restorer

    path = find(argument or None)
    restorer = Restorer(gpen.load(path, device=device))

    def restore(samples: list[Sample], size: int) -> list[np.ndarray]:
        faces = restorer.faces([resize(sample.lq, size, cv2.INTER_LINEAR) for sample in samples])
        # a network of another size than the truth's: its result is brought to the truth, as the field does
        return [face if len(face) == size else
                resize(face, size, cv2.INTER_AREA if len(face) > size else cv2.INTER_CUBIC) for face in faces]

    return Method(restore, path)


def _ground_truth(argument: str, device: str) -> Method:
    return Method(lambda samples, size: [sample.truth for sample in samples])


METHODS: dict[str, Callable[[str, str], Method]] = {
    "input": _interpolation(cv2.INTER_LINEAR),  # what a network is given: the same picture as bilinear
    "nearest": _interpolation(cv2.INTER_NEAREST),
    "bilinear": _interpolation(cv2.INTER_LINEAR),
    "bicubic": _interpolation(cv2.INTER_CUBIC),
    "lanczos": _interpolation(cv2.INTER_LANCZOS4),
    "gpen": _gpen,
    "ground-truth": _ground_truth,
}
WITH_ARGUMENT = ("gpen",)


def load_method(name: str, device: str = "cpu") -> Method:
    """The method called `name`, "bilinear" or "gpen:PATH_OR_MODEL". Raises GPENError for an unknown one."""
    kind, _, argument = name.partition(":")
    if kind not in METHODS or (argument and kind not in WITH_ARGUMENT):
        choice = ", ".join(METHODS) + "".join(f", {kind}:PATH" for kind in WITH_ARGUMENT)
        raise GPENError(f"there is no method {name!r}; choose from {choice}")
    return METHODS[kind](argument, device)
