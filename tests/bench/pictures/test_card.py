"""bench.pictures.card: both pictures are written, and the samples are those of the command line."""

import cv2
import pytest

from bench.pictures import card
from gpen.cli import main
from gpen.images import read_image
from gpen.models.checkpoints import ASSETS


@pytest.mark.slow
def test_pictures_of_the_card(tmp_path, capsys):
    assert card.main(["--out", str(tmp_path)]) == 0
    assert [line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()] == ["failures.png", "prior-samples.png"]
    for name in ("failures", "prior-samples"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).shape == cv2.imread(str(ASSETS / f"{name}.png")).shape


@pytest.mark.parametrize("psi", card.TRUNCATIONS)
def test_prior_samples_are_those_of_the_command(psi, tmp_path):
    main(f"sample prior-64 --count {card.SAMPLES_IN_A_ROW} --truncation {psi} --out {tmp_path}".split())
    images = card.prior_samples()
    for k in range(1, card.SAMPLES_IN_A_ROW + 1):
        assert (images[f"{k}, truncation {psi:g}"] == read_image(tmp_path / f"face-{k:02d}.png")).all()
