"""The textbook form of the network computes the same function as gpen.models."""

import pytest
import torch

import gpen
from bench import textbook


@pytest.mark.parametrize("noise_mode", ["concat", "add"])
@pytest.mark.parametrize("in_size", [8, 32])
def test_output_is_that_of_the_network(noise_mode, in_size):
    torch.manual_seed(0)
    config = gpen.GPENConfig(size=32, in_size=in_size, narrow=0.0625, style_dim=16, mapping_layers=2, noise_mode=noise_mode)
    net = gpen.GPEN(config).requires_grad_(False).eval()
    for name, parameter in net.named_parameters():
        if name.endswith(("noise_scale", "bias")):
            parameter.normal_()
    x = torch.rand(2, 3, in_size, in_size) * 2 - 1
    expected = net(x, seed=3)
    torch.testing.assert_close(textbook.forward(net, x, seed=3), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
