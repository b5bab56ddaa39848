"""eval.identity: the alignment maps FFHQ's points to ArcFace's, and the score knows a face again."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.identity import ARCFACE_POINTS, Identity, arcface_crop, arcface_transform
from gpen.faces import FFHQ_POINTS_512


def misfit(matrix, size):
    points = (FFHQ_POINTS_512 + 0.5) * size / 512 - 0.5
    return np.square(points @ matrix[:, :2].T + matrix[:, 2] - ARCFACE_POINTS).sum()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([64, 256, 512, 1024]), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_no_other_similarity_brings_ffhq_points_closer_to_arcface_points(size, change):
    best = arcface_transform(size)
    linear = best[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * np.linalg.det(linear), atol=1e-12)
    assert np.sqrt(misfit(best, size) / 5) < 2  # px: the two templates differ in their proportions
    a, b, x, y = np.array(change) * [0.01, 0.01, 1, 1]
    assert misfit(best + [[a, -b, x], [b, a, y]], size) >= misfit(best, size) - 1e-9


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_a_dot_in_the_face_is_at_its_place_in_the_crop(size):
    for point in FFHQ_POINTS_512:
        image = np.zeros((size, size, 3), np.uint8)
        x, y = (point + 0.5) * size / 512 - 0.5
        cv2.circle(image, (round(x), round(y)), max(2, size // 64), (255, 255, 255), -1)
        crop = arcface_crop(image)[..., 0].astype(float)
        rows, columns = np.mgrid[:112, :112]
        centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        expected = arcface_transform(size) @ [round(x), round(y), 1]
        assert np.abs(centre - expected).max() < 0.3


def test_shrinking_does_not_alias():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the crop can show: it should come out grey
    aliased = cv2.warpAffine(stripes, arcface_transform(1024), (112, 112))
    assert arcface_crop(stripes).std() < 0.25 * aliased.std()
    assert abs(arcface_crop(stripes).mean() - 127.5) < 2


@pytest.fixture(scope="module")
def identity(shared_weights):
    pytest.importorskip("onnxruntime", reason="OpenCV's engine cannot run this model")
    return Identity(shared_weights / "edgeface_xxs.onnx")


def test_identity_is_one_for_the_same_face_and_falls_with_blur(identity, real_faces):
    truths = real_faces
    assert identity.cosine(truths, truths) == pytest.approx([1] * 6)
    assert identity.angle(truths, truths) == [0] * 6
    means = []
    for sigma in (1, 3, 8):
        blurred = [cv2.GaussianBlur(truth, (0, 0), sigma) for truth in truths]
        means.append(np.mean(identity.cosine(blurred, truths)))
    assert 1 > means[0] > means[1] > means[2]
    others = identity.cosine(truths, truths[1:] + truths[:1])
    assert np.mean(others) < 0.3 < means[1]


def test_the_angle_is_that_of_the_cosine_whatever_the_batch(identity, real_faces, shared_weights):
    a, b, c = real_faces[:3]
    together = identity.cosine([a, b, c], [b, c, a])
    assert np.cos(identity.angle([a, b, c], [b, c, a])) == pytest.approx(together, abs=1e-9)
    alone = Identity(shared_weights / "edgeface_xxs.onnx")
    one_by_one = [alone.cosine([x], [y])[0] for x, y in ((a, b), (b, c), (c, a))]
    assert one_by_one == pytest.approx(together, abs=1e-6)
