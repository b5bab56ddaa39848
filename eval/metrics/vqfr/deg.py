"""Deg: angle between the face embeddings of a result and the ground truth, as measured for VQFR (Gu et al., ECCV 2022).

The embedding is ArcFace (J. Deng et al., CVPR 2019) as a ResNet-18 on grey faces of 128 px, file resnet18_110.pth of the project
arcface-pytorch: the whole image, resized bilinearly, as x / 127.5 - 1. VQFR's script leaves angles below 1 degree out of the
mean; here they are part of it.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from eval.metrics.cache import VectorCache
from eval.metrics.weights import MetricSettings, MissingMetric, load_tensors, read_tensors

SIZE = 128  # px


class SqueezeExcitation(nn.Module):
    """x [n, c, h, w] scaled by channel."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // 16
        self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.PReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=(2, 3)))[:, :, None, None]


class Block(nn.Module):
    """Residual block of ArcFace: batch normalisation first, one PReLU for both activations."""

    def __init__(self, channels_in: int, channels: int, stride: int, squeeze: bool):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        if squeeze:
            self.se = SqueezeExcitation(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(self.bn0(x))))))
        y = self.se(y) if hasattr(self, "se") else y
        return self.prelu(y + (x if self.downsample is None else self.downsample(x)))


class ArcFaceResNet18(nn.Module):
    """Grey faces [n, 1, 128, 128] in [-1, 1] -> embeddings [n, 512]. The names are those of the tensors in the file."""

    def __init__(self, squeeze: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2)
        channels = 64
        for number, width in enumerate((64, 128, 256, 512), 1):
            stride = 1 if number == 1 else 2
            setattr(
                self, f"layer{number}", nn.Sequential(Block(channels, width, stride, squeeze), Block(width, width, 1, squeeze))
            )
            channels = width
        self.bn4 = nn.BatchNorm2d(512)
        self.fc5 = nn.Linear(512 * 8 * 8, 512)
        self.bn5 = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.prelu(self.bn1(self.conv1(x))))  # [n, 64, 64, 64]
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.bn5(self.fc5(self.bn4(x).flatten(1)))  # [n, 512, 8, 8] -> [n, 512]


class Deg:
    """Angle of each pair of faces, uint8 RGB [h, w, 3] each, in degrees; 0 for equal images."""

    def __init__(self, net: ArcFaceResNet18, device: str = "cpu"):
        self._net, self._device, self._cache = net.to(device).eval(), device, VectorCache()

    def __call__(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        a, b = self.embed(images), self.embed(targets)
        sine, cosine = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)  # 2 sin and 2 cos of half the angle
        return np.degrees(2 * np.arctan2(sine, cosine)).tolist()  # accurate for small angles, unlike arccos

    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings of unit length, float64 [n, 512]."""
        return self._cache.get(images, self._embed)

    @torch.inference_mode()
    def _embed(self, images: list[np.ndarray]) -> np.ndarray:
        grey = [cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIZE, SIZE)) for image in images]  # bilinear
        out = [self._net(torch.from_numpy(x).float()[None, None].to(self._device) / 127.5 - 1) for x in grey]  # [1, 512] each
        y = torch.cat(out).cpu().double().numpy()
        return y / np.linalg.norm(y, axis=1, keepdims=True)


def load_deg(settings: MetricSettings) -> Deg:
    """Load the network from settings.deg_weights. Raises MissingMetric without a file and for another file."""
    if not settings.deg_weights:
        raise MissingMetric(
            "Deg needs the weights resnet18_110.pth of arcface-pytorch, which VQFR names; give them with --deg-weights FILE or "
            "GPEN_DEG_WEIGHTS=FILE."
        )
    path = Path(settings.deg_weights)
    state = read_tensors(path, "Deg")
    net = ArcFaceResNet18(squeeze=any(".se." in name for name in state))
    load_tensors(net, state, "Deg", path, "resnet18_110.pth of arcface-pytorch")
    return Deg(net, settings.device)
