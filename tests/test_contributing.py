"""The examples in CONTRIBUTING.md are short, run, and register working entries."""

import re

import numpy as np
import pytest
import torch

import gpen
from eval.data.lq_sets import Sample
from eval.methods.registry import METHODS, load_method
from eval.metrics.registry import METRICS, compare
from gpen.degradation.presets import PRESETS
from gpen.models.blocks import BLOCKS
from tests import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MAX_LINES = 20


def example(heading: str) -> str:
    return re.search(rf"## {heading}\n.*?```python\n(.*?)```", PAGE, re.S).group(1)


@pytest.fixture
def make():
    """Run the example under a heading; the registries are restored after the test."""
    registries = METHODS, METRICS, PRESETS, BLOCKS
    before = [dict(registry) for registry in registries]
    yield lambda heading: exec(example(heading), {"__name__": "example"})
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("heading", ["Add a method", "Add a metric", "Add a preset", "Add a GAN block"])
def test_example_is_short(heading):
    lines = [line for line in example(heading).splitlines() if line.strip()]
    assert len(lines) < MAX_LINES


def test_new_method_restores(make):
    make("Add a method")
    face = np.zeros((64, 64, 3), np.uint8)
    face[:, 32:] = 200
    (result,) = load_method("sharpened").restore([Sample("a", face[::2, ::2], None, None)], 64)
    assert result.shape == (64, 64, 3)
    edge = result[32, :, 0].astype(int)
    assert edge.max() > 200 and edge.min() == 0  # sharpening overshoots at edges


def test_new_metric_measures(make):
    make("Add a metric")
    a, b = np.full((16, 16, 3), 10, np.uint8), np.full((16, 16, 3), 13, np.uint8)
    assert compare(a, b, ["mae"]) == {"mae": 3.0}


def test_new_preset_is_sampled(make):
    make("Add a preset")
    drawn = [gpen.Degradation.sample("phone", seed=seed, size=256) for seed in range(40)]
    assert all(30 <= d.jpeg_quality <= 70 and 0.25 <= d.blur_sigma <= 1.5 for d in drawn)
    assert {d.blur_kind for d in drawn} == {"isotropic", "motion"}
    assert drawn[0](np.zeros((256, 256, 3), np.uint8)).ndim == 3


@pytest.mark.parametrize("noise_mode", ["concat", "add", "none"])
def test_new_block_trains_and_saves(make, tmp_path, noise_mode):
    make("Add a GAN block")
    torch.manual_seed(0)
    config = gpen.GPENConfig(
        size=32, narrow=0.0625, channel_multiplier=1, style_dim=32, mapping_layers=2, block="plain", noise_mode=noise_mode
    )
    net, x = gpen.GPEN(config), torch.rand(2, 3, 32, 32)
    y = net(x)
    assert y.shape == (2, 3, 32, 32)
    y.square().mean().backward()
    assert all(layer.conv.weight.grad.abs().sum() > 0 for block in net.generator.blocks for layer in block.layers)
    gpen.save(net, tmp_path / "plain.safetensors")
    assert torch.allclose(gpen.load(tmp_path / "plain.safetensors")(x), net(x), atol=1e-5)


@pytest.mark.parametrize("command", re.findall(r"^    make (\w+)", PAGE, re.M))
def test_makefile_has_every_listed_command(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.M)


def test_changelog_names_current_version():
    assert f"\n## {gpen.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
