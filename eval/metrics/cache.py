"""Cache of feature vectors by image content, because the ground truth is used once per method."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

Images = Sequence[np.ndarray]


class VectorCache:
    """Vectors [d] of the `limit` most recent images; 4096 vectors use 8 MB for d = 512 in float32."""

    def __init__(self, limit: int = 4096):
        self._limit = limit
        self._vectors: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def put(self, images: Images, vectors: np.ndarray) -> None:
        """Store vectors [n, d], one per image."""
        self._vectors.update(zip(map(_key, images), vectors, strict=True))
        while len(self._vectors) > self._limit:
            self._vectors.popitem(last=False)

    def get(self, images: Images, compute: Callable[[list[np.ndarray]], np.ndarray]) -> np.ndarray:
        """Vectors [n, d]; `compute` returns those [m, d] of the m images that are not in the cache."""
        keys = [_key(image) for image in images]
        found = {key: self._vectors[key] for key in keys if key in self._vectors}
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        if new:
            computed = compute(list(new.values()))
            found.update(zip(new, computed, strict=True))
            self.put(list(new.values()), computed)
        return np.stack([found[key] for key in keys])


def _key(image: np.ndarray) -> bytes:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
