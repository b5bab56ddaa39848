"""assets/gpen-64, the small two-stage model for teaching: both z and the features change its faces. The thresholds are about half
of what was measured."""

import cv2
import numpy as np
import pytest
import torch

import gpen
from gpen.faces.detection import load_detector
from gpen.faces.samples import SAMPLES
from gpen.images import to_image, to_tensor

SIZE = 64
DEGRADATION = gpen.Degradation(blur_sigma=1, scale=4, noise_sigma=5, jpeg_quality=70)


class Parts:
    """The two sample faces, true and degraded [2, 3, 64, 64], with z [2, d] and the features that the model computes of them."""

    def __init__(self):
        faces = [sample.load(SIZE) for sample in SAMPLES.values()]
        self.net = gpen.load("gpen-64")
        self.true = torch.stack([to_tensor(face) for face in faces])
        self.low = torch.stack([to_tensor(DEGRADATION.resized(face)) for face in faces])
        self.z, self.features = self.net.encoder(self.low)
        self.restored = self.generate(self.z, self.features)

    def generate(self, z, features):
        generator = self.net.generator
        return generator(generator.mapping(z), self.net.noise_inputs(features)).clamp(-1, 1)

    def change(self, images):
        """Mean absolute difference of [2, 3, 64, 64] to the restored faces, for each in levels of 255."""
        return 127.5 * (images - self.restored).abs().mean((1, 2, 3))


@pytest.fixture(scope="module")
def parts():
    return Parts()


def test_z_of_the_other_face_or_the_mean_z_changes_the_result(parts):
    exchanged = parts.generate(parts.z.flip(0), parts.features)
    mean = parts.generate(parts.z.mean(0).expand_as(parts.z), parts.features)
    assert parts.change(exchanged).min() > 7
    assert parts.change(mean).min() > 3.5


def landmarks(images):
    """Five points (x, y) in px of 256 for each of [2, 3, 64, 64], or None where the detector finds no face or several."""
    found, detect = [], load_detector()
    for image in images:
        large = cv2.resize(to_image(image), (256, 256), interpolation=cv2.INTER_CUBIC)
        faces = detect(np.pad(large, ((64, 64), (64, 64), (0, 0)), mode="edge"))
        found.append(faces[0].landmarks if len(faces) == 1 else None)
    return found


@pytest.mark.slow
def test_without_features_there_is_another_face(parts):
    alone = parts.generate(parts.z, [torch.zeros_like(f) for f in parts.features])
    assert parts.change(alone).min() > 12
    assert all(found is not None for found in landmarks(alone))
    without = parts.net(parts.low, feature_mask=torch.zeros(2)).clamp(-1, 1)
    torch.testing.assert_close(without, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_landmarks_of_restored_faces_are_nearer_to_the_true_ones_than_those_of_the_input(parts):
    for true, restored, low in zip(*map(landmarks, (parts.true, parts.restored, parts.low)), strict=True):
        error = np.linalg.norm(restored - true, axis=1).mean()
        assert error < 10 and (low is None or error < np.linalg.norm(low - true, axis=1).mean())


def test_it_is_not_the_default_model(parts):
    assert parts.net.size == SIZE != gpen.load().size
