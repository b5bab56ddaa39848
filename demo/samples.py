"""The sample faces: the project's own in assets/samples/, and scikit-image's astronaut (NASA)."""

from __future__ import annotations

import numpy as np
import skimage.data

from demo import images
from gpen.checkpoints import ASSETS

_ASTRONAUT = (slice(18, 196), slice(136, 314))  # eyes and mouth near their places in the FFHQ template


def astronaut(size: int) -> np.ndarray:
    """A photograph, uint8 RGB [size, size, 3]."""
    return images.square(skimage.data.astronaut()[_ASTRONAUT], size)


def load(size: int) -> dict[str, np.ndarray]:
    """Name -> face, uint8 RGB [size, size, 3], at least one; the astronaut, a photograph, is first."""
    faces = {"Astronaut": astronaut(size)}
    for path in sorted((ASSETS / "samples").glob("*.png")):
        faces[path.stem.replace("-", " ").replace("_", " ").capitalize()] = images.read_face(path, size)
    return faces
