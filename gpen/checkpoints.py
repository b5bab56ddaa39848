"""Reading and writing networks: the published GPEN layout (.pth), the project's own (.safetensors), models by name.

Nothing but tensors is ever unpickled.
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
from .layout import State, from_published, published_names, read_config
from .network import GPEN, Discriminator, Generator, GPENConfig

PACKAGED = Path(__file__).resolve().parent / "assets"  # where `pip install` puts assets/
ASSETS = PACKAGED if PACKAGED.is_dir() else PACKAGED.parent.parent / "assets"
DEFAULT_MODEL = ASSETS / "gpen-256.safetensors"
DOWNLOADABLE = (
    "GPEN-BFR-256", "GPEN-BFR-512", "GPEN-Colorization-1024", "GPEN-Inpainting-1024", "GPEN-Seg2face-512",
    "GPEN-BFR-256-D", "GPEN-BFR-512-D",
)  # fmt: skip
PUBLISHED_MODELS = (*DOWNLOADABLE, "GPEN-BFR-1024", "GPEN-BFR-2048")  # no address is known of the last two
Network = GPEN | Generator | Discriminator
Kind = TypeVar("Kind", GPEN, Generator, Discriminator)


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
        content = from_published(content, published_names(discriminator))
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


def load(model: str | os.PathLike | None = None, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> GPEN:
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


def load_prior(path: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Generator:
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
