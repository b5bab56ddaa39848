"""Load and save networks: published GPEN files (.pth), files of this package (.safetensors), models by name.

Only tensors are unpickled (`weights_only=True`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpen.errors import GPENError
from gpen.images import replace_atomically
from gpen.models import download, families, licences, modelscope
from gpen.models.config import GPENConfig
from gpen.models.network import GPEN, Discriminator, Generator
from gpen.models.published import State, from_published, published_names, read_config
from gpen.models.spectral import orthogonal_

PACKAGED = Path(__file__).resolve().parents[1] / "assets"  # location of assets/ in an installed package
ASSETS = PACKAGED if PACKAGED.is_dir() else PACKAGED.parents[1] / "assets"
DEFAULT_MODEL = ASSETS / "gpen-256.safetensors"
DOWNLOADABLE = (
    "GPEN-BFR-256", "GPEN-BFR-512", "GPEN-Colorization-1024", "GPEN-Inpainting-1024", "GPEN-Seg2face-512",
    "GPEN-BFR-256-D", "GPEN-BFR-512-D",
)  # fmt: skip
PUBLISHED_MODELS = (*DOWNLOADABLE, *modelscope.FILES)
Network = GPEN | Generator | Discriminator
Kind = TypeVar("Kind", GPEN, Generator, Discriminator)


def _read_file(path: Path) -> tuple[dict, dict[str, str]]:
    """Read a .safetensors or .pth file: its content and metadata. The format is detected from the content, not the name."""
    start = None
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start[8:9] == b"{":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        if start[:2] == b"PK" or start[:1] == b"\x80":  # zip archive (torch >= 1.6) or plain pickle
            return torch.load(path, map_location="cpu", weights_only=True), {}
        raise ValueError("unknown file signature")
    except FileNotFoundError:
        raise GPENError(f"There is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise GPENError(f"{path} is a folder: give the path of a model file.") from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = "it is empty" if start == b"" else "it may be truncated; download it again"
        raise GPENError(f"{path.name} cannot be read as .safetensors or .pth: {reason} ({_first_line(error)}).") from None
    except pickle.UnpicklingError:
        raise GPENError(
            f"{path.name} is not a weights file: it holds objects other than tensors, which are not loaded for security reasons."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(". ")


def _own_layout(content: dict, discriminator: bool, name: str) -> tuple[State, bool]:
    """Convert the content of a file to a state dict in the layout of this package; and whether it had the published layout."""
    if other := families.recognise(content):
        raise GPENError(f"{name} holds a {other.network} network, not GPEN: {other.advice.format(file=name)}.")
    key = "d" if discriminator else "g_ema"  # key of the network in a training checkpoint
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()) or not content:
        raise GPENError(f"{name} holds no network: expected a dict of tensors, or one under the key {key!r}.")
    if bool({"convs.0.0.weight", "stem.weight"} & content.keys()) != discriminator:
        wanted = "discriminator" if discriminator else "restoration network"
        raise GPENError(f"{name} holds no {wanted}: it is not a GPEN file, or it is the file of the other network.")
    published = bool({"convs.0.0.weight", "generator.input.input", "ecd0.0.0.weight"} & content.keys())
    return from_published(content, published_names(discriminator)) if published else content, published


class _Unset(TorchFunctionMode):
    """Skip the initialisation of weights that are about to be loaded, without allocating memory for them.

    Also bounds the memory for a file that declares huge sizes. The device "meta" would do the same, but takes 2 s to import.
    """

    def __torch_function__(
        self, function: Callable, types: Sequence[type], arguments: tuple = (), named: dict[str, Any] | None = None
    ) -> Any:
        if function is orthogonal_:
            return arguments[0]
        return torch.zeros(()).expand(*arguments) if function is torch.randn else function(*arguments, **(named or {}))


def from_tensors(
    content: dict,
    kind: type[Network] = GPEN,
    dtype: torch.dtype = torch.float32,
    name: str = "This file",
    metadata: dict[str, str] | None = None,
) -> Network:
    """Build a network from the tensors of a file that has been read already; it is on the device of the tensors.

    content: a state dict in the published layout or that of this package, or a training checkpoint with one under g_ema or d.
    kind: GPEN, Generator (also from the file of a GPEN) or Discriminator. metadata: of the .safetensors file. name: of the file,
    used in error messages. Raises GPENError for anything but one complete network.

    The alignment of a GPEN is that of the metadata, which `save` writes. Without it, a file in the published layout or with the
    name of a published model is aligned as in the authors' program ("gpen"), any other as FFHQ.
    """
    state, published = _own_layout(content, kind is Discriminator, name)
    metadata = metadata or {}
    try:
        config = GPENConfig(**json.loads(metadata["config"])) if "config" in metadata else read_config(state)
        with _Unset():
            net = kind(config)
    except (KeyError, TypeError, IndexError, ZeroDivisionError, ValueError, RuntimeError) as error:  # RuntimeError: out of memory
        raise GPENError(f"{name} is not a GPEN {kind.__name__.lower()} file ({_first_line(error)}).") from None
    if kind is Generator:
        state = {k.removeprefix("generator."): t for k, t in state.items() if k.startswith("generator.")}
    for k, tensor in net.state_dict().items():
        if k not in state or state[k].shape != tensor.shape:
            found = f"has shape {list(state[k].shape)}" if k in state else "is missing"
            raise GPENError(f"{name} is not a complete GPEN file: {k} {found}, expected {list(tensor.shape)}; download it again.")
    if extra := state.keys() - net.state_dict().keys():
        raise GPENError(f"{name} is not a GPEN file: it holds the unknown tensor {min(extra)!r}.")
    if broken := [k for k, tensor in state.items() if not tensor.isfinite().all()]:
        raise GPENError(f"{name} holds values that are not finite, in {broken[0]}; download it again.")
    net.load_state_dict({k: tensor.to(dtype) for k, tensor in state.items()}, assign=True)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the type stubs of torch
    if isinstance(net, GPEN):
        published = published or Path(name).stem in PUBLISHED_MODELS
        net.alignment = metadata.get("alignment", "gpen" if published else "ffhq")
    return net.requires_grad_(False).eval()


def local_model(name: str) -> Path | None:
    """Find the file of a model by name in GPEN_MODELS, the cache, assets/ or the cache of modelscope; None if there is none."""
    here = download.local_file(f"{name}.safetensors", f"{name}.pth", also=[ASSETS])
    return here or modelscope.local_file(name)


def is_name(model: str | os.PathLike) -> bool:
    """Whether `model` is searched for by name: no file, without suffix and folder, or a name on ModelScope."""
    path = Path(model).expanduser()
    if str(model) in modelscope.NAMES and not path.exists():
        return True
    return not (path.is_file() or path.suffix or path.parent != Path("."))


def find(model: str | os.PathLike | None = None) -> Path:
    """Find the file of a model, given by name or path; None is the default model.

    A name is searched for in GPEN_MODELS, the cache and assets/; a published model that is not found is downloaded to the cache.
    ModelScope's names are accepted too: damo/cv_gpen_image-portrait-enhancement-hires, with or without /pytorch_model-2048.pt.
    Raises GPENError if the name is unknown or the download fails.
    """
    if model is None:
        model = DEFAULT_MODEL
    path = Path(model).expanduser()
    if not is_name(path):
        return path
    name = modelscope.NAMES.get(str(model), path.name)
    if here := local_model(name):
        download.check_pinned(here)
        return here
    if name in PUBLISHED_MODELS:
        return _download(name)
    raise GPENError(f"No model is called {name!r}: give a file or one of {', '.join(sorted(PUBLISHED_MODELS))}.")


def download_url(name: str) -> str:
    """Address of a published model. Raises GPENError if downloads are disabled."""
    base = download.source(download.MODELS_URL)
    address = modelscope.source(name) if name in modelscope.FILES else base and f"{base}/{name}.pth"
    if not address:
        original = modelscope.FILES[name].page if name in modelscope.FILES else f"{download.MODELS_URL}/{name}.pth"
        raise GPENError(
            f"{name} was not found, and GPEN_DOWNLOAD_URL forbids downloads: download it from {original} as "
            f"{download.cache_folder() / name}.pth, or set the environment variable GPEN_MODELS to the folder that has it."
        )
    return address


def _download(name: str) -> Path:
    """Download a published model from its authors; it is kept only if it loads, as no checksums were published."""
    url = download_url(name)
    print(f"{name}: downloading from {url}. {licences.PUBLISHED}", file=sys.stderr)

    def check(file: Path) -> None:
        content, metadata = _read_file(file)
        net = from_tensors(content, Discriminator if name.endswith("-D") else GPEN, name=file.name, metadata=metadata)
        expected = modelscope.FILES[name].size if name in modelscope.FILES else int(name.removesuffix("-D").rsplit("-", 1)[1])
        if net.config.size != expected:
            raise GPENError(f"The network has {net.config.size} px.")

    return download.fetch(url, download.cache_folder() / f"{name}.pth", check=check)


def load(model: str | os.PathLike | None = None, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> GPEN:
    """Load a network for inference: `net(x)`, x [n, 3, net.in_size, net.in_size] in [-1, 1] -> [n, 3, net.size, net.size].

    model: None (the default model), a name ("GPEN-BFR-512"), or a path to a .pth (state dict, or with the key g_ema) or
    .safetensors file. GPENError for anything else; a file of another network, such as GFPGAN, is named.
    """
    return _load(GPEN, model, device, dtype)


def load_discriminator(
    path: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Discriminator:
    """Load a discriminator: net(x), x [n, 3, size, size] in [-1, 1] -> [n, 1].

    The scores depend on the batch: the minibatch standard deviation is that of the whole batch for a published file, and that of
    config.stddev_group images for one that this package trained. path: a state dict, or a checkpoint with the key d. Raises
    GPENError as `load` does.
    """
    return _load(Discriminator, path, device, dtype)


def load_prior(path: str | os.PathLike, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Generator:
    """Load a GAN prior, net(net.mapping(z), noise), from the file of a prior or of a GPEN. Raises GPENError as `load` does."""
    return _load(Generator, path, device, dtype)


def _load(kind: type[Kind], model: str | os.PathLike | None, device: str | torch.device, dtype: torch.dtype) -> Kind:
    return _read_network(kind, find(model), dtype).to(device)


def _read_network(kind: type[Kind], path: Path, dtype: torch.dtype) -> Kind:
    content, metadata = _read_file(path)
    return cast(Kind, from_tensors(content, kind, dtype, path.name, metadata))


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The metadata of a .safetensors file, {} for a .pth file. Raises GPENError as `load` does."""
    return _read_file(Path(path))[1]


