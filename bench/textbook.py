"""GPEN in the textbook formulation of StyleGAN2: the reference of bench.speed.

Every image has its own modulated convolution weights (Karras et al., CVPR 2020, equations 1-3), so that a batch is a grouped
convolution. Upsampling is a transposed convolution followed by the FIR filter, which is a dense 4x4 kernel applied to each
plane; zeros are inserted between the samples of an image that is upsampled. Noise, bias and activation are separate passes.
The published PyTorch code of GPEN without its CUDA extensions uses this form; it cannot be redistributed here.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.models.blocks import StyleGAN2Block, StyleGAN2Layer
from gpen.models.network import GPEN
from gpen.models.ops import EqualConv2d, EqualLinear, ModulatedConv2d, ToRGB, binomial

SQRT2 = math.sqrt(2)


def resample(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert zeros between the samples (up = 2), pad, and filter each plane in 2-D.

    x [n, c, h, w] -> [n, c, h', w'].
    """
    n, c, h, w = x.shape
    x = x.reshape(n * c, 1, h, 1, w, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(n * c, 1, h * up, w * up)
    x = F.conv2d(F.pad(x, (*pad, *pad)), kernel[None, None])
    return x.reshape(n, c, *x.shape[2:])


def linear(layer: EqualLinear, x: Tensor) -> Tensor:
    x = F.linear(x, layer.weight * layer.scale, layer.bias * layer.lr_mul)
    return F.leaky_relu(x, 0.2) * SQRT2 if layer.activate else x


def activate(x: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + bias[:, None, None], 0.2) * SQRT2


def encoder_level(layer: EqualConv2d, x: Tensor) -> Tensor:
    weight = layer.weight * layer.scale
    if layer.down:
        x = F.conv2d(resample(x, binomial(x.dtype), pad=(2, 2)), weight, stride=2)
    else:
        x = F.conv2d(x, weight, padding=layer.kernel // 2)
    assert layer.bias is not None
    return activate(x, layer.bias)


def modulated(conv: ModulatedConv2d, x: Tensor, w: Tensor) -> Tensor:
    """Modulated convolution with one group per image.

    x [n, c, h, w] -> [n, outputs, h, w], doubled with `up`.
    """
    n, c, height, width = x.shape
    style = linear(conv.style, w)  # [n, c]
    weight = conv.scale * conv.weight * style[:, None, :, None, None]  # [n, outputs, c, 3, 3]
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    x = x.reshape(1, n * c, height, width)
    if conv.up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(n * c, -1, 3, 3), stride=2, groups=n)
        return resample(x.reshape(n, -1, *x.shape[2:]), binomial(x.dtype) * 4, pad=(1, 1))
    x = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=n)
    return x.reshape(n, -1, height, width)


def block_layer(layer: StyleGAN2Layer, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
    """Modulated convolution, concatenated or added noise, bias and leaky ReLU.

    x [n, c, h, w], noise [1 | n, outputs, h', w'] -> [n, 2 outputs | outputs, h', w'].
    """
    assert noise is not None
    x = modulated(layer.conv, x, w)
    noise = (layer.noise_scale * noise).expand(len(x), -1, -1, -1)
    return activate(torch.cat([x, noise], 1) if layer.mode == "concat" else x + noise, layer.bias)


def colours(to_rgb: ToRGB, x: Tensor, w: Tensor, below: Tensor | None) -> Tensor:
    n, c, height, width = x.shape
    style = linear(to_rgb.style, w)  # [n, c]
    weight = to_rgb.scale * to_rgb.weight * style[:, None]  # [n, 3, c]
    image = F.conv2d(x.reshape(1, n * c, height, width), weight.reshape(n * 3, c, 1, 1), groups=n)
    image = image.reshape(n, 3, height, width) + to_rgb.bias[:, None, None]
    return image if below is None else image + resample(below, binomial(x.dtype) * 4, up=2, pad=(2, 1))


@torch.inference_mode()
def forward(net: GPEN, x: Tensor, seed: int = 0) -> Tensor:
    """Compute net(x, seed) for networks of StyleGAN2 blocks.

    x [n, 3, in_size, in_size] -> [n, 3, size, size].
    """
    features: list[Tensor] = []  # lowest resolution first
    for level in net.encoder.levels:
        x = encoder_level(level, x)
        features.insert(0, x)
    noise = net.noise_inputs(features, torch.Generator().manual_seed(seed))
    w = linear(net.encoder.to_z, x.flatten(1))  # [n, d]
    w = w * torch.rsqrt(w.square().mean(1, keepdim=True) + 1e-8)
    for one in net.generator.mapping:
        w = linear(one, w)
    x = net.generator.constant.expand(len(w), -1, -1, -1)
    image: Tensor | None = None  # [n, 3, s, s] from the first block
    for block, own in zip(cast("list[StyleGAN2Block]", net.generator.blocks), noise, strict=True):
        if block.up is not None:
            x = block_layer(block.up, x, w, own[0])
        x = block_layer(block.conv, x, w, own[-1])
        image = colours(block.to_rgb, x, w, image)
    return cast(Tensor, image)
