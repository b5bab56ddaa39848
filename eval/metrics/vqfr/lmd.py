"""LMD: mean displacement of 98 landmarks, in px of the image, as measured for VQFR (Gu et al., ECCV 2022).

The detector is the stacked hourglass network of adaptive wing loss (X. Wang et al., ICCV 2019) for WFLW, file
alignment_WFLW_4HG.pth: the whole image, resized bilinearly to 256 px, RGB in [0, 1]; each landmark is the maximum of its heatmap
of 64 px, moved by a quarter of a pixel towards the larger neighbour. Published values are of images of 512 px.
"""

import re
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.metrics.cache import VectorCache
from eval.metrics.weights import MetricSettings, MissingMetric, load_tensors, read_tensors

SIZE, HEATMAP, LANDMARKS = 256, 64, 98
DEPTH = 4  # levels of an hourglass


def coordinates(h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y and x in [-1, 1], in this order, and their radius, scaled to a maximum of 1: [1, 1, h, w] each."""
    x = torch.linspace(-1, 1, w).to(like)[None, :].expand(h, w)
    y = torch.linspace(-1, 1, h).to(like)[:, None].expand(h, w)
    radius = torch.hypot(x, y)
    return y[None, None], x[None, None], (radius / radius.max())[None, None]


class CoordConv(nn.Module):
    """Convolution of features and coordinates; with `boundary` [n, 1, h, w] also of the coordinates on the facial boundary."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding)

    def forward(self, features: Tensor, boundary: Tensor | None = None) -> Tensor:
        n, _, h, w = features.shape
        y, x, radius = (plane.expand(n, 1, h, w) for plane in coordinates(h, w, features))
        planes = [features, y, x, radius]
        if boundary is not None:
            on = boundary.clamp(0, 1) > 0.05
            planes += [torch.where(on, y, 0), torch.where(on, x, 0)]
        return self.conv(torch.cat(planes, dim=1))


class ConvBlock(nn.Module):
    """Three convolutions of falling width, concatenated and added to the input: [n, c, h, w] -> [n, channels, h, w]."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        widths = (channels_in, channels // 2, channels // 4, channels // 4)
        for k in range(3):
            setattr(self, f"bn{k + 1}", nn.BatchNorm2d(widths[k]))
            setattr(self, f"conv{k + 1}", nn.Conv2d(widths[k], widths[k + 1], 3, padding=1, bias=False))
        self.downsample = None
        if channels_in != channels:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(channels_in), nn.ReLU(), nn.Conv2d(channels_in, channels, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        y, outputs = x, []
        for k in range(1, 4):
            y = getattr(self, f"conv{k}")(F.relu(getattr(self, f"bn{k}")(y)))
            outputs.append(y)
        return torch.cat(outputs, dim=1) + (x if self.downsample is None else self.downsample(x))


class Hourglass(nn.Module):
    """Features [n, 256, 64, 64], and heatmaps of the previous hourglass unless it is the first -> features."""

    def __init__(self, first: bool):
        super().__init__()
        self.coordconv = CoordConv(256 + (3 if first else 5), 256, 1)
        for level in range(1, DEPTH + 1):
            for name in ("b1", "b2", "b3", *(["b2_plus"] if level == 1 else [])):
                self.add_module(f"{name}_{level}", ConvBlock(256, 256))

    def forward(self, x: Tensor, heatmaps: Tensor | None) -> Tensor:
        return self._level(DEPTH, self.coordconv(x, None if heatmaps is None else heatmaps[:, -1:]))

    def _level(self, level: int, x: Tensor) -> Tensor:
        block = self.get_submodule
        low = block(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._level(level - 1, low) if level > 1 else block("b2_plus_1")(low)
        return block(f"b1_{level}")(x) + F.interpolate(block(f"b3_{level}")(low), scale_factor=2.0, mode="nearest")


class LandmarkNet(nn.Module):
    """RGB faces [n, 3, 256, 256] in [0, 1] -> heatmaps [n, 99, 64, 64], the last one of the facial boundary.

    The names are those of the tensors in the file.
    """

    def __init__(self, hourglasses: int = 4):
        super().__init__()
        self.hourglasses = hourglasses
        self.conv1 = CoordConv(6, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2, self.conv3, self.conv4 = ConvBlock(64, 128), ConvBlock(128, 128), ConvBlock(128, 256)
        for k in range(hourglasses):
            self.add_module(f"m{k}", Hourglass(first=k == 0))
            self.add_module(f"top_m_{k}", ConvBlock(256, 256))
            self.add_module(f"conv_last{k}", nn.Conv2d(256, 256, 1))
            self.add_module(f"bn_end{k}", nn.BatchNorm2d(256))
            self.add_module(f"l{k}", nn.Conv2d(256, LANDMARKS + 1, 1))
            if k < hourglasses - 1:
                self.add_module(f"bl{k}", nn.Conv2d(256, 256, 1))
                self.add_module(f"al{k}", nn.Conv2d(LANDMARKS + 1, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        part = self.get_submodule
        x = F.avg_pool2d(self.conv2(F.relu(self.bn1(self.conv1(x)))), 2)  # [n, 128, 64, 64]
        x = self.conv4(self.conv3(x))  # [n, 256, 64, 64]
        heatmaps: Tensor | None = None
        for k in range(self.hourglasses):
            y = part(f"top_m_{k}")(part(f"m{k}")(x, heatmaps))
            y = F.relu(part(f"bn_end{k}")(part(f"conv_last{k}")(y)))
            heatmaps = part(f"l{k}")(y)
            if k < self.hourglasses - 1:
                x = x + part(f"bl{k}")(y) + part(f"al{k}")(heatmaps)
        return cast(Tensor, heatmaps)


def peaks(heatmaps: np.ndarray) -> np.ndarray:
    """Positions [n, 2] (x, y) of the maxima of [n, h, w], in px of the heatmap.

    A quarter of a pixel towards the larger of the two neighbours, plus half a pixel; outside the heatmap the neighbour is itself.
    """
    n, h, w = heatmaps.shape
    flat, rows = heatmaps.reshape(n, h * w), np.arange(n)
    best = flat.argmax(axis=1)

    def at(step: int) -> np.ndarray:
        return flat[rows, np.clip(best + step, 0, h * w - 1)]

    towards = np.stack([np.sign(at(1) - at(-1)), np.sign(at(w) - at(-w))], axis=1)
    return np.stack([best % w, best // w], axis=1) + 0.25 * towards + 0.5


class LandmarkDistance:
    """Mean distance of the 98 landmarks of each pair of faces, uint8 RGB [h, w, 3] each, in px; 0 for equal images."""

    def __init__(self, net: LandmarkNet, device: str = "cpu"):
        self._net, self._device, self._cache = net.to(device).eval(), device, VectorCache()

    def __call__(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        a, b = self.points(images), self.points(targets)
        return np.linalg.norm(a - b, axis=2).mean(axis=1).tolist()

    def points(self, images: list[np.ndarray]) -> np.ndarray:
        """[n, 98, 2] in px of the images."""
        return self._cache.get(images, self._points).reshape(-1, LANDMARKS, 2)

    @torch.inference_mode()
    def _points(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([self._points_of(image).reshape(-1) for image in images])

    def _points_of(self, image: np.ndarray) -> np.ndarray:
        h, w = image.shape[:2]
        x = torch.from_numpy(cv2.resize(image, (SIZE, SIZE))).permute(2, 0, 1)[None].float().div(255)  # bilinear
        heatmaps = self._net(x.to(self._device))[0, :LANDMARKS].cpu().numpy()  # [98, 64, 64]
        return peaks(heatmaps) * (w / HEATMAP, h / HEATMAP)


def load_lmd(settings: MetricSettings) -> LandmarkDistance:
    """Load the network from settings.lmd_weights. Raises MissingMetric without a file and for another file."""
    if not settings.lmd_weights:
        raise MissingMetric(
            "LMD needs the weights alignment_WFLW_4HG.pth of adaptive wing loss, which VQFR names; give them with "
            "--lmd-weights FILE or GPEN_LMD_WEIGHTS=FILE."
        )
    path = Path(settings.lmd_weights)
    state = read_tensors(path, "LMD")
    net = LandmarkNet(len({name for name in state if re.fullmatch(r"l\d+\.weight", name)}))
    load_tensors(net, state, "LMD", path, "alignment_WFLW_4HG.pth of adaptive wing loss")
    return LandmarkDistance(net, settings.device)
