"""gpen.faces.samples: the sample faces are sharp photographs, and their landmarks are those of the detector."""

import cv2
import numpy as np
import pytest

from gpen.errors import GPENError
from gpen.faces.alignment import FFHQ_POINTS_512
from gpen.faces.detection import load_detector
from gpen.faces.samples import SAMPLES, SampleFace
from gpen.images import read_image, resize_to
from gpen.models.checkpoints import ASSETS

MAX_SOFTNESS = 32.0  # dB
GENERATED_SIDE = 64  # px, of the faces of the included prior


def softness(face: np.ndarray) -> float:
    """The PSNR in dB of a face to itself after a reduction to 64 px, higher for a face without finer details."""
    enlarged = cv2.resize(resize_to(face, GENERATED_SIDE), face.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.PSNR(face, enlarged)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_sharp(name):
    face = SAMPLES[name].load(256)
    assert face.shape == (256, 256, 3) and face.dtype == np.uint8
    assert softness(face) <= MAX_SOFTNESS < softness(cv2.GaussianBlur(face, (0, 0), 3))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.slow
def test_landmarks_are_those_of_the_detector(name):
    sample, detect = SAMPLES[name], load_detector()
    photo = read_image(sample.path)
    assert np.abs(detect(photo)[0].landmarks - sample.landmarks).max() < 0.5
    aligned = detect(sample.load(512))[0].landmarks
    assert np.linalg.norm(aligned - FFHQ_POINTS_512, axis=1).mean() < 0.03 * 512


def test_samples_are_photographs_of_different_people_from_installed_packages():
    assert len({sample.person for sample in SAMPLES.values()}) == len(SAMPLES) >= 2
    for sample in SAMPLES.values():
        assert ASSETS not in sample.path.parents and sample.source in ("NASA", "US Navy")
        assert 128 < sample.side < min(read_image(sample.path).shape[:2])
    assert not (ASSETS / "samples").exists()  # faces that the prior of 64 px generated


def test_side_is_that_of_the_aligned_square():
    eyes = np.array(SAMPLES["grace_hopper"].landmarks[:2])
    expected = np.linalg.norm(eyes[1] - eyes[0]) * 512 / np.linalg.norm(FFHQ_POINTS_512[1] - FFHQ_POINTS_512[0])
    assert abs(SAMPLES["grace_hopper"].side - expected) < 0.05 * expected


def test_missing_package_is_an_error():
    sample = SampleFace("Nobody", "NASA", "gpen_no_such_package", "face.png", SAMPLES["astronaut"].landmarks)
    with pytest.raises(GPENError, match=r"sample face of Nobody needs the package gpen_no_such_package.*gpen\[eval\]"):
        sample.load(64)
