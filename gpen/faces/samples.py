"""Sample faces: photographs in the public domain that installed packages contain, aligned to the FFHQ template.

SAMPLES maps a name to a sample face, as `python -m eval run --data samples` names it. They are real photographs, not generated
and not restored by a network, so that they can serve as ground truth. There are too few for a measurement: they show how an
experiment works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpen.faces.alignment import align, alignment_matrix
from gpen.images import read_image
from gpen.optional import import_optional

EXTRA = "eval"  # has the packages that contain the photographs


@dataclass(frozen=True)
class SampleFace:
    """A sample face.

    Attributes:
        person: name of the person.
        source: the organisation that made the photograph; works of US authorities are in the public domain.
        module: module of the package that contains the photograph.
        file: path of the photograph relative to the file of the module.
        landmarks: the five points (x, y) in px that gpen.faces.detection finds in the photograph.
    """

    person: str
    source: str
    module: str
    file: str
    landmarks: tuple[tuple[float, float], ...]

    @property
    def path(self) -> Path:
        """The file of the whole photograph. Raises GPENError if the package is not installed."""
        module = import_optional(self.module, EXTRA, f"The sample face of {self.person}")
        return Path(module.__file__).parent / self.file

    @property
    def side(self) -> int:
        """The side of the aligned square in px of the photograph; a larger face is enlarged."""
        matrix = alignment_matrix(np.array(self.landmarks), 1)
        return round(1 / float(np.hypot(matrix[0, 0], matrix[1, 0])))

    def load(self, size: int) -> np.ndarray:
        """The aligned face, uint8 RGB [size, size, 3]: reduced by area averaging or enlarged bilinearly.

        Raises GPENError if the package that contains the photograph is not installed.
        """
        return align(read_image(self.path), np.array(self.landmarks), size)[0]


SAMPLES = {
    "astronaut": SampleFace(
        "Eileen Collins", "NASA", "skimage.data", "astronaut.png",
        ((204.99, 100.81), (247.85, 104.08), (225.52, 128.99), (202.22, 139.46), (245.73, 142.12)),
    ),
    "grace_hopper": SampleFace(
        "Grace Hopper", "US Navy", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg",
        ((220.38, 190.86), (309.69, 188.43), (267.12, 240.97), (229.97, 282.26), (305.99, 279.55)),
    ),
}  # fmt: skip
