"""Diversity of variations: distances of pairs, missing metrics, the command and its errors."""

import itertools

import numpy as np
import pytest
import torch

import gpen
from eval.__main__ import main
from eval.benchmark import diversity
from eval.benchmark.diversity import RMS, measure_diversity
from eval.data.faces import Faces
from eval.data.lq_sets import degradation_for
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.images import resize_to
from gpen.restoration.variations import Variations, rms, vary


@pytest.fixture(scope="module")
def net() -> gpen.GPEN:
    """Random weights with nonzero noise scales, so that the features have an effect."""
    torch.manual_seed(0)
    net = gpen.GPEN(gpen.GPENConfig(size=64, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2))
    for name, value in net.requires_grad_(False).named_parameters():
        if name.endswith("noise_scale"):
            value.fill_(0.5)
    return net


@pytest.fixture(scope="module")
def faces(faces_folder) -> Faces:
    return Faces.open(faces_folder, 64, limit=2)


def means(found: diversity.Diversity, measure: str) -> dict[str, float]:
    return {entry.method: entry.mean for entry in found.entries if entry.metric == measure}


def test_distances_are_means_over_pairs_and_faces(net, faces):
    found = means(measure_diversity(net, faces, "fsr4", 3, seed=5, settings=MetricSettings("", "")), RMS)
    pairwise, to_truth, truths = [], [], []
    for name in faces.names:
        image = resize_to(degradation_for("fsr4", name, 64, 5)(faces.load(name)), 64)
        plain = gpen.Restorer(net).face(image, strength=1).image
        images = vary(net, image, plain, 3, 5).images
        pairwise.append(np.mean([rms(a, b) for a, b in itertools.combinations(images, 2)]))
        to_truth.append(rms(plain, faces.load(name)))
        truths.append(faces.load(name))
    assert found["two variations"] == pytest.approx(np.mean(pairwise)) and np.mean(pairwise) > 0
    assert found["default, ground truth"] == pytest.approx(np.mean(to_truth))
    assert found["two people"] == pytest.approx(rms(*truths))


def test_equal_variations_have_no_distance(net, faces, monkeypatch):
    monkeypatch.setattr(diversity, "vary", lambda net, image, plain, n, seed: Variations([plain] * n, plain, [30.0] * n, 30.0))
    found = measure_diversity(net, faces, "fsr4", 2, settings=MetricSettings("", ""))
    values = means(found, RMS)
    assert values["two variations"] == values["variation, default"] == 0 and found.fits == (30, 30)
    assert values["variation, ground truth"] == values["default, ground truth"] > 0


def test_the_command_prints_a_table_and_what_is_missing(net, faces_folder, squeezenet_npz, tmp_path, capsys):
    gpen.save(net, tmp_path / "net.safetensors")
    options = f"diversity --data {faces_folder} --limit 2 --variations 2 --task fsr4 --model {tmp_path / 'net.safetensors'}"
    assert main([*options.split(), "--squeezenet", str(squeezenet_npz), "--identity-model", ""]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert "SqueezeNet distance ↓ †" in rows[0] and "Identity" not in rows[0] and len(rows) == 2 + 5
    assert "2 variations of 2 faces" in printed and "Seen in training" in printed and "Only 2 images" in printed
    assert "The identity metrics need a face embedding" in printed


def test_one_face_is_not_compared_with_another(net, faces_folder):
    found = measure_diversity(net, Faces.open(faces_folder, 64, limit=1), "fsr4", 2, settings=MetricSettings("", ""))
    assert "two people" not in means(found, RMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--task wild", "wild has no degradation that is known"),
        ("--task fsr3", "Unknown task 'fsr3'"),
        ("--variations 1", "at least 2 variations; got 1"),
        ("--variations 65", "n from 1 to 64"),
        ("--limit 0", "--limit 0 selects no image"),
    ],
)
def test_invalid_options_are_errors(options, message, net, faces_folder, tmp_path, capsys):
    gpen.save(net, tmp_path / "net.safetensors")
    command = f"diversity --data {faces_folder} --model {tmp_path / 'net.safetensors'} {options}"
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().endswith(".")


def test_undegraded_tasks_are_refused(net, faces):
    with pytest.raises(GPENError, match="colorize has no degradation"):
        measure_diversity(net, faces, "colorize")
