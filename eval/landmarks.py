"""Landmark distance: how far a restoration moves the eyes, the nose and the corners of the mouth.

Five points of MTCNN (K. Zhang et al., IEEE Signal Processing Letters 2016; facenet-pytorch's weights, which come with the
package) on the result and on the truth; the mean distance of the pairs, over the distance between the truth's eyes, as
landmark papers normalise it.
"""

import functools
from collections.abc import Callable

import numpy as np

from eval.cache import VectorCache
from eval.weights import MissingMetric
from gpen.errors import GPENError

NOTHING = np.full(10, np.nan, np.float32)  # the landmarks of a picture without a face


class Landmarks:
    """detect: a detector of gpen.faces, uint8 RGB [h, w, 3] -> faces with `landmarks` [5, 2] in px, eyes first; largest first."""

    def __init__(self, detect: Callable):
        self._detect = detect
        self._cache = VectorCache()

    def distance(self, images: list[np.ndarray], truths: list[np.ndarray]) -> list[float]:
        """For each pair of uint8 RGB [h, w, 3]: 0 for equal landmarks; NaN where one of the two shows no face."""
        a, b = self.points(images), self.points(truths)  # [n, 5, 2]
        eyes = np.linalg.norm(b[:, 0] - b[:, 1], axis=1)  # [n]
        return (np.linalg.norm(a - b, axis=2).mean(axis=1) / eyes).tolist()

    def points(self, images: list[np.ndarray]) -> np.ndarray:
        """float32 [n, 5, 2] in px, of the largest face; NaN where there is none."""
        return self._cache.get(images, self._points).reshape(-1, 5, 2)

    def _points(self, images: list[np.ndarray]) -> np.ndarray:
        faces = [self._detect(image, rotated=False) for image in images]
        return np.stack([found[0].landmarks.reshape(10) if found else NOTHING for found in faces])


@functools.lru_cache(maxsize=1)
def load_landmarks() -> Landmarks:
    """With MTCNN. Raises MissingMetric where its package is absent."""
    try:
        from gpen.faces import load_detector

        return Landmarks(load_detector("mtcnn"))
    except (GPENError, ImportError) as error:
        raise MissingMetric(f"the landmark distance needs MTCNN ({error}); pip install facenet-pytorch==2.5.3") from error
