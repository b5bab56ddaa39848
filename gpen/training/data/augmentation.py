"""Photometric and geometric augmentation of training faces: light, colours, sharpness and proportions, before the degradation.

Generated faces have plain backgrounds and soft light. A network trained on them alone treats coloured light, hard shadows and
unusual proportions as degradation, and removes them.
"""

from __future__ import annotations

import cv2
import numpy as np

CHANCE = 0.5  # of each change


def augment_photo(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 RGB [s, s, 3] -> the augmented face, uint8 RGB [s, s, 3]; each change has probability 0.5."""
    x = image.astype(np.float32) / 255
    for change in (_proportions, _sharpness, _light, _colours):
        if rng.random() < CHANCE:
            x = change(x, rng)
    return np.round(x.clip(0, 1) * 255).astype(np.uint8)


def sampling_cdf(sizes: np.ndarray, power: float) -> np.ndarray:
    """Cumulative sampling probabilities [n] of files of `sizes` bytes [n], in proportion to sizes ** power.

    Images with more content (streets in the background, hats, glasses, curly hair) compress less.
    """
    shares = np.cumsum((sizes / sizes.mean()) ** power)
    return shares / shares[-1]


def _proportions(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotation, zoom and stretch of the whole, and a smooth random displacement field of some pixels."""
    side = len(x)
    coarse = rng.normal(0, 0.018 * side, (4, 4, 2)).astype(np.float32)  # px
    drift = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)  # [s, s, 2]
    turn, (zoom, stretch) = rng.normal(0, 0.06), np.exp(rng.normal(0, 0.05, 2))  # radians, factors
    cosine, sine = np.cos(turn) * zoom, np.sin(turn) * zoom
    rows, columns = np.indices((side, side), np.float32) - (side - 1) / 2
    source = np.stack([(cosine * columns - sine * rows) * stretch, sine * columns + cosine * rows], 2) + (side - 1) / 2 + drift
    across, down = source.astype(np.float32)[..., 0], source.astype(np.float32)[..., 1]
    return cv2.remap(x, across, down, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)


def _sharpness(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unsharp masking, as in cameras."""
    soft = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.6, 1.5) * len(x) / 256)
    return x + rng.uniform(0.2, 1.1) * (x - soft)


def _light(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coloured light from one side: a gain that changes along a line by up to a factor of four."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.7)
    line = np.linspace(-1, 1, len(x), dtype=np.float32)
    ramp = line[:, None] * np.sin(angle) + line * np.cos(angle)  # [s, s]
    colour = strength * (1 + rng.normal(0, 0.25, 3))
    return x * np.exp(ramp[..., None] * colour).astype(np.float32)


def _colours(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, cast, saturation and contrast."""
    gamma, cast = np.exp(rng.uniform(-0.45, 0.45)), np.exp(rng.normal(0, 0.09, 3))
    saturation, contrast = rng.uniform(0.2, 1.8), rng.uniform(0.8, 1.4)
    x = x.clip(0, 1) ** gamma * cast
    grey = x.mean(2, keepdims=True)
    x = grey + saturation * (x - grey)
    return ((x - x.mean()) * contrast + x.mean()).astype(np.float32)
