"""GAN blocks: centred resampling, the first layers and initialisation of each family, sums of colours in float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gpen
from gpen.models import spectral
from gpen.models.blocks import BLOCKS, BigGANStart, StyleGANLayer
from gpen.models.network import GPEN, Discriminator, Encoder, Generator, GPENConfig, resolutions
from gpen.models.ops import SLOPE, ToRGB, fir
from gpen.models.spectral import SpectralConv2d, SpectralLinear

SMALL = GPENConfig(size=64, channel_multiplier=1, narrow=0.03125, style_dim=16, mapping_layers=2)


def small(block: str, **settings) -> GPENConfig:
    return GPENConfig(**vars(SMALL) | {"block": block} | settings)


def mirrored(x: Tensor) -> Tensor:
    """x [..., h, w], averaged with its mirror images about both axes."""
    x = (x + x.flip(-1)) / 2
    return (x + x.flip(-2)) / 2


def is_mirrored(x: Tensor) -> bool:
    return torch.allclose(x, mirrored(x), rtol=0, atol=1e-7 * x.abs().max().item())


def make_symmetric(net: nn.Module) -> nn.Module:
    """Make all kernels and the 4 x 4 input of `net` symmetric: what is not centred afterwards was shifted by resampling."""
    net.double()
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):
            parameter.data.fill_(0.5)
        elif parameter.ndim == 4:
            parameter.data = mirrored(parameter.data)
        elif name.startswith("start."):  # [c * 16, ...] -> [c, ..., 4, 4]
            images = parameter.data.unflatten(0, (-1, 4, 4)).movedim((1, 2), (-2, -1))
            parameter.data = mirrored(images).movedim((-2, -1), (1, 2)).flatten(0, 2)
    return net


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_a_symmetric_image_stays_symmetric_through_all_levels_of_a_generator(block):
    torch.manual_seed(0)
    net = make_symmetric(Generator(small(block)))
    levels: list[Tensor] = []
    for one in net.blocks:
        one.register_forward_hook(lambda _, __, outputs: levels.append(outputs[0]))
    noise = [[mirrored(layer.double()) for layer in layers] for layers in net.sample_noise(2)]
    image = net(net.mapping(torch.randn(2, 16, dtype=torch.float64)), noise)
    assert [x.shape[-1] for x in levels] == resolutions(64)
    assert [x.shape[-1] for x in (*levels, image) if not is_mirrored(x)] == []
    assert image.std() > 1e-3


@pytest.mark.parametrize("kind", [Encoder, Discriminator])
def test_a_symmetric_image_stays_symmetric_when_it_is_halved(kind):
    torch.manual_seed(0)
    net = make_symmetric(kind(SMALL))
    x = mirrored(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    features = net(x)[1] if kind is Encoder else net.features(x)
    assert [f.shape[-1] for f in features if not is_mirrored(f)] == []


def test_filters_are_centred_and_keep_the_mean():
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    assert torch.equal(fir(point, (1, 1), taps=3)[0, 0, 4, 2:7], torch.tensor([0.0, 0.125, 0.25, 0.125, 0.0]))
    assert fir(point, (2, 2)).sum() == fir(point, (1, 1), taps=3).sum() == 1


def test_epsilon_of_adaptive_instance_norm():
    """Features of a standard deviation of 0.001 are normalised too."""
    torch.manual_seed(0)
    layer = StyleGANLayer(8, 8, small("stylegan", noise_mode="none"))
    nn.init.zeros_(layer.adain.weight)
    y = layer(torch.randn(2, 8, 16, 16) * 1e-3, torch.zeros(2, 16), None)
    assert y.std((2, 3), correction=0).min() > 0.9


def test_first_layer_of_pggan():
    net = Generator(small("pggan"))
    w = torch.randn(3, 16)
    x = F.leaky_relu(w @ net.start.weight.t() / 4 + net.start.bias, SLOPE).view(3, -1, 4, 4)
    torch.testing.assert_close(net.first_input(w), x / x.square().mean(1, keepdim=True).sqrt(), rtol=1e-4, atol=1e-4)


def test_first_layer_of_biggan_is_linear():
    net = Generator(small("biggan")).eval()
    w = torch.randn(3, 16)
    assert net.first_input(w).shape == (3, 16, 4, 4)
    torch.testing.assert_close(net.first_input(3 * w), 3 * net.first_input(w))  # the bias is initialised to 0


def test_all_layers_of_biggan_are_orthogonal_at_the_start_and_spectrally_normalised():
    net = Generator(small("biggan"))
    kinds = nn.Linear | nn.Conv2d | SpectralConv2d | SpectralLinear
    layers = [layer for name, layer in net.named_modules() if isinstance(layer, kinds) and not name.startswith("mapping")]
    assert {type(layer) for layer in layers} == {SpectralConv2d, SpectralLinear, BigGANStart}
    for layer in layers:
        matrix = layer.weight.flatten(1)
        if len(matrix) > matrix.shape[1]:
            matrix = matrix.t()
        torch.testing.assert_close(matrix @ matrix.t(), torch.eye(len(matrix)), atol=1e-5, rtol=0)


def test_spectral_norm_of_a_weight_is_one_also_with_autocast():
    torch.manual_seed(0)
    layer = SpectralLinear(12, 20).train()
    nn.init.normal_(layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(200):
            weight = layer.normalized_weight()
    assert weight.dtype == torch.float32
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-4)


def test_loading_a_file_initialises_nothing(tmp_path, monkeypatch):
    net = GPEN(small("biggan", size=16, in_size=16))
    gpen.save(net, tmp_path / "net.safetensors")
    monkeypatch.setattr(spectral.nn.init, "orthogonal_", None)
    assert torch.equal(gpen.load(tmp_path / "net.safetensors").generator.start.weight, net.generator.start.weight)


def test_colours_are_summed_over_the_levels_in_float32():
    """Three contributions of 1/1024 to a colour of 1 vanish in bfloat16, whose step there is 1/128."""
    layer, w = ToRGB(4, 4), torch.zeros(1, 4)
    nn.init.zeros_(layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        image = torch.ones(1, 3, 4, 4)
        layer.bias.data.fill_(1 / 1024)
        for side in (8, 16, 32):
            image = layer(torch.ones(1, 4, side, side, dtype=torch.bfloat16), w, image)
    assert image.dtype == torch.float32
    assert torch.allclose(image[..., 12:20, 12:20], torch.tensor(1 + 3 / 1024), atol=1e-6)


def test_error_of_bfloat16_autocast_is_that_of_single_convolutions():
    """The sum of the colours adds no rounding: with large colours of the lower levels the error stays that of the last one."""
    torch.manual_seed(0)
    net = Generator(SMALL).eval()
    for block in net.blocks[:-1]:
        nn.init.zeros_(block.to_rgb.weight)
    net.blocks[0].to_rgb.bias.data.fill_(100.0)  # the step of bfloat16 at 100 is 0.5
    w, noise = net.mapping(torch.randn(2, 16)), net.sample_noise(2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = net(w, noise)
    with torch.no_grad():
        full = net(w, noise)
    inner = (..., slice(24, 40), slice(24, 40))
    assert half.dtype == torch.float32
    assert (half - full)[inner].square().mean().sqrt() < 0.1 * full[inner].std()
