"""Training pairs of the tasks other than restoration: what the network is given, made of the face that it should give back.

A maker takes a face, uint8 RGB [h, h, 3], the side of the network's input, and a generator of random numbers, and returns the
input, uint8 RGB [side, side, 3]. The target is the face. No degradation is drawn: the input's luma, or what no mask covers, is
kept in the answer as it was (gpen.restoration.tasks).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from gpen.images import resize_to
from gpen.restoration.tasks import apply_mask, grey

Maker = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def colorize(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The face without its colours."""
    return grey(resize_to(image, side))


def inpaint(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The face under white brush strokes."""
    return apply_mask(resize_to(image, side), strokes(side, rng))


def strokes(side: int, rng: np.random.Generator) -> np.ndarray:
    """A free-form mask, bool [side, side]: one to four strokes of a round brush that wanders and turns, back and forth.

    A stroke is 4 to 18 segments of a tenth of the side, give or take as much, and between 1.5% and 10% of it wide.
    """
    mask = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 5)):
        point, angle = rng.uniform(0, side, 2), rng.uniform(0, 2 * math.pi)
        width = max(1, round(side * rng.uniform(0.015, 0.1)))
        for _ in range(rng.integers(4, 19)):
            angle += math.pi * rng.choice([0, 1]) + rng.normal(0, 0.7)
            step = abs(rng.normal(0.1, 0.1)) * side * np.array([math.cos(angle), math.sin(angle)])
            end = (point + step).clip(0, side - 1)
            cv2.line(mask, point.astype(int).tolist(), end.astype(int).tolist(), 1, width)  # with round ends
            point = end
    return mask.astype(bool)


MAKERS: dict[str, Maker] = {"colorize": colorize, "inpaint": inpaint}
