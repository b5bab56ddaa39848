"""The primitives of StyleGAN2 (Karras et al., CVPR 2020) that GPEN is built of.

Equalized layers (Karras et al., ICLR 2018, section 4.1), FIR resampling with the binomial filter [1, 3, 3, 1], modulated and
demodulated convolution (StyleGAN2, equations 1-3) and the minibatch standard deviation.

Written for speed in plain PyTorch: a modulated convolution scales activations, not weights (`conv(x * s, W) * d` equals
`conv(x, s * W * d)`), so that a batch is one ordinary convolution instead of one group per image; constant gains and biases
go into the weights or into one multiply-add; every activation is one in-place pass.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2)  # keeps the variance of a leaky ReLU's output near that of its input


def scaled_leaky_relu(x: Tensor, scale: Tensor | float, bias: Tensor) -> Tensor:
    """GAIN * leaky_relu(scale * x + bias). GAIN moves inside, for the leaky ReLU is positively homogeneous.

    x: [n, c, h, w]; scale broadcasts to it ([n, c, 1, 1] or a scalar); bias: [c].
    """
    bias = (bias * GAIN).to(x.dtype).view(1, -1, 1, 1)
    scale = torch.as_tensor(scale * GAIN, dtype=x.dtype, device=x.device)
    return F.leaky_relu_(torch.addcmul(bias, x, scale), SLOPE)


def pixel_norm(x: Tensor) -> Tensor:
    """x [n, c, ...] divided by its root mean square over the channels."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def binomial(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """The low-pass filter [4, 4] of all resampling: the outer product of [1, 3, 3, 1] / 8 with itself."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=dtype, device=device) / 8
    return torch.outer(taps, taps)


def fir(x: Tensor, pad: tuple[int, int], gain: float = 1.0, stride: int = 1) -> Tensor:
    """Low-pass x [n, c, h, w], after padding both axes by `pad` zeros.

    One depthwise 4x4 pass: on channels-last data it is bound by memory and measured faster than two separable ones.
    """
    kernel = (binomial(x.dtype, x.device) * gain).expand(x.shape[1], 1, 4, 4)
    if pad[0] == pad[1]:
        return F.conv2d(x, kernel, padding=pad[0], stride=stride, groups=x.shape[1])
    return F.conv2d(F.pad(x, (*pad, *pad)), kernel, stride=stride, groups=x.shape[1])


def upsample2(x: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, c, 2h, 2w]: zeros between the samples, then the FIR with gain 4, as one transposed convolution."""
    c = x.shape[1]
    kernel = (binomial(x.dtype, x.device) * 4).expand(c, 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=c)


class EqualLinear(nn.Module):
    """Linear layer whose weights have unit variance at the start and are scaled at run time by lr_mul / sqrt(in)."""

    def __init__(self, inputs: int, outputs: int, lr_mul: float = 1.0, bias: float = 0.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = lr_mul / math.sqrt(inputs)
        self.lr_mul = lr_mul
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs] -> [n, outputs]
        gain = GAIN if self.activate else 1.0
        x = F.linear(x, self.weight * (self.scale * gain), self.bias * (self.lr_mul * gain))
        return F.leaky_relu_(x, SLOPE) if self.activate else x


class EqualConv2d(nn.Module):
    """Convolution with equalized weights; `down`: low-passed first, of stride 2; `activate`: then bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, activate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if activate else None
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.kernel = kernel
        self.down = down

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h, w], halved with `down`
        if self.bias is None:
            weight, bias = self.weight * self.scale, None
        else:
            weight, bias = self.weight * (self.scale * GAIN), self.bias * GAIN
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        elif self.kernel == 1:  # the FIR itself skips the samples that a 1x1 convolution of stride 2 would
            x = F.conv2d(fir(x, (1, 1), stride=2), weight, bias)
        else:
            x = F.conv2d(fir(x, (2, 2)), weight, bias, stride=2)
        return x if bias is None else F.leaky_relu_(x, SLOPE)


class ModulatedConv2d(nn.Module):
    """StyleGAN2's convolution: inputs scaled by a style, outputs by the inverse norm of the weights so scaled (equations 1-3).

    Returns the result before demodulation and the demodulation d [n, outputs, 1, 1] (1.0 without), so that the caller can fuse
    the product with its bias and activation.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, up: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.style = EqualLinear(style_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * 9)
        self.up = up

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        # x [n, inputs, h, w], w [n, style_dim] -> [n, outputs, h, w] (doubled with `up`), [n, outputs, 1, 1]
        style = self.style(w)  # [n, inputs]
        weight = self.weight * self.scale
        energy = weight.float().square().sum((2, 3))  # [outputs, inputs]
        with torch.autocast(x.device.type, enabled=False):  # a sum of thousands of squares: keep float32
            demodulation = torch.rsqrt(style.float().square() @ energy.t() + 1e-8)  # [n, outputs]
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1), gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=1)
        return x, demodulation.to(x.dtype)[:, :, None, None]


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to colour without demodulation, added to the doubled image of the level below."""

    def __init__(self, inputs: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs))
        self.style = EqualLinear(style_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor, below: Tensor | None) -> Tensor:
        # x [n, c, h, w], w [n, style_dim], below [n, 3, h / 2, w / 2] or None -> [n, 3, h, w]
        style = self.style(w).to(x.dtype)  # [n, c]
        image = F.conv2d(x * style[:, :, None, None], (self.weight * self.scale)[:, :, None, None], self.bias)
        return image if below is None else image + upsample2(below)


def minibatch_stddev(x: Tensor, group: int = 4) -> Tensor:
    """[n, c, h, w] -> [n, c + 1, h, w]: one more channel, the mean standard deviation over `group` images (PGGAN, section 3)."""
    n, c, h, w = x.shape
    group = min(n, group)
    if n % group:
        raise ValueError(f"A discriminator's batch of more than {group} must be a multiple of {group}; got {n}.")
    grouped = x.float().view(group, -1, c, h, w)  # images m, m + n / group, ... form a group
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # [n / group]
    return torch.cat([x, deviation.repeat(group).to(x.dtype).view(n, 1, 1, 1).expand(n, 1, h, w)], 1)
