"""Sample faces: those of the project in assets/samples/, and the astronaut of scikit-image (NASA)."""

from __future__ import annotations

import numpy as np

from demo import images
from gpen.images import astronaut_face
from gpen.models.checkpoints import ASSETS


def astronaut(size: int) -> np.ndarray:
    """Return the face of the astronaut, uint8 RGB [size, size, 3]."""
    return astronaut_face(size)


def load(size: int) -> dict[str, np.ndarray]:
    """Return name -> face, uint8 RGB [size, size, 3]; the astronaut is first."""
    faces = {"Astronaut": astronaut(size)}
    for path in sorted((ASSETS / "samples").glob("*.png")):
        faces[path.stem.replace("-", " ").replace("_", " ").capitalize()] = images.read_face(path, size)
    return faces
