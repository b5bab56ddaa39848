"""GAN blocks of the prior: StyleGAN2 (the default), StyleGAN, PGGAN and BigGAN.

GPEN can use any block with a noise input at its resolution, which is replaced by a feature of the encoder (Yang et al., CVPR
2021, name these families). The blocks differ in their conditioning on w:

    stylegan2   modulated and demodulated convolutions, RGB outputs summed over the levels   Karras et al., CVPR 2020
    stylegan    convolution, adaptive instance norm (AdaIN)                                  Karras et al., CVPR 2019
    pggan       convolution, pixel norm; w is used at 4 px only                              Karras et al., ICLR 2018
    biggan      residual, conditional batch norm, spectral norm, attention at 64 px          Brock et al., ICLR 2019

All families have GPEN's form, which differs from the publications: w comes from StyleGAN's mapping network (BigGAN: in place of
class and z), there is one layer at 4 px and two at every other resolution, each layer has a noise input with one learned scalar
(StyleGAN: one per channel; PGGAN, BigGAN: no noise), and all resolutions are trained at once (PGGAN, StyleGAN: grown).

A block maps (x, image, w, noise) to (x, image): x [n, c, s / 2, s / 2] -> [n, c', s, s]; w [n, d]; noise has one tensor
[n, channels(s), s, s] per layer; image is None before the first RGB output. With concatenated noise, c is twice channels(s).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.models.config import GPENConfig
from gpen.models.ops import EqualConv2d, EqualLinear, ModulatedConv2d, ToRGB, fir, pixel_norm, scaled_leaky_relu
from gpen.models.spectral import SpectralConv2d, SpectralLinear

Noise = list[Tensor | None]
ATTENTION_SIDE = 64  # px, resolution of the self-attention layer of BigGAN


def channels_after_noise(channels: int, config: GPENConfig) -> int:
    """Number of channels after the noise input."""
    return channels * 2 if config.noise_mode == "concat" else channels


class StyleGAN2Layer(nn.Module):
    """Modulated convolution, concatenated or added noise, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, config: GPENConfig, up: bool = False):
        super().__init__()
        self.mode = config.noise_mode
        self.conv = ModulatedConv2d(inputs, outputs, config.style_dim, up)
        if self.mode != "none":
            self.noise_scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(channels_after_noise(outputs, config)))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        # x [n, inputs, h, w], w [n, d], noise [n, outputs, h', w'] -> [n, 2 outputs | outputs, h', w']
        x, demodulation = self.conv(x, w)
        if self.mode == "none":
            return scaled_leaky_relu(x, demodulation, self.bias)
        assert noise is not None
        noise = noise.to(x.dtype)
        if self.mode == "add":
            return scaled_leaky_relu(torch.addcmul(x * demodulation, noise, self.noise_scale.to(x.dtype)), 1.0, self.bias)
        bias, noise_bias = self.bias.chunk(2)
        noise = scaled_leaky_relu(noise, self.noise_scale, noise_bias).expand(len(x), -1, -1, -1)
        return torch.cat([scaled_leaky_relu(x, demodulation, bias), noise], 1)


