"""Inputs of the tasks colorize and inpaint, made from ground truth faces, for training and evaluation.

An entry of MAKERS takes a face, uint8 RGB [h, h, 3], the size of the network input in px, and a random generator, and returns the
input, uint8 RGB [side, side, 3]. The target is the face. There is no degradation: the result of these tasks keeps the luma of the
input, or its pixels outside the mask (gpen.restoration.tasks).
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
    """Grey face."""
    return grey(resize_to(image, side))


def inpaint(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Face with white brush strokes."""
    return apply_mask(resize_to(image, side), strokes(side, rng))


def strokes(side: int, rng: np.random.Generator) -> np.ndarray:
    """Random free-form mask, bool [side, side]: one to four strokes of a round brush.

    A stroke is a random walk of 4 to 18 segments. The length of a segment is sampled from the normal distribution with mean and
    standard deviation 0.1 side; the width of the stroke is uniform between 0.015 and 0.1 side.
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
