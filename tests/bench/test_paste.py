"""bench.paste: composed photos have faces at the returned positions, and the metrics measure what they say."""

import dataclasses

import cv2
import numpy as np
import pytest

from bench import paste
from gpen.faces.alignment import align, template
from gpen.faces.samples import SAMPLES
from gpen.restoration.paste import RestoredFace, compose, face_mask


@pytest.fixture(scope="module")
def composed():
    """A photo with two faces, and these faces as restored without a change."""
    face = SAMPLES["astronaut"].load(paste.SQUARE)
    photo, places = paste.compose_photo([face], np.random.default_rng(0))
    crops = [align(photo, place.landmarks, 256)[0] for place in places]
    faces = [RestoredFace(p.box, p.landmarks, p.score, c, c, face_mask(256)) for p, c in zip(places, crops, strict=True)]
    return face, photo, faces


def test_composed_faces_are_at_their_landmarks(composed):
    face, photo, faces = composed
    assert photo.shape == (480, 640, 3) and photo.dtype == np.uint8
    inside = face_mask(256)[..., None] > 0.9
    for restored in faces:
        difference = cv2.GaussianBlur(restored.crop, (0, 0), 4).astype(float) - cv2.GaussianBlur(face, (0, 0), 4)
        assert np.abs(difference * inside).max() < 20


def test_unchanged_photo_has_no_seam_and_no_colour_shift(composed):
    _, photo, faces = composed
    figures = paste.measure(photo, photo, photo[..., ::-1], faces[0], 0.25)
    assert figures.colour == figures.seam == 0 and figures.drift == 0.25 and 5 < figures.psnr < 30


def test_a_hard_mask_has_a_seam(composed):
    _, photo, faces = composed
    seams = []
    for mask in (faces[0].mask, (faces[0].mask > 0.5).astype(np.float32)):
        brighter = np.minimum(faces[0].crop, 225) + 30
        changed = dataclasses.replace(faces[0], restored=brighter.astype(np.uint8), mask=mask)
        figures = paste.measure(compose(photo, [changed], 1.0), photo, photo, changed, 0.0)
        assert figures.colour > 5
        seams.append(figures.seam)
    assert seams[1] > 3 * seams[0]


def test_drift_is_relative_to_the_eye_distance():
    points = template(256).astype(np.float32)
    face = paste.Face((0, 0, 256, 256), points, 1.0)
    eyes = np.linalg.norm(points[0] - points[1])
    moved = dataclasses.replace(face, landmarks=points + (0.1 * eyes, 0))
    far = dataclasses.replace(face, landmarks=points + (2 * eyes, 0))
    assert paste.drift([far, moved], [face], face) == pytest.approx(0.1, rel=1e-5)
    assert np.isnan([paste.drift([far], [face], face), paste.drift([face], [], face)]).all()
