"""Diverse restorations of one face: many high-quality faces are consistent with a low-quality input.

A variation differs from the network output in style and detail, but is as consistent with the input:

    z + sigma e      perturbed latent code; with a reference face, its style is mixed in at the chosen levels
    f (1 + tau e)    perturbed encoder features: the gain of each channel varies smoothly over the image (additive noise was
                     tried and only produced grain)
    noise            resampled above the input size (super-resolution)

The low frequencies of the result are replaced by those of the network output (iterative back-projection, Irani and Peleg, 1991).
The border of the result is that of the network output, because perturbed codes and features cause lines parallel to the edges.
If the downsampled result has a PSNR to the downsampled input that is more than `tolerance` dB lower than that of the network
output, the difference to the network output is scaled down accordingly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.errors import GPENError
from gpen.faces.alignment import check_aligned
from gpen.images import resize_to, to_image, to_tensor
from gpen.models.network import GPEN, resolutions

MAX_VARIATIONS = 64
PATCHES = 4  # resolution of the random gain maps, which are interpolated to the size of the feature
BORDER = 1 / 32  # width of the unchanged border and half the width of the transition to the variation, relative to the size
MAX_PSNR = 60.0  # dB; higher values are dominated by rounding


@dataclass(frozen=True)
class VariationConfig:
    """Strength of the variations."""

    z: float = 1.5  # sigma, relative to a latent code of unit mean square
    features: float = 0.6  # tau
    style: float = 1.0  # maximum weight of the style of the reference; sampled from half of it per variation
    levels: tuple[int, ...] = ()  # px, levels with the style of the reference; (): from 64 px, or size / 4 if that is less
    scale: int = 8  # images are compared with the input at 1 / scale of the size of the network
    tolerance: float = 1.0  # dB, maximum decrease in PSNR


@dataclass(frozen=True)
class Variations:
    """Variations and the network output `plain`, uint8 RGB [size, size, 3], with their PSNR to the input in dB (`fits`)."""

    images: list[np.ndarray]
    plain: np.ndarray
    fits: list[float]
    plain_fit: float


def vary(
    net: GPEN,
    image: np.ndarray,
    plain: np.ndarray,
    n: int,
    seed: int = 0,
    reference: np.ndarray | None = None,
    config: VariationConfig = VariationConfig(),  # noqa: B008
) -> Variations:
    """Generate n different restorations of an aligned face, uint8 RGB [h, h, 3].

    plain: the network output for `image`, uint8 RGB [size, size, 3]. reference: an aligned face, uint8 RGB [h', h', 3], whose
    style is mixed in. seed: an integer from 0; the k-th variation depends only on the seed and k. Raises GPENError for an image
    or reference that is not an aligned face, for n outside 1 to 64, an invalid seed, or a network that is not a GPEN.
    """
    if not isinstance(net, GPEN):
        raise GPENError("Variations need a GPEN network in PyTorch, whose latent code can be changed.")
    if not 1 <= n <= MAX_VARIATIONS or seed < 0 or seed != int(seed):
        raise GPENError(f"Variations need n from 1 to {MAX_VARIATIONS} and an integer seed from 0; got n = {n}, seed = {seed}.")
    check_aligned(image)
    if reference is not None:
        check_aligned(reference)
    low = _Comparison(resize_to(image, net.size), plain, config)
    with torch.inference_mode():
        code, features = net.encoder(_input(net, image))
        other = net.generator.mapping(net.encoder(_input(net, reference))[0]) if reference is not None else None  # [1, d]
        outputs = [
            _variation(net, code, features, other, torch.Generator().manual_seed(_seed(seed, k)), config) for k in range(n)
        ]
    images = [low.constrain(to_image(y)) for y in outputs]
    return Variations(images, plain, [low.fit(y) for y in images], low.fit(plain))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference of two images of the same shape, 0 to 255."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def diversity(images: Sequence[np.ndarray], distance: Callable[[np.ndarray, np.ndarray], float] = rms) -> float:
    """Mean pairwise distance of images; 0 for fewer than two."""
    pairs = list(itertools.combinations(images, 2))
    return sum(distance(a, b) for a, b in pairs) / max(1, len(pairs))


def _seed(seed: int, k: int) -> int:
    return int(np.random.SeedSequence([int(seed), k]).generate_state(1, np.uint64)[0] >> 1)


def _input(net: GPEN, image: np.ndarray) -> Tensor:
    """uint8 [h, h, 3] -> [1, 3, in_size, in_size] with the device and dtype of the network."""
    first = next(net.parameters())
    return to_tensor(resize_to(image, net.in_size))[None].to(first.device, first.dtype)


def _variation(
    net: GPEN, code: Tensor, features: list[Tensor], other: Tensor | None, random: torch.Generator, config: VariationConfig
) -> Tensor:
    """Generate one variation [3, size, size] from z (`code`), the features and w of the reference (`other`); both [1, d]."""

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random).to(like)  # sampled on the CPU: the same values on every device

    code = code * torch.rsqrt(code.square().mean() + 1e-8)
    w = net.generator.mapping(code + config.z * normal(code))  # [1, d]
    ws = w[:, None].repeat(1, len(net.generator.blocks), 1)  # [1, blocks, d]
    if other is not None:
        share = config.style * (0.5 + 0.5 * torch.rand((), generator=random).item())
        for k, side in enumerate(resolutions(net.size)):
            if side in (config.levels or _upper(net)):
                ws[:, k] = ws[:, k].lerp(other, share)
    perturbed = []
    for feature in features:  # [1, c, side, side]
        gain = F.interpolate(normal(feature[..., :PATCHES, :PATCHES]), feature.shape[-2:], mode="bicubic")  # [1, c, side, side]
        perturbed.append(feature * (1 + config.features * gain))
    noise = [[None if one is None else one.to(code.dtype) for one in block] for block in net.noise_inputs(perturbed, random)]
    return net.generator(ws, noise)[0]


def _upper(net: GPEN) -> list[int]:
    return [side for side in resolutions(net.size) if side >= min(64, net.size // 4)]


def _inside(size: int) -> np.ndarray:
    """Weight of a variation, float32 [size, size, 1]: 0 at the border, 1 inside, with a smooth transition."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) / (BORDER * size)  # [size], in widths of the border
    weight = 0.5 - 0.5 * np.cos(np.pi * np.clip((distance - 1) / 2, 0, 1))  # [size]
    return (weight[:, None] * weight).astype(np.float32)[..., None]


