"""Sample faces: those of the project in assets/samples/, and the astronaut of scikit-image (NASA)."""

from __future__ import annotations

import numpy as np
import skimage.data

from demo import images
from gpen.checkpoints import ASSETS

_ASTRONAUT = (slice(18, 196), slice(136, 314))  # crop with eyes and mouth close to the FFHQ template


def astronaut(size: int) -> np.ndarray:
    """Return the face of the astronaut, uint8 RGB [size, size, 3]."""
    return images.square(skimage.data.astronaut()[_ASTRONAUT], size)


def load(size: int) -> dict[str, np.ndarray]:
    """Return name -> face, uint8 RGB [size, size, 3]; the astronaut is first."""
    faces = {"Astronaut": astronaut(size)}
    for path in sorted((ASSETS / "samples").glob("*.png")):
        faces[path.stem.replace("-", " ").replace("_", " ").capitalize()] = images.read_face(path, size)
    return faces
