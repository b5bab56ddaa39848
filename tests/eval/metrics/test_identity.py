"""eval.metrics.identity: alignment from FFHQ to ArcFace, and the scores."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.metrics.identity import Identity
from eval.metrics.registry import DEFAULT_METRICS, METRICS, load_metrics
from eval.metrics.weights import MetricSettings
from eval.report.report import report
from gpen.faces.alignment import ARCFACE_POINTS, FFHQ_POINTS_512
from gpen.faces.embedding import arcface_crop, arcface_transform
from gpen.images import write_image


def squared_error(matrix, size):
    points = (FFHQ_POINTS_512 + 0.5) * size / 512 - 0.5
    return np.square(points @ matrix[:, :2].T + matrix[:, 2] - ARCFACE_POINTS).sum()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([64, 256, 512, 1024]), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_transform_is_the_least_squares_solution(size, change):
    best = arcface_transform(size)
    linear = best[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * np.linalg.det(linear), atol=1e-12)
    assert np.sqrt(squared_error(best, size) / 5) < 2  # px: the templates have different proportions
    a, b, x, y = np.array(change) * [0.01, 0.01, 1, 1]
    assert squared_error(best + [[a, -b, x], [b, a, y]], size) >= squared_error(best, size) - 1e-9


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_position_of_a_point_in_the_crop(size):
    for point in FFHQ_POINTS_512:
        image = np.zeros((size, size, 3), np.uint8)
        x, y = (point + 0.5) * size / 512 - 0.5
        cv2.circle(image, (round(x), round(y)), max(2, size // 64), (255, 255, 255), -1)
        crop = arcface_crop(image)[..., 0].astype(float)
        rows, columns = np.mgrid[:112, :112]
        centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        expected = arcface_transform(size) @ [round(x), round(y), 1]
        assert np.abs(centre - expected).max() < 0.3


def test_no_aliasing():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the resolution of the crop: the result should be grey
    aliased = cv2.warpAffine(stripes, arcface_transform(1024), (112, 112))
    assert arcface_crop(stripes).std() < 0.25 * aliased.std()
    assert abs(arcface_crop(stripes).mean() - 127.5) < 2


@pytest.fixture(scope="module")
def identity(shared_weights):
    pytest.importorskip("onnxruntime", reason="OpenCV cannot run this model")
    return Identity(shared_weights / "edgeface_xxs.onnx")


def test_cosine_of_equal_blurred_and_other_faces(identity, real_faces):
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


def test_angle_agrees_with_cosine_for_any_batch(identity, real_faces, shared_weights):
    a, b, c = real_faces[:3]
    together = identity.cosine([a, b, c], [b, c, a])
    assert np.cos(identity.angle([a, b, c], [b, c, a])) == pytest.approx(together, abs=1e-9)
    alone = Identity(shared_weights / "edgeface_xxs.onnx")
    one_by_one = [alone.cosine([x], [y])[0] for x, y in ((a, b), (b, c), (c, a))]
    assert one_by_one == pytest.approx(together, abs=1e-6)


def test_frechet_distance_of_embeddings(identity, real_faces, shared_weights):
    metric = METRICS["identity_fd"]
    assert "identity_fd" in DEFAULT_METRICS and metric.mode == "set" and not metric.seen_in_training
    functions, missing = load_metrics(["identity_fd"], MetricSettings(identity_model=str(shared_weights / "edgeface_xxs.onnx")))
    assert not missing
    truth = functions["identity_fd"](real_faces)  # [6, 512]
    np.testing.assert_allclose(truth, identity.embed(real_faces), atol=1e-6)
    values = [0.0]
    for sigma in (2, 6, 12):
        blurred = [cv2.GaussianBlur(face, (0, 0), sigma) for face in real_faces]
        values.append(metric.distance(functions["identity_fd"](blurred), truth))
    assert metric.distance(truth, truth) == pytest.approx(0, abs=1e-9) and values == sorted(values)
    assert "--identity-model" in load_metrics(["identity_fd"], MetricSettings(identity_model=""))[1]["identity_fd"]


def test_frechet_distance_of_embeddings_in_a_run(real_faces, shared_weights, tmp_path):
    for k, face in enumerate(real_faces[:3]):
        write_image(tmp_path / "faces" / f"{k}.png", face)
    settings = RunSettings(str(tmp_path / "faces"), str(tmp_path / "run"), ("bicubic",), ("fsr8",), ("identity_fd",), size=128)
    run(settings, MetricSettings(identity_model=str(shared_weights / "edgeface_xxs.onnx")), quiet=True)
    entries = [entry for entry in json.loads((tmp_path / "run" / "summary.json").read_text()) if entry["metric"] == "identity_fd"]
    means = {entry["method"]: entry["mean"] for entry in entries}
    assert means["ground-truth"] == pytest.approx(0, abs=1e-4) and 1e-4 < means["bicubic"] < 4  # embeddings have unit length
    assert all(entry["n"] == 3 and "3 images for 512 dimensions" in entry["note"] for entry in entries)
    assert "Identity Fréchet distance ↓ is biased upwards: 3 images" in report([tmp_path / "run"])
