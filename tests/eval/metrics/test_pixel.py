"""eval.metrics.pixel: PSNR equals scikit-image, SSIM equals the formula of the paper and of BasicSR."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eval.metrics.pixel import luma, ssim, ssim_uniform
from eval.metrics.registry import DEFAULT_METRICS, METRICS, compare
from gpen.errors import GPENError

# (ssim, ssim_y) of `pattern` and its damaged copies by `written_out`, computed once in float64
GOLDEN = {
    "blur": (0.950391516688, 0.941377430613),
    "noise": (0.984572213927, 0.994475009487),
    "shift": (0.550921450314, 0.546004053603),
}


def pattern():
    """uint8 RGB [40, 36, 3] with edges, texture and flat areas, made without random numbers."""
    y, x, c = np.mgrid[:40, :36, :3]
    wave = 70 * np.sin(x / 3 + c) + 50 * np.cos(y / (4 + c))
    return (128 + wave + 40 * ((x + y) % 11 < 4)).clip(0, 255).astype(np.uint8)


def damaged(kind):
    image = pattern()
    y, x, c = np.mgrid[:40, :36, :3]
    if kind == "blur":
        padded = np.pad(image.astype(int), [(1, 1), (1, 1), (0, 0)], mode="edge")
        boxes = [padded[i : i + 40, j : j + 36] for i in range(3) for j in range(3)]
        return (sum(boxes) // 9).astype(np.uint8)
    if kind == "noise":
        return (image + ((7 * y + 13 * x + 5 * c) % 17 - 8.0)).clip(0, 255).astype(np.uint8)
    return np.roll(image, 2, axis=1)


def written_out(a, b):
    """SSIM of one channel [h, w] in float64: eq. 13 of the paper as sums over each 11 x 11 window inside the image."""
    t = np.arange(-5, 6)
    w = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.5**2))
    w /= w.sum()
    a, b = (sliding_window_view(np.asarray(x, np.float64), (11, 11)) for x in (a, b))  # [h - 10, w - 10, 11, 11]
    mean_a, mean_b = ((w * x).sum((2, 3)) for x in (a, b))
    da, db = a - mean_a[..., None, None], b - mean_b[..., None, None]
    var_a, var_b, cov = ((w * x).sum((2, 3)) for x in (da * da, db * db, da * db))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top, bottom = (2 * mean_a * mean_b + c1) * (2 * cov + c2), (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return (top / bottom).mean()


def y_of(image):
    """Y of BT.601 from 16 to 235, with the coefficients of BasicSR."""
    return 16 + (65.481 * image[..., 0] + 128.553 * image[..., 1] + 24.966 * image[..., 2]) / 255.0


@pytest.mark.parametrize("kind", GOLDEN)
def test_ssim_equals_the_values_computed_by_the_written_out_formula(kind):
    image, truth = damaged(kind), pattern()
    found = compare(image, truth, ["ssim", "ssim_y"])
    assert (found["ssim"], found["ssim_y"]) == pytest.approx(GOLDEN[kind], abs=1e-6)
    formula = np.mean([written_out(image[..., c], truth[..., c]) for c in range(3)]), written_out(y_of(image), y_of(truth))
    assert formula == pytest.approx(GOLDEN[kind], abs=1e-9)


def test_the_uniform_window_is_another_metric(face_pair):
    image, truth = face_pair
    expected = structural_similarity(truth, image, channel_axis=2, data_range=255)
    assert compare(image, truth, ["ssim_uniform"])["ssim_uniform"] == expected
    assert abs(ssim(image, truth) - expected) > 1e-3
    assert "ssim" in DEFAULT_METRICS and "ssim_y" in DEFAULT_METRICS and "ssim_uniform" not in DEFAULT_METRICS
    assert "uniform" in METRICS["ssim_uniform"].title and "BasicSR" in METRICS["ssim"].library


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(11, 24), st.integers(11, 24))
def test_ssim_is_symmetric_and_at_most_1(seed, h, w):
    a, b = np.random.default_rng(seed).integers(0, 256, (2, h, w, 3), dtype=np.uint8)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12) and -1 <= ssim(a, b) < 1
    assert ssim(a, a) == pytest.approx(1) and ssim_uniform(a, a) == pytest.approx(1)


def test_ssim_of_small_images_is_reported_as_an_error():
    small = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(GPENError, match=r"at least 11 x 11 px, not 40 x 10; use larger images\."):
        compare(small, small, ["ssim"])


def test_psnr_equals_scikit_image(face_pair):
    image, truth = face_pair
    y, truth_y = rgb2ycbcr(image)[..., 0], rgb2ycbcr(truth)[..., 0]
    assert compare(image, truth, ["psnr", "psnr_y"]) == {
        "psnr": peak_signal_noise_ratio(truth, image, data_range=255),
        "psnr_y": peak_signal_noise_ratio(truth_y, y, data_range=255),
    }
    np.testing.assert_allclose(luma(image), y_of(image), atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60))
def test_psnr_of_a_constant_error(error):
    truth = np.full((32, 32, 3), 100, np.uint8)
    expected = 20 * np.log10(255 / error)
    assert compare(truth + np.uint8(error), truth, ["psnr"])["psnr"] == pytest.approx(expected)


def test_identical_images(face_pair):
    scores = compare(face_pair[1], face_pair[1], ["psnr", "ssim", "ssim_y"])
    assert scores["psnr"] == np.inf
    assert scores["ssim"] == pytest.approx(1) and scores["ssim_y"] == pytest.approx(1)
