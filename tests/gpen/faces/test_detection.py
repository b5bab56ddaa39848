"""Face detection at any size and rotation."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.errors import GPENError
from gpen.faces.alignment import template
from gpen.faces.detection import CONFIRMED, RESCORE_SIZES, Detector, load_detector, rescores
from tests import ROOT, SHARED

COUNTS = {  # number of faces, counted manually
    "group/solvay_1927.png": 29, "group/cf_00.jpg": 4, "group/cf_01.jpg": 4, "group/cf_02.png": 4, "group/cf_03.jpg": 1,
    **{f"cropped/cf_{name}.png": 1 for name in (
        "0143", "0240", "0342", "0345", "0368", "0412", "0444", "0478", "0500", "Solvay_conference_1927_0018",
    )},
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


@pytest.mark.slow
def test_face_and_landmarks_are_detected(detect, astronaut):
    (face,) = detect(astronaut)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 4 and face.landmarks.dtype == np.float32
    x0, y0, x1, y1 = face.box
    assert 0.9 < face.score <= 1 and x0 < ASTRONAUT[:, 0].min() and x1 > ASTRONAUT[:, 0].max() and y1 - y0 > 80


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.slow
def test_rotated_photo(detect, astronaut, turns):
    (face,) = detect(np.ascontiguousarray(np.rot90(astronaut, turns)))
    assert np.abs(face.landmarks - rotated(ASTRONAUT, turns, astronaut.shape)).max() < 5
    assert detect(np.ascontiguousarray(np.rot90(astronaut, turns)), rotated=False) == [] or turns == 2


@pytest.mark.parametrize(("turns", "side"), [(1, 256), (3, 128), (2, 64), (1, 40)])
@pytest.mark.slow
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


@pytest.mark.slow
def test_faces_of_20_and_1024_px(detect, astronaut):
    photo, small = skimage.data.coffee(), cv2.resize(astronaut[HEAD], (33, 33), interpolation=cv2.INTER_AREA)
    photo[300:333, 40:73] = small
    (face,) = detect(photo)
    assert face.box[3] - face.box[1] < 24
    assert np.abs(face.landmarks - ((ASTRONAUT - (136, 18) + 0.5) * 33 / 178 - 0.5 + (40, 300))).max() < 1.5
    large = cv2.resize(astronaut[HEAD], (1024, 1024), interpolation=cv2.INTER_CUBIC)
    (face,) = detect(large)
    assert np.abs(face.landmarks - ((ASTRONAUT - (136, 18) + 0.5) * 1024 / 178 - 0.5)).max() < 25


@pytest.mark.slow
def test_faces_are_sorted_by_size(detect, astronaut):
    head = astronaut[HEAD]
    photo = np.full((200, 420, 3), 128, np.uint8)
    for side, x in ((60, 10), (178, 90), (100, 290)):
        photo[10 : 10 + side, x : x + side] = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    assert [int(face.landmarks[2, 0]) // 100 for face in detect(photo)] == [1, 3, 0]


@pytest.mark.slow
def test_face_cut_by_the_image_border(detect, astronaut):
    (face,) = detect(np.ascontiguousarray(astronaut[80:]))  # through the forehead
    assert np.abs(face.landmarks + (0, 80) - ASTRONAUT).max() < 5


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
@pytest.mark.slow
def test_photo_without_faces(detect, name):
    assert detect(getattr(skimage.data, name)()) == []


def shirt(kind, period):
    """Texture, uint8 RGB [150, 150, 3], with the period in px: houndstooth, dots, or buttons placed like eyes and a mouth."""
    y, x = np.mgrid[:150, :150]
    dot = lambda cx, cy, r: (x % period - cx * period) ** 2 + (y % period - cy * period) ** 2 < (r * period) ** 2  # noqa: E731
    mouth = (abs(x % period - 0.5 * period) < 0.23 * period) & (abs(y % period - 0.73 * period) < 0.04 * period)
    half = period // 2
    dark = {
        "houndstooth": ((x // half + y // half) % 2) ^ ((x + y) // half % 2),
        "dots": dot(0.5, 0.5, 0.25),
        "buttons": dot(0.33, 0.33, 0.11) | dot(0.67, 0.33, 0.11) | mouth,
    }[kind]
    return np.repeat(np.where(dark, 40, 190).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("period", [18, 27, 48])
@pytest.mark.parametrize("kind", ["houndstooth", "dots", "buttons"])
def test_patterns_of_clothes_are_no_faces(detect, kind, period):
    assert detect(shirt(kind, period)) == []


@settings(max_examples=8, deadline=None)
@given(h=st.integers(1, 90), w=st.integers(1, 90), seed=st.integers(0, 99))
def test_no_detections_in_noise_of_any_size(detect, h, w, seed):
    assert detect(np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)) == []


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), "a.png"])
def test_invalid_photo_raises_an_error(detect, image):
    with pytest.raises(GPENError, match="RGB"):
        detect(image)


@pytest.mark.slow
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


def points_of_a_face(side, x=0.0, y=0.0):
    """Box corners and landmarks [7, 2] of an upright face with a box of `side` px."""
    return np.concatenate([[(0, 0), (side, side)], template(256) * side / 140 - 0.4 * side]) + (x, y)


@pytest.mark.parametrize(
    ("upright", "mirrored", "found"),
    [(0.97, 0.97, False), (0.95, 0.0, False), (0.97, 0.99, True), (0.99, 0.0, True), (0.0, 0.99, False), (1.0, 1.0, True)],
)
def test_an_uncertain_detection_must_be_confirmed_by_one_of_its_views(upright, mirrored, found):
    image = np.zeros((120, 120, 3), np.uint8)
    image[:, :60] = 200  # the left half is bright, unless the view is mirrored

    def network(view):
        side = len(view) // 3
        if side not in RESCORE_SIZES:  # the whole photo, with a pattern taken for a face
            return points_of_a_face(22, 64, 64)[None], np.array([0.95])
        score = upright if view[:, 0].mean() > view[:, -1].mean() else mirrored
        return points_of_a_face(side, side, side)[None], np.array([score])

    expected = [upright] * 3 if max(upright, mirrored) >= CONFIRMED else [0] * 3
    assert rescores(network, image, points_of_a_face(22, 48, 48)) == expected
    detector = Detector(network, 0.8, 0.999, rescore=lambda *arguments: rescores(network, *arguments))
    assert bool(detector(image, rotated=False)) == found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("group/solvay_1927.png", 2.0), ("group/solvay_1927.png", 2.5)])
def test_patterns_in_enlarged_photos_are_no_faces(detect, name, scale):
    path = SHARED / "photos" / name
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    photo = cv2.resize(cv2.imread(str(path)), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    assert len(detect(photo[..., ::-1].copy(), rotated=False)) == COUNTS[name]


@pytest.mark.slow
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


@pytest.mark.slow
def test_import_does_not_load_the_detector():
    code = "import sys, gpen; print(any(name in sys.modules for name in ('facenet_pytorch', 'torchvision')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout.strip() == "False"
