"""Scores during training, on faces that are not in the training data.

Stage 2: PSNR, SqueezeNet distance (LPIPS on SqueezeNet 1.1), SqueezeNet Frechet distance, identity and sharpness for each preset.
Stage 1: Frechet distance and diversity of samples. The SqueezeNet scores share their network with the perceptual loss and the
projected discriminator of `discriminator = "projected"`: beside them, identity comes from a network that is not trained against.

A run may be stopped or chosen by these scores: the weights store the fingerprints of the faces, and python -m eval marks values
measured on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from gpen.faces.embedding import FaceEmbedding
from gpen.images import image_size, to_image, to_tensor
from gpen.models.network import Generator
from gpen.training.config import FinetuneConfig, PriorConfig
from gpen.training.data.dataset import list_images, read_face, sample_degradation
from gpen.training.data.fingerprints import CHOSEN_ON, join_fingerprints
from gpen.training.data.native_size import check_native_size
from gpen.training.losses.squeezenet import SqueezeNet, enlarge, lpips, lpips_heads
from gpen.training.monitoring.frechet import frechet_distance
from gpen.training.runtime.parallel import Distributed

BATCH = 8
SHOWN = 8  # faces in a grid
SAMPLES_SHOWN = 32  # samples on a sheet
_STREAM = 4  # separates these random numbers from the training data's

Scores = dict[str, float]
Grids = dict[str, list[Tensor]]


class Features:
    """SqueezeNet's distances between sets of images [n, 3, h, w] in [-1, 1]."""

    def __init__(self, weights: str | None, device: torch.device):
        self.net = SqueezeNet(weights).to(device)
        self.heads = [head.to(device) for head in lpips_heads()]
        self.device = device

    @torch.no_grad()
    def compare(self, a: Tensor, b: Tensor) -> tuple[float, np.ndarray, np.ndarray]:
        """Mean LPIPS of the pairs, and for each set the mean over the image of the last layer, [n, 512]."""
        distances, pooled_a, pooled_b = [], [], []
        for x, y in zip(a.split(BATCH), b.split(BATCH), strict=True):
            features_x, features_y = self.net(x.to(self.device)), self.net(y.to(self.device))
            distances.append(lpips(features_x, features_y, self.heads))
            pooled_a.append(_pool(features_x))
            pooled_b.append(_pool(features_y))
        return torch.cat(distances).mean().item(), np.concatenate(pooled_a), np.concatenate(pooled_b)


def validation_files(config: FinetuneConfig | PriorConfig) -> list[Path]:
    """The faces for validation. Raises GPENError where some are smaller than the network, unless the settings enlarge them."""
    settings = config.validation
    files = list_images(str(settings.data))[: settings.images]
    sides = {path.name: min(image_size(path)) for path in files}
    check_native_size(sides, config.network.size, str(settings.data), config.allow_upscaled)
    return files


