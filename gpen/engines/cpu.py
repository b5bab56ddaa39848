"""Forward pass of GPEN optimised for inference on a CPU; the same function as gpen.models.network.GPEN.

Constants are folded when the network is prepared: gains into weights; bias, demodulation and leaky ReLU into the preceding
convolution (a leaky ReLU is positively homogeneous, and demodulation factors are positive). All styles are computed from w in one
matrix product. An upsampling convolution is computed as four phases, each an ordinary convolution with the taps that do not fall
on inserted zeros, instead of a transposed convolution.

Every convolution computes a strip of rows at a time. Its pointwise operations run while the strip is in the cache, and the result
is written next to the encoder feature in persistent buffers from which the next layer reads: allocating new pages would cost more
than the operations. Images are processed one by one, so that a modulated convolution (StyleGAN2, equations 1-3) can scale its
activations or, if they outnumber the weights, its weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.models.blocks import StyleGAN2Block, StyleGAN2Layer
from gpen.models.network import GPEN, resolutions
from gpen.models.ops import GAIN, SLOPE, EqualConv2d, EqualLinear, binomial, fold_conv, fold_linear, pixel_norm, upsample2

STRIP = 4 * 2**20  # bytes of output per strip; a fraction of the cache
FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
TAPS = [
    2,
    0,
    1,
]  # order of a 3-tap kernel: the first two taps for the even samples of the upsampled signal, the last for the odd ones
PHASES = (slice(2, 3), slice(0, 2))  # odd phase first: a strip starts with an odd row


def supports(net: nn.Module) -> TypeGuard[GPEN]:
    """Whether `net` can be prepared: StyleGAN2 blocks with concatenated noise, in float32 on a CPU."""
    if not isinstance(net, GPEN) or net.config.block != "stylegan2" or net.config.noise_mode != "concat":
        return False
    return all(p.device.type == "cpu" and p.dtype == torch.float32 for p in net.parameters())


class Conv:
    """Convolution with prepacked weights, then bias and, with `activate`, leaky ReLU.

    Pads columns only; the rows of a strip include their padding.
    """

    def __init__(self, weight: Tensor, padding: int = 0, stride: int = 1, groups: int = 1, activate: bool = False):
        self.where = ([0, padding], [stride, stride], [1, 1], groups)
        self.activate = activate
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight.contiguous(), *self.where) if FUSED else weight

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:  # [1, i, h, w], [o] -> [1, o, h', w']
        bias = None if bias is None else bias.to(x.dtype)
        if FUSED:
            after = ("leaky_relu", [SLOPE], "") if self.activate else ("none", [], "")
            return torch.ops.mkldnn._convolution_pointwise(x, self.weight, bias, *self.where, *after)
        padding, stride, dilation, groups = self.where
        x = F.conv2d(x, self.weight, bias, stride, padding, dilation, groups)
        return F.leaky_relu_(x, SLOPE) if self.activate else x


class Buffer:
    """Persistent memory that is viewed as channels-last images."""

    def __init__(self, dtype: torch.dtype):
        self.flat = torch.empty(0, dtype=dtype)

    def image(self, channels: int, height: int, width: int, pad: int) -> Tensor:
        """View [1, channels, pad + height + pad, width]; the first and last `pad` rows are zero, the others uninitialised."""
        rows = height + 2 * pad
        if channels * rows * width > len(self.flat):
            self.flat = self.flat.new_empty(channels * rows * width)
        view = self.flat[: channels * rows * width].view(1, rows, width, channels).permute(0, 3, 1, 2)
        view[:, :, :pad] = 0
        view[:, :, rows - pad :] = 0
        return view


def strips(rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of the strips into which `rows` rows are split."""
    step = max(8, STRIP // row_bytes)
    return ((first, min(first + step, rows)) for first in range(0, rows, step))


class Level:
    """Level of the encoder; all but the first have a low-pass filter and stride 2."""

    def __init__(self, layer: EqualConv2d, dtype: torch.dtype):
        outputs, inputs = layer.weight.shape[:2]
        self.fir = Conv(binomial(dtype).expand(inputs, 1, 4, 4), padding=2, groups=inputs) if layer.down else None
        weight, bias = fold_conv(layer)
        self.conv, self.bias = Conv(weight.to(dtype), stride=1 + layer.down, activate=True), bias
        self.memory, self.channels = Buffer(dtype), outputs

    def __call__(self, x: Tensor) -> Tensor:  # [1, i, 2 + h + 2, w] -> [1, o, 2 + h' + 2, w']
        down = 1 if self.fir is None else 2
        out = self.memory.image(self.channels, (x.shape[2] - 4) // down, x.shape[3] // down, pad=2)
        for first, end in strips(out.shape[2] - 4, down * x.shape[1] * x.shape[3] * x.element_size()):
            rows = x[:, :, 2 + first : 2 + end] if self.fir is None else self.fir(x[:, :, 2 * first : 2 * end + 4])
            out[:, :, 2 + first : 2 + end] = self.conv(rows, self.bias)
        return out


class Layer:
    """Modulated convolution, with or without upsampling, and the concatenated feature."""

    def __init__(self, layer: StyleGAN2Layer, side: int, dtype: torch.dtype):
        weight = layer.conv.weight * layer.conv.scale  # [o, i, 3, 3]
        self.energy = weight.square().sum((2, 3))  # [o, i]
        weight = weight[:, :, TAPS][:, :, :, TAPS] * GAIN if layer.conv.up else weight * GAIN
        self.bias, noise_bias = (layer.bias * GAIN).chunk(2)  # [o]
        self.noise_bias, self.noise_scale = noise_bias.to(dtype)[:, None, None], (layer.noise_scale * GAIN).to(dtype)
        self.up, self.dtype, self.channels = layer.conv.up, dtype, len(weight)
        kernel = (binomial(dtype) * 4).expand(self.channels, 1, 4, 4)
        self.fir = Conv(kernel, groups=self.channels, activate=True) if self.up else None
        # modulate the activations if there are fewer of them than weights, else the weights
        scales_input = (side // 2 if self.up else side) ** 2 <= 9 * self.channels
        self.convs = self._convs(weight) if scales_input else None
        self.weight = weight.new_empty(0) if scales_input else weight

    def _convs(self, weight: Tensor) -> list[Conv]:
        """Return the convolution, or its four phases with upsampling."""
        weight = weight.to(self.dtype)
        if not self.up:
            return [Conv(weight, padding=1, activate=True)]
        return [Conv(weight[:, :, rows, columns], padding=1) for rows in PHASES for columns in PHASES]

    def __call__(self, x: Tensor, style: Tensor, feature: Tensor, out: Tensor, spare: Buffer) -> Iterator[tuple[int, int]]:
        """Compute `out` [1, 2 o, 1 + h' + 1, w'] strip by strip; yield (first, end) of each strip of rows.

        x [1, i, 1 + h + 1, w], style [i], feature [1, o, h', w']; h' is h, or 2 h with upsampling.
        """
        demodulation = torch.rsqrt(self.energy @ style.square() + 1e-8)  # [o]
        bias, demodulation = self.bias / demodulation, demodulation.to(self.dtype)[:, None, None]
        if self.convs is None:
            convs = self._convs(self.weight * style[:, None, None])
        else:
            scaled = spare.image(x.shape[1], x.shape[2], x.shape[3], pad=0)
            x, convs = torch.mul(x, style.to(self.dtype)[:, None, None], out=scaled), self.convs
        scale = out.shape[3] // x.shape[3]
        for first, end in strips(x.shape[2] - 2, scale * self.channels * out.shape[3] * x.element_size()):
            rows = x[:, :, first : end + 2]
            y = self._upsample(convs, rows, bias) if self.up else convs[0](rows, bias)
            first, end = first * scale, end * scale
            conv_out, noise_out = out[:, :, 1 + first : 1 + end].split(self.channels, 1)
            torch.mul(y, demodulation, out=conv_out)
            F.leaky_relu_(torch.addcmul(self.noise_bias, feature[:, :, first:end], self.noise_scale, out=noise_out), SLOPE)
            yield first, end

    def _upsample(self, phases: list[Conv], x: Tensor, bias: Tensor) -> Tensor:
        """x [1, i, 1 + h + 1, w] -> [1, o, 2 h, 2 w]: interleave the phases, then apply the FIR filter."""
        h, w = x.shape[2:]
        shape = (1, self.channels, 2 * h - 1, 2 * w + 3)
        interleaved = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        for k, phase in enumerate(phases):
            interleaved[:, :, k // 2 :: 2, k % 2 :: 2] = phase(x)
        return cast(Conv, self.fir)(interleaved, bias)


class Prepared:
    """Optimised form of `net`: x [n, 3, in_size, in_size] in [-1, 1] -> [n, 3, size, size], equivalent to net(x, seed).

    dtype: of features and convolutions; styles and RGB outputs are float32. Concurrent calls are serialised. The network must be
    prepared again after its weights change. Raises ValueError for any other shape of x.
    """

    @torch.no_grad()
    def __init__(self, net: GPEN, dtype: torch.dtype = torch.float32, seed: int = 0):
        self.config, self.dtype = net.config, dtype
        self.levels = [Level(level, dtype) for level in net.encoder.levels]
        self.linear = [fold_linear(layer) for layer in (net.encoder.to_z, *net.generator.mapping)]
        self.start = _channels_last(F.pad(net.generator.constant, (0, 0, 1, 1)), dtype)  # [1, c, 1 + 4 + 1, 4]
        self.layers: list[list[Layer]] = []
        self.to_rgb: list[tuple[Tensor, Tensor]] = []
        styled: list[EqualLinear] = []
        blocks = cast("list[StyleGAN2Block]", net.generator.blocks)
        for side, block in zip(resolutions(net.size), blocks, strict=True):
            pair = [layer for layer in (block.up, block.conv) if layer is not None]
            self.layers.append([Layer(layer, side, dtype) for layer in pair])
            self.to_rgb.append(((block.to_rgb.weight * block.to_rgb.scale), block.to_rgb.bias.clone()))  # [3, c], [3]
            styled += [layer.conv.style for layer in pair] + [block.to_rgb.style]
        self.styles = [torch.cat(parts) for parts in zip(*map(fold_linear, styled), strict=True)]  # [sum of i, d], [sum of i]
        self.widths = [len(style.bias) for style in styled]
        random = torch.Generator().manual_seed(seed)
        free = net.noise_inputs([None] * len(self.levels), random)[len(self.levels) :]  # above in_size
        self.noise = [[_channels_last(cast(Tensor, noise), dtype) for noise in pair] for pair in free]
        self.memory = [Buffer(dtype) for _ in range(3)]
        self.lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        side = self.config.in_size
        if x.shape[1:] != (3, side, side):
            raise ValueError(f"This network takes [n, 3, {side}, {side}]; got {list(x.shape)}.")
        with self.lock:
            return torch.cat([self._one(image) for image in x.split(1)]).to(x.dtype)

    def _one(self, x: Tensor) -> Tensor:  # [1, 3, in_size, in_size] -> [1, 3, size, size] float32
        x = _channels_last(F.pad(x, (0, 0, 2, 2)), self.dtype)
        features: list[list[Tensor]] = []
        for level in self.levels:
            x = level(x)
            features.insert(0, [x[:, :, 2:-2]] * 2)
        styles = iter(self._styles(features[0][0]))
        x, image = self.start, None
        for layers, to_rgb, noise in zip(self.layers, self.to_rgb, features + self.noise, strict=True):
            x, image = self._block(x, image, layers, to_rgb, styles, noise)
        return cast(Tensor, image)

    def _styles(self, deepest: Tensor) -> tuple[Tensor, ...]:
        """Compute the styles [inputs] of all convolutions, including those to RGB, in order, from the feature [1, c, 4, 4]."""
        first, *mapping = self.linear
        w = pixel_norm(F.leaky_relu(F.linear(deepest.float().flatten(1), *first), SLOPE))  # [1, d]
        for layer in mapping:
            w = F.leaky_relu(F.linear(w, *layer), SLOPE)
        return F.linear(w, *self.styles)[0].split(self.widths)

    def _block(
        self,
        x: Tensor,
        image: Tensor | None,
        layers: list[Layer],
        to_rgb: tuple[Tensor, Tensor],
        styles: Iterator[Tensor],
        noise: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """x [1, i, 1 + h + 1, w], image [1, 3, h, w] or None -> both at the next resolution."""
        odd, even, spare = self.memory
        *ups, last = layers
        side = noise[0].shape[3]
        for up in ups:
            below, x = x, even.image(2 * up.channels, side, side, pad=1)
            for _ in up(below, next(styles), noise[0], x, spare):
                pass
        out = odd.image(2 * last.channels, side, side, pad=1)
        finished = last(x, next(styles), noise[-1], out, spare)
        weight, bias = to_rgb
        weight = (weight * next(styles)).to(self.dtype)[:, :, None, None]  # [3, c, 1, 1]
        y = torch.empty(1, 3, side, side, memory_format=torch.channels_last)
        for first, end in finished:
            y[:, :, first:end] = F.conv2d(out[:, :, 1 + first : 1 + end], weight, bias.to(self.dtype))
        return out, y if image is None else y.add_(upsample2(image))


def _channels_last(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).contiguous(memory_format=torch.channels_last)
