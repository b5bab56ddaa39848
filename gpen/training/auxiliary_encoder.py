"""Auxiliary encoder of stage 1: with it a part of each batch reconstructs real faces. It is not kept after training.

An image becomes mean and logarithmic variance of z, as in a variational autoencoder (Kingma and Welling, ICLR 2014); the KL
divergence from the unit normal keeps the latents of faces where random ones are sampled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpen.models.ops import full_precision

WIDTHS = (32, 64, 128, 256)  # channels after each halving; the last one is repeated


class AuxiliaryEncoder(nn.Module):
    """Images [n, 3, size, size] in [-1, 1] -> mean and logarithmic variance of z, [n, style_dim] each."""

    def __init__(self, size: int, style_dim: int):
        super().__init__()
        layers: list[nn.Module] = []
        channels, level = 3, 0
        while size > 4:
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2)]
            channels, level, size = width, level + 1, size // 2
        self.layers = nn.Sequential(*layers)
        self.to_z = nn.Linear(channels * 16, 2 * style_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = full_precision(self.to_z(self.layers(x).flatten(1))).chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from the unit normal in nats, summed over z [n, d], averaged over n."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()


def sample_z(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z [n, d] from its distribution by the unit normal `noise` [n, d]."""
    return mean + torch.exp(0.5 * log_variance) * noise
