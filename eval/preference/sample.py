"""The sample study in assets/study: python -m eval study sample --out assets/study

One face (scikit-image's astronaut: Eileen Collins, by NASA, public domain), also mirrored and rotated, degraded by several
tasks and restored by the methods of this project with the default model.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.metrics.weights import MetricSettings
from eval.preference.build import StudySettings, build, from_run
from eval.preference.study import Study
from gpen.images import astronaut_face, read_image, square_crop, write_atomically, write_image

METHODS = ("bilinear", "lanczos", "nlm", "gpen")
TASKS = ("fsr4", "fsr8", "bfr-gpen-release-scaled")
SIZE = 160  # px; small because the study is part of the repository
ROTATION = 6.0  # degrees, of the second face, which is also mirrored
SETTINGS = StudySettings(title="Which restoration is better?", session=24, pause=12, training=2)


def build_sample_study(out: str | Path) -> Study:
    """Run the methods in a temporary folder and build the study.

    Raises GPENError if `out` contains a study.
    """
    with tempfile.TemporaryDirectory() as folder:
        faces, kept = Path(folder, "faces"), Path(folder, "run")
        for number, face in enumerate(_faces()):
            write_image(faces / f"astronaut-{number}.png", square_crop(face, SIZE))
        settings = RunSettings(str(faces), str(kept), METHODS, TASKS, ("psnr",), size=SIZE, keep=True)
        run(settings, MetricSettings(), quiet=True)
        study = build(from_run(kept, TASKS, METHODS), out, SETTINGS)
    for path in study.image_paths:
        _compress(study.image(path))
    return study


def _compress(path: Path) -> None:
    """Write a PNG file again with the strongest compression, without loss."""
    done, data = cv2.imencode(".png", cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    write_atomically(path, data.tobytes())


def _faces() -> tuple[np.ndarray, np.ndarray]:
    """The face, and the mirrored and rotated face, uint8 RGB [s, s, 3]."""
    face = astronaut_face()
    side = len(face)
    rotation = cv2.getRotationMatrix2D((side / 2, side / 2), ROTATION, 1)
    rotated = cv2.warpAffine(face, rotation, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return face, np.ascontiguousarray(rotated[:, ::-1])
