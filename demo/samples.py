"""Sample faces: photographs in the public domain from installed packages, and the sharp ones of assets/samples.

The photographs are aligned by the face detector of this project when they are first used.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data

from demo import images
from gpen.faces.alignment import align
from gpen.faces.detection import load_detector
from gpen.images import astronaut_face, read_image, resize_to
from gpen.models.checkpoints import ASSETS

MAX_SOFTNESS = 32.0  # dB; see softness()
SOFTNESS_SIDE = 64  # px


@dataclass(frozen=True)
class Sample:
    """A sample face.

    Attributes:
        face: uint8 RGB [size, size, 3].
        source: who made it under which licence: key in the section playground.first.sources of demo/languages.
        name: of the person, "" for a generated face.
    """

    face: np.ndarray
    source: str
    name: str = ""


def astronaut(size: int) -> np.ndarray:
    """Return the face of scikit-image's astronaut, uint8 RGB [size, size, 3]."""
    return astronaut_face(size)


@functools.cache
def load(size: int) -> list[Sample]:
    """Return the samples of `size` px; faces of assets/samples that are too soft are left out."""
    photographs = [
        (skimage.data.astronaut(), "nasa", "Eileen Collins"),
        (read_image(Path(matplotlib.get_data_path(), "sample_data/grace_hopper.jpg")), "us_navy", "Grace Hopper"),
    ]
    detect = load_detector()
    samples = [Sample(align(photo, detect(photo)[0].landmarks, size)[0], *credit) for photo, *credit in photographs]
    for path in sorted((ASSETS / "samples").glob("*.png")):
        face = read_image(path)
        if softness(face) <= MAX_SOFTNESS:
            samples.append(Sample(images.square_crop(face, size), "generated"))
    return samples


def softness(face: np.ndarray) -> float:
    """Return the PSNR in dB of a face, uint8 RGB [h, h, 3], to itself after a reduction to 64 px.

    Sharp photographs have at most 32 dB; a face without details finer than 64 px has more.
    """
    small = resize_to(face, SOFTNESS_SIDE)
    enlarged = cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.PSNR(face, enlarged)
