"""The changes that CONTRIBUTING.md shows are as short as it should be, and each registers something that works."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import gpen
from eval import metrics
from eval.frozen import Sample
from eval.methods import METHODS, load_method
from gpen.blocks import BLOCKS
from gpen.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MOST_LINES = 20


def change(heading: str) -> str:
    return re.search(rf"## {heading}\n.*?```python\n(.*?)```", PAGE, re.S).group(1)


@pytest.fixture
def make():
    """Makes the change under a heading; after the test the registries are as before."""
    registries = METHODS, metrics.METRICS, PRESETS, BLOCKS
    before = [dict(registry) for registry in registries]
    yield lambda heading: exec(change(heading), {"__name__": "contributed"})
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("heading", ["A method", "A metric", "A preset", "A GAN block"])
def test_a_change_is_short(heading):
    lines = [line for line in change(heading).splitlines() if line.strip()]
    assert len(lines) < MOST_LINES


def test_a_new_method_restores(make):
    make("A method")
    face = np.zeros((64, 64, 3), np.uint8)
    face[:, 32:] = 200
    (result,) = load_method("sharpened").restore([Sample("a", face[::2, ::2], None, None)], 64)
    assert result.shape == (64, 64, 3)
    edge = result[32, :, 0].astype(int)
    assert edge.max() > 200 and edge.min() == 0  # an edge that is sharpened overshoots


def test_a_new_metric_measures(make):
    make("A metric")
    a, b = np.full((16, 16, 3), 10, np.uint8), np.full((16, 16, 3), 13, np.uint8)
    assert metrics.compare(a, b, ["mae"]) == {"mae": 3.0}


def test_a_new_preset_is_drawn_from(make):
    make("A preset")
    drawn = [gpen.Degradation.sample("phone", seed=seed, size=256) for seed in range(40)]
    assert all(30 <= d.jpeg_quality <= 70 and 0.25 <= d.blur_sigma <= 1.5 for d in drawn)
    assert {d.blur_kind for d in drawn} == {"isotropic", "motion"}
    assert drawn[0](np.zeros((256, 256, 3), np.uint8)).ndim == 3


@pytest.mark.parametrize("noise_mode", ["concat", "add", "none"])
def test_a_new_block_learns_and_is_saved(make, tmp_path, noise_mode):
    make("A GAN block")
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
def test_make_has_every_command(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.M)


def test_the_changes_name_this_version():
    assert f"\n## {gpen.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
