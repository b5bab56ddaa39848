"""Network inputs for training colorization and inpainting, made from the target face.

A maker takes a face, uint8 RGB [h, h, 3], the side of the network's input in px, and a random number generator, and returns the
input, uint8 RGB [side, side, 3]. The input is not degraded: its luma, or its pixels outside of the mask, are kept in the output
(gpen.restoration.tasks).
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
    """The face in grey."""
    return grey(resize_to(image, side))


def inpaint(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The face under white brush strokes."""
    return apply_mask(resize_to(image, side), strokes(side, rng))


def strokes(side: int, rng: np.random.Generator) -> np.ndarray:
    """A free-form mask, bool [side, side]: one to four random strokes of a round brush.

    A stroke has 4 to 18 segments, each about a tenth of the side long, and a width of 1.5 % to 10 % of the side.
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
