"""bench.metrics.conventions: own scores without other libraries, averages, and missing images."""

import math

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from bench.metrics import conventions
from gpen.errors import GPENError
from gpen.images import write_image


@pytest.fixture
def folders(tmp_path):
    sharp = cv2.resize(astronaut()[:220, 110:330], (128, 128), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2)
    for name in ("a", "b"):
        write_image(tmp_path / "truth" / f"{name}.png", sharp)
    write_image(tmp_path / "restored" / "a.png", blurred)
    write_image(tmp_path / "restored" / "b.png", cv2.GaussianBlur(blurred, (0, 0), 3))
    return tmp_path / "restored", tmp_path / "truth"


def test_means_over_images(folders, capsys, monkeypatch):
    for library in ("_basicsr", "_piq", "_pyiqa"):

        def missing(library=library):
            raise ImportError(f"No module named {library}")

        monkeypatch.setattr(conventions, library, missing)
    assert conventions.main(["--restored", str(folders[0]), "--truth", str(folders[1])]) == 0
    out, left_out = capsys.readouterr()
    found = {line[:45].strip(): float(line[45:]) for line in out.splitlines()}
    assert left_out.count("left out: No module named") == 3 and len(found) == 6
    images = [cv2.imread(str(folders[0] / f"{name}.png")).astype(float) for name in "ab"]
    errors = [((image - cv2.imread(str(folders[1] / "a.png"))) ** 2).mean() for image in images]
    assert found["PSNR, this project, psnr"] == pytest.approx(np.mean([10 * math.log10(255**2 / e) for e in errors]), abs=1e-4)
    assert found["PSNR of the mean squared error of all images"] == pytest.approx(
        10 * math.log10(255**2 / np.mean(errors)), abs=1e-4
    )


def test_missing_truth(folders, capsys):
    (folders[1] / "b.png").unlink()
    with pytest.raises(GPENError, match="--truth has no image b"):
        conventions.compare_folders(*folders)
    assert conventions.main(["--restored", str(folders[0]), "--truth", str(folders[1])]) == 2
    assert "error: --truth has no image b" in capsys.readouterr().err
