"""The sample study of assets/study: python -m eval study sample --out assets/study

One face (scikit-image's astronaut: Eileen Collins, by NASA, public domain), framed in several ways, each frame degraded by
several tasks and restored by the project's own methods with the default model.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from eval.benchmark import RunSettings, run
from eval.files import png, write_atomically
from eval.metrics import MetricSettings
from eval.preference.build import StudySettings, build, from_run
from eval.preference.study import Study

METHODS = ("bilinear", "lanczos", "nlm", "gpen")
TASKS = ("fsr4", "fsr8", "bfr")
SIZE = 176  # px; small, as it is part of the project
FRAMES = ((18, 136, 178, 0, False), (10, 124, 200, 6, True))  # top, left, side, turn in degrees, mirrored
SETTINGS = StudySettings(title="Which restoration is better?", gold_every=9, session=18, pause=9, training=2)


def make_sample(out: str | Path) -> Study:
    """Run the methods in a temporary folder and build the study. Raises GPENError where `out` holds a study."""
    with tempfile.TemporaryDirectory() as folder:
        faces, kept = Path(folder, "faces"), Path(folder, "run")
        for number, frame in enumerate(FRAMES):
            write_atomically(faces / f"astronaut-{number}.png", png(_face(*frame)))
        settings = RunSettings(str(faces), str(kept), METHODS, TASKS, ("psnr",), size=SIZE, keep=True)
        run(settings, MetricSettings(), quiet=True)
        return build(from_run(kept, TASKS, METHODS), out, SETTINGS)


def _face(top: int, left: int, side: int, degrees: float, mirrored: bool) -> np.ndarray:
    """uint8 RGB [SIZE, SIZE, 3]."""
    from skimage.data import astronaut

    photo = astronaut()  # [512, 512, 3]
    turn = cv2.getRotationMatrix2D((left + side / 2, top + side / 2), degrees, 1)
    turned = cv2.warpAffine(photo, turn, photo.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
    face = cv2.resize(turned[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(face[:, ::-1] if mirrored else face)
