"""GPEN as an ONNX graph, written node by node: what other engines run and other programs read.

    input   image     float32 [n, 3, in_size, in_size], RGB in [-1, 1], any n
    output  restored  float32 [n, 3, size, size], about [-1, 1]

The settings stand in the file's metadata (METADATA). Gains are folded into the weights; a modulated convolution scales its
input and its output, so that its weights are constants (see gpen.ops). Free noise, above in_size, is that of one seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from .blocks import StyleGAN2Block, StyleGAN2Layer
from .errors import GPENError
from .network import GPEN, UnitRange, sides
from .ops import GAIN, SLOPE, EqualConv2d, EqualLinear, ToRGB, binomial
from .version import __version__

if TYPE_CHECKING:
    import onnx

OPSETS = range(15, 22)  # of ONNX, that the nodes below are valid in
OPSET = 17  # onnxruntime since 1.12, OpenVINO since 2022.3
INPUT, OUTPUT = "image", "restored"
PHASES = (([2, 0], (1, 1)), ([1], (0, 1)))  # of a doubled signal: the even samples' taps and zeros around, then the odd ones'


def metadata(net: GPEN | UnitRange, seed: int) -> dict[str, str]:
    """What a file says of itself."""
    return {
        "format": "gpen",
        "version": __version__,
        "config": json.dumps(dataclasses.asdict(net.config)),
        "range": "RGB in [-1, 1], in and out",
        "seed": str(seed),
    }


@torch.no_grad()
def build(net: GPEN | UnitRange, opset: int = OPSET, seed: int = 0) -> onnx.ModelProto:
    """The graph of net(x, seed). Raises GPENError for networks of other blocks than StyleGAN2's and for other opsets."""
    import onnx  # late: an optional package

    if net.config.block != "stylegan2":
        raise GPENError(f"Only networks of StyleGAN2 blocks can be exported; this one is of {net.config.block}'s.")
    if opset not in OPSETS:
        raise GPENError(f"The opset is one of {OPSETS[0]} to {OPSETS[-1]}; got {opset}.")
    writer = _Writer()
    if isinstance(net, UnitRange):
        half = torch.tensor(0.5)
        y = _network(writer, net.net, writer.node("Add", writer.node("Mul", INPUT, half), half), seed)
        writer.node("Div", writer.node("Sub", y, half), half, name=OUTPUT)
    else:
        writer.node("Identity", _network(writer, net, INPUT, seed), name=OUTPUT)
    shapes: dict[str, list[str | int | None]] = {INPUT: ["n", 3, net.in_size, net.in_size], OUTPUT: ["n", 3, net.size, net.size]}
    ends = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = onnx.helper.make_graph(writer.nodes, "gpen", [ends[INPUT]], [ends[OUTPUT]], writer.constants)
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports, producer_name="gpen", producer_version=__version__)
    model.ir_version = 8  # readers of opset 17 know it; a newer onnx package would write its own
    onnx.helper.set_model_props(model, metadata(net, seed))
    return model