class StyleGAN2Block(nn.Module):
    """Upsampling convolution (except in the first block), convolution, RGB output added to that of the previous block."""

    def __init__(self, side: int, config: GPENConfig):
        super().__init__()
        channels, below = config.channels(side), config.channels(max(4, side // 2))
        self.up = StyleGAN2Layer(channels_after_noise(below, config), channels, config, up=True) if side > 4 else None
        self.conv = StyleGAN2Layer(channels if side == 4 else channels_after_noise(channels, config), channels, config)
        self.to_rgb = ToRGB(channels_after_noise(channels, config), config.style_dim)

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        if self.up is not None:
            x = self.up(x, w, noise[0])
        x = self.conv(x, w, noise[-1])
        return x, self.to_rgb(x, w, image)


class NoiseInput(nn.Module):
    """Concatenate noise to x [n, c, h, w], or add it, scaled by a learned scalar that is initialised to 0."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.mode = config.noise_mode
        if self.mode != "none":
            self.noise_scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:  # -> [n, 2 c | c, h, w]
        if self.mode == "none":
            return x
        assert noise is not None
        noise = (noise * self.noise_scale).to(x.dtype).expand(len(x), -1, -1, -1)
        return torch.cat([x, noise], 1) if self.mode == "concat" else x + noise


class PlainLayer(nn.Module):
    """Equalized convolution, noise, bias, leaky ReLU; used by StyleGAN and PGGAN.

    up: nearest upsampling first. smooth: the filter [1, 2, 1] after an upsampling convolution.
    """

    def __init__(self, inputs: int, outputs: int, config: GPENConfig, up: bool, smooth: bool):
        super().__init__()
        self.conv = EqualConv2d(inputs, outputs, 3, activate=False)
        self.noise = NoiseInput(config)
        self.bias = nn.Parameter(torch.zeros(channels_after_noise(outputs, config)))
        self.up, self.smooth = up, smooth

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.conv(x)
        if self.up and self.smooth:
            x = fir(x, (1, 1), taps=3)
        return scaled_leaky_relu(self.noise(x, noise), 1.0, self.bias)


class StyleGANLayer(nn.Module):
    """Convolution, noise, leaky ReLU and AdaIN: instance norm with scale and shift computed from w (StyleGAN, equation 1)."""

    def __init__(self, inputs: int, outputs: int, config: GPENConfig, up: bool = False):
        super().__init__()
        self.layer = PlainLayer(inputs, outputs, config, up, smooth=True)
        self.adain = EqualLinear(config.style_dim, 2 * channels_after_noise(outputs, config))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        x = F.instance_norm(self.layer(x, noise), eps=1e-8)
        scale, shift = self.adain(w).to(x.dtype)[:, :, None, None].chunk(2, 1)  # [n, c, 1, 1] each
        return torch.addcmul(shift, x, scale + 1)


class StyleGANBlock(nn.Module):
    """Two AdaIN layers; only the last block has an RGB output."""

    def __init__(self, side: int, config: GPENConfig):
        super().__init__()
        channels, below = config.channels(side), config.channels(max(4, side // 2))
        self.up = StyleGANLayer(channels_after_noise(below, config), channels, config, up=True) if side > 4 else None
        self.conv = StyleGANLayer(channels if side == 4 else channels_after_noise(channels, config), channels, config)
        self.to_rgb = FinalToRGB(channels_after_noise(channels, config)) if side == config.size else None

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        if self.up is not None:
            x = self.up(x, w, noise[0])
        x = self.conv(x, w, noise[-1])
        return x, None if self.to_rgb is None else self.to_rgb(x)


class PGGANStart(EqualLinear):
    """The first layer of PGGAN: w [n, d] -> linear, leaky ReLU, pixel norm -> the 4 x 4 input [n, channels, 4, 4]."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__(style_dim, channels * 16, activate=True)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(super().forward(x).unflatten(1, (-1, 4, 4)))


class PGGANBlock(nn.Module):
    """Two convolutions with pixel norm; only the 4 x 4 input of the generator depends on w."""

    def __init__(self, side: int, config: GPENConfig):
        super().__init__()
        channels, below = config.channels(side), config.channels(max(4, side // 2))
        self.up = PlainLayer(channels_after_noise(below, config), channels, config, up=True, smooth=False) if side > 4 else None
        inputs = channels if side == 4 else channels_after_noise(channels, config)
        self.conv = PlainLayer(inputs, channels, config, up=False, smooth=False)
        self.to_rgb = FinalToRGB(channels_after_noise(channels, config)) if side == config.size else None

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        if self.up is not None:
            x = pixel_norm(self.up(x, noise[0]))
        x = pixel_norm(self.conv(x, noise[-1]))
        return x, None if self.to_rgb is None else self.to_rgb(x)


class FinalToRGB(nn.Module):
    """Equalized 1x1 convolution to RGB."""

    def __init__(self, inputs: int):
        super().__init__()
        self.conv = EqualConv2d(inputs, 3, 1, activate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, 3, h, w]
        x = self.conv(x)
        return x + self.bias.to(x.dtype)[:, None, None]


class BigGANStart(SpectralLinear):
    """The first layer of BigGAN: w [n, d] -> linear -> the 4 x 4 input [n, channels, 4, 4]."""

    def __init__(self, style_dim: int, channels: int):
        super().__init__(style_dim, channels * 16)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unflatten(1, (-1, 4, 4))


class ConditionalBatchNorm(nn.Module):
    """Batch norm with scale and shift computed from w by a spectrally normalised linear layer."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.style = SpectralLinear(style_dim, 2 * channels, bias=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.style(w).to(x.dtype)[:, :, None, None].chunk(2, 1)  # [n, c, 1, 1] each
        return torch.addcmul(shift, self.norm(x), scale + 1)


class Attention(nn.Module):
    """Self-attention with keys and values pooled by 2 (Zhang et al., ICML 2019); `share`, its weight, is initialised to 0."""

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(1, channels // 8)
        self.query, self.key = SpectralConv2d(channels, narrow, 1), SpectralConv2d(channels, narrow, 1)
        self.value, self.out = SpectralConv2d(channels, channels // 2, 1), SpectralConv2d(channels // 2, channels, 1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:  # [n, c, h, w] -> [n, c, h, w]
        query, key, value = self.query(x), F.max_pool2d(self.key(x), 2), F.max_pool2d(self.value(x), 2)
        query, key, value = (t.flatten(2).transpose(1, 2) for t in (query, key, value))  # [n, positions, c']
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # [n, h w, c / 2]
        return x + self.share.to(x.dtype) * self.out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


class BigGANBlock(nn.Module):
    """Residual block: norm, ReLU, upsampling, convolution, noise, norm, ReLU, convolution, noise; 1x1 skip convolution."""

    def __init__(self, side: int, config: GPENConfig):
        super().__init__()
        channels, below = config.channels(side), config.channels(max(4, side // 2))
        inputs, outputs = (channels if side == 4 else channels_after_noise(below, config)), channels_after_noise(channels, config)
        self.first = side == 4  # no upsampling, and one layer because it has one noise input
        self.norms = nn.ModuleList([ConditionalBatchNorm(inputs, config.style_dim)])
        self.convs = nn.ModuleList([SpectralConv2d(inputs, channels, 3)])
        self.noises = nn.ModuleList([NoiseInput(config)])
        if not self.first:
            self.norms.append(ConditionalBatchNorm(outputs, config.style_dim))
            self.convs.append(SpectralConv2d(outputs, channels, 3))
            self.noises.append(NoiseInput(config))
        self.skip = SpectralConv2d(inputs, outputs, 1)
        self.attention = Attention(outputs) if side == ATTENTION_SIDE else None
        self.last_norm = nn.BatchNorm2d(outputs) if side == config.size else None
        self.to_rgb = SpectralConv2d(outputs, 3, 3) if side == config.size else None

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
        skip = x if self.first else F.interpolate(x, scale_factor=2, mode="nearest")
        for k, (norm, conv, join) in enumerate(zip(self.norms, self.convs, self.noises, strict=True)):
            x = F.relu(norm(x, w))
            if k == 0 and not self.first:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = join(conv(x), noise[k])
        x = x + self.skip(skip)
        if self.attention is not None:
            x = self.attention(x)
        if self.to_rgb is None or self.last_norm is None:
            return x, None
        return x, torch.tanh(self.to_rgb(F.relu(self.last_norm(x))))


BLOCKS: dict[str, type[nn.Module]] = {
    "stylegan2": StyleGAN2Block,
    "stylegan": StyleGANBlock,
    "pggan": PGGANBlock,
    "biggan": BigGANBlock,
}
STARTS: dict[str, type[nn.Module]] = {  # layers from w to the 4 x 4 input; other blocks have a learned constant
    "pggan": PGGANStart,
    "biggan": BigGANStart,
}
