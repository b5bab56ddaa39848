"""Layers and operations of StyleGAN2 (Karras et al., CVPR 2020) used by GPEN.

Equalized layers (Karras et al., ICLR 2018, section 4.1), FIR resampling with the binomial filter [1, 3, 3, 1], modulated and
demodulated convolution (StyleGAN2, equations 1-3) and the minibatch standard deviation. All resampling by 2 is centred: the
samples of a grid of h pixels lie at (i + 0.5) / h, so that a symmetric image stays symmetric.

Optimised for plain PyTorch: a modulated convolution scales activations instead of weights (`conv(x * s, W) * d` equals
`conv(x, s * W * d)`), so that a batch needs one ordinary convolution instead of one group per image; constant gains and biases
are folded into the weights or into one multiply-add; activations are in place.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # negative slope of the leaky ReLU
GAIN = math.sqrt(2)  # gain that keeps the variance of a leaky ReLU's output close to that of its input


def full_precision(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is: sums and losses are not computed in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def scaled_leaky_relu(x: Tensor, scale: Tensor | float, bias: Tensor) -> Tensor:
    """Compute GAIN * leaky_relu(scale * x + bias).

    x: [n, c, h, w]. scale: [n, c, 1, 1] or a scalar. bias: [c]. GAIN is applied before the activation, which is positively
    homogeneous.
    """
    bias = (bias * GAIN).to(x.dtype).view(1, -1, 1, 1)
    scale = torch.as_tensor(scale * GAIN, dtype=x.dtype, device=x.device)
    return F.leaky_relu_(torch.addcmul(bias, x, scale), SLOPE)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide x [n, c, ...] by its root mean square over the channels (PGGAN, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def binomial(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", taps: int = 4) -> Tensor:
    """Low-pass filter [taps, taps]: the outer product of [1, 3, 3, 1] / 8, or with 3 taps of [1, 2, 1] / 4, with itself."""
    line = torch.tensor([float(math.comb(taps - 1, k)) for k in range(taps)], dtype=dtype, device=device) / 2 ** (taps - 1)
    return torch.outer(line, line)


def fir(x: Tensor, pad: tuple[int, int], gain: float = 1.0, stride: int = 1, taps: int = 4) -> Tensor:
    """Low-pass filter x [n, c, h, w] after padding both axes with `pad` zeros (before, after).

    One depthwise convolution: on channels-last data it is memory-bound and was measured to be faster than two separable
    convolutions.
    """
    kernel = (binomial(x.dtype, x.device, taps) * gain).expand(x.shape[1], 1, taps, taps)
    if pad[0] == pad[1]:
        return F.conv2d(x, kernel, padding=pad[0], stride=stride, groups=x.shape[1])
    return F.conv2d(F.pad(x, (*pad, *pad)), kernel, stride=stride, groups=x.shape[1])


def upsample2(x: Tensor) -> Tensor:
    """Upsample [n, c, h, w] -> [n, c, 2h, 2w]: zero insertion and the FIR filter with gain 4, as one transposed convolution."""
    c = x.shape[1]
    kernel = (binomial(x.dtype, x.device) * 4).expand(c, 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=c)


class EqualLinear(nn.Module):
    """Linear layer with equalized learning rate: unit-variance weights, scaled at run time by lr_mul / sqrt(inputs)."""

    def __init__(self, inputs: int, outputs: int, lr_mul: float = 1.0, bias: float = 0.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = lr_mul / math.sqrt(inputs)
        self.lr_mul = lr_mul
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs] -> [n, outputs]
        x = F.linear(x, *fold_linear(self))
        return F.leaky_relu_(x, SLOPE) if self.activate else x


class EqualConv2d(nn.Module):
    """Convolution with equalized learning rate. down: low-pass filter and stride 2. activate: add bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, activate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if activate else None
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.kernel = kernel
        self.down = down

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h, w], halved with `down`
        weight, bias = fold_conv(self)
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        elif self.kernel == 1:  # apply the stride in the FIR: a 1x1 convolution would discard the other samples
            x = F.conv2d(fir(x, (1, 1), stride=2), weight, bias)
        else:
            x = F.conv2d(fir(x, (2, 2)), weight, bias, stride=2)
        return x if bias is None else F.leaky_relu_(x, SLOPE)


def fold_linear(layer: EqualLinear) -> tuple[Tensor, Tensor]:
    """Weight [outputs, inputs] and bias [outputs] of `layer` with all gains folded in, for `F.linear` before the leaky ReLU."""
    gain = GAIN if layer.activate else 1.0
    return layer.weight * (layer.scale * gain), layer.bias * (layer.lr_mul * gain)


def fold_conv(layer: EqualConv2d) -> tuple[Tensor, Tensor | None]:
    """Weight [outputs, inputs, k, k] and bias [outputs] of `layer` with all gains folded in, for `F.conv2d`."""
    if layer.bias is None:
        return layer.weight * layer.scale, None
    return layer.weight * (layer.scale * GAIN), layer.bias * GAIN


class ModulatedConv2d(nn.Module):
    """Modulated convolution of StyleGAN2: inputs scaled by a style, outputs by the inverse norm of the scaled weights.

    Returns the result before demodulation and the demodulation factors d [n, outputs, 1, 1] (equations 1-3), so that the caller
    can fuse the product with its bias and activation.
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
        with torch.autocast(x.device.type, enabled=False):  # a sum of thousands of squares needs float32
            demodulation = torch.rsqrt(style.float().square() @ energy.t() + 1e-8)  # [n, outputs]
        x = self.convolve(x * style.to(x.dtype)[:, :, None, None], weight)
        return x, demodulation.to(x.dtype)[:, :, None, None]

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve x [n, c, h, w] with weight [outputs, c, 3, 3] -> [n, outputs, h, w], doubled with `up`."""
        if self.up:
            return fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1), gain=4.0)
        return F.conv2d(x, weight, padding=1)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to RGB without demodulation, added to the upsampled image of the previous block.

    The sum over the blocks is float32 (or float64) also where the convolutions are in half precision.
    """

    def __init__(self, inputs: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs))
        self.style = EqualLinear(style_dim, inputs, bias=1.0)
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor, below: Tensor | None) -> Tensor:
        # x [n, c, h, w], w [n, style_dim], below [n, 3, h / 2, w / 2] or None -> [n, 3, h, w]
        style = self.style(w).to(x.dtype)  # [n, c]
        weight = (self.weight * self.scale)[:, :, None, None]
        image = full_precision(F.conv2d(x * style[:, :, None, None], weight, self.bias))
        if below is None:
            return image
        with torch.autocast(x.device.type, enabled=False):
            return image + upsample2(below)


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Append the mean standard deviation over `group` images, or over all with 0, as a channel (PGGAN, section 3).

    [n, c, h, w] -> [n, c + 1, h, w]. Raises ValueError if n is larger than `group` and not a multiple of it.
    """
    n, c, h, w = x.shape
    group = min(n, group or n)
    if n % group:
        raise ValueError(f"The batch size of a discriminator must be at most {group} or a multiple of {group}; got {n}.")
    grouped = x.float().view(group, -1, c, h, w)  # images m, m + n / group, ... form a group
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))  # [n / group]
    return torch.cat([x, deviation.repeat(group).to(x.dtype).view(n, 1, 1, 1).expand(n, 1, h, w)], 1)
