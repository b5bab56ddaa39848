"""SqueezeNet 1.1 (Iandola et al., 2016) as a frozen feature network, and LPIPS (Zhang et al., CVPR 2018) on its features.

Two kinds of files are read: torchvision's squeezenet1_1 (.pth), with which `lpips` is LPIPS v0.1 of the lpips package, and an
.npz of the original Caffe weights under torchvision's names. LPIPS's linear heads were fitted on torchvision's.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.errors import GPENError
from gpen.models.ops import full_precision
from gpen.optional import missing_package

FIRES = {3: 128, 4: 128, 6: 256, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}  # torchvision's number -> channels of the output
POOLED = (4, 7)  # fire modules that a max pooling follows
TAPPED = (4, 7, 9, 10, 11, 12)  # with the first convolution, the seven layers that LPIPS compares
TAP_CHANNELS = (64, 128, 256, 384, 384, 512, 512)
CAFFE_MEAN = (123.68, 116.779, 103.939)  # RGB, of values in 0..255
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of values in 0..1
MIN_SIZE = 128  # px, below which the last feature maps of an image are too small to compare
URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"


class Fire(nn.Module):
    """Squeeze by a 1x1 convolution, expand by 1x1 and 3x3 ones side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, outputs // 8, 1)
        self.expand1x1 = nn.Conv2d(outputs // 8, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(outputs // 8, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h, w]
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNet(nn.Module):
    """The convolutional layers: images in [-1, 1], RGB -> the seven feature maps that LPIPS compares; weights are frozen.

    path: a file of weights as above; None: see `find_weights`. Raises GPENError where it is missing or holds something else.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, path: str | os.PathLike | None):
        super().__init__()
        path = find_weights(path)
        state, caffe = _read_weights(path)
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        inputs = (64, *FIRES.values())
        self.fires = nn.ModuleDict({str(k): Fire(i, o) for i, (k, o) in zip(inputs, FIRES.items(), strict=False)})
        try:
            self.load_state_dict({name: state[_torchvision_name(name)] for name in self.state_dict()})
        except (KeyError, RuntimeError, TypeError):
            raise GPENError(f"{path} does not hold the weights of SqueezeNet 1.1: {_how_to_fetch()}.") from None
        if caffe:  # its input is BGR in 0..255, centred
            self.conv1.weight.data = self.conv1.weight.data.flip(1)
            gain, offset = torch.full((3,), 127.5), 127.5 - torch.tensor(CAFFE_MEAN)
        else:
            mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
            gain, offset = 0.5 / std, (0.5 - mean) / std
        self.register_buffer("gain", gain.view(1, 3, 1, 1))
        self.register_buffer("offset", offset.view(1, 3, 1, 1))
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def forward(self, x: Tensor) -> list[Tensor]:
        """x [n, 3, h, w] in [-1, 1] -> features after ReLU, [n, TAP_CHANNELS[i], h', w'] each; h' is about h / 2 to h / 16."""
        x = x * self.gain + self.offset
        x = F.relu(self.conv1(x.contiguous(memory_format=torch.channels_last)))
        taps = [x]
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for number, fire in self.fires.items():
            x = fire(x)
            if int(number) in TAPPED:
                taps.append(x)
            if int(number) in POOLED:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return taps


def lpips_heads() -> list[Tensor]:
    """The linear heads of LPIPS v0.1 for SqueezeNet, [c] each, from the lpips package. Raises GPENError without that package."""
    spec = importlib.util.find_spec("lpips")  # found without importing it, which needs torchvision
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], "weights", "v0.1", "squeeze.pth") if folders else None
    if path is None or not path.is_file():
        raise missing_package("lpips", "train", "LPIPS")  # it contains the linear heads
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(TAP_CHANNELS))]


def lpips(a: Sequence[Tensor], b: Sequence[Tensor], heads: Sequence[Tensor]) -> Tensor:
    """LPIPS (equation 1) of two sets of features, [n, c, h, w] for each layer, with heads [c] -> [n]."""
    total: Tensor | float = 0.0
    for x, y, head in zip(a, b, heads, strict=True):
        difference = (_unit(full_precision(x)) - _unit(full_precision(y))).square()  # [n, c, h, w]
        total = total + F.conv2d(difference, head.view(1, -1, 1, 1)).mean((1, 2, 3))
    return total  # type: ignore[return-value]  # there is at least one layer


def enlarge(images: Tensor) -> Tensor:
    """Images [n, 3, s, s] at MIN_SIZE px at least, by bilinear interpolation."""
    if images.shape[-1] >= MIN_SIZE:
        return images
    return F.interpolate(images, size=(MIN_SIZE, MIN_SIZE), mode="bilinear", align_corners=False)


def find_weights(path: str | os.PathLike | None = None) -> Path:
    """The file of SqueezeNet's weights: `path`, else GPEN_SQUEEZENET, else where torchvision keeps its own.

    Raises GPENError, with the command that fetches it, where there is none.
    """
    named = path or os.environ.get("GPEN_SQUEEZENET")
    file = Path(named).expanduser() if named else Path(torch.hub.get_dir(), "checkpoints", URL.rsplit("/", 1)[-1])
    if not file.is_file():
        raise GPENError(f"There are no SqueezeNet 1.1 weights at {file}: {_how_to_fetch()}.")
    return file


def _how_to_fetch() -> str:
    return f"fetch them with python -c \"import torch; torch.hub.load_state_dict_from_url('{URL}')\", or name a file"


def _unit(x: Tensor) -> Tensor:
    """x [n, c, h, w], of unit length over the channels at each pixel; 0 stays 0, and has no gradient."""
    return x * x.square().sum(1, keepdim=True).add(1e-10).rsqrt()


def _torchvision_name(name: str) -> str:
    return name.replace("conv1.", "features.0.") if name.startswith("conv1") else name.replace("fires.", "features.")


def _read_weights(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Tensors by torchvision's names, and whether they are Caffe's."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: torch.from_numpy(archive[name]) for name in archive.files}, True
        return torch.load(path, map_location="cpu", weights_only=True), False
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError):
        raise GPENError(f"{path} cannot be read as SqueezeNet 1.1 weights (.pth or .npz): {_how_to_fetch()}.") from None