def inspect(path: str | os.PathLike) -> tuple[Network, dict[str, str]]:
    """Load the network of a file, whichever kind it is, and the metadata of the file. Raises GPENError as `load` does."""
    path = Path(path)
    content, metadata = _read_file(path)
    names = content.keys() if isinstance(content, dict) else set()
    kind: type[Network] = GPEN
    if {"d", "convs.0.0.weight", "stem.weight"} & names and "g_ema" not in names:
        kind = Discriminator
    elif all(name.startswith("generator.") for name in names) and "generator.input.input" not in names:
        kind = Generator
    return from_tensors(content, kind, name=path.name, metadata=metadata), metadata


def licence(path: str | os.PathLike, metadata: dict[str, str]) -> str:
    """The licence of a model file: the entry `licence` of its metadata, or what is known about a file of that name."""
    path = Path(path)
    if entry := metadata.get("licence"):
        return licences.IN_FULL.get(entry, entry)
    if path.stem in licences.ASSETS and path.resolve().parent == ASSETS.resolve():
        return licences.ASSETS[path.stem]
    known = path.stem in PUBLISHED_MODELS or modelscope.is_cached(path)
    return licences.PUBLISHED if known else licences.UNKNOWN


def save(net: Network, path: str | os.PathLike, dtype: torch.dtype | None = None, **notes: str) -> Path:
    """Save `net` to a .safetensors file with its settings, its alignment and `notes` as metadata; returns the path.

    The file is written atomically. dtype: of the stored tensors (float16 halves the file size); None: unchanged.
    """
    prefix = "generator." if isinstance(net, Generator) else ""  # the names that the prior has within a GPEN
    state = {prefix + k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in net.state_dict().items()}
    metadata = {"format": "gpen", "config": json.dumps(dataclasses.asdict(net.config))}
    if isinstance(net, GPEN):
        metadata["alignment"] = net.alignment
    metadata |= notes
    with replace_atomically(path) as partial:
        save_file(state, partial, metadata)
    return Path(path)
