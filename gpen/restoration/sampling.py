"""Sampling of synthetic faces from a GAN prior."""

from __future__ import annotations

import numpy as np
import torch

from gpen.errors import GPENError
from gpen.images import to_image
from gpen.models.network import Generator

MEAN_OF = 4096  # number of styles over which the mean style is computed


@torch.inference_mode()
def sample_faces(
    prior: Generator, n: int, seed: int = 0, truncation: float = 1.0, noise_seed: int | None = None
) -> list[np.ndarray]:
    """Generate n faces from random z, uint8 RGB [size, size, 3] each.

    truncation: psi of the truncation trick (StyleGAN, appendix B), 0 to 1; styles are interpolated towards the mean style, 1 is
    no truncation. noise_seed: use the same noise for all faces. Raises GPENError for a truncation out of range.
    """
    if not 0 <= truncation <= 1:
        raise GPENError(f"truncation must be from 0 to 1; got {truncation}.")
    random, dim = torch.Generator().manual_seed(seed), prior.config.style_dim
    w = prior.mapping(torch.randn(n, dim, generator=random))  # [n, d]
    noise_random = random if noise_seed is None else torch.Generator().manual_seed(noise_seed)
    noise = prior.sample_noise(n if noise_seed is None else 1, noise_random)
    if truncation < 1:
        mean = prior.mapping(torch.randn(MEAN_OF, dim, generator=torch.Generator().manual_seed(0))).mean(0)
        w = mean.lerp(w, truncation)
    return [to_image(x) for x in prior(w, noise)]
