"""Scores during training: definitions, equality over calls, and what a run writes down."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import gpen
from gpen.errors import GPENError
from gpen.models.checkpoints import read_metadata
from gpen.training.config import FinetuneConfig, PriorConfig, ProjectedConfig, ValidationConfig
from gpen.training.data.dataset import list_images
from gpen.training.data.fingerprints import CHOSEN_ON, TRAINED_ON, fingerprint, split_fingerprints
from gpen.training.finetune import finetune
from gpen.training.monitoring.frechet import frechet_distance
from gpen.training.monitoring.validation import PriorValidation, RestorationValidation
from gpen.training.prior import train_prior
from gpen.training.runtime.parallel import Distributed

NETWORK = gpen.GPENConfig(size=128, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)
CPU = Distributed("cpu")


@pytest.fixture
def held_out(tmp_path):
    """A folder of four images of coloured noise, smooth enough to survive a degradation."""
    folder = tmp_path / "held-out"
    folder.mkdir()
    for k in range(4):
        noise = np.random.default_rng(k).integers(0, 256, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(noise, (128, 128), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture
def config(held_out, squeezenet_file):
    return FinetuneConfig(
        network=NETWORK,
        degradations={"downsample": 1.0, "codeformer-2": 1.0},
        projected=ProjectedConfig(str(squeezenet_file)),
        validation=ValidationConfig(str(held_out), images=4, interval=8),
    )


def test_network_that_returns_its_input_scores_as_bilinear_does(config):
    scores, grids = RestorationValidation(config, CPU)(nn.Identity())
    for preset in config.degradations:
        assert scores[f"{preset}/squeezenet_ratio"] == pytest.approx(1)
        assert scores[f"{preset}/squeezenet_fd_ratio"] == pytest.approx(1)
        assert 0 < scores[f"{preset}/sharpness"] < 1
    assert [row.shape for row in grids["val-downsample"]] == [(4, 3, 128, 128)] * 3


def test_better_network_has_better_scores_and_the_true_image_has_the_best(config):
    validation = RestorationValidation(config, CPU)

    class Blend(nn.Module):
        """Mean of the input and the true image, by looking the input up."""

        def __init__(self, share):
            super().__init__()
            self.share = share

        def forward(self, x):
            for inputs, _, targets in validation.presets.values():
                found = [k for k in range(len(inputs)) if torch.equal(inputs[k], x[0])]
                if found:
                    return x + self.share * (targets[found[0] : found[0] + len(x)] - x)

    half, whole = (validation(Blend(share))[0] for share in (0.5, 1.0))
    for preset in config.degradations:
        assert half[f"{preset}/squeezenet_ratio"] < 1
        assert whole[f"{preset}/squeezenet"] == pytest.approx(0, abs=1e-6)
        assert whole[f"{preset}/sharpness"] == pytest.approx(1)
        assert whole[f"{preset}/psnr"] > half[f"{preset}/psnr"]
    assert half == validation(Blend(0.5))[0]


def test_frechet_distance_of_normal_distributions():
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, (20_000, 3)), random.normal([3, 0, 0], [2, 1, 1], (20_000, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(9 + 1, rel=0.05)


@pytest.mark.slow
def test_runs_write_scores_and_grids(config, squeezenet_file, faces, tmp_path):
    small = {"total_images": 8, "batch_size": 4, "workers": 0, "allow_upscaled": True}
    finetune(faces, tmp_path / "gpen", dataclasses.replace(config, **small))
    prior = PriorConfig(
        network=NETWORK, projected=config.projected, validation=config.validation, path_length_weight=0.0, **small
    )
    train_prior(faces, tmp_path / "prior", prior)
    files = list_images(config.validation.data)
    for stage, name, grid in (("gpen", "downsample/psnr", "val-downsample"), ("prior", "diversity", "sheet")):
        notes = read_metadata(tmp_path / stage / f"{stage}.safetensors")
        assert split_fingerprints(notes[CHOSEN_ON]) == set(map(fingerprint, files)) and len(files) == 4
        assert split_fingerprints(notes[TRAINED_ON]) == set(map(fingerprint, list_images(faces)))
        records = [json.loads(line) for line in (tmp_path / stage / "log.jsonl").read_text().splitlines()]
        assert any(name in record for record in records)
        assert (tmp_path / stage / "grids" / f"{grid}-00000008.png").is_file()


def test_diversity_is_zero_for_equal_samples(config, squeezenet_file):
    settings = PriorConfig(network=NETWORK, projected=config.projected, validation=config.validation)
    validation = PriorValidation(settings, CPU)
    net = gpen.Generator(NETWORK).requires_grad_(False)
    varied = validation(net)[0]
    net.mapping[-1].weight.zero_()
    same = validation(net)[0]
    assert same["diversity"] < varied["diversity"]
    assert validation(net)[0] == same


def test_missing_embedding_is_an_error(config):
    settings = dataclasses.replace(config.validation, embedding="nowhere.onnx")
    with pytest.raises(GPENError, match="There is no face embedding nowhere.onnx"):
        RestorationValidation(dataclasses.replace(config, validation=settings), CPU)
