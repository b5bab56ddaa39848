"""Identity metrics: cosine and angle between the face embeddings of a result and the ground truth.

The embedding is an ONNX model given by the user, in the form of ArcFace (J. Deng et al., CVPR 2019; also EdgeFace): input RGB
face crops of 112 px, aligned to the five points of ArcFace, x / 127.5 - 1; output [n, d].
"""

from pathlib import Path

import numpy as np

from eval.metrics.cache import VectorCache
from gpen.faces.embedding import FaceEmbedding


class Identity:
    """Cosine and angle between embeddings of FFHQ-aligned faces.

    path: the ONNX model, run by onnxruntime if it is installed, else by OpenCV.
    Raises GPENError for a missing file, or if neither library can run the model.
    """

    def __init__(self, path: str | Path):
        self._embedding = FaceEmbedding(path)
        self._cache = VectorCache()

    def cosine(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Cosine in [-1, 1] of each pair of faces, uint8 RGB [s, s, 3]; 1 for equal embeddings."""
        a, b = self.embed(images), self.embed(targets)
        return np.clip((a * b).sum(axis=1), -1, 1).tolist()

    def angle(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Angle of each pair in radians, 0 to pi."""
        a, b = self.embed(images), self.embed(targets)
        sine, cosine = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)  # 2 sin and 2 cos of half the angle
        return (2 * np.arctan2(sine, cosine)).tolist()  # accurate for small angles, unlike arccos

    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings of unit length, float64 [n, d]."""
        return self._cache.get(images, self._embedding)
