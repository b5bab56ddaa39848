"""Shared fixtures of the tests of gpen."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def faces(tmp_path):
    """Folder with six smooth colour images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "faces"
    folder.mkdir()
    for k in range(6):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(small, (24, 24), interpolation=cv2.INTER_CUBIC))
    return folder
