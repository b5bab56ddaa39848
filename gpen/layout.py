"""The published layout of GPEN's files and the project's own: the same tensors under other names, and the settings both hold.

`published_names` is the dictionary between them. Every setting is read off the shapes, so that a file needs nothing beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import GPENError
from .network import GPEN, Discriminator, GPENConfig, sides
from .ops import binomial

State = dict[str, Tensor]


def published_names(discriminator: bool = False) -> dict[str, str]:
    """Published tensor name -> own tensor name, for every size up to 4096 px."""
    levels = len(sides(4096))
    if discriminator:
        names = {"convs.0.0.weight": "stem.weight", "convs.0.1.bias": "stem.bias"}
        for k in range(levels):
            theirs, ours = f"convs.{k + 1}.", f"blocks.{k}."
            names |= {theirs + "conv1.0.weight": ours + "conv1.weight", theirs + "conv1.1.bias": ours + "conv1.bias"}
            names |= {theirs + "conv2.1.weight": ours + "conv2.weight", theirs + "conv2.2.bias": ours + "conv2.bias"}
            names |= {theirs + "skip.1.weight": ours + "skip.weight"}
        names |= {"final_conv.0.weight": "last_conv.weight", "final_conv.1.bias": "last_conv.bias"}
        for k, ours in enumerate(("hidden", "score")):
            names |= {f"final_linear.{k}.{part}": f"{ours}.{part}" for part in ("weight", "bias")}
        return names

    names = {"generator.input.input": "generator.constant"}
    pairs = [("final_linear.0", "encoder.to_z")]
    pairs += [(f"generator.style.{k + 1}", f"generator.mapping.{k}") for k in range(64)]
    names |= {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in pairs for part in ("weight", "bias")}
    for k in range(levels):
        first = 1 if k else 0  # a halving level begins with its low-pass filter
        names[f"ecd{k}.0.{first}.weight"] = f"encoder.levels.{k}.weight"
        names[f"ecd{k}.0.{first + 1}.bias"] = f"encoder.levels.{k}.bias"
        ours = f"generator.blocks.{k}."
        layers = {f"generator.convs.{2 * k - 2}": ours + "up", f"generator.convs.{2 * k - 1}": ours + "conv"}
        for theirs, layer in (layers if k else {"generator.conv1": ours + "conv"}).items():
            names[theirs + ".conv.weight"] = layer + ".conv.weight"
            names[theirs + ".noise.weight"] = layer + ".noise_scale"
            names[theirs + ".activate.bias"] = layer + ".bias"
            names |= {f"{theirs}.conv.modulation.{p}": f"{layer}.conv.style.{p}" for p in ("weight", "bias")}
        theirs = f"generator.to_rgbs.{k - 1}" if k else "generator.to_rgb1"
        names |= {theirs + ".bias": ours + "to_rgb.bias", theirs + ".conv.weight": ours + "to_rgb.weight"}
        names |= {f"{theirs}.conv.modulation.{p}": f"{ours}to_rgb.style.{p}" for p in ("weight", "bias")}
    return names


def from_published(state: State, names: dict[str, str]) -> State:
    """Rename; drop the single dimensions that the published layout keeps around weights; check its filters."""
    own = {}
    for name, tensor in state.items():
        if name.endswith(".kernel"):
            if tensor.shape != (4, 4) or not torch.allclose(tensor / tensor.sum(), binomial(), atol=1e-4):
                raise GPENError(f"{name} is not the filter [1, 3, 3, 1] that GPEN resamples with: this is another network.")
        elif name not in names:
            raise GPENError(f"the tensor {name!r} belongs to no GPEN network: give a GPEN file.")
        elif names[name].endswith(".weight") and tensor.ndim == 5:  # [1, out, in, k, k]
            own[names[name]] = tensor[0].flatten(1) if "to_rgb" in name else tensor[0]
        else:
            own[names[name]] = tensor.reshape(-1) if names[name].endswith(".bias") else tensor
    return own


def to_published(net: GPEN | Discriminator) -> State:
    """The state dict of `net` under the published names and shapes, for programs that read the released files.

    Raises GPENError for a network of other blocks than StyleGAN2's: no released file has any.
    """
    if net.config.block != "stylegan2":
        raise GPENError(f"Only networks of StyleGAN2 blocks have a published layout; this one is of {net.config.block}'s.")
    names = {ours: theirs for theirs, ours in published_names(isinstance(net, Discriminator)).items()}
    kernel, state = binomial(), {}
    for name, tensor in net.state_dict().items():
        theirs = names[name]
        if "to_rgb" in name and tensor.ndim < 3 and ".style." not in name:
            tensor = tensor[None, :, :, None, None] if tensor.ndim == 2 else tensor[None, :, None, None]
        elif theirs.endswith(".conv.weight"):
            tensor = tensor[None]
        if theirs.startswith("generator.to_rgbs") and theirs.endswith("conv.weight"):
            state[theirs.replace("conv.weight", "upsample.kernel")] = kernel * 4
        elif ".up.conv.weight" in name:
            state[theirs.replace("conv.weight", "conv.blur.kernel")] = kernel * 4
        elif theirs.endswith(".1.weight") and ("ecd" in theirs or ".conv2." in theirs or ".skip." in theirs):
            state[theirs.replace(".1.weight", ".0.kernel")] = kernel.clone()
        state[theirs] = tensor.detach().clone()
    return state


def _count(state: State, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def read_config(state: State) -> GPENConfig:
    """The settings of a network in the own layout, off its tensors' shapes. Raises KeyError where a tensor is missing."""
    if "stem.weight" in state:
        size = 4 * 2 ** _count(state, "blocks.")
        narrow, widest = state["last_conv.weight"].shape[0] / 512, state["stem.weight"].shape[0]
        settings = {}
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
