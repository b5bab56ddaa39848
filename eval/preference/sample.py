"""The sample study in assets/study: python -m eval study sample --out assets/study

One face (scikit-image's astronaut: Eileen Collins, by NASA, public domain) in several crops, each degraded by several tasks and
restored by the methods of this project with the default model.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.data.files import png, write_atomically
from eval.metrics.registry import MetricSettings
from eval.preference.build import StudySettings, build, from_run
from eval.preference.study import Study

METHODS = ("bilinear", "lanczos", "nlm", "gpen")
TASKS = ("fsr4", "fsr8", "bfr")
SIZE = 176  # px; small because the study is part of the repository
CROPS = ((18, 136, 178, 0, False), (10, 124, 200, 6, True))  # top, left, side, rotation in degrees, mirrored
SETTINGS = StudySettings(title="Which restoration is better?", gold_every=9, session=18, pause=9, training=2)


def build_sample_study(out: str | Path) -> Study:
    """Run the methods in a temporary folder and build the study.

    Raises GPENError if `out` contains a study.
    """
    with tempfile.TemporaryDirectory() as folder:
        faces, kept = Path(folder, "faces"), Path(folder, "run")
        for number, crop in enumerate(CROPS):
            write_atomically(faces / f"astronaut-{number}.png", png(_face(*crop)))
        settings = RunSettings(str(faces), str(kept), METHODS, TASKS, ("psnr",), size=SIZE, keep=True)
        run(settings, MetricSettings(), quiet=True)
        return build(from_run(kept, TASKS, METHODS), out, SETTINGS)


def _face(top: int, left: int, side: int, degrees: float, mirrored: bool) -> np.ndarray:
    """uint8 RGB [SIZE, SIZE, 3]."""
    from skimage.data import astronaut

    photo = astronaut()  # [512, 512, 3]
    rotation = cv2.getRotationMatrix2D((left + side / 2, top + side / 2), degrees, 1)
    rotated = cv2.warpAffine(photo, rotation, photo.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
    face = cv2.resize(rotated[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(face[:, ::-1] if mirrored else face)
