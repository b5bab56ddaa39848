"""Writing the files of a run."""

import numpy as np

from gpen.images import encode, write_atomically

__all__ = ["png", "write_atomically"]


def png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB [h, w, 3] as PNG."""
    return encode(image, ".png")
