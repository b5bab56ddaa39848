"""Landmark distance: displacement of the eyes, the nose and the mouth by a restoration.

Five points of MTCNN (K. Zhang et al., IEEE Signal Processing Letters 2016; weights of facenet-pytorch, included in the package)
on the result and the ground truth: the mean distance, normalised by the interocular distance of the ground truth.
"""

import functools
from collections.abc import Callable

import numpy as np

from eval.metrics.cache import VectorCache
from eval.metrics.weights import MissingMetric
from gpen.errors import GPENError

NO_FACE = np.full(10, np.nan, np.float32)  # landmarks of an image without a detected face


class Landmarks:
    """Landmark distance with a given detector.

    detect: a detector of gpen.faces, uint8 RGB [h, w, 3] -> faces with `landmarks` [5, 2] in px, eyes first; largest face first.
    """

    def __init__(self, detect: Callable):
        self._detect = detect
        self._cache = VectorCache()

    def distance(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Distance of each pair of uint8 RGB [h, w, 3].

        0 for equal landmarks, NaN if no face is detected in one image.
        """
        a, b = self.points(images), self.points(targets)  # [n, 5, 2]
        eyes = np.linalg.norm(b[:, 0] - b[:, 1], axis=1)  # [n]
        return (np.linalg.norm(a - b, axis=2).mean(axis=1) / eyes).tolist()

    def points(self, images: list[np.ndarray]) -> np.ndarray:
        """float32 [n, 5, 2] in px, of the largest face; NaN if no face is detected."""
        return self._cache.get(images, self._points).reshape(-1, 5, 2)

    def _points(self, images: list[np.ndarray]) -> np.ndarray:
        faces = [self._detect(image, rotated=False) for image in images]
        return np.stack([found[0].landmarks.reshape(10) if found else NO_FACE for found in faces])


@functools.lru_cache(maxsize=1)
def load_landmarks() -> Landmarks:
    """Load MTCNN. Raises MissingMetric if its package is missing."""
    try:
        from gpen.faces.detection import load_detector

        return Landmarks(load_detector("mtcnn"))
    except (GPENError, ImportError) as error:
        raise MissingMetric(f"The landmark distance needs MTCNN ({error}); run pip install facenet-pytorch==2.5.3.") from error
