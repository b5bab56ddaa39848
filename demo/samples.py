"""The sample faces: the project's own in assets/samples/, and scikit-image's astronaut (NASA)."""

from __future__ import annotations

import numpy as np

from demo import images
from gpen.checkpoints import ASSETS
from gpen.images import astronaut_face


def astronaut(size: int) -> np.ndarray:
    """A photograph, uint8 RGB [size, size, 3]."""
    return astronaut_face(size)


def load(size: int) -> dict[str, np.ndarray]:
    """Name -> face, uint8 RGB [size, size, 3], at least one; the astronaut, a photograph, is first."""
    faces = {"Astronaut": astronaut(size)}
    for path in sorted((ASSETS / "samples").glob("*.png")):
        faces[path.stem.replace("-", " ").replace("_", " ").capitalize()] = images.read_face(path, size)
    return faces
