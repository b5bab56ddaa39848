"""Adaptive discriminator augmentation (ADA; Karras et al., NeurIPS 2020) for priors trained on few faces.

Real and generated images are augmented with probability p before the discriminator; p rises while the discriminator overfits the
real images and falls otherwise. Flips, geometry and colour are the paper's; resampling is bilinear instead of the paper's wavelet
filters, which cost time and change little at these sizes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 0.125  # standard deviation of the translation, as a fraction of the width


class Augment:
    """Callable [n, 3, h, w] -> the same shape; `p` adapts through `observe`."""

    def __init__(self, target: float, images: int):
        self.target, self.images, self.p = target, images, 0.0

    def observe(self, sign: float, images: int) -> None:
        """Move p by the mean sign of the discriminator's scores of `images` real images (equation 1, r_t)."""
        step = images / self.images
        self.p = min(1.0, max(0.0, self.p + (step if sign > self.target else -step)))

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        if self.p == 0:
            return x
        return recolour(move(x, self.p, random), self.p, random)


def move(x: Tensor, p: float, random: torch.Generator) -> Tensor:
    """Flips, quarter turns, shifts, scaling, rotation and stretching, each with probability p; borders are reflected."""
    n, _, h, w = x.shape
    draw = _Draw(n, p, x.device, random)
    flip = draw.either(torch.tensor([1.0, -1.0])[draw.index(2)].to(x.device), 1.0)
    quarter = draw.either(draw.index(4).to(x.device) * (math.pi / 2), 0.0)
    scale = draw.either(torch.exp2(0.2 * draw.normal()), 1.0)
    stretch = draw.either(torch.exp2(0.2 * draw.normal()), 1.0)
    turn = draw.either((draw.uniform() * 2 - 1) * math.pi, 0.0)
    shift = [draw.either(SHIFT * 2 * draw.normal(), 0.0) for _ in range(2)]  # the grid is 2 wide
    angle = quarter + turn
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([cos * flip * scale * stretch, -sin * scale, shift[0]], 1),
        torch.stack([sin * flip * scale, cos * scale / stretch, shift[1]], 1),
    ]
    matrix = torch.stack(rows, 1)  # [n, 2, 3], from the result's coordinates to x's
    grid = F.affine_grid(matrix, [n, 3, h, w], align_corners=False)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False).to(x.dtype)


def recolour(x: Tensor, p: float, random: torch.Generator) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation, each with probability p, as one matrix on RGB."""
    n = len(x)
    draw = _Draw(n, p, x.device, random)
    eye = torch.eye(3, device=x.device)
    luma = torch.full((3, 3), 1 / 3, device=x.device)  # projection on the grey axis
    brightness = draw.either(0.2 * draw.normal(), 0.0)
    contrast = draw.either(torch.exp2(0.5 * draw.normal()), 1.0)
    luma_flip = draw.either(draw.index(2).to(x.device).float(), 0.0)
    hue = draw.either((draw.uniform() * 2 - 1) * math.pi, 0.0)
    saturation = draw.either(torch.exp2(draw.normal()), 1.0)
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=x.device) / math.sqrt(3)
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    rotate = cos * eye + sin * axis + (1 - cos) * luma  # Rodrigues' rotation about the grey axis
    matrix = (eye - 2 * luma_flip[:, None, None] * luma) * contrast[:, None, None]
    matrix = (luma + (eye - luma) * saturation[:, None, None]) @ rotate @ matrix  # [n, 3, 3]
    return torch.einsum("nij,njhw->nihw", matrix.to(x.dtype), x) + brightness.to(x.dtype)[:, None, None, None]


class _Draw:
    """Random numbers for n images; `either` takes a random value with probability p."""

    def __init__(self, n: int, p: float, device: torch.device, random: torch.Generator):
        self.n, self.p, self.device, self.random = n, p, device, random

    def uniform(self) -> Tensor:
        return torch.rand(self.n, generator=self.random, device=self.random.device).to(self.device)

    def normal(self) -> Tensor:
        return torch.randn(self.n, generator=self.random, device=self.random.device).to(self.device)

    def index(self, choices: int) -> Tensor:
        return torch.randint(choices, (self.n,), generator=self.random, device=self.random.device).cpu()

    def either(self, drawn: Tensor, otherwise: float) -> Tensor:
        return torch.where(self.uniform() < self.p, drawn, torch.full_like(drawn, otherwise))
