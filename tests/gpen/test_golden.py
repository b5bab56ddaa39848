"""Parity with the published networks: outputs for deterministic weights in the published layout."""

import numpy as np
import pytest
import torch

import gpen
from tests.gpen import golden

pytestmark = pytest.mark.skipif(not golden.FOLDER.is_dir(), reason=f"no golden vectors at {golden.FOLDER}")


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_outputs(name, tmp_path):
    spec = golden.case(name)
    torch.save(golden.weights(spec), tmp_path / "net.pth")
    load = gpen.load_discriminator if spec["kind"] == "disc" else gpen.load
    net = load(tmp_path / "net.pth")
    y = net(golden.images(spec)).numpy()
    reference = np.load(golden.FOLDER / f"{name}.npz")
    expected = reference["output"]
    if spec["kind"] != "disc":
        np.testing.assert_allclose(y.mean((0, 2, 3)), reference["mean"].reshape(-1), atol=1e-4 * np.abs(expected).max())
        stride = int(reference["stride"])
        y = y[..., ::stride, ::stride]
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["tiny-64", "noise-add-64", "sr-64-to-256", "disc-256"])
def test_published_layout_round_trip(name, tmp_path):
    spec = golden.case(name)
    state = golden.weights(spec)
    torch.save({"g_ema": state, "d": state}, tmp_path / "net.pth")
    load = gpen.load_discriminator if spec["kind"] == "disc" else gpen.load
    back = gpen.to_published(load(tmp_path / "net.pth"))
    assert back.keys() == state.keys()
    for key, tensor in state.items():
        assert back[key].shape == tensor.shape and torch.equal(back[key], tensor), key
