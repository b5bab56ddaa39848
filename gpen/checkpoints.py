"""Reading and writing networks: the published GPEN layout (.pth), the project's own (.safetensors), models by name.

Both layouts hold the same tensors under other names; `published_names` is the dictionary between them. Every setting is read
off the shapes, so that a file needs nothing beside it. Nothing but tensors is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import download
from .errors import GPENError
from .network import GPEN, Discriminator, Generator, GPENConfig, sides
from .ops import binomial

PACKAGED = Path(__file__).resolve().parent / "assets"  # where `pip install` puts assets/
ASSETS = PACKAGED if PACKAGED.is_dir() else PACKAGED.parent.parent / "assets"
DEFAULT_MODEL = ASSETS / "gpen-256.safetensors"
DOWNLOADABLE = (
    "GPEN-BFR-256", "GPEN-BFR-512", "GPEN-Colorization-1024", "GPEN-Inpainting-1024", "GPEN-Seg2face-512",
    "GPEN-BFR-256-D", "GPEN-BFR-512-D",
)  # fmt: skip
PUBLISHED_MODELS = (*DOWNLOADABLE, "GPEN-BFR-1024", "GPEN-BFR-2048")  # no address is known of the last two
State = dict[str, Tensor]
Network = GPEN | Generator | Discriminator
Kind = TypeVar("Kind", GPEN, Generator, Discriminator)


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


def _from_published(state: State, names: dict[str, str]) -> State:
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
    return len({name[len(prefix):].split(".")[0] for name in state if name.startswith(prefix)})


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


def _read_file(path: Path) -> tuple[dict, dict[str, str]]:
    """What a .safetensors or a .pth holds, and the former's metadata; told apart by content, not by name."""
    start = None
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start[8:9] == b"{":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        if start[:2] == b"PK" or start[:1] == b"\x80":  # a zip archive, as torch writes; a bare pickle, as it once did
            return torch.load(path, map_location="cpu", weights_only=True), {}
        raise ValueError("its first bytes are neither's")
    except FileNotFoundError:
        raise GPENError(f"There is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise GPENError(f"{path} is a folder: name the model's file in it.") from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = "it is empty" if start == b"" else "it may be cut off; fetch it again"
        raise GPENError(f"{path.name} cannot be read as .safetensors or .pth: {reason} ({_first_line(error)}).") from None
    except pickle.UnpicklingError:
        raise GPENError(
            f"{path.name} is no file of weights: it holds something other than tensors, and that is never executed."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(". ")


def _own_layout(content: dict, discriminator: bool, name: str) -> State:
    """The network's tensors by their own names, out of what a file of that `name` holds in either layout."""
    key = "d" if discriminator else "g_ema"  # where a training run's file keeps the network
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()) or not content:
        raise GPENError(f"{name} holds no network: expected a dict of tensors, or one under {key!r}.")
    if bool({"convs.0.0.weight", "stem.weight"} & content.keys()) != discriminator:
        wanted = "discriminator" if discriminator else "restoration network"
        raise GPENError(f"{name} holds no {wanted}: it is not a GPEN file, or the other one of the pair.")
    if {"convs.0.0.weight", "generator.input.input", "ecd0.0.0.weight"} & content.keys():
        content = _from_published(content, published_names(discriminator))
    return content


class _Unset(TorchFunctionMode):
    """No memory and no random numbers for weights that a file replaces, whatever sizes it claims to have.

    The device "meta" does it too, but imports a compiler first: 2 s.
    """

    def __torch_function__(self, function, types, arguments=(), named=None):
        return torch.zeros(()).expand(*arguments) if function is torch.randn else function(*arguments, **(named or {}))


def from_tensors(
    content: dict,
    kind: type[Network] = GPEN,
    dtype: torch.dtype = torch.float32,
    name: str = "This file",
    metadata: dict[str, str] | None = None,
) -> Network:
    """A network out of the tensors that a file holds, for programs that have read it themselves; on their device.

    content: a state dict in the published or the own layout, or a training run's dict with one under g_ema or d; a Generator
    takes its part of a whole GPEN. metadata: a .safetensors file's. name: what a GPENError calls the file.
    Raises GPENError, with one sentence, for anything but one whole network.
    """
    state = _own_layout(content, kind is Discriminator, name)
    metadata = metadata or {}
    try:
        config = GPENConfig(**json.loads(metadata["config"])) if "config" in metadata else read_config(state)
        with _Unset():
            net = kind(config)
    except (KeyError, TypeError, IndexError, ZeroDivisionError, ValueError, RuntimeError) as error:  # the last: of no memory
        raise GPENError(f"{name} is not a GPEN {kind.__name__.lower()} file ({_first_line(error)}).") from None
    if kind is Generator:
        state = {k.removeprefix("generator."): t for k, t in state.items() if k.startswith("generator.")}
    for k, tensor in net.state_dict().items():
        if k not in state or state[k].shape != tensor.shape:
            found = f"has shape {list(state[k].shape)}" if k in state else "is missing"
            raise GPENError(f"{name} is not a whole GPEN file: {k} {found}, expected {list(tensor.shape)}; fetch it again.")
    if extra := state.keys() - net.state_dict().keys():
        raise GPENError(f"{name} is not a GPEN file: it also holds {min(extra)!r}.")
    if broken := [k for k, tensor in state.items() if not tensor.isfinite().all()]:
        raise GPENError(f"{name} holds values that are not finite numbers, in {broken[0]}; fetch it again.")
    net.load_state_dict({k: tensor.to(dtype) for k, tensor in state.items()}, assign=True)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return net.requires_grad_(False).eval()


def local_model(name: str) -> Path | None:
    """The file of the model of that name in GPEN_MODELS, the cache or assets/; None where there is none."""
    return download.local_file(f"{name}.safetensors", f"{name}.pth", also=[ASSETS])


def find(model: str | os.PathLike | None = None) -> Path:
    """The file of a model: None is the default; a name is looked up in GPEN_MODELS, the cache and assets/; else a path.

    A published model that is nowhere is downloaded into the cache. Raises GPENError where that fails, with the way out.
    """
    if model is None:
        model = DEFAULT_MODEL
    path = Path(model).expanduser()
    if path.is_file() or path.suffix or path.parent != Path("."):
        return path
    if here := local_model(path.name):
        return here
    if path.name in PUBLISHED_MODELS:
        return _download(path.name)
    raise GPENError(f"No model is called {path.name!r}: give a file, or one of {', '.join(sorted(PUBLISHED_MODELS))}.")


def _download(name: str) -> Path:
    """A published model from its authors' address, kept only if it loads: no checksum of it was ever published."""
    target = download.cache_folder() / f"{name}.pth"
    base = download.source(download.MODELS_URL)
    if name not in DOWNLOADABLE or not base:
        reason = "GPEN_DOWNLOAD_URL forbids downloads" if name in DOWNLOADABLE else "no address of it is known"
        raise GPENError(
            f"{name} is not here, and {reason}: put {target.name} into {target.parent}, "
            "or name the folder that has it in the environment variable GPEN_MODELS."
        )
    print(f"{name}: fetched from GPEN's authors, who state no licence; ask them before any use that needs one.", file=sys.stderr)

    def check(file: Path) -> None:
        content, metadata = _read_file(file)
        net = from_tensors(content, Discriminator if name.endswith("-D") else GPEN, name=file.name, metadata=metadata)
        if str(net.config.size) not in name:
            raise GPENError(f"it is a network of {net.config.size} px")

    return download.fetch(f"{base}/{target.name}", target, check=check)


def load(
    model: str | os.PathLike | None = None, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> GPEN:
    """A network ready to restore: `net(x)`, x [n, 3, net.in_size, net.in_size] in [-1, 1] -> [n, 3, net.size, net.size].

    model: None for the default, a name ("GPEN-BFR-512") or a path to a .pth (raw, or with the key g_ema) or .safetensors file.
    Raises GPENError, with one sentence, for anything else.
    """
    return _load(GPEN, model, device, dtype)


def load_discriminator(
    path: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Discriminator:
    """A discriminator: net(x), x [n, 3, size, size] in [-1, 1] -> [n, 1]. The file is raw or has the key d. Raises as `load`."""
    return _load(Discriminator, path, device, dtype)


def load_prior(
    path: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Generator:
    """A GAN prior: net(net.mapping(z), noise). The file is a prior's or a whole GPEN's. Raises GPENError as `load` does."""
    return _load(Generator, path, device, dtype)


def _load(kind: type[Kind], model: str | os.PathLike | None, device: str | torch.device, dtype: torch.dtype) -> Kind:
    return _read_network(kind, find(model), dtype).to(device)


def _read_network(kind: type[Kind], path: Path, dtype: torch.dtype) -> Kind:
    content, metadata = _read_file(path)
    return cast(Kind, from_tensors(content, kind, dtype, path.name, metadata))


def save(net: Network, path: str | os.PathLike, dtype: torch.dtype | None = None, **notes: str) -> Path:
    """Write `net` to a .safetensors file that holds its settings, and `notes`, as metadata; returns its path.

    The file appears whole or not at all. dtype: of the stored tensors (float16 halves the file); None keeps theirs.
    """
    prefix = "generator." if isinstance(net, Generator) else ""  # a prior is named as it is within a GPEN
    state = {prefix + k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in net.state_dict().items()}
    metadata = {"format": "gpen", "config": json.dumps(dataclasses.asdict(net.config)), **notes}
    partial = Path(f"{path}.partial")
    save_file(state, partial, metadata)
    return partial.replace(path)
