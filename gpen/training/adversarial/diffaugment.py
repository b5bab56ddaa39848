"""Differentiable augmentation (Zhao et al., NeurIPS 2020), the same for both images of a pair.

The projected discriminator and LPIPS see restored and true image after the same translation, zoom, colour change and cutout, so
that one pass of the feature network serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.models.ops import full_precision
from gpen.training.config import DiffAugmentConfig

BRIGHTNESS, CONTRAST = 0.4, 0.5  # largest changes at a colour strength of 1; saturation goes from 0 to 2 there


@dataclass(frozen=True)
class DiffAugment:
    """The augmentation of n images; call it on [n, 3, h, w] in [-1, 1]."""

    theta: Tensor  # [n, 2, 3], affine maps from the result's coordinates to the image's
    brightness: Tensor  # [n, 1, 1, 1], a sum
    saturation: Tensor  # [n, 1, 1, 1], a factor
    contrast: Tensor  # [n, 1, 1, 1], a factor
    hole: Tensor  # [n, 4], top, left, bottom and right of the cutout, in -1..1

    @classmethod
    def sample(cls, n: int, size: int, config: DiffAugmentConfig, device: torch.device, random: torch.Generator) -> DiffAugment:
        """Random augmentation of n images of size x size px; translations are of whole pixels."""
        u = torch.rand(8, n, generator=random, device=device) * 2 - 1  # [8, n] in -1..1
        shift = (u[0:2] * config.shift * size).round() * (2 / size)  # [2, n]
        zoom = 1 + config.zoom * u[2]  # [n]
        zero = torch.zeros_like(zoom)
        theta = torch.stack([torch.stack([zoom, zero, shift[0]], 1), torch.stack([zero, zoom, shift[1]], 1)], 1)
        corner = u[6:8] - config.cutout  # [2, n], top and left: the centre is anywhere in the image
        hole = torch.cat([corner, corner + 2 * config.cutout]).t()
        brightness, saturation, contrast = (config.color * u[3:6])[..., None, None, None]
        return cls(theta, BRIGHTNESS * brightness, 1 + saturation, 1 + CONTRAST * contrast, hole)

    def __call__(self, x: Tensor) -> Tensor:  # [n, 3, h, w] -> the same shape, in full precision
        x = full_precision(x)
        grid = F.affine_grid(self.theta.to(x.dtype), list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        gray = x.mean(1, keepdim=True)
        x = gray + self.saturation * (x - gray) + self.brightness
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + self.contrast * (x - mean)
        if (self.hole[:, 2] > self.hole[:, 0]).any():
            x = x * ~self._covered(x)
        return x

    def _covered(self, x: Tensor) -> Tensor:
        """Pixels of the cutout, bool [n, 1, h, w]."""
        rows = torch.linspace(-1, 1, x.shape[2], device=x.device)[None, :, None]
        columns = torch.linspace(-1, 1, x.shape[3], device=x.device)[None, None, :]
        top, left, bottom, right = self.hole.t()[..., None, None]  # [n, 1, 1] each
        return ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))[:, None]