class _Writer:
    """Collects nodes and constants. Values are known by their names."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value: Tensor | np.ndarray) -> str:
        import onnx

        value = value.float().contiguous().cpu().numpy() if isinstance(value, Tensor) else value
        self.constants.append(onnx.numpy_helper.from_array(value, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def nodes_of(self, kind: str, *inputs, names: list[str], **attributes) -> list[str]:
        import onnx

        known = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        self.nodes.append(onnx.helper.make_node(kind, known, names, **attributes))
        return names

    def node(self, kind: str, *inputs: str | Tensor | np.ndarray, name: str | None = None, **attributes) -> str:
        """A node of one output."""
        return self.nodes_of(kind, *inputs, names=[name or f"value_{len(self.nodes)}"], **attributes)[0]

    def leaky_relu(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=SLOPE)

    def spread(self, x: str) -> str:
        """[n, c] -> [n, c, 1, 1]"""
        return self.node("Unsqueeze", x, np.array([2, 3], np.int64))

    def fir(self, x: str, channels: int, before: int, after: int, gain: float = 1.0) -> str:
        kernel = (binomial() * gain).expand(channels, 1, 4, 4)
        return self.node("Conv", x, kernel, group=channels, pads=[before, before, after, after])

    def linear(self, x: str, layer: EqualLinear) -> str:
        x = self.node("Gemm", x, *folded(layer), transB=1)
        return self.leaky_relu(x) if layer.activate else x


def folded(layer: EqualLinear) -> tuple[Tensor, Tensor]:
    gain = GAIN if layer.activate else 1.0
    return layer.weight * (layer.scale * gain), layer.bias * (layer.lr_mul * gain)


def _network(g: _Writer, net: GPEN, x: str, seed: int) -> str:
    features: list[str] = []
    for level in net.encoder.levels:
        x = _level(g, level, x)
        features.insert(0, x)
    w = g.linear(g.node("Flatten", x, axis=1), net.encoder.to_z)
    mean = g.node("MatMul", g.node("Mul", w, w), torch.full((net.config.style_dim, 1), 1 / net.config.style_dim))
    w = g.node("Div", w, g.node("Sqrt", g.node("Add", mean, torch.tensor(1e-8))))
    for layer in net.generator.mapping:
        w = g.linear(w, layer)
    styles = iter(_styles(g, net, w))
    batch = g.node("Shape", INPUT, start=0, end=1)
    ones = g.node("Concat", batch, np.array([1, 1, 1], np.int64), axis=0)  # the shape [n, 1, 1, 1]
    random = torch.Generator().manual_seed(seed)
    made: str | Tensor = net.generator.constant
    image: str | None = None
    for k, (side, block) in enumerate(zip(sides(net.size), cast("list[StyleGAN2Block]", net.generator.blocks), strict=True)):
        noise: list[str | None] = [features[k]] * 2 if k < len(features) else []
        if not noise:
            noise = [None if one is None else g.node("Expand", one, ones) for one in net.generator.noise(side, random=random)]
        if block.up is not None:
            made = _layer(g, block.up, made, next(styles), noise[0])
        made = _layer(g, block.conv, made, next(styles), noise[-1])
        image = _colours(g, block.to_rgb, made, next(styles), image)
    return cast(str, image)


def _styles(g: _Writer, net: GPEN, w: str) -> list[str]:
    """The style [n, i] of every convolution, those to colour too, in the order of their use."""
    layers: list[EqualLinear] = []
    for block in cast("list[StyleGAN2Block]", net.generator.blocks):
        layers += [one.conv.style for one in (block.up, block.conv) if one is not None] + [block.to_rgb.style]
    weight, bias = (torch.cat(parts) for parts in zip(*map(folded, layers), strict=True))
    widths = np.array([len(layer.bias) for layer in layers], np.int64)
    names = [f"style_{k}" for k in range(len(layers))]
    return g.nodes_of("Split", g.node("Gemm", w, weight, bias, transB=1), widths, names=names, axis=1)


def _level(g: _Writer, layer: EqualConv2d, x: str) -> str:
    weight, bias = layer.weight * (layer.scale * GAIN), cast(Tensor, layer.bias) * GAIN
    if layer.down:
        x = g.node("Conv", g.fir(x, weight.shape[1], 2, 2), weight, bias, strides=[2, 2])
    else:
        x = g.node("Conv", x, weight, bias)
    return g.leaky_relu(x)


def _layer(g: _Writer, layer: StyleGAN2Layer, x: str | Tensor, style: str, noise: str | None) -> str:
    conv, (bias, others) = layer.conv, _biases(layer)
    energy = (conv.weight * conv.scale).square().sum((2, 3))  # [o, i]
    power = g.node("MatMul", g.node("Mul", style, style), energy.t())
    demodulation = g.node("Reciprocal", g.node("Sqrt", g.node("Add", power, torch.tensor(1e-8))))  # [n, o]
    x = g.node("Mul", x, g.spread(style))
    x = (_doubled if conv.up else _plain)(g, conv.weight * (conv.scale * GAIN), x)
    x = g.node("Mul", x, g.spread(demodulation))
    if layer.mode != "none":
        noise = g.node("Mul", cast(str, noise), layer.noise_scale * GAIN)
    if layer.mode == "add":
        x = g.node("Add", x, cast(str, noise))
    x = g.leaky_relu(g.node("Add", x, bias[:, None, None]))
    if layer.mode != "concat":
        return x
    return g.node("Concat", x, g.leaky_relu(g.node("Add", cast(str, noise), cast(Tensor, others)[:, None, None])), axis=1)


def _biases(layer: StyleGAN2Layer) -> tuple[Tensor, Tensor | None]:
    """Of the convolution's channels, and of the noise's if they are apart."""
    bias = layer.bias * GAIN
    if layer.mode != "concat":
        return bias, None
    own, others = bias.chunk(2)
    return own, others


def _plain(g: _Writer, weight: Tensor, x: str) -> str:
    return g.node("Conv", x, weight, pads=[1, 1, 1, 1])


def _doubled(g: _Writer, weight: Tensor, x: str) -> str:
    """[n, i, h, w] -> [n, o, 2 h, 2 w]: the four phases of the transposed convolution, interleaved, then the FIR."""
    phases = []
    for (rows, (top, bottom)), (columns, (left, right)) in itertools.product(PHASES, PHASES):
        kernel = weight[:, :, rows][:, :, :, columns]
        phases.append(g.node("Conv", x, kernel, pads=[top, left, bottom, right]))  # [n, o, h + 1, w + 1]
    apart = g.node("DepthToSpace", g.node("Concat", *phases, axis=1), blocksize=2, mode="DCR")  # [n, o, 2 h + 2, 2 w + 2]
    return g.fir(apart, len(weight), 1, 0, gain=4.0)


def _colours(g: _Writer, layer: ToRGB, x: str, style: str, below: str | None) -> str:
    x = g.node("Mul", x, g.spread(style))
    image = g.node("Conv", x, (layer.weight * layer.scale)[:, :, None, None], layer.bias)
    if below is None:
        return image
    kernel = (binomial() * 4).expand(3, 1, 4, 4)
    return g.node("Add", image, g.node("ConvTranspose", below, kernel, group=3, strides=[2, 2], pads=[1, 1, 1, 1]))
