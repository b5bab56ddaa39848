"""Network: shapes, independence of the batch, randomness, gradients, bfloat16."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import gpen
from gpen.models.blocks import BLOCKS
from gpen.models.network import GPEN, Discriminator, GPENConfig

SMALL = {"size": 32, "narrow": 0.0625, "style_dim": 32, "mapping_layers": 2}


def network(**settings) -> GPEN:
    torch.manual_seed(0)
    return GPEN(GPENConfig(**SMALL | settings)).eval()


def images(n: int, size: int) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def with_noise_scales(net: GPEN) -> GPEN:
    """Set the noise scales, which are initialised to 0, to a nonzero value."""
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):
            torch.nn.init.constant_(parameter, 0.5)
    return net


@pytest.mark.parametrize("mode", ["concat", "add", "none"])
@pytest.mark.parametrize("in_size", [8, 16, 32])
def test_output_size(mode, in_size):
    net = network(noise_mode=mode, in_size=in_size)
    assert net(images(2, in_size)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("mode", ["concat", "add", "none"])
@pytest.mark.parametrize("in_size", [16, 32])
def test_result_does_not_depend_on_the_batch(mode, in_size):
    net, x = with_noise_scales(network(noise_mode=mode, in_size=in_size)), images(3, in_size)
    together = net(x)
    apart = torch.cat([net(image[None]) for image in x])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4 * together.abs().max().item())


def test_only_the_noise_above_the_input_size_is_random():
    net, x = with_noise_scales(network(in_size=16)), images(1, 16)
    before = torch.random.get_rng_state()
    assert torch.equal(net(x, seed=3), net(x, seed=3))
    assert not torch.allclose(net(x, seed=3), net(x, seed=4))
    assert torch.equal(before, torch.random.get_rng_state())
    full = with_noise_scales(network())
    assert torch.equal(full(images(1, 32), seed=3), full(images(1, 32), seed=4))


def test_feature_mask_replaces_the_features_of_an_image_by_zeros():
    net, x = with_noise_scales(network()), images(2, 32)
    z, features = net.encoder(x)
    alone = net.generator(net.generator.mapping(z), net.noise_inputs([torch.zeros_like(f) for f in features]))
    expected = torch.stack([alone[0], net(x)[1]])
    torch.testing.assert_close(net(x, feature_mask=torch.tensor([0.0, 1.0])), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, net(x), atol=1e-2)


@pytest.mark.parametrize("mode", ["concat", "add", "none"])
def test_every_parameter_has_a_gradient(mode):
    """With noise scales of 0 the features affect the image through z only, but the scales have gradients; after one step every
    parameter has one."""
    net = network(noise_mode=mode)
    x, target = images(2, 32), -images(2, 32)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(2):
        optimizer.zero_grad()
        (net(x) - target).abs().mean().backward()
        reached = {name: p.grad is not None and p.grad.abs().max() > 0 for name, p in net.named_parameters()}
        assert all(reached.values()), f"step {step}: no gradient for {[n for n, r in reached.items() if not r]}"
        optimizer.step()


@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("mode", ["concat", "add", "none"])
@pytest.mark.slow
def test_all_block_types(block, mode, tmp_path):
    """Check the output size, independence of the batch, gradients, and saving and loading."""
    net = with_noise_scales(network(block=block, noise_mode=mode, size=64)).train()
    x, target = images(4, 64), -images(4, 64)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        (net(x) - target).abs().mean().backward()
        optimizer.step()
    stuck = [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not stuck
    net.eval()
    together = net(x)
    assert together.shape == (4, 3, 64, 64)
    apart = torch.cat([net(image[None]) for image in x])
    torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-3 * together.abs().max().item())
    gpen.save(net, tmp_path / "net.safetensors")
    torch.testing.assert_close(gpen.load(tmp_path / "net.safetensors")(x), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_conditioning_of_each_block_on_w(block):
    """All blocks depend on w, except for those of PGGAN after the first."""
    net = with_noise_scales(network(block=block)).generator
    sizes = (4, 8, 16, 32)
    noise = [net.noise(side, 1, torch.Generator().manual_seed(side)) for side in sizes]
    w = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2)).repeat(1, 4, 1)
    before = net(w, noise)
    for k in range(4):
        changed = w.clone()
        changed[:, k] += 1
        assert torch.equal(net(changed, noise), before) == (block == "pggan" and k > 0), f"block {k}"


def test_features_have_no_effect_while_the_noise_scales_are_zero():
    net = network()
    x = images(1, 32)
    _, features = net.encoder(x)
    w = net.generator.mapping(torch.zeros(1, 32))
    layers = [[f] * (1 if k == 0 else 2) for k, f in enumerate(features)]
    other = [[torch.randn_like(f) for f in block] for block in layers]
    assert torch.equal(net.generator(w, layers), net.generator(w, other)), "the noise scales are 0"
    with_noise_scales(net)
    assert not torch.allclose(net.generator(w, layers), net.generator(w, other))


def test_bfloat16_is_close_to_float32():
    net, x = with_noise_scales(network()), images(4, 32)
    y = net(x)
    half = with_noise_scales(network()).bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        cast = net(x)
    for other in (half, cast):
        assert (other.float() - y).square().mean().sqrt() < 0.03 * y.std()


def test_one_style_per_block():
    net = with_noise_scales(network())
    noise = [net.generator.noise(side, 2, torch.Generator().manual_seed(k)) for k, side in enumerate((4, 8, 16, 32))]
    w = net.generator.mapping(torch.randn(2, 32))
    torch.testing.assert_close(net.generator(w, noise), net.generator(w[:, None].expand(-1, 4, -1), noise))


def test_discriminator_scores_groups_of_four_independently():
    torch.manual_seed(0)
    discriminator, x = Discriminator(GPENConfig(**SMALL)), images(8, 32)
    assert discriminator(x[:3]).shape == (3, 1)
    groups = torch.cat([discriminator(x[0::2]), discriminator(x[1::2])])
    torch.testing.assert_close(discriminator(x), groups[[0, 4, 1, 5, 2, 6, 3, 7]], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="multiple of 4"):
        discriminator(x[:6])


@pytest.mark.parametrize(
    "settings",
    [{"size": 48}, {"size": 4}, {"size": 16, "in_size": 32}, {"noise_mode": "multiply"}, {"narrow": 0.0001}],
)
def test_invalid_settings_raise_an_error(settings):
    with pytest.raises(ValueError):
        GPENConfig(**settings)


def test_unknown_block_raises_an_error():
    with pytest.raises(gpen.GPENError, match="block must be one of stylegan2"):
        network(block="vae")


def test_wrong_input_size_raises_an_error():
    with pytest.raises(ValueError, match=r"takes \[n, 3, 32, 32\]; got \[1, 3, 16, 16\]"):
        network()(images(1, 16))


@pytest.mark.slow
def test_flops_of_gpen_bfr_256():
    """GPEN-BFR-256 needs 17.4 GFLOP; detects formulations with redundant computation."""
    net = GPEN(GPENConfig(size=256, channel_multiplier=1, narrow=0.5))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 256, 256))
    assert counter.get_total_flops() / 1e9 == pytest.approx(17.4, rel=0.1)


def test_forward_without_super_resolution_creates_no_generator(monkeypatch):
    """A torch.Generator is a graph break for torch.compile."""
    net = network(size=16)
    monkeypatch.setattr(torch, "Generator", None)
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
