"""Direct implementation of the published networks on state dicts in the published layout, without using gpen.

Follows Karras et al., CVPR 2020, and Yang et al., CVPR 2021, without any optimisation: modulated weights per image, FIR
resampling by zero insertion, separate noise, bias and activation. The stored outputs of the tiny networks in
tests/gpen/models/data are computed by

    python -m tests.gpen.models.reference
"""

from __future__ import annotations

import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.gpen.models import golden

State = dict[str, Tensor]
STRIDE = 4  # of the stored pixels


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """Bias, leaky ReLU and gain; x [n, c, ...]."""
    return F.leaky_relu(x + bias.reshape(1, -1, *[1] * (x.ndim - 2)), 0.2) * math.sqrt(2)


def linear(state: State, name: str, x: Tensor, lr_mul: float = 1.0, activation: bool = False) -> Tensor:
    """Linear layer with equalized learning rate."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"] * lr_mul
    x = x @ weight.t() * (lr_mul / math.sqrt(weight.shape[1]))
    return activate(x, bias) if activation else x + bias


def conv(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolution with equalized learning rate."""
    return F.conv2d(x, weight / math.sqrt(weight[0].numel()), stride=stride, padding=padding)


def upfirdn(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert zeros, pad both axes and filter each channel of x [n, c, h, w]."""
    n, c, h, w = x.shape
    y = x.new_zeros(n, c, h * up, w * up)
    y[:, :, ::up, ::up] = x
    y = F.pad(y, (*pad, *pad)).flatten(0, 1)[:, None]
    y = F.conv2d(y, kernel.flip(0, 1)[None, None])
    return y.reshape(n, c, *y.shape[2:])


def modulated(state: State, name: str, x: Tensor, w: Tensor, demodulate: bool = True) -> Tensor:
    """Modulated convolution of one image x [1, c, h, w]; upsampling if the state has a kernel for it."""
    style = linear(state, f"{name}.modulation", w)[0]
    weight = state[f"{name}.weight"][0]  # [o, c, k, k]
    weight = weight / math.sqrt(weight[0].numel()) * style[:, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if f"{name}.blur.kernel" in state:
        return upfirdn(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), state[f"{name}.blur.kernel"], pad=(1, 1))
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def gpen(state: State, x: Tensor, add: bool = False) -> Tensor:
    """Restore one image [1, 3, size, size]. add: the features are added instead of concatenated."""
    features, levels = [], len({name.split(".")[0] for name in state if name.startswith("ecd")})
    for k in range(levels):
        if k:
            x = conv(upfirdn(x, state[f"ecd{k}.0.0.kernel"], pad=(2, 2)), state[f"ecd{k}.0.1.weight"], stride=2)
        else:
            x = conv(x, state["ecd0.0.0.weight"])
        x = activate(x, state[f"ecd{k}.0.{2 if k else 1}.bias"])
        features.insert(0, x)
    w = linear(state, "final_linear.0", x.flatten(1), activation=True)
    w = w / (w.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for k in range(1, 1 + sum(name.startswith("generator.style.") and name.endswith("weight") for name in state)):
        w = linear(state, f"generator.style.{k}", w, lr_mul=0.01, activation=True)

    def layer(name: str, x: Tensor, feature: Tensor) -> Tensor:
        x, noise = modulated(state, f"{name}.conv", x, w), state[f"{name}.noise.weight"] * feature
        return activate(x + noise if add else torch.cat([x, noise], 1), state[f"{name}.activate.bias"])

    def to_rgb(name: str, x: Tensor, skip: Tensor | None) -> Tensor:
        image = modulated(state, f"{name}.conv", x, w, demodulate=False) + state[f"{name}.bias"].reshape(1, 3, 1, 1)
        return image if skip is None else image + upfirdn(skip, state[f"{name}.upsample.kernel"], up=2, pad=(2, 1))

    x = layer("generator.conv1", state["generator.input.input"], features[0])
    image = to_rgb("generator.to_rgb1", x, None)
    for k in range(1, levels):
        x = layer(f"generator.convs.{2 * k - 2}", x, features[k])
        x = layer(f"generator.convs.{2 * k - 1}", x, features[k])
        image = to_rgb(f"generator.to_rgbs.{k - 1}", x, image)
    return image


def discriminator(state: State, x: Tensor) -> Tensor:
    """Logits [n, 1] of images [n, 3, size, size]; the minibatch standard deviation is that of all n."""
    x = activate(conv(x, state["convs.0.0.weight"]), state["convs.0.1.bias"])
    for k in range(1, len({name.split(".")[1] for name in state if name.startswith("convs.")})):
        name = f"convs.{k}"
        y = activate(conv(x, state[f"{name}.conv1.0.weight"], padding=1), state[f"{name}.conv1.1.bias"])
        y = conv(upfirdn(y, state[f"{name}.conv2.0.kernel"], pad=(2, 2)), state[f"{name}.conv2.1.weight"], stride=2)
        skip = conv(upfirdn(x, state[f"{name}.skip.0.kernel"], pad=(1, 1)), state[f"{name}.skip.1.weight"], stride=2)
        x = (activate(y, state[f"{name}.conv2.2.bias"]) + skip) / math.sqrt(2)
    deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean()
    x = torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], 1)
    x = activate(conv(x, state["final_conv.0.weight"], padding=1), state["final_conv.1.bias"])
    return linear(state, "final_linear.1", linear(state, "final_linear.0", x.flatten(1), activation=True))


def output(spec: dict) -> np.ndarray:
    """Output of the network of a golden case for its input."""
    state, x = golden.weights(spec), golden.images(spec)
    y = discriminator(state, x) if spec["kind"] == "disc" else gpen(state, x, not spec["args"].get("isconcat", True))
    return y.numpy()


def main() -> None:
    """Compute the stored outputs."""
    for name, spec in json.loads((golden.DATA / "manifest.json").read_text()).items():
        y = output(spec)
        stored = y if spec["kind"] == "disc" else y[..., ::STRIDE, ::STRIDE]
        np.savez_compressed(golden.DATA / f"{name}.npz", output=stored, mean=y.mean((0, *range(2, y.ndim))), stride=STRIDE)


if __name__ == "__main__":
    main()
