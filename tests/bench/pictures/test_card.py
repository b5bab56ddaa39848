"""bench.pictures.card: the pictures are written, and the samples are those of the command line."""

import cv2
import pytest

import gpen
from bench.pictures import card
from gpen.cli import main
from gpen.images import read_image
from gpen.models.checkpoints import ASSETS
from gpen.training.ablation import VARIANTS


@pytest.mark.slow
def test_pictures_of_the_card(tmp_path, capsys):
    assert card.main(["--out", str(tmp_path)]) == 0
    assert [line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()] == ["failures.png", "prior-samples.png"]
    for name in ("failures", "prior-samples"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).shape == cv2.imread(str(ASSETS / f"{name}.png")).shape


def test_picture_of_the_variants_has_each_for_each_face(tmp_path):
    config = gpen.GPENConfig(size=32, narrow=0.0625, style_dim=64, mapping_layers=2)
    for name in VARIANTS:
        for seed in (0, 1):
            gpen.save(gpen.GPEN(config), tmp_path / f"{name}-{seed}.safetensors")
    images = card.variants(tmp_path)
    columns = ["truth", "input", *(name.removeprefix("gpen-") for name in VARIANTS)]
    assert list(images) == [f"{name} {row}" for row in (1, 2) for name in columns]
    first = gpen.Restorer(gpen.load(tmp_path / "gpen-wo-ft-0.safetensors"))
    assert (images["wo-ft 2"] == first.face(images["input 2"]).image).all()


@pytest.mark.parametrize("psi", card.TRUNCATIONS)
def test_prior_samples_are_those_of_the_command(psi, tmp_path):
    main(f"sample prior-64 --count {card.SAMPLES_IN_A_ROW} --truncation {psi} --out {tmp_path}".split())
    images = card.prior_samples()
    for k in range(1, card.SAMPLES_IN_A_ROW + 1):
        assert (images[f"{k}, truncation {psi:g}"] == read_image(tmp_path / f"face-{k:02d}.png")).all()
