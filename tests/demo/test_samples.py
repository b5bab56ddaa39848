"""Sample faces are sharp, aligned and credited."""

import cv2
import numpy as np
import pytest

from demo import images, languages, samples
from gpen.faces.detection import load_detector


@pytest.fixture(scope="module")
def faces():
    return samples.load(256)


def test_samples_are_sharp_and_credited(faces):
    assert [sample.name for sample in faces[:2]] == ["Eileen Collins", "Grace Hopper"]
    for sample in faces:
        assert sample.face.shape == (256, 256, 3) and f"playground.first.sources.{sample.source}" in languages.table()
        assert samples.softness(sample.face) <= samples.MAX_SOFTNESS


def test_samples_are_aligned(faces):
    detect = load_detector()
    for sample in faces:
        assert images.is_aligned(sample.face, detect(sample.face)[0])


def test_soft_face_of_the_assets_is_left_out(tmp_path, monkeypatch, faces):
    (tmp_path / "samples").mkdir()
    sharp = faces[0].face
    for name, face in (("sharp", sharp), ("soft", cv2.GaussianBlur(sharp, (0, 0), 4))):
        (tmp_path / "samples" / f"{name}.png").write_bytes(images.png(np.ascontiguousarray(face)))
    monkeypatch.setattr(samples, "ASSETS", tmp_path)
    (sample,) = samples.load.__wrapped__(256)[2:]
    assert (sample.face == sharp).all() and (sample.name, sample.source) == ("", "generated")
