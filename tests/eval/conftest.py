"""Faces and weights created by the tests; shared data if it is available."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from eval.data.faces import Faces
from gpen.training.losses.squeezenet import FIRES
from tests import SHARED


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory):
    """Seven 64 px crops around the astronaut's face, in several formats."""
    folder = tmp_path_factory.mktemp("faces")
    for i, suffix in enumerate(["png", "webp", "jpg", "png", "bmp", "tiff", "png"]):
        crop = astronaut()[12 * i : 12 * i + 192, 130 + 10 * i : 322 + 10 * i]
        face = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"face{i}.{suffix}"), face[..., ::-1])
    return folder


@pytest.fixture(scope="session")
def squeezenet_npz(tmp_path_factory):
    """SqueezeNet 1.1 with random weights, as the .npz of GPEN_SQUEEZENET."""
    rng, weights = np.random.default_rng(0), {}

    def conv(name, n_in, n_out, kernel):
        scale = np.sqrt(2 / (n_in * kernel * kernel))
        weights[f"{name}.weight"] = rng.normal(0, scale, (n_out, n_in, kernel, kernel)).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.1, n_out).astype(np.float32)

    conv("features.0", 3, 64, 3)
    n_in = 64
    for number, squeeze in zip(FIRES, (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        conv(f"features.{number}.squeeze", n_in, squeeze, 1)
        conv(f"features.{number}.expand1x1", squeeze, 4 * squeeze, 1)
        conv(f"features.{number}.expand3x3", squeeze, 4 * squeeze, 3)
        n_in = 8 * squeeze
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **weights)
    return path


@pytest.fixture(scope="session")
def face_pair():
    """(blurred, sharp) astronaut face, uint8 RGB [128, 128, 3]."""
    sharp = cv2.resize(astronaut()[:220, 110:330], (128, 128), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(sharp, (0, 0), 2), sharp


@pytest.fixture(scope="session")
def shared_weights():
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("the shared weights are not on this machine")
    return folder


@pytest.fixture(scope="session")
def real_faces():
    """Six real faces, uint8 RGB [256, 256, 3]."""
    folder = SHARED / "faces" / "val_real"
    if not folder.is_dir():
        pytest.skip("the shared faces are not on this machine")
    faces = Faces.open(folder, limit=6)
    return [faces.load(name) for name in faces.names]
