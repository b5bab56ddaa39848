"""Parity with the published networks: outputs for deterministic weights in the published layout."""

import numpy as np
import pytest
import torch

import gpen
from tests.gpen.models import golden, reference

needs_shared = pytest.mark.skipif(not golden.FOLDER.is_dir(), reason=f"no golden outputs in {golden.FOLDER}")


def cases(*names: str) -> list:
    """The tiny cases of the repository and, if available, those with outputs of the published code."""
    return [*golden.TINY, *(pytest.param(name, marks=needs_shared) for name in names)]


@pytest.mark.parametrize("name", cases(*golden.CASES))
@pytest.mark.slow
def test_golden_outputs(name, tmp_path):
    spec = golden.case(name)
    torch.save(golden.weights(spec), tmp_path / "net.pth")
    load = gpen.load_discriminator if spec["kind"] == "disc" else gpen.load
    net = load(tmp_path / "net.pth")
    y = net(golden.images(spec)).numpy()
    stored = np.load(golden.folder(name) / f"{name}.npz")
    expected = stored["output"]
    if spec["kind"] != "disc":
        np.testing.assert_allclose(y.mean((0, 2, 3)), stored["mean"].reshape(-1), atol=1e-4 * np.abs(expected).max())
        stride = int(stored["stride"])
        y = y[..., ::stride, ::stride]
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_published_discriminator_uses_the_standard_deviation_of_the_whole_batch(tmp_path):
    spec = golden.case("tiny-disc")
    state = golden.weights(spec)
    torch.save(state, tmp_path / "net.pth")
    x = torch.cat([golden.images(spec), golden.images(spec | {"salt": 9})])  # [8, 3, size, size]
    gpen.save(gpen.load_discriminator(tmp_path / "net.pth"), tmp_path / "net.safetensors")
    for path in (tmp_path / "net.pth", tmp_path / "net.safetensors"):
        net = gpen.load_discriminator(path)
        for n in (1, 6, 8):
            torch.testing.assert_close(net(x[:n]), reference.discriminator(state, x[:n]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", cases("tiny-64", "noise-add-64", "sr-64-to-256", "disc-256"))
def test_published_layout_round_trip(name, tmp_path):
    spec = golden.case(name)
    state = golden.weights(spec)
    torch.save({"g_ema": state, "d": state}, tmp_path / "net.pth")
    load = gpen.load_discriminator if spec["kind"] == "disc" else gpen.load
    back = gpen.to_published(load(tmp_path / "net.pth"))
    assert back.keys() == state.keys()
    for key, tensor in state.items():
        assert back[key].shape == tensor.shape and torch.equal(back[key], tensor), key


@needs_shared
@pytest.mark.parametrize("name", ["tiny-64", "noise-add-64", "disc-256"])
@pytest.mark.slow
def test_reference_implementation_matches_the_published_code(name):
    spec, stored = golden.case(name), np.load(golden.folder(name) / f"{name}.npz")
    y = reference.output(spec)
    stride = 1 if spec["kind"] == "disc" else int(stored["stride"])
    expected = stored["output"]
    y = y if spec["kind"] == "disc" else y[..., ::stride, ::stride]
    assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()
