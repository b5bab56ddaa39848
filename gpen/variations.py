"""Several answers for one face, the paper's future work: a low-quality face has many faces that it may come from.

An answer differs from the network's own in its style and its detail, and not in what the input tells:

    z + sigma e      a neighbour of the face's latent code; with a reference face, its style in the blocks of the chosen levels
    f (1 + tau e)    the encoder's features have the place of StyleGAN2's noise: each channel's gain changes, smoothly over
                     the image (noise added to them was tried: it is grain, not another face)
    noise            above the input's size (super-resolution) it is free, and drawn anew

Then the result's low frequencies are set to the network's own (iterative back-projection, Irani and Peleg, 1991). If, degraded
again, it still fits the input more than `tolerance` dB worse than the network's own answer does, its difference to that is scaled
back until it does not.
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

from .errors import GPENError
from .network import GPEN, sides
from .restore import Restorer, resize, to_image, to_tensor

MOST = 64  # variations at once
PATCHES = 4  # a side: a feature's gain changes from each of these to the next, and smoothly
EXACT = 60.0  # dB: a fit better than this is the rounding's


@dataclass(frozen=True)
class VariationConfig:
    """How far the answers go."""

    z: float = 1.5  # sigma; the latent code's components are of mean square 1
    features: float = 0.6  # tau
    style: float = 1.0  # how much of the reference's style its levels take at most; each answer takes half of it or more
    levels: tuple[int, ...] = ()  # px, the levels that take it; () are those from 64 px, or the upper half of a small network's
    scale: int = 8  # the comparison with the input is at 1 / scale of the network's size
    tolerance: float = 1.0  # dB


@dataclass(frozen=True)
class Variations:
    """`images` and `plain`, the network's own answer: uint8 RGB [size, size, 3]; their fits to the input, PSNR in dB."""

    images: list[np.ndarray]
    plain: np.ndarray
    fits: list[float]
    plain_fit: float


def vary(
    restorer: Restorer,
    image: np.ndarray,
    n: int,
    seed: int = 0,
    reference: np.ndarray | None = None,
    config: VariationConfig = VariationConfig(),  # noqa: B008
) -> Variations:
    """n answers for an aligned face, uint8 RGB [h, h, 3], at full strength.

    reference: another aligned face, whose style is mixed in. The k-th answer depends on the seed, a whole number from 0, and on k
    alone. Raises GPENError for what is no aligned face, an n that is not 1 to 64, another seed, or a network that is no GPEN.
    """
    net = restorer.net
    if not isinstance(net, GPEN):
        raise GPENError("Variations need a GPEN network in PyTorch, whose latent code can be changed.")
    if not 1 <= n <= MOST or seed < 0 or seed != int(seed):
        raise GPENError(f"Ask for 1 to {MOST} variations, with a whole number from 0 as the seed; got {n} with {seed}.")
    plain = restorer.face(image, strength=1).image  # [size, size, 3]; it also refuses what is no face
    if reference is not None:
        restorer.face(reference, strength=0)
    low = _Comparison(resize(image, net.size), plain, config)
    with torch.inference_mode():
        code, features = net.encoder(_input(net, image))
        other = net.generator.mapping(net.encoder(_input(net, reference))[0]) if reference is not None else None  # [1, d]
        drawn = [_answer(net, code, features, other, torch.Generator().manual_seed(_seed(seed, k)), config) for k in range(n)]
    images = [low.hold(to_image(y)) for y in drawn]
    return Variations(images, plain, [low.fit(y) for y in images], low.fit(plain))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """The root of the mean squared difference of two images of one shape, in levels."""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def diversity(images: Sequence[np.ndarray], distance: Callable[[np.ndarray, np.ndarray], float] = rms) -> float:
    """The mean distance of two of the images, over all pairs; 0 for fewer than two."""
    pairs = list(itertools.combinations(images, 2))
    return sum(distance(a, b) for a, b in pairs) / max(1, len(pairs))


def _seed(seed: int, k: int) -> int:
    return int(np.random.SeedSequence([int(seed), k]).generate_state(1, np.uint64)[0] >> 1)


def _input(net: GPEN, image: np.ndarray) -> Tensor:
    """uint8 [h, h, 3] -> [1, 3, in_size, in_size], where and as the network is."""
    first = next(net.parameters())
    return to_tensor(resize(image, net.in_size))[None].to(first.device, first.dtype)


def _answer(
    net: GPEN, code: Tensor, features: list[Tensor], other: Tensor | None, random: torch.Generator, config: VariationConfig
) -> Tensor:
    """code [1, d], the features as of the encoder, other [1, d] the reference's w -> [3, size, size]."""

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random).to(like)  # drawn on the CPU: one seed, one answer, on any device

    code = code * torch.rsqrt(code.square().mean() + 1e-8)
    w = net.generator.mapping(code + config.z * normal(code))  # [1, d]
    ws = w[:, None].repeat(1, len(net.generator.blocks), 1)  # [1, blocks, d]
    if other is not None:
        share = config.style * (0.5 + 0.5 * torch.rand((), generator=random).item())
        for k, side in enumerate(sides(net.size)):
            if side in (config.levels or _upper(net)):
                ws[:, k] = ws[:, k].lerp(other, share)
    noise: list[list[Tensor | None]] = []
    for k, feature in enumerate(features):  # [1, c, side, side], 4 px first
        gain = F.interpolate(normal(feature[..., :PATCHES, :PATCHES]), feature.shape[-2:], mode="bicubic")  # [1, c, side, side]
        feature = feature * (1 + config.features * gain)
        noise.append([feature] * (1 if k == 0 else 2))
    noise += [net.generator.noise(side, random=random) for side in sides(net.size)[len(features) :]]
    noise = [[layer if layer is None else layer.to(code.dtype) for layer in block] for block in noise]
    return net.generator(ws, noise)[0]


def _upper(net: GPEN) -> list[int]:
    return [side for side in sides(net.size) if side >= min(64, net.size // 4)]


class _Comparison:
    """Images [size, size, 3] against the input, both shrunk by area; hold() makes one fit nearly as well as `plain` does."""

    def __init__(self, image: np.ndarray, plain: np.ndarray, config: VariationConfig):
        self.plain, self.tolerance = plain, config.tolerance
        self.side = max(4, len(plain) // config.scale)
        self.image = self._shrunk(image)  # [side, side, 3]

    def _shrunk(self, image: np.ndarray) -> np.ndarray:
        return cv2.resize(image.astype(np.float32), (self.side, self.side), interpolation=cv2.INTER_AREA)

    def fit(self, image: np.ndarray) -> float:
        """PSNR in dB at the low resolution, at most EXACT."""
        error = rms(self._shrunk(image), self.image)
        return min(EXACT, 20 * math.log10(255 / error)) if error else EXACT

    def hold(self, image: np.ndarray) -> np.ndarray:
        """The image with the low frequencies of `plain`, and then as much of it as the tolerance lets."""
        image, shape = image.astype(np.float32), self.plain.shape[:2]
        for _ in range(3):  # enlarging is only nearly the inverse of shrinking
            error = self._shrunk(self.plain) - self._shrunk(image)  # [side, side, 3]
            image = image + cv2.resize(error, shape, interpolation=cv2.INTER_CUBIC)
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
