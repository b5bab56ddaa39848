"""Identity loss: the distance between face embeddings of restored and true image, as in GPEN's released code.

The embedding is dlib's face recognition network (D. King, dlib_face_recognition_resnet_model_v1.dat, public domain, CC0), a
residual network of 29 convolutions. `pip download face_recognition_models` fetches it; it is read here without dlib.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.errors import GPENError

CROP = 150  # px, the side of the network's input
BOX = (42.0, 68.0, 216.0, 242.0)  # left, top, right, bottom of dlib's face crop in an FFHQ-aligned face of 256 px
MEAN = (122.782, 117.001, 104.298)  # of the input's red, green and blue
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))  # channels, blocks, whether it halves


class FaceRecognitionNet(nn.Module):
    """Faces -> embeddings [n, 128]; its weights are frozen. Raises GPENError for a file of another kind."""

    def __init__(self, path: str | Path):
        super().__init__()
        (self.stem, *rest), self.last = _read(Path(path))
        self.rest = nn.ModuleList(rest)

    def forward(self, images: Tensor, frames: Tensor | None = None, jitter: ColorJitter | None = None) -> Tensor:
        """images: FFHQ-aligned faces [n, 3, s, s] in [-1, 1], of any size; `frames` as `crop_faces` takes them."""
        x = crop_faces(images, frames)
        return F.linear(self._features(jitter(x) if jitter else x).mean((2, 3)), self.last)

    def _features(self, x: Tensor) -> Tensor:  # [n, 3, 150, 150] in [-1, 1] -> [n, 256, h, w]
        x = (x + 1) * 127.5 - x.new_tensor(MEAN)[:, None, None]
        x = F.max_pool2d(F.relu(self.stem(x / 256)), 3, 2)  # [n, 32, 35, 35]
        convolutions = iter(self.rest)
        for _, blocks, halves in STAGES:
            for block in range(blocks):
                y = F.relu(next(convolutions)(x))
                y = next(convolutions)(y)
                x = F.relu(_add(y, F.avg_pool2d(x, 2) if halves and block == 0 else x))
        return x


class IdentityLoss:
    """Relative distance |a - b| / |b| of the embeddings of restored and true faces, averaged.

    With a fixed crop the network finds changes that lower this loss without any likeness: one eye turned blue, and the score of
    another recognition network fell. `jitter` crops and mirrors each pair at random, `color_jitter` changes its colours and
    sharpness at random.
    """

    def __init__(self, recognition_net: FaceRecognitionNet, jitter: float = 0.0, color_jitter: bool = False):
        self.recognition_net, self.jitter, self.color_jitter = recognition_net, jitter, color_jitter

    def __call__(self, restored: Tensor, target: Tensor, random: torch.Generator | None = None) -> Tensor:
        """[n, 3, s, s] in [-1, 1] each -> a scalar; `random` is of their device."""
        frames = random_crops(len(restored), self.jitter, restored.device, random)
        color_jitter = ColorJitter.sample(len(restored), restored.device, random) if self.color_jitter else None
        a = self.recognition_net(restored, frames, color_jitter).float()  # [n, 128]
        with torch.no_grad():
            b = self.recognition_net(target, frames, color_jitter).float()
        return ((a - b).square().sum(1).add(1e-8).sqrt() / b.norm(dim=1)).mean()


@dataclass(frozen=True)
class ColorJitter:
    """Colour changes of n crops in [-1, 1], and one sharpness for all."""

    saturation: Tensor  # [n, 1, 1, 1], from 0 (grey) to 1 (as it is)
    contrast: Tensor  # [n, 1, 1, 1], a factor
    brightness: Tensor  # [n, 1, 1, 1], a sum
    side: int  # px; a larger crop is reduced to this size and enlarged again

    @classmethod
    def sample(cls, n: int, device: torch.device, random: torch.Generator | None = None) -> ColorJitter:
        """Random changes: a fifth of the faces grey, a fifth in their own colours; a third of the batches sharp."""
        saturation, contrast, brightness = torch.rand(3, n, 1, 1, 1, generator=random, device=device)
        side = 40 + int(160 * torch.rand((), generator=random, device=device))
        return cls((1.6 * saturation - 0.3).clamp(0, 1), 0.75 + 0.5 * contrast, 0.3 * brightness - 0.15, side)

    def __call__(self, x: Tensor) -> Tensor:
        grey = x.mean(1, keepdim=True)
        x = (grey + self.saturation * (x - grey)) * self.contrast + self.brightness
        if self.side >= CROP:
            return x
        small = F.interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True)
        return F.interpolate(small, size=(CROP, CROP), mode="bilinear")


def crop_faces(images: Tensor, frames: Tensor | None = None) -> Tensor:
    """Crops [n, 3, 150, 150] of the inner faces of FFHQ-aligned images [n, 3, s, s].

    frames [n, 4]: half width (negative: mirrored), half height, centre's x and y, in coordinates from -1 to 1; None: dlib's crop.
    """
    frames = random_crops(len(images), 0.0, images.device) if frames is None else frames
    width, height, x, y = frames.unbind(1)  # [n] each, in float32: bfloat16 errors reach half a pixel
    zero = torch.zeros_like(x)
    theta = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)  # [n, 2, 3]
    grid = F.affine_grid(theta, [len(images), 3, CROP, CROP], align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_crops(n: int, jitter: float, device: torch.device, random: torch.Generator | None = None) -> Tensor:
    """n crops [n, 4] for `crop_faces`: dlib's, shifted by up to `jitter` of the side and resized by up to 1.5 times that.

    Half of them are mirrored. With jitter 0 all are dlib's own.
    """
    left, top, right, bottom = (side / 128 - 1 for side in BOX)
    frame = torch.tensor([(right - left) / 2, (bottom - top) / 2, (left + right) / 2, (top + bottom) / 2], device=device)
    if not jitter:
        return frame.expand(n, 4)
    size, x, y, side = torch.rand(4, n, 1, generator=random, device=device) * 2 - 1  # [n, 1] each
    half = frame[None, :2] * (1 + 1.5 * jitter * size)  # [n, 2]
    centre = frame[None, 2:] + 2 * jitter * half * torch.cat([x, y], 1)
    mirrored = torch.where(side < 0, -1.0, 1.0)
    return torch.cat([half[:, :1] * mirrored, half[:, 1:], centre], 1)


def _add(a: Tensor, b: Tensor) -> Tensor:
    """Sum of [n, c, h, w] of different sizes, zero-padded as in dlib."""
    c, h, w = (max(x, y) for x, y in zip(a.shape[1:], b.shape[1:], strict=True))
    wide, other = (F.pad(x, (0, w - x.shape[3], 0, h - x.shape[2], 0, c - x.shape[1])) for x in (a, b))
    return wide + other


def _read(path: Path) -> tuple[list[nn.Conv2d], nn.Parameter]:
    """The convolutions in order, each with its affine layer folded in, then the last linear map [128, 256]."""
    if not path.is_file():
        raise GPENError(
            f"There is no file {path} (identity_model): pip download face_recognition_models, or set identity_weight = 0."
        )
    data = path.read_bytes()
    layers = [(found.group(), _Reader(data, found.end())) for found in re.finditer(rb"con_4|affine_|fc_2(?=\x01\x80)", data)]
    kinds = [kind for kind, _ in layers]
    if kinds != [b"con_4", b"affine_"] * 29 + [b"fc_2"]:
        raise GPENError(f"{path} is not dlib_face_recognition_resnet_model_v1.dat: fetch it again.")
    modules = [_folded(con, affine) for (_, con), (_, affine) in zip(layers[:-1:2], layers[1:-1:2], strict=True)]
    return modules, _linear(layers[-1][1])


def _folded(con: _Reader, affine: _Reader) -> nn.Conv2d:
    values, gain = con.tensor(), affine.tensor()
    filters, height, width, stride, _, padding, _ = (con.integer() for _ in range(7))
    gamma, beta = gain[:filters], gain[filters:]
    weight, bias = values[:-filters].reshape(filters, -1, height, width), values[-filters:]
    layer = nn.Conv2d(weight.shape[1], filters, height, stride, padding)
    layer.weight.data = torch.from_numpy(weight * gamma[:, None, None, None])
    layer.bias = nn.Parameter(torch.from_numpy(bias * gamma + beta))
    return layer.requires_grad_(False)


def _linear(reader: _Reader) -> nn.Parameter:
    outputs, inputs = reader.integer(), reader.integer()
    weight = torch.from_numpy(reader.tensor().reshape(inputs, outputs).T.copy())
    return nn.Parameter(weight, requires_grad=False)


class _Reader:
    """dlib's serialisation. An integer: a byte of sign and length, little-endian bytes. A tensor: version, four sizes, floats."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at

    def integer(self) -> int:
        head = self.data[self.at]
        end = self.at + 1 + (head & 0x7F)
        value = int.from_bytes(self.data[self.at + 1 : end], "little")
        self.at = end
        return -value if head & 0x80 else value

    def tensor(self) -> np.ndarray:
        """float32, flat."""
        _version, *shape = (self.integer() for _ in range(5))
        values = np.frombuffer(self.data, "<f4", int(np.prod(shape)), self.at).copy()
        self.at += values.nbytes
        return values
