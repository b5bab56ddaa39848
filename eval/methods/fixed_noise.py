"""Blocks of a GAN prior with fixed noise: what the noise adds to each convolution is computed once for all steps of a search.

With concatenated noise, half of the input channels of a modulated convolution are fixed features f, equal for all images up to
the factors of the style s = (s_x, s_f):

    conv(concat(x, f) * s) = conv(x * s_x) + sum over c of s_f[c] * conv(f_c)

The responses conv(f_c) are a matrix that is multiplied with s_f. The results are those of the blocks up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.models.blocks import StyleGAN2Block, StyleGAN2Layer
from gpen.models.ops import EqualLinear, scaled_leaky_relu, upsample2

MAX_RESPONSES = 2**24  # numbers in the matrix of a layer, 64 MiB; above it, the fixed features are convolved in every step

Block = Callable[[Tensor, "Tensor | None", Tensor], tuple[Tensor, "Tensor | None"]]  # x, image, w -> x, image


@torch.no_grad()
def with_fixed_noise(blocks: nn.ModuleList, noise: Sequence[list[Tensor | None]]) -> tuple[list[Block], Tensor | None]:
    """Blocks (x, image, w) -> (x, image) with the noise [1, c, s, s] of each layer, in evaluation mode and without gradients.

    x: the input of the first block has all channels; that of the others, and the result, lack the fixed ones. Returns the blocks
    and the fixed features of the last one, [1, c, s, s]; None for priors without concatenated noise, whose results are complete.
    """
    fixed: Tensor | None = None
    made: list[Block] = []
    for block, layers in zip(blocks, noise, strict=True):
        if isinstance(block, StyleGAN2Block) and block.conv.mode == "concat":
            prepared = _FixedNoiseBlock(block, layers, fixed)
            made.append(prepared)
            fixed = prepared.fixed
        else:
            made.append(with_noise(block, layers))
    return made, fixed


def with_noise(block: nn.Module, layers: Sequence[Tensor | None]) -> Block:
    """A block (x, image, w) -> (x, image) with the noise [n, c, s, s] of each of its layers."""
    return lambda x, image, w: block(x, image, w, layers)


class _FixedNoiseBlock:
    """A StyleGAN2Block. below: fixed features of the input; fixed: those of the result."""

    def __init__(self, block: StyleGAN2Block, noise: list[Tensor | None], below: Tensor | None):
        self.up, between = None, below
        if block.up is not None:
            self.up = _Layer(block.up, below)
            between = _features(block.up, noise[0])
        self.conv = _Layer(block.conv, between)
        self.fixed = _features(block.conv, noise[-1])
        to_rgb = block.to_rgb
        weight = (to_rgb.weight * to_rgb.scale)[:, :, None, None]  # [3, c, 1, 1]
        self.to_rgb, self.bias = _Convolution(to_rgb.style, weight, F.conv2d, self.fixed), to_rgb.bias[:, None, None]

    def __call__(self, x: Tensor, image: Tensor | None, w: Tensor) -> tuple[Tensor, Tensor]:
        if self.up is not None:
            x = self.up(x, w)
        x = self.conv(x, w)
        rgb = self.to_rgb(x, w)[0] + self.bias
        return x, rgb if image is None else rgb + upsample2(image)


class _Layer:
    """A StyleGAN2Layer without its noise: modulated and demodulated convolution, bias and leaky ReLU."""

    def __init__(self, layer: StyleGAN2Layer, fixed: Tensor | None):
        weight = layer.conv.weight * layer.conv.scale
        self.conv = _Convolution(layer.conv.style, weight, layer.conv.convolve, fixed)
        self.energy = weight.square().sum((2, 3)).t()  # [inputs, outputs]
        self.bias = layer.bias.chunk(2)[0]

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        y, style = self.conv(x, w)
        demodulation = torch.rsqrt(style.square() @ self.energy + 1e-8)[:, :, None, None]  # [n, outputs, 1, 1]
        return scaled_leaky_relu(y, demodulation, self.bias)


class _Convolution:
    """A convolution of x [n, c, h, w] beside fixed features [1, c', h, w], both scaled by a style; returns it and the style."""

    def __init__(
        self,
        style: EqualLinear,
        weight: Tensor,  # [o, c + c', k, k]
        convolve: Callable[[Tensor, Tensor], Tensor],  # x, weight -> y
        fixed: Tensor | None,
    ):
        self.style, self.convolve = style, convolve
        self.beside, self.responses = fixed, None  # [1, c', h, w]; [c', h' w' o]
        if fixed is not None:
            first = convolve(fixed, weight[:, -fixed.shape[1] :])  # [1, o, h', w']
            if fixed.shape[1] * first.numel() <= MAX_RESPONSES:
                own, self.beside = weight.shape[1] - fixed.shape[1], None
                parts = [convolve(fixed[:, c : c + 1], weight[:, own + c : own + c + 1]) for c in range(fixed.shape[1])]
                self.shape = first.shape[1:]  # o, h', w'
                self.responses = torch.cat(parts).permute(0, 2, 3, 1).flatten(1)
                weight = weight[:, :own]
        self.weight = weight.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        style = self.style(w)  # [n, c + c']
        if self.beside is not None:
            x = torch.cat([x, self.beside.expand(len(x), -1, -1, -1)], 1)
        own = x.shape[1]
        y = self.convolve(x * style[:, :own, None, None], self.weight)
        if self.responses is not None:
            o, h, width = self.shape
            y = y + (style[:, own:] @ self.responses).view(len(x), h, width, o).permute(0, 3, 1, 2)
        return y, style


def _features(layer: StyleGAN2Layer, noise: Tensor | None) -> Tensor:
    """What a layer appends to its result, [1, c, s, s]."""
    assert noise is not None
    return scaled_leaky_relu(noise, layer.noise_scale, layer.bias.chunk(2)[1])
