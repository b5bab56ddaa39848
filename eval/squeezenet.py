"""SqueezeNet distances: perceptual metrics that need only a 3 MB weight file, given by the user.

The distance has the form of LPIPS (R. Zhang et al., CVPR 2018, eq. 1) with the linear layers of LPIPS v0.1, on the original Caffe
weights of SqueezeNet 1.1 (F. Iandola et al., 2016). The linear layers were trained on other weights, so the distance is not
LPIPS, and the Fréchet distance on its features is not FID.
"""

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d, max_pool2d

from eval.cache import VectorCache

CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR, of values in 0..255
FIRES_BEFORE_POOL = (4, 7)  # fire modules before a max pooling, numbered as in `features` of torchvision
FIRES = (3, 4, 6, 7, 9, 10, 11, 12)
TAPPED = (4, 7, 9, 10, 11, 12)  # with the first convolution, the seven layers of LPIPS
CHUNK_PIXELS = 16 * 256 * 256  # per forward pass: 16 images of 256 px, about 0.3 GB


class SqueezeNet:
    """The convolutional part of SqueezeNet 1.1 with the linear layers of LPIPS.

    path: an .npz with the parameter names of torchvision (features.0.weight ...) and the Caffe weights.
    Raises ValueError for another file, FileNotFoundError if the file or the package lpips is missing.
    """

    def __init__(self, path: str | Path, device: str = "cpu"):
        self.device = device
        self.weights = {name: torch.from_numpy(w).to(device) for name, w in _read_npz(path).items()}
        heads = torch.load(head_path(), map_location=device, weights_only=True)
        self.heads = [heads[f"lin{i}.model.1.weight"][0, :, 0, 0] for i in range(7)]  # 7 x [c]
        self.mean = torch.tensor(CAFFE_MEAN, device=device).view(1, 3, 1, 1)
        self._pooled = VectorCache()

    @torch.inference_mode()
    def distance(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Distance of each pair, both uint8 RGB [h, w, 3]; 0 for identical images."""
        out = []
        for a, b in zip(_chunks(images, 2), _chunks(targets, 2), strict=True):
            n, taps = len(a), self._taps(self._input(a + b))
            total: Any = 0
            for tap, head in zip(taps, self.heads, strict=True):  # tap [2 n, c, h, w]; head [c]
                unit = tap / (tap.norm(dim=1, keepdim=True) + 1e-10)  # epsilon of LPIPS
                difference = (unit[:n] - unit[n:]).square_()  # [n, c, h, w]
                total = total + torch.einsum("nchw,c->n", difference, head) / difference[0, 0].numel()  # [n]
            self._pooled.put(a + b, _pooled(taps))
            out += total.tolist()
        return out

    def features(self, images: list[np.ndarray]) -> np.ndarray:
        """Spatial mean of the last fire module, float32 [n, 512], of images uint8 RGB [h, w, 3]."""
        return self._pooled.get(images, self._features)

    @torch.inference_mode()
    def _features(self, images: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([_pooled(self._taps(self._input(chunk))) for chunk in _chunks(images, 1)])

    def _input(self, images: list[np.ndarray]) -> torch.Tensor:
        x = torch.from_numpy(np.stack(images)).to(self.device)  # [n, h, w, 3] RGB
        x = x.permute(0, 3, 1, 2).flip(1).float() - self.mean  # [n, 3, h, w] BGR
        return x.contiguous(memory_format=torch.channels_last)

    def _taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self._conv(x, "features.0", stride=2)  # [n, 64, h/2, w/2]
        taps = [x]
        x = _pool(x)
        for number in FIRES:
            x = self._fire(x, f"features.{number}")
            if number in TAPPED:
                taps.append(x)
            if number in FIRES_BEFORE_POOL:
                x = _pool(x)
        return taps

    def _fire(self, x: torch.Tensor, name: str) -> torch.Tensor:
        x = self._conv(x, f"{name}.squeeze")
        wide = self._conv(x, f"{name}.expand3x3", padding=1)
        return torch.cat([self._conv(x, f"{name}.expand1x1"), wide], dim=1)

    def _conv(self, x: torch.Tensor, name: str, **kwargs: int) -> torch.Tensor:
        return conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **kwargs).relu_()


def head_path() -> Path:
    """The linear layers of LPIPS v0.1 for SqueezeNet in the package lpips, found without importing it."""
    spec = importlib.util.find_spec("lpips")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], "weights", "v0.1", "squeeze.pth") if folders else None
    if path is None or not path.is_file():
        raise FileNotFoundError("The package lpips is not installed; run pip install lpips.")
    return path


def _pool(x: torch.Tensor) -> torch.Tensor:
    return max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)


def _pooled(taps: list[torch.Tensor]) -> np.ndarray:
    return taps[-1].mean(dim=(2, 3)).cpu().numpy()  # [n, 512]


def _chunks(images: list[np.ndarray], sides: int) -> list[list[np.ndarray]]:
    """Split images into batches for one forward pass of `sides` lists."""
    n = max(1, CHUNK_PIXELS // (sides * images[0].shape[0] * images[0].shape[1]))
    return [images[start : start + n] for start in range(0, len(images), n)]


def _read_npz(path: str | Path) -> dict[str, np.ndarray]:
    convs = ["features.0"]
    convs += [f"features.{n}.{part}" for n in FIRES for part in ("squeeze", "expand1x1", "expand3x3")]
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {f"{c}.{kind}": archive[f"{c}.{kind}"] for c in convs for kind in ("weight", "bias")}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz of SqueezeNet 1.1 weights ({error}); give the Caffe weights.") from error
