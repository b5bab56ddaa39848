"""A perceptual term: restored and true image compared by the features of the identity term's network, over the whole image.

As LPIPS compares them (Zhang et al., CVPR 2018, equation 1, with equal weights), but with a network that takes no part in what is
reported: at each pixel of a layer the features are scaled to unit length, and their squared distance is averaged over the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .identity import Recogniser

SHIFT = 8  # px, up to which the image is cut at its top and left, that no pixel of the network's grid is favoured


class PerceptualLoss:
    """The mean distance of the first layers' features, 0 for equal images."""

    def __init__(self, recogniser: Recogniser, layers: int = 4):
        self.recogniser, self.layers = recogniser, layers

    def __call__(self, restored: Tensor, target: Tensor, random: torch.Generator | None = None) -> Tensor:
        """[n, 3, s, s] in [-1, 1] each -> a scalar; `random` is of their device."""
        top, left = torch.randint(SHIFT, (2,), generator=random, device=restored.device).tolist()
        fake = self.recogniser.features(restored[..., top:, left:], self.layers)
        with torch.no_grad():
            real = self.recogniser.features(target[..., top:, left:], self.layers)
        return torch.stack([_distance(f.float(), r.float()) for f, r in zip(fake, real, strict=True)]).mean()


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Of features [n, c, h, w]."""
    unit_a, unit_b = (x * x.square().sum(1, keepdim=True).add(1e-6).rsqrt() for x in (a, b))
    return (unit_a - unit_b).square().sum(1).mean()
