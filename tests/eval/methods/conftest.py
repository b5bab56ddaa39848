"""Fixtures of the tests of methods."""

import cv2
import pytest
from skimage.data import astronaut

import gpen


@pytest.fixture(scope="session")
def face():
    """The astronaut's face, uint8 RGB [64, 64, 3]."""
    return cv2.resize(astronaut()[:220, 110:330], (64, 64), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def spandrel():
    gpen.compat.patch_torchvision()
    return pytest.importorskip("spandrel")
