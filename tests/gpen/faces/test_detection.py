"""Face detection at any size and rotation, and alignment to the FFHQ template."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.errors import GPENError
from gpen.faces.alignment import FFHQ_POINTS_512, align, aligned_face, alignment_matrix, warp
from gpen.faces.detection import load_detector
from gpen.images import downscale
from tests import ROOT, SHARED

COUNTS = {  # number of faces, counted manually
    "group/solvay_1927.png": 29, "group/cf_00.jpg": 4, "group/cf_01.jpg": 4, "group/cf_02.png": 4, "group/cf_03.jpg": 1,
    "cropped/cf_0143.png": 1, "cropped/cf_0412.png": 1, "cropped/cf_Solvay_conference_1927_0018.png": 1,
}  # fmt: skip
ASTRONAUT = np.array([(205, 102), (248, 104), (226, 129), (202, 140), (246, 142)])  # eyes, nose, mouth corners, to 3 px
HEAD = (slice(18, 196), slice(136, 314))  # approximately FFHQ-aligned
YUNET = SHARED / "weights" / "face_detection_yunet_2026may.onnx"


@pytest.fixture(scope="module")
def detect():
    return load_detector()


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def rotated(points: np.ndarray, turns: int, shape) -> np.ndarray:
    """Map points [n, 2] of an image to np.rot90(image, turns)."""
    for _ in range(turns):
        points = np.stack([points[:, 1], shape[1] - 1 - points[:, 0]], axis=1)
        shape = (shape[1], shape[0])
    return points


def test_face_and_landmarks_are_detected(detect, astronaut):
    (face,) = detect(astronaut)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 4 and face.landmarks.dtype == np.float32
    x0, y0, x1, y1 = face.box
    assert 0.9 < face.score <= 1 and x0 < ASTRONAUT[:, 0].min() and x1 > ASTRONAUT[:, 0].max() and y1 - y0 > 80


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_photo(detect, astronaut, turns):
    (face,) = detect(np.ascontiguousarray(np.rot90(astronaut, turns)))
    assert np.abs(face.landmarks - rotated(ASTRONAUT, turns, astronaut.shape)).max() < 5
    assert detect(np.ascontiguousarray(np.rot90(astronaut, turns)), rotated=False) == [] or turns == 2


@pytest.mark.parametrize(("turns", "side"), [(1, 256), (3, 128), (2, 64), (1, 40)])
def test_rotated_face_next_to_an_upright_one(detect, astronaut, turns, side):
    photo, person = np.full((300, 600, 3), 120, np.uint8), astronaut[:256, 96:352]
    photo[20:276, 20:276] = person
    lying = cv2.resize(np.ascontiguousarray(np.rot90(person, turns)), (side, side), interpolation=cv2.INTER_AREA)
    photo[20 : 20 + side, 310 : 310 + side] = lying
    upright, other = sorted(detect(photo), key=lambda face: face.box[0])
    assert np.abs(upright.landmarks - ASTRONAUT - (20 - 96, 20)).max() < 5
    places = (rotated(ASTRONAUT - (96, 0), turns, person.shape) + 0.5) * side / 256 - 0.5 + (310, 20)
    assert np.abs(other.landmarks - places).max() < max(8 * side / 256, 2)
    assert len(detect(photo, rotated=None)) == len(detect(photo, rotated=False)) == 1, (
        "the video mode only searches for rotated faces if upright ones are uncertain"
    )


def test_faces_of_20_and_1024_px(detect, astronaut):
    photo, small = skimage.data.coffee(), cv2.resize(astronaut[HEAD], (33, 33), interpolation=cv2.INTER_AREA)
    photo[300:333, 40:73] = small
    (face,) = detect(photo)
    assert face.box[3] - face.box[1] < 24
    assert np.abs(face.landmarks - ((ASTRONAUT - (136, 18) + 0.5) * 33 / 178 - 0.5 + (40, 300))).max() < 1.5
    large = cv2.resize(astronaut[HEAD], (1024, 1024), interpolation=cv2.INTER_CUBIC)
    (face,) = detect(large)
    assert np.abs(face.landmarks - ((ASTRONAUT - (136, 18) + 0.5) * 1024 / 178 - 0.5)).max() < 25


def test_faces_are_sorted_by_size(detect, astronaut):
    head = astronaut[HEAD]
    photo = np.full((200, 420, 3), 128, np.uint8)
    for side, x in ((60, 10), (178, 90), (100, 290)):
        photo[10 : 10 + side, x : x + side] = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    assert [int(face.landmarks[2, 0]) // 100 for face in detect(photo)] == [1, 3, 0]


def test_face_cut_by_the_image_border(detect, astronaut):
    (face,) = detect(np.ascontiguousarray(astronaut[80:]))  # through the forehead
    assert np.abs(face.landmarks + (0, 80) - ASTRONAUT).max() < 5


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_photo_without_faces(detect, name):
    assert detect(getattr(skimage.data, name)()) == []


@settings(max_examples=8, deadline=None)
@given(h=st.integers(1, 90), w=st.integers(1, 90), seed=st.integers(0, 99))
def test_no_detections_in_noise_of_any_size(detect, h, w, seed):
    assert detect(np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)) == []


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), "a.png"])
def test_invalid_photo_raises_an_error(detect, image):
    with pytest.raises(GPENError, match="RGB"):
        detect(image)


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_faces_in_real_photos(detect, name):
    path = SHARED / "photos" / name
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    faces = detect(cv2.imread(str(path))[..., ::-1].copy())
    assert len(faces) == COUNTS[name]
    for face in faces:
        left, right, nose, *mouth = face.landmarks[:, 0]
        assert face.landmarks.shape == (5, 2) and left < right and min(left, mouth[0]) < nose < max(right, mouth[1])
        assert face.landmarks[:2, 1].max() < face.landmarks[3:, 1].min()


def test_yunet(astronaut):
    if not YUNET.is_file():
        pytest.skip(f"{YUNET} does not exist")
    detect = load_detector(YUNET)
    large = cv2.resize(astronaut[HEAD], (1024, 1024), interpolation=cv2.INTER_CUBIC)
    for image in (astronaut, large, cv2.resize(large, (2048, 2048))):
        assert len(detect(image)) == 1
    (face,) = detect(np.ascontiguousarray(np.rot90(astronaut)))
    assert np.abs(face.landmarks - rotated(ASTRONAUT, 1, astronaut.shape)).max() < 9
    assert detect(skimage.data.coffee()) == []


def test_unknown_detector_and_invalid_file_raise_an_error(tmp_path):
    (tmp_path / "wrong.onnx").write_bytes(b"not a network")
    files = {"none.onnx": "no file", "wrong.onnx": "not a YuNet"}
    for name, words in [("haar", "mtcnn or yunet"), *((tmp_path / file, words) for file, words in files.items())]:
        with pytest.raises(GPENError, match=words):
            load_detector(name)


def test_import_does_not_load_the_detector():
    code = "import sys, gpen; print(any(name in sys.modules for name in ('facenet_pytorch', 'torchvision')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout.strip() == "False"


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 8), st.floats(-3.1, 3.1), st.floats(-50, 900), st.floats(-50, 900), st.sampled_from([64, 256, 512]))
def test_transformed_template_is_aligned_exactly(scale, angle, x, y, size):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = FFHQ_POINTS_512 @ turn.T + (x, y)
    matrix = alignment_matrix(points, size)
    expected = (FFHQ_POINTS_512 + 0.5) * size / 512 - 0.5
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


def test_aligning_an_aligned_face_is_the_identity(astronaut):
    head = cv2.resize(astronaut[HEAD], (256, 256), interpolation=cv2.INTER_AREA)
    face = aligned_face(head)
    crop, matrix = align(head, face.landmarks, 256)
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
