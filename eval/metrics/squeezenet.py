"""SqueezeNet distances: perceptual metrics that need only a 3 MB weight file, given by the user.

The distance has the form of LPIPS (R. Zhang et al., CVPR 2018, eq. 1) with the linear layers of LPIPS v0.1, on the original Caffe
weights of SqueezeNet 1.1 (F. Iandola et al., 2016). The linear layers were trained on other weights, so the distance is not
LPIPS, and the Fréchet distance on its features is not FID. The default model was trained with both on the same network.
"""

from pathlib import Path

import numpy as np
import torch

from eval.metrics.cache import VectorCache
from gpen.images import to_tensor
from gpen.training.losses import squeezenet

CHUNK_PIXELS = 16 * 256 * 256  # per forward pass: 16 images of 256 px, about 0.3 GB


class SqueezeNet:
    """The convolutional part of SqueezeNet 1.1 with the linear layers of LPIPS.

    path: weights as gpen.training.losses.squeezenet reads them. Raises GPENError for another file, or if the file or the package
    lpips is missing.
    """

    def __init__(self, path: str | Path, device: str = "cpu"):
        self.device = device
        self._net = squeezenet.SqueezeNet(path).to(device)
        self._heads = [head.to(device) for head in squeezenet.lpips_heads()]
        self._pooled = VectorCache()

    @torch.inference_mode()
    def distance(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Distance of each pair, both uint8 RGB [h, w, 3]; 0 for identical images."""
        out = []
        for a, b in zip(_chunks(images, 2), _chunks(targets, 2), strict=True):
            n, layers = len(a), self._layers(a + b)
            out += squeezenet.lpips([x[:n] for x in layers], [x[n:] for x in layers], self._heads).tolist()
            self._pooled.put(a + b, _pool(layers))
        return out

    def features(self, images: list[np.ndarray]) -> np.ndarray:
        """Spatial mean of the last fire module, float32 [n, 512], of images uint8 RGB [h, w, 3]."""
        return self._pooled.get(images, self._features)

    @torch.inference_mode()
    def _features(self, images: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([_pool(self._layers(chunk)) for chunk in _chunks(images, 1)])

    def _layers(self, images: list[np.ndarray]) -> list[torch.Tensor]:
        return self._net(torch.stack([to_tensor(image) for image in images]).to(self.device))


def _pool(layers: list[torch.Tensor]) -> np.ndarray:
    return layers[-1].mean(dim=(2, 3)).cpu().numpy()  # [n, 512]


def _chunks(images: list[np.ndarray], sides: int) -> list[list[np.ndarray]]:
    """Split images into batches for one forward pass of `sides` lists."""
    n = max(1, CHUNK_PIXELS // (sides * images[0].shape[0] * images[0].shape[1]))
    return [images[start : start + n] for start in range(0, len(images), n)]
