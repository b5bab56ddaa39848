"""Conversion between the state dict layout of the published GPEN files and that of this package.

Both hold the same tensors under different names; `published_names` maps one to the other. `read_config` infers the settings of a
network from the shapes of its tensors, so that a weights file needs no separate configuration.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gpen.errors import GPENError
from gpen.models.config import GPENConfig
from gpen.models.network import GPEN, Discriminator, resolutions
from gpen.models.ops import binomial

State = dict[str, Tensor]


def published_names(discriminator: bool = False) -> dict[str, str]:
    """Map from published tensor names to those of this package, for every size up to 4096 px."""
    levels = len(resolutions(4096))
    if discriminator:
        names = {"convs.0.0.weight": "stem.weight", "convs.0.1.bias": "stem.bias"}
        for k in range(levels):
            published, own = f"convs.{k + 1}.", f"blocks.{k}."
            names |= {published + "conv1.0.weight": own + "conv1.weight", published + "conv1.1.bias": own + "conv1.bias"}
            names |= {published + "conv2.1.weight": own + "conv2.weight", published + "conv2.2.bias": own + "conv2.bias"}
            names |= {published + "skip.1.weight": own + "skip.weight"}
        names |= {"final_conv.0.weight": "last_conv.weight", "final_conv.1.bias": "last_conv.bias"}
        for k, own in enumerate(("hidden", "score")):
            names |= {f"final_linear.{k}.{part}": f"{own}.{part}" for part in ("weight", "bias")}
        return names

    names = {"generator.input.input": "generator.constant"}
    pairs = [("final_linear.0", "encoder.to_z")]
    pairs += [(f"generator.style.{k + 1}", f"generator.mapping.{k}") for k in range(64)]
    names |= {f"{published}.{part}": f"{own}.{part}" for published, own in pairs for part in ("weight", "bias")}
    for k in range(levels):
        first = 1 if k else 0  # a level of stride 2 begins with its low-pass filter
        names[f"ecd{k}.0.{first}.weight"] = f"encoder.levels.{k}.weight"
        names[f"ecd{k}.0.{first + 1}.bias"] = f"encoder.levels.{k}.bias"
        own = f"generator.blocks.{k}."
        layers = {f"generator.convs.{2 * k - 2}": own + "up", f"generator.convs.{2 * k - 1}": own + "conv"}
        for published, layer in (layers if k else {"generator.conv1": own + "conv"}).items():
            names[published + ".conv.weight"] = layer + ".conv.weight"
            names[published + ".noise.weight"] = layer + ".noise_scale"
            names[published + ".activate.bias"] = layer + ".bias"
            names |= {f"{published}.conv.modulation.{p}": f"{layer}.conv.style.{p}" for p in ("weight", "bias")}
        published = f"generator.to_rgbs.{k - 1}" if k else "generator.to_rgb1"
        names |= {published + ".bias": own + "to_rgb.bias", published + ".conv.weight": own + "to_rgb.weight"}
        names |= {f"{published}.conv.modulation.{p}": f"{own}to_rgb.style.{p}" for p in ("weight", "bias")}
    return names


def from_published(state: State, names: dict[str, str]) -> State:
    """Rename published tensors, drop the extra dimensions of size 1 and check the FIR kernels.

    Raises GPENError for a tensor that is not part of GPEN, or for another FIR kernel.
    """
    own = {}
    for name, tensor in state.items():
        if name.endswith(".kernel"):
            if tensor.shape != (4, 4) or not torch.allclose(tensor / tensor.sum(), binomial(), atol=1e-4):
                raise GPENError(f"{name} is not the FIR kernel [1, 3, 3, 1] of GPEN: the file holds another network.")
        elif name not in names:
            raise GPENError(f"The tensor {name!r} is not part of a GPEN network: give a GPEN file.")
        elif names[name].endswith(".weight") and tensor.ndim == 5:  # [1, out, in, k, k]
            own[names[name]] = tensor[0].flatten(1) if "to_rgb" in name else tensor[0]
        else:
            own[names[name]] = tensor.reshape(-1) if names[name].endswith(".bias") else tensor
    return own


def to_published(net: GPEN | Discriminator) -> State:
    """Return the state dict of `net` in the published layout, for programs that read the released files.

    The layout has no entry for the alignment: a file with these tensors is loaded with that of the authors' program, "gpen".
    Raises GPENError for a network of other blocks than StyleGAN2, which has no published layout.
    """
    if net.config.block != "stylegan2":
        raise GPENError(
            f"Only networks of StyleGAN2 blocks have a published layout; the blocks of this one are {net.config.block}."
        )
    names = {own: published for published, own in published_names(isinstance(net, Discriminator)).items()}
    kernel, state = binomial(), {}
    for name, tensor in net.state_dict().items():
        published = names[name]
        if "to_rgb" in name and tensor.ndim < 3 and ".style." not in name:
            tensor = tensor[None, :, :, None, None] if tensor.ndim == 2 else tensor[None, :, None, None]
        elif published.endswith(".conv.weight"):
            tensor = tensor[None]
        if published.startswith("generator.to_rgbs") and published.endswith("conv.weight"):
            state[published.replace("conv.weight", "upsample.kernel")] = kernel * 4
        elif ".up.conv.weight" in name:
            state[published.replace("conv.weight", "conv.blur.kernel")] = kernel * 4
        elif published.endswith(".1.weight") and ("ecd" in published or ".conv2." in published or ".skip." in published):
            state[published.replace(".1.weight", ".0.kernel")] = kernel.clone()
        state[published] = tensor.detach().clone()
    return state


def _count(state: State, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def read_config(state: State) -> GPENConfig:
    """Infer the settings of a network from the shapes of its tensors. Raises KeyError if a tensor is missing.

    A discriminator is taken for a published one, whose minibatch standard deviation is that of the whole batch.
    """
    if "stem.weight" in state:
        size = 4 * 2 ** _count(state, "blocks.")
        narrow, widest = state["last_conv.weight"].shape[0] / 512, state["stem.weight"].shape[0]
        settings: dict[str, Any] = {"stddev_group": 0}
    else:
        blocks, levels = _count(state, "generator.blocks."), _count(state, "encoder.levels.")
        size = 4 * 2 ** (blocks - 1)
        last = f"generator.blocks.{blocks - 1}.conv.conv.weight"
        narrow, widest = state["generator.constant"].shape[1] / 512, state[last].shape[0]
        conv, bias = state["generator.blocks.0.conv.conv.weight"], state["generator.blocks.0.conv.bias"]
        mode = "concat" if len(bias) == 2 * len(conv) else "add"
        settings = {
            "in_size": 4 * 2 ** (levels - 1) if levels else size,
            "style_dim": state["generator.mapping.0.weight"].shape[0],
            "mapping_layers": _count(state, "generator.mapping."),
            "noise_mode": mode if "generator.blocks.0.conv.noise_scale" in state else "none",
        }
    multiplier = widest * size / (16384 * narrow) if size >= 64 else 2
    return GPENConfig(size=size, narrow=narrow, channel_multiplier=multiplier, **settings)
