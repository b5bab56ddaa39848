"""eval.metrics.landmarks: distance normalised by the interocular distance."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from eval.metrics.landmarks import Landmarks
from eval.metrics.registry import load_metrics
from eval.metrics.weights import MetricSettings
from gpen.faces.alignment import FFHQ_POINTS_512


def detector_of(faces):
    """A detector that returns the landmarks listed under the first value of an image."""
    return Landmarks(lambda image, rotated: [SimpleNamespace(landmarks=points) for points in faces[image[0, 0, 0]]])


def image(key):
    return np.full((8, 8, 3), key, np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 4))
def test_distance_of_a_shift(x, y, scale):
    truth = FFHQ_POINTS_512.astype(np.float32) * np.float32(scale)
    moved = truth + np.float32([x, y])
    found = detector_of({1: [moved], 2: [truth]}).distance([image(1), image(2)], [image(2), image(2)])
    eyes = np.hypot(*(truth[0] - truth[1]))
    assert found == pytest.approx([np.hypot(x, y) / eyes, 0], rel=1e-3, abs=1e-5)


def test_image_without_a_face():
    points = FFHQ_POINTS_512.astype(np.float32)
    found = detector_of({0: [], 1: [points]})
    distances = found.distance([image(0), image(1), image(1)], [image(1), image(0), image(1)])
    assert np.isnan(distances).tolist() == [True, True, False]


def test_mtcnn():
    functions, missing = load_metrics(["landmarks"], MetricSettings())
    if missing:
        pytest.skip(missing["landmarks"])
    face = cv2.resize(astronaut()[18:196, 136:314], (256, 256), interpolation=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(face, np.float32([[1, 0, 12], [0, 1, 0]]), (256, 256), borderMode=cv2.BORDER_REPLICATE)
    none = np.full_like(face, 128)
    same, shifted, nothing = functions["landmarks"]([face, moved, none], [face, face, face])
    eyes = 256 * (318.90 - 192.98) / 512
    assert same == 0 and shifted == pytest.approx(12 / eyes, rel=0.3) and np.isnan(nothing)
