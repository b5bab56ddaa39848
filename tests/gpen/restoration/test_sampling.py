"""Sampling from a prior: seeds, truncation, command line."""

import cv2
import numpy as np
import pytest
import torch

import gpen
from gpen.cli import main
from gpen.models.network import Generator, GPENConfig
from gpen.restoration.sampling import sample_faces


@pytest.fixture
def prior():
    torch.manual_seed(0)
    return Generator(GPENConfig(size=32, narrow=0.0625, style_dim=16, mapping_layers=2)).requires_grad_(False)


def test_samples_depend_only_on_the_seed(prior):
    first, again, others = sample_faces(prior, 3, seed=1), sample_faces(prior, 3, seed=1), sample_faces(prior, 3, seed=2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, others) and not np.array_equal(first[0], first[1])
    assert first[0].shape == (32, 32, 3) and first[0].dtype == np.uint8


def test_truncation_reduces_the_spread(prior):
    spreads = [np.std(sample_faces(prior, 6, 1, truncation, noise_seed=3), axis=0).mean() for truncation in (1.0, 0.5, 0.0)]
    assert spreads[0] > spreads[1] > spreads[2] == 0


@pytest.mark.parametrize("truncation", [-0.1, 1.5, float("nan")])
def test_invalid_truncation_raises_an_error(prior, truncation):
    with pytest.raises(gpen.GPENError, match="0 to 1"):
        sample_faces(prior, 1, truncation=truncation)


def test_sample_command(prior, tmp_path):
    gpen.save(prior, tmp_path / "prior.safetensors")
    main(["sample", str(tmp_path / "prior.safetensors"), "--count", "2", "--size", "48", "--out", str(tmp_path / "faces")])
    images = [cv2.imread(str(path)) for path in sorted((tmp_path / "faces").iterdir())]
    assert [image.shape for image in images] == [(48, 48, 3)] * 2 and not np.array_equal(*images)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--size", "1"], ["--truncation", "2"]])
def test_invalid_arguments_are_one_line_errors(prior, tmp_path, arguments, capsys):
    gpen.save(prior, tmp_path / "prior.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["sample", str(tmp_path / "prior.safetensors"), *arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
