"""Photos for the tests of the tabs."""

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def couple(tmp_path_factory):
    """A photo with two faces, the larger one on the right."""
    head = skimage.data.astronaut()[18:196, 136:314]
    image = np.full((260, 420, 3), 120, np.uint8)
    image[60:180, 20:140] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    image[40:218, 200:378] = head
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    Image.fromarray(image).save(path)
    return path