class _Comparison:
    """Consistency of images [size, size, 3] with the input, compared after downsampling by area averaging."""

    def __init__(self, image: np.ndarray, plain: np.ndarray, config: VariationConfig):
        self.plain, self.tolerance = plain, config.tolerance
        self.side = max(4, len(plain) // config.scale)
        self.image = self._downsample(image)  # [side, side, 3]

    def _downsample(self, image: np.ndarray) -> np.ndarray:
        return cv2.resize(image.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_AREA)

    def fit(self, image: np.ndarray) -> float:
        """PSNR to the input in dB at low resolution, at most MAX_PSNR."""
        error = rms(self._downsample(image), self.image)
        return min(MAX_PSNR, 20 * math.log10(255 / error)) if error else MAX_PSNR

    def constrain(self, image: np.ndarray) -> np.ndarray:
        """Replace the low frequencies by those of `plain`, then blend with `plain` until the PSNR is within tolerance."""
        image, shape = image.astype(np.float32), self.plain.shape[:2]
        for _ in range(3):  # iterate: upsampling is only approximately the inverse of downsampling
            error = self._downsample(self.plain) - self._downsample(image)  # [side, side, 3]
            image = image + cv2.resize(error, shape, interpolation=cv2.INTER_CUBIC)
        image = self.plain + _inside(len(image)) * (image - self.plain)
        floor, low, high, kept = self.fit(self.plain) - self.tolerance, 0.0, 1.0, self.plain
        share = high
        for _ in range(8):
            mixed = (self.plain + share * (image - self.plain)).round().clip(0, 255).astype(np.uint8)
            if self.fit(mixed) >= floor:
                low, kept = share, mixed
            else:
                high = share
            if low == 1.0:
                break
            share = (low + high) / 2
        return kept
