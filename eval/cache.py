"""Feature vectors remembered by what is in the image: a truth is met once per method."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

Images = Sequence[np.ndarray]


class VectorCache:
    """Vectors [d] of the `limit` images met last; 4096 of them are 8 MB at d = 512 in float32."""

    def __init__(self, limit: int = 4096):
        self._limit = limit
        self._vectors: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def store(self, images: Images, vectors: np.ndarray) -> None:
        """vectors [n, d], one per image."""
        self._vectors.update(zip(map(_key, images), vectors, strict=True))
        while len(self._vectors) > self._limit:
            self._vectors.popitem(last=False)

    def get(self, images: Images, compute: Callable[[list[np.ndarray]], np.ndarray]) -> np.ndarray:
        """Vectors [n, d]; `compute` gives those [m, d] of the m images that are new."""
        keys = [_key(image) for image in images]
        found = {key: self._vectors[key] for key in keys if key in self._vectors}
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        if new:
            computed = compute(list(new.values()))
            found.update(zip(new, computed, strict=True))
            self.store(list(new.values()), computed)
        return np.stack([found[key] for key in keys])


def _key(image: np.ndarray) -> bytes:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
