"""Build the ONNX graph of a GPEN network node by node.

    input   image     float32 [n, 3, in_size, in_size], RGB in [-1, 1], dynamic n
    output  restored  float32 [n, 3, size, size], approximately [-1, 1]

The settings are stored as metadata of the file (see `metadata`). Gains are folded into the weights; a modulated convolution
scales its input and output, so that its weights are constants (see gpen.models.ops). The noise above in_size is a constant that
depends on a seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from gpen.errors import GPENError
from gpen.models.blocks import StyleGAN2Block, StyleGAN2Layer
from gpen.models.network import GPEN, UnitRange
from gpen.models.ops import GAIN, SLOPE, EqualConv2d, EqualLinear, ToRGB, binomial, fold_conv, fold_linear
from gpen.version import __version__

if TYPE_CHECKING:
    import onnx

OPSETS = range(15, 22)  # versions of ONNX in which the nodes below are valid
OPSET = 17  # supported since onnxruntime 1.12 and OpenVINO 2022.3
INPUT, OUTPUT = "image", "restored"
PHASES = (
    ([2, 0], (1, 1)),
    ([1], (0, 1)),
)  # kernel taps and zero padding (before, after) of the even and odd phases of upsampling by 2


def metadata(net: GPEN | UnitRange, seed: int) -> dict[str, str]:
    """Metadata of the exported file."""
    return {
        "format": "gpen",
        "version": __version__,
        "config": json.dumps(dataclasses.asdict(net.config)),
        "range": "RGB in [-1, 1], input and output",
        "seed": str(seed),
    }


@torch.no_grad()
def build(net: GPEN | UnitRange, opset: int = OPSET, seed: int = 0) -> onnx.ModelProto:
    """Build the graph of net(x, seed). Raises GPENError for other blocks than StyleGAN2 and for unsupported opsets."""
    import onnx  # an optional dependency

    if net.config.block != "stylegan2":
        raise GPENError(f"Only networks of StyleGAN2 blocks can be exported; the blocks of this one are {net.config.block}.")
    if opset not in OPSETS:
        raise GPENError(f"The opset must be {OPSETS[0]} to {OPSETS[-1]}; got {opset}.")
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
    model.ir_version = 8  # supported by all readers of opset 17; the default depends on the onnx package
    onnx.helper.set_model_props(model, metadata(net, seed))
    return model


class _Writer:
    """Collects the nodes and constants of a graph. Values are referred to by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Tensor | np.ndarray) -> str:
        import onnx

        value = value.float().contiguous().cpu().numpy() if isinstance(value, Tensor) else value
        self.constants.append(onnx.numpy_helper.from_array(value, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def nodes_of(self, kind: str, *inputs: str | Tensor | np.ndarray, names: list[str], **attributes: Any) -> list[str]:
        """Add a node with the outputs `names`; tensors and arrays among the inputs become constants."""
        import onnx

        input_names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        self.nodes.append(onnx.helper.make_node(kind, input_names, names, **attributes))
        return names

    def node(self, kind: str, *inputs: str | Tensor | np.ndarray, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        return self.nodes_of(kind, *inputs, names=[name or f"value_{len(self.nodes)}"], **attributes)[0]

    def leaky_relu(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=SLOPE)

    def to_nchw(self, x: str) -> str:
        """[n, c] -> [n, c, 1, 1]."""
        return self.node("Unsqueeze", x, np.array([2, 3], np.int64))

    def fir(self, x: str, channels: int, before: int, after: int, gain: float = 1.0) -> str:
        kernel = (binomial() * gain).expand(channels, 1, 4, 4)
        return self.node("Conv", x, kernel, group=channels, pads=[before, before, after, after])

    def linear(self, x: str, layer: EqualLinear) -> str:
        x = self.node("Gemm", x, *fold_linear(layer), transB=1)
        return self.leaky_relu(x) if layer.activate else x


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
    y: str | Tensor = net.generator.constant
    image: str | None = None
    noise_inputs = net.noise_inputs(features, torch.Generator().manual_seed(seed))
    for block, inputs in zip(cast("list[StyleGAN2Block]", net.generator.blocks), noise_inputs, strict=True):
        noise = [g.node("Expand", one, ones) if isinstance(one, Tensor) else one for one in inputs]
        if block.up is not None:
            y = _layer(g, block.up, y, next(styles), noise[0])
        y = _layer(g, block.conv, y, next(styles), noise[-1])
        image = _to_rgb(g, block.to_rgb, y, next(styles), image)
    return cast(str, image)


def _styles(g: _Writer, net: GPEN, w: str) -> list[str]:
    """Styles [n, inputs] of all convolutions, including those to RGB, in the order of their use, from one matrix product."""
    layers: list[EqualLinear] = []
    for block in cast("list[StyleGAN2Block]", net.generator.blocks):
        layers += [one.conv.style for one in (block.up, block.conv) if one is not None] + [block.to_rgb.style]
    weight, bias = (torch.cat(parts) for parts in zip(*map(fold_linear, layers), strict=True))
    widths = np.array([len(layer.bias) for layer in layers], np.int64)
    names = [f"style_{k}" for k in range(len(layers))]
    return g.nodes_of("Split", g.node("Gemm", w, weight, bias, transB=1), widths, names=names, axis=1)


def _level(g: _Writer, layer: EqualConv2d, x: str) -> str:
    weight, bias = fold_conv(layer)
    if layer.down:
        x = g.node("Conv", g.fir(x, weight.shape[1], 2, 2), weight, cast(Tensor, bias), strides=[2, 2])
    else:
        x = g.node("Conv", x, weight, cast(Tensor, bias))
    return g.leaky_relu(x)


def _layer(g: _Writer, layer: StyleGAN2Layer, x: str | Tensor, style: str, noise: str | None) -> str:
    conv, (bias, noise_bias) = layer.conv, _biases(layer)
    energy = (conv.weight * conv.scale).square().sum((2, 3))  # [o, i]
    power = g.node("MatMul", g.node("Mul", style, style), energy.t())
    demodulation = g.node("Reciprocal", g.node("Sqrt", g.node("Add", power, torch.tensor(1e-8))))  # [n, o]
    x = g.node("Mul", x, g.to_nchw(style))
    x = (_upsampling_conv if conv.up else _conv)(g, conv.weight * (conv.scale * GAIN), x)
    x = g.node("Mul", x, g.to_nchw(demodulation))
    if layer.mode != "none":
        noise = g.node("Mul", cast(str, noise), layer.noise_scale * GAIN)
    if layer.mode == "add":
        x = g.node("Add", x, cast(str, noise))
    x = g.leaky_relu(g.node("Add", x, bias[:, None, None]))
    if layer.mode != "concat":
        return x
    return g.node("Concat", x, g.leaky_relu(g.node("Add", cast(str, noise), cast(Tensor, noise_bias)[:, None, None])), axis=1)


def _biases(layer: StyleGAN2Layer) -> tuple[Tensor, Tensor | None]:
    """Biases of the output of the convolution and of the concatenated noise, None without one."""
    bias = layer.bias * GAIN
    if layer.mode != "concat":
        return bias, None
    conv_bias, noise_bias = bias.chunk(2)
    return conv_bias, noise_bias


def _conv(g: _Writer, weight: Tensor, x: str) -> str:
    return g.node("Conv", x, weight, pads=[1, 1, 1, 1])


def _upsampling_conv(g: _Writer, weight: Tensor, x: str) -> str:
    """[n, i, h, w] -> [n, o, 2 h, 2 w]: four interleaved phases of the transposed convolution, then the FIR filter."""
    phases = []
    for (rows, (top, bottom)), (columns, (left, right)) in itertools.product(PHASES, PHASES):
        kernel = weight[:, :, rows][:, :, :, columns]
        phases.append(g.node("Conv", x, kernel, pads=[top, left, bottom, right]))  # [n, o, h + 1, w + 1]
    interleaved = g.node("DepthToSpace", g.node("Concat", *phases, axis=1), blocksize=2, mode="DCR")  # [n, o, 2 h + 2, 2 w + 2]
    return g.fir(interleaved, len(weight), 1, 0, gain=4.0)


def _to_rgb(g: _Writer, layer: ToRGB, x: str, style: str, below: str | None) -> str:
    x = g.node("Mul", x, g.to_nchw(style))
    image = g.node("Conv", x, (layer.weight * layer.scale)[:, :, None, None], layer.bias)
    if below is None:
        return image
    kernel = (binomial() * 4).expand(3, 1, 4, 4)
    return g.node("Add", image, g.node("ConvTranspose", below, kernel, group=3, strides=[2, 2], pads=[1, 1, 1, 1]))
