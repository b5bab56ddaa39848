"""eval.metrics.vqfr.lmd: landmarks of heatmaps, the distance on random weights, coordinates, and invalid files."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.registry import load_metrics
from eval.metrics.vqfr.lmd import CoordConv, LandmarkNet, peaks
from eval.metrics.weights import MetricSettings
from tests.eval.metrics.vqfr.test_deg import randomised


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two hourglasses instead of four."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("wflw") / "alignment_WFLW_4HG.pth"
    torch.save({"state_dict": randomised(LandmarkNet(2)).state_dict()}, path)
    return path


def test_distance_is_the_mean_displacement(file, face_pair):
    blurred, sharp = face_pair
    functions, missing = load_metrics(["lmd"], MetricSettings(lmd_weights=str(file)))
    assert not missing
    distance, none = functions["lmd"]([blurred, sharp], [sharp, sharp])
    a, b = functions["lmd"].points([blurred, sharp])
    assert a.shape == (98, 2) and 0 < a.min() and a.max() < 128
    assert none == 0 and distance == pytest.approx(np.sqrt(((a - b) ** 2).sum(axis=1)).mean())


def test_landmarks_are_in_px_of_the_image(file, face_pair):
    functions, _ = load_metrics(["lmd"], MetricSettings(lmd_weights=str(file)))
    face = cv2.resize(face_pair[1], (256, 256))
    large = face.repeat(2, axis=0).repeat(2, axis=1)  # the input of the network is the same
    small_points, large_points = functions["lmd"].points([face])[0], functions["lmd"].points([large])[0]
    assert large_points == pytest.approx(2 * small_points)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 62), st.integers(1, 62), st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1]))
def test_peak_is_moved_towards_the_larger_neighbour(x, y, right, down):
    heatmap = np.zeros((1, 64, 64))
    heatmap[0, y, x] = 1
    heatmap[0, y, x + right] += 0.5
    heatmap[0, y + down, x] += 0.5
    heatmap[0, y, x] = 2
    ((found_x, found_y),) = peaks(heatmap)
    assert (found_x, found_y) == (x + 0.5 + 0.25 * right, y + 0.5 + 0.25 * down)


@pytest.mark.parametrize("corner", [(0, 0), (63, 63)])
def test_peak_in_a_corner(corner):
    heatmap = np.zeros((1, 64, 64))
    heatmap[0][corner] = 1
    assert abs(peaks(heatmap)[0] - np.array(corner) - 0.5).max() <= 0.25


def test_coordinates_of_a_convolution():
    """One channel per added plane: rows, columns, radius, and the first two on the boundary."""
    layer = CoordConv(6, 5, 1)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.eye(6)[1:, :, None, None])
        layer.conv.bias.zero_()
        boundary = torch.zeros(1, 1, 4, 4)
        boundary[..., 0, 3] = 1
        rows, columns, radius, rows_on, columns_on = layer(torch.rand(1, 1, 4, 4), boundary)[0]
    assert rows[:, 0].tolist() == columns[0].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert radius.max() == 1 and radius[0, 0] == radius[3, 3]
    assert (rows_on[0, 3], columns_on[0, 3]) == (-1, 1) and rows_on.count_nonzero() == 1


def test_invalid_files(tmp_path):
    torch.save({"conv1.conv.weight": torch.zeros(1), "l0.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    _, missing = load_metrics(["lmd"], MetricSettings(lmd_weights=str(tmp_path / "weights.pth")))
    assert "is not alignment_WFLW_4HG.pth" in missing["lmd"]
    _, missing = load_metrics(["lmd"], MetricSettings(lmd_weights=""))
    assert "--lmd-weights FILE" in missing["lmd"]