class RestorationValidation:
    """Scores of a restoration network by preset. The degraded inputs are the same in every call and run."""

    def __init__(self, config: FinetuneConfig, group: Distributed):
        settings, size, in_size = config.validation, config.network.size, config.network.in_size
        files = validation_files(config)
        truths = [read_face(file, size) for file in files]
        self.notes = {CHOSEN_ON: join_fingerprints(files)}  # metadata of the weights
        self.device = group.device
        self.features = Features(config.projected.feature_network, group.device)
        embedding = settings.embedding or os.environ.get("GPEN_IDENTITY_MODEL")
        self.embed = FaceEmbedding(embedding) if embedding else None
        self.presets: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self.inputs: dict[str, Scores] = {}
        for preset in config.degradations:
            degradations = [sample_degradation(preset, np.random.default_rng([_STREAM, i]), size) for i in range(len(files))]
            pairs = list(zip(degradations, truths, strict=True))
            target = torch.stack([to_tensor(d.target(truth)) for d, truth in pairs])
            enlarged = [d.resized(truth) for d, truth in pairs]
            small = [cv2.resize(x, (in_size, in_size), interpolation=cv2.INTER_AREA) if in_size < size else x for x in enlarged]
            bilinear, inputs = (torch.stack([to_tensor(x) for x in images]) for images in (enlarged, small))
            self.presets[preset] = inputs, bilinear, target
            self.inputs[preset] = self._scores(bilinear, target)

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> tuple[Scores, Grids]:
        """Scores by "PRESET/name", Frechet and SqueezeNet distance also as ratios to the bilinear input's; a grid by preset."""
        scores: Scores = {}
        grids: Grids = {}
        for preset, (inputs, bilinear, target) in self.presets.items():
            restored = torch.cat([net(x.to(self.device)).float().clamp(-1, 1).cpu() for x in inputs.split(BATCH)])
            found = self._scores(restored, target)
            for name in ("squeezenet", "squeezenet_fd"):
                found[f"{name}_ratio"] = found[name] / max(self.inputs[preset][name], 1e-12)
            scores |= {f"{preset}/{name}": value for name, value in found.items()}
            grids[f"val-{preset}"] = [bilinear[:SHOWN], restored[:SHOWN], target[:SHOWN]]
        return scores, grids

    def _scores(self, restored: Tensor, target: Tensor) -> Scores:
        error = ((restored - target) / 2).square().mean((1, 2, 3)).clamp_min(1e-10)  # [n], images in [0, 1]
        distance, *pooled = self.features.compare(restored, target)
        scores = {
            "psnr": (-10 * error.log10()).mean().item(),
            "squeezenet": distance,
            "squeezenet_fd": frechet_distance(*pooled),
            "sharpness": float(
                np.mean([_laplacian(x) / max(_laplacian(y), 1e-6) for x, y in zip(restored, target, strict=True)])
            ),
        }
        if self.embed:
            a, b = (self.embed([to_image(x) for x in images]) for images in (restored, target))
            scores["identity"] = float((a * b).sum(1).mean())
        return scores


class PriorValidation:
    """Frechet distance and diversity of a prior's samples, the latter beside that of real faces."""

    def __init__(self, config: PriorConfig, group: Distributed):
        files, size = validation_files(config), config.network.size
        real = torch.stack([to_tensor(read_face(file, size)) for file in files])
        self.notes = {CHOSEN_ON: join_fingerprints(files)}  # metadata of the weights
        self.device, self.n = group.device, len(real)
        self.features = Features(config.projected.feature_network, group.device)
        self.real_diversity, self.real = self._describe(real)

    @torch.no_grad()
    def __call__(self, net: Generator) -> tuple[Scores, Grids]:
        """Scores by name, and a sheet of fixed latents."""
        samples = torch.cat(list(self._samples(net)))
        diversity, pooled = self._describe(samples)
        scores = {
            "squeezenet_fd": frechet_distance(pooled, self.real),
            "diversity": diversity,
            "real_diversity": self.real_diversity,
        }
        return scores, {"sheet": list(samples[:SAMPLES_SHOWN].split(SHOWN))}

    def _samples(self, net: Generator) -> Iterator[Tensor]:
        random = torch.Generator(self.device).manual_seed(0)
        for start in range(0, self.n, BATCH):
            n = min(BATCH, self.n - start)
            z = torch.randn(n, net.config.style_dim, generator=random, device=self.device)
            yield net(net.mapping(z), net.sample_noise(n, random)).float().clamp(-1, 1).cpu()

    def _describe(self, images: Tensor) -> tuple[float, np.ndarray]:
        """Diversity, the mean SqueezeNet distance between each image and the next, and the pooled features [n, 512]."""
        images = enlarge(images)
        diversity, pooled, _ = self.features.compare(images, images.roll(1, 0))
        return diversity, pooled


def _pool(features: list[Tensor]) -> np.ndarray:
    return features[-1].mean((2, 3)).cpu().numpy()  # [n, 512]


def _laplacian(x: Tensor) -> float:
    """Standard deviation of the Laplacian of the luma of [3, h, w] in [-1, 1]."""
    return float(cv2.Laplacian(cv2.cvtColor(to_image(x), cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())
