"""Faces that a GAN prior draws by itself, of people who do not exist."""

from __future__ import annotations

import numpy as np
import torch

from .errors import GPENError
from .network import Generator, sides
from .restore import to_image

MEAN_OF = 4096  # styles that the mean style is taken over


@torch.inference_mode()
def samples(prior: Generator, n: int, seed: int = 0, truncation: float = 1.0, noise_seed: int | None = None) -> list[np.ndarray]:
    """n faces of random z, uint8 RGB [size, size, 3] each; one noise for all where it has a seed.

    `truncation`, 0 to 1, draws their styles towards the mean style (StyleGAN, appendix B): 0 is the same face n times, 1 leaves
    them alone. Raises GPENError for another value.
    """
    if not 0 <= truncation <= 1:
        raise GPENError(f"truncation is from 0 to 1; got {truncation}.")
    random, dim = torch.Generator().manual_seed(seed), prior.config.style_dim
    w = prior.mapping(torch.randn(n, dim, generator=random))  # [n, d]
    noises = random if noise_seed is None else torch.Generator().manual_seed(noise_seed)
    noise = [prior.noise(side, n if noise_seed is None else 1, noises) for side in sides(prior.config.size)]
    if truncation < 1:
        mean = prior.mapping(torch.randn(MEAN_OF, dim, generator=torch.Generator().manual_seed(0))).mean(0)
        w = mean.lerp(w, truncation)
    return [to_image(x) for x in prior(w, noise)]
