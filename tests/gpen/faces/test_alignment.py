"""Alignment to the templates of FFHQ and of the authors' program, warping and downscaling."""

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen.faces.alignment as alignment_module
from gpen.errors import GPENError
from gpen.faces.alignment import ALIGNMENTS, FFHQ_POINTS_512, align, aligned_face, alignment_matrix, template, warp
from gpen.images import downscale

HEAD = (slice(18, 196), slice(136, 314))  # approximately FFHQ-aligned


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.05, 8), st.floats(-3.1, 3.1), st.floats(-50, 900), st.floats(-50, 900), st.sampled_from([64, 256, 512]),
    st.sampled_from([*ALIGNMENTS]),
)  # fmt: skip
def test_transformed_template_is_aligned_exactly(scale, angle, x, y, size, alignment):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ALIGNMENTS[alignment] @ turn.T + (x, y)
    matrix = alignment_matrix(points, size, alignment)
    expected = (ALIGNMENTS[alignment] + 0.5) * size / 512 - 0.5
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], expected, atol=1e-6 * size)
    assert np.allclose(matrix[:, :2] @ matrix[:, :2].T, (size / 512 / scale) ** 2 * np.eye(2))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=10, max_size=10), st.floats(-1, 1), st.floats(-1, 1))
def test_alignment_is_the_least_squares_solution(noise, a, b):
    points = FFHQ_POINTS_512 + 20 * np.reshape(noise, (5, 2))
    best = alignment_matrix(points, 512)

    def error(matrix):
        return ((points @ matrix[:, :2].T + matrix[:, 2] - FFHQ_POINTS_512) ** 2).sum()

    other = best + 0.01 * np.array([[a, -b, 0], [b, a, 0]]) + [[0, 0, a], [0, 0, b]]
    assert error(best) <= error(other) + 1e-6


@pytest.mark.parametrize(("alignment", "eyes"), [("ffhq", 126), ("gpen", 107)])
def test_distance_of_the_eyes_at_512_px(alignment, eyes):
    left, right = template(512, alignment)[:2]
    assert np.linalg.norm(right - left) == pytest.approx(eyes, abs=0.5)
    assert np.linalg.norm(np.diff(template(128, alignment)[:2], axis=0)) == pytest.approx(eyes / 4, abs=0.15)


def test_template_of_the_authors_program():
    """Five points in 96 x 112 px: widened to a square, a margin of 0.25 of the side on each side, scaled to 512 px."""
    points = np.array([(30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)])
    square = points + ((112 - 96) / 2, 0)
    padded = square + 0.25 * 112
    assert np.allclose(template(512, "gpen"), padded * 512 / (112 * 1.5), atol=1e-3)


def test_unknown_alignment_raises_an_error(astronaut):
    with pytest.raises(GPENError, match="one of ffhq, gpen; got 'dlib'"):
        align(astronaut, FFHQ_POINTS_512, 64, "dlib")


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_aligning_an_aligned_face_is_the_identity(astronaut, alignment):
    head = cv2.resize(astronaut[HEAD], (256, 256), interpolation=cv2.INTER_AREA)
    face = aligned_face(head, alignment)
    crop, matrix = align(head, face.landmarks, 256, alignment)
    assert np.allclose(matrix, np.eye(2, 3), atol=1e-5) and np.array_equal(crop, head)
    assert aligned_face(np.empty((100, 300, 3), np.uint8)).box == (100, 0, 200, 100)


def test_downscaling_is_antialiased():
    checks = np.indices((800, 800)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    crop, _ = align(image, aligned_face(image).landmarks @ [[0, 1], [-1, 0]] + (799, 0), 64)  # rotated, downscaled 12 times
    assert np.abs(crop.astype(int) - 127).max() < 12


def test_border_is_reflected(astronaut):
    head = aligned_face(np.empty((64, 64, 3), np.uint8)).landmarks
    image = np.tile(np.arange(40, 168, 2, dtype=np.uint8)[None, :, None], (64, 1, 3))  # brighter to the right
    crop, _ = align(np.ascontiguousarray(image[:, 20:]), head - (20, 0), 64)
    assert np.array_equal(crop[:, 20:], image[:, 20:]) and np.array_equal(crop[:, :20], image[:, 40:20:-1])


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_degenerate_landmarks_raise_an_error(points, astronaut):
    with pytest.raises(GPENError, match="five different points"):
        align(astronaut, points, 64)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 128))
def test_downscale_keeps_the_aspect_ratio_and_never_enlarges(h, w, longest):
    result = downscale(np.zeros((h, w, 3), np.uint8), longest)
    assert max(result.shape[:2]) == min(longest, max(h, w)) and min(result.shape[:2]) >= 1


@pytest.mark.parametrize("times", [0.2, 0.25, 0.5, 3.0])
def test_warp_and_inverse_do_not_shift(times):
    image = np.zeros((100, 100, 3), np.uint8)
    image[35:52, 41:66] = 240
    matrix = np.array([[times, 0, (times - 1) / 2], [0, times, (times - 1) / 2]])
    there = warp(image, matrix, (round(100 * times),) * 2, cv2.BORDER_REPLICATE)
    back = warp(there, cv2.invertAffineTransform(matrix), (100, 100), cv2.BORDER_REPLICATE)
    y, x = np.indices((100, 100))
    middles = [(np.average(x, weights=i[..., 0]), np.average(y, weights=i[..., 0])) for i in (image, back)]
    assert np.allclose(*middles, atol=0.2)  # OpenCV interpolates at 1/32 px of the smaller image


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.3, 5), st.floats(-3.1, 3.1), st.floats(0, 119), st.floats(0, 59), st.integers(0, 99),
    st.sampled_from([cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT]),
)  # fmt: skip
def test_the_crop_of_a_very_wide_image_gives_the_same_warp(scale, angle, x, y, seed, border):
    image = np.random.default_rng(seed).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    image = cv2.resize(image, (120, 60), interpolation=cv2.INTER_CUBIC)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.concatenate([turn, (16 - turn @ (x, y))[:, None]], axis=1)  # (x, y) is in the middle of 32 x 32 px
    whole = warp(image, matrix, (32, 32), border)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment_module, "_within_limit", limited(100))
        cropped = warp(image, matrix, (32, 32), border)
    assert np.abs(whole.astype(int) - cropped).max() <= 3 and np.abs(whole.astype(int) - cropped).mean() < 0.1


def limited(most):
    """`_within_limit` for a smaller limit."""
    original = alignment_module._within_limit

    def crop(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alignment_module, "MAX_WARPED", most)
            return original(*arguments)

    return crop


@pytest.mark.parametrize(("h", "w"), [(64, 33000), (33000, 64), (64, 32768)])
def test_a_face_in_a_photo_beyond_the_limit_of_opencv_is_aligned(astronaut, h, w):
    photo = np.full((h, w, 3), 90, np.uint8)
    x, y = (w - 70, 0) if w > h else (0, h - 70)
    photo[y : y + 64, x : x + 64] = cv2.resize(astronaut[HEAD], (64, 64), interpolation=cv2.INTER_AREA)
    points = (template(64) + (x, y)).astype(np.float32)
    crop, matrix = align(photo, points, 64)
    assert np.abs(crop.astype(int) - photo[y : y + 64, x : x + 64]).mean() < 5
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], template(64), atol=0.1), "the matrix is that from the photo"
