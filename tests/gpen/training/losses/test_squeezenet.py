"""SqueezeNet features and LPIPS: equal to torchvision's and the lpips package's with the same weights."""

import numpy as np
import pytest
import torch

from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.training.losses.squeezenet import TAP_CHANNELS, SqueezeNet, find_weights, lpips, lpips_heads
from tests.gpen.conftest import squeezenet_weights


@pytest.fixture
def images():
    return torch.rand(2, 2, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_lpips_equals_the_lpips_package(squeezenet_file, images):
    patch_torchvision()
    package = pytest.importorskip("lpips")
    reference = package.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    own = squeezenet_weights()
    trunk = {f"features.{name.split('.', 1)[1]}": tensor for name, tensor in own.items()}
    for name, parameter in reference.net.named_parameters():
        parameter.data = trunk["features." + name.split(".", 1)[1]]  # their slices keep torchvision's numbers
    net = SqueezeNet(squeezenet_file)
    with torch.no_grad():
        expected = reference(*images).flatten()
        found = lpips(net(images[0]), net(images[1]), lpips_heads())
    assert torch.allclose(found, expected, rtol=1e-4)


def test_caffe_weights_take_bgr_in_0_255(tmp_path, images):
    weights = squeezenet_weights()
    path = tmp_path / "caffe.npz"
    np.savez(path, **{name: tensor.numpy() for name, tensor in weights.items()})
    bgr = (images[0].flip(1) + 1) * 127.5 - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    expected = torch.nn.functional.conv2d(bgr, weights["features.0.weight"], weights["features.0.bias"], stride=2).relu()
    assert torch.allclose(SqueezeNet(path)(images[0])[0], expected, atol=1e-2, rtol=1e-4)


def test_seven_features_of_frozen_weights(squeezenet_file, images):
    net = SqueezeNet(squeezenet_file)
    features = net(images[0])
    assert tuple(f.shape[1] for f in features) == TAP_CHANNELS
    assert [f.shape[-1] for f in features] == [63, 31, 15, 7, 7, 7, 7]
    assert not any(p.requires_grad for p in net.parameters())


def test_lpips_is_zero_for_equal_images_and_has_finite_gradients_where_features_vanish(squeezenet_file):
    net, heads = SqueezeNet(squeezenet_file), lpips_heads()
    x = torch.zeros(1, 3, 128, 128, requires_grad=True)
    same = lpips(net(x), net(x.detach()), heads)
    assert same.item() == 0
    nothing = [torch.zeros(1, c, 4, 4, requires_grad=True) for c in TAP_CHANNELS]
    lpips(nothing, [torch.ones_like(f) for f in nothing], heads).sum().backward()
    assert all(f.grad.isfinite().all() for f in nothing)


def test_missing_and_wrong_files_are_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("GPEN_SQUEEZENET", raising=False)
    with pytest.raises(GPENError, match="load_state_dict_from_url"):
        find_weights()
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "text.npz").write_text("no archive")
    for name, reason in (("other.pth", "does not hold"), ("text.npz", "cannot be read"), ("none.pth", "There are no")):
        with pytest.raises(GPENError, match=reason):
            SqueezeNet(tmp_path / name)
