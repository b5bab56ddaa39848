"""eval.methods.fixed_noise: blocks with fixed noise give the images and the gradients of the prior."""

import pytest
import torch

import gpen
from eval.methods import fixed_noise
from eval.methods.fixed_noise import with_fixed_noise

BLOCKS, NOISE = ("stylegan2", "stylegan", "pggan", "biggan"), ("concat", "add", "none")
CASES = [(block, mode, 2**24) for block in BLOCKS for mode in NOISE] + [("stylegan2", "concat", limit) for limit in (0, 20_000)]


@pytest.mark.parametrize(("block", "mode", "limit"), CASES)
@pytest.mark.parametrize("first", [0, 2])
def test_images_and_gradients_are_those_of_the_prior(block, mode, limit, first, monkeypatch):
    """From the first block, and from one whose input has all channels; with and without matrices of responses."""
    monkeypatch.setattr(fixed_noise, "MAX_RESPONSES", limit)
    torch.manual_seed(0)
    settings = {"narrow": 0.03125, "channel_multiplier": 1, "style_dim": 8, "mapping_layers": 1}
    prior = gpen.Generator(gpen.GPENConfig(size=32, block=block, noise_mode=mode, **settings)).eval().requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # scalars and biases are initialised to 0
    noise, w = prior.sample_noise(), torch.randn(3, len(prior.blocks), 8)

    def image(fixed):
        w_own = w.clone().requires_grad_()
        x, rgb = prior.first_input(w_own[:, 0]), None
        for k in range(first):
            x, rgb = prior.blocks[k](x, rgb, w_own[:, k], noise[k])
        if fixed:
            for k, made in enumerate(with_fixed_noise(prior.blocks[first:], noise[first:])[0], first):
                x, rgb = made(x, rgb, w_own[:, k])
        else:
            for k in range(first, len(prior.blocks)):
                x, rgb = prior.blocks[k](x, rgb, w_own[:, k], noise[k])
        rgb.square().sum().backward()
        return rgb.detach(), w_own.grad

    for found, expected in zip(image(True), image(False), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_result_and_fixed_features_together_are_the_features_of_the_prior():
    torch.manual_seed(0)
    prior = gpen.Generator(gpen.GPENConfig(size=16, narrow=0.03125, style_dim=8, mapping_layers=1)).requires_grad_(False)
    noise, w = prior.sample_noise(), torch.randn(2, 8)
    made, fixed = with_fixed_noise(prior.blocks, noise)
    x, image = prior.first_input(w), None
    own, rgb = x, None
    for k, block in enumerate(prior.blocks):
        x, image = block(x, image, w, noise[k])
        own, rgb = made[k](own, rgb, w)
    torch.testing.assert_close(torch.cat([own, fixed.expand(2, -1, -1, -1)], 1), x)
