"""GAN inversion: search for a face that equals the low-quality image after downsampling.

    pulse      one code per block, on the sphere, and the coarse noise     S. Menon et al., CVPR 2020
    mganprior  several codes, their features composed at one level         J. Gu, Y. Shen, B. Zhou, CVPR 2020

The prior is a file given by the user (pulse:FILE) or assets/prior-SIZE.safetensors, written by python -m gpen train prior. It may
be smaller than the ground truth: a larger low-quality image is reduced to the size of the prior for the comparison, and the
result is enlarged with bicubic interpolation (eval/methods/registry.py).

Both methods model only downsampling and therefore reproduce blur, noise and JPEG artefacts. Both use the squared error of the
pixels, as PULSE does; the perceptual loss of mGANprior needs the weights of VGG. The search starts from the same seed for every
image, independent of the batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.images import to_image, to_tensor
from gpen.models.network import Generator, resolutions

Noise = list[list[Tensor | None]]  # noise by block and layer


@dataclass(frozen=True)
class PulseSettings:
    """The values of the published implementation of PULSE."""

    steps: int = 100
    rate: float = 0.4  # learning rate of Adam, cosine decay to 0
    geodesic: float = 0.05 / 100  # weight of GEOCROSS relative to the squared error
    noise_side: int = 16  # px, up to which the noise is optimised; above it is sampled once
    seed: int = 0


@dataclass(frozen=True)
class MultiCodeSettings:
    """A shorter search than that of mGANprior, which uses 20 codes and 3,000 steps."""

    codes: int = 10
    side: int = 16  # px, of the block whose features are composed
    steps: int = 200
    rate: float = 0.05  # learning rate of Adam, cosine decay to 0
    seed: int = 0


def pulse(prior: Generator, images: list[np.ndarray], settings: PulseSettings | None = None) -> list[np.ndarray]:
    """Restore images uint8 RGB [h, w, 3], each of its own size, as uint8 RGB [size, size, 3]."""
    settings = settings or PulseSettings()
    n, blocks, random = len(images), len(prior.blocks), torch.Generator().manual_seed(settings.seed)
    z = _leaf(torch.randn(1, blocks, prior.config.style_dim, generator=random), n, prior)  # [n, blocks, d]
    sampled = prior.sample_noise(random=random)
    coarse = 0 if sampled[0][0] is None else len(resolutions(settings.noise_side))  # blocks
    optimised = [[_leaf(cast(Tensor, x), n, prior) for x in layers] for layers in sampled[:coarse]]

    def make() -> tuple[Tensor, Tensor]:
        # the mapping normalises z to the sphere first
        w = prior.mapping(z.flatten(0, 1)).unflatten(0, (n, blocks))  # [n, blocks, d]
        noise = [[_on_sphere(x) for x in layers] for layers in optimised] + sampled[coarse:]
        return prior(w, noise), settings.geodesic * _spread(z)

    return _search(make, [z, *(x for layers in optimised for x in layers)], images, settings.steps, settings.rate)


def mganprior(prior: Generator, images: list[np.ndarray], settings: MultiCodeSettings | None = None) -> list[np.ndarray]:
    """Restore images uint8 RGB [h, w, 3], each of its own size, as uint8 RGB [size, size, 3].

    The features of the N codes of an image at one level are weighted by channel and summed (equation 3); the RGB image, which
    StyleGAN2 accumulates beside the features, counts as three more channels. The blocks above use the mean w of the codes.
    """
    settings = settings or MultiCodeSettings()
    n, codes, random = len(images), settings.codes, torch.Generator().manual_seed(settings.seed)
    side = min(settings.side, prior.config.size // 2)
    split = resolutions(prior.config.size).index(side) + 1  # blocks before the composition
    z = _leaf(torch.randn(1, codes, prior.config.style_dim, generator=random), n, prior)  # [n, N, d]
    noise = prior.sample_noise(random=random)

    def below() -> tuple[Tensor, list[Tensor]]:
        w = prior.mapping(z.flatten(0, 1))  # [n N, d]
        made = _run(prior.blocks[:split], prior.first_input(w), None, w, noise[:split])
        parts = [part.unflatten(0, (n, codes)) for part in made if part is not None]  # [n, N, c, side, side] each
        return w.unflatten(0, (n, codes)).mean(1), parts

    with torch.no_grad():
        _, parts = below()
    shares = [_leaf(part.new_full((1, codes, part.shape[2], 1, 1), 1 / codes), n, prior) for part in parts]

    def make() -> tuple[Tensor, Tensor]:
        w, parts = below()
        composed = [(share * part).sum(1) for share, part in zip(shares, parts, strict=True)]  # [n, c, side, side]
        x, image = composed if len(composed) == 2 else (composed[0], None)
        return cast(Tensor, _run(prior.blocks[split:], x, image, w, noise[split:])[1]), w.new_zeros(n)

    return _search(make, [z, *shares], images, settings.steps, settings.rate)


def _search(
    make: Callable[[], tuple[Tensor, Tensor]],  # -> faces [n, 3, size, size], penalties [n]
    free: list[Tensor],  # optimised tensors, [n, ...] each
    images: list[np.ndarray],
    steps: int,
    rate: float,
) -> list[np.ndarray]:
    """The face with the lowest squared error after downsampling, for each image.

    Adam on all images in one batch.
    """
    optimizer = torch.optim.Adam(free, lr=rate)
    targets = [to_tensor(image)[None].to(free[0].device) for image in images]
    best: list[tuple[float, Tensor | None]] = [(math.inf, None)] * len(images)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        faces, penalties = make()
        errors = torch.stack([_error(face[None], target) for face, target in zip(faces, targets, strict=True)])  # [n]
        best = [
            (error, face) if error < old[0] else old
            for error, face, old in zip(errors.tolist(), faces.detach(), best, strict=True)
        ]
        optimizer.zero_grad()
        (errors + penalties).sum().backward()
        optimizer.step()
    return [to_image(cast(Tensor, face)) for _, face in best]


def _error(face: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of a face [1, 3, s, s] to the low-quality image [1, 3, h, w].

    Computed at the smaller of the two sizes.
    """
    h, w = (min(side, face.shape[-1]) for side in target.shape[-2:])
    return F.mse_loss(_shrunk(face, h, w), _shrunk(target, h, w))


def _shrunk(x: Tensor, h: int, w: int) -> Tensor:
    return F.interpolate(x, (h, w), mode="bicubic", antialias=True, align_corners=False)


def _spread(codes: Tensor) -> Tensor:
    """GEOCROSS of PULSE, [n, blocks, d] -> [n]: mean squared angle between the codes of a face."""
    a, b = codes[:, :, None], codes[:, None]
    angle = 2 * torch.atan2((a - b).norm(dim=-1) + 1e-8, (a + b).norm(dim=-1))  # [n, blocks, blocks]
    return angle.square().mean((1, 2)) * codes.shape[-1] / 8


def _leaf(x: Tensor, n: int, prior: Generator) -> nn.Parameter:
    """A parameter: x [1, ...] repeated for each of n images."""
    return nn.Parameter(x.to(next(prior.mapping.parameters()).device).repeat(n, *[1] * (x.ndim - 1)))


def _on_sphere(noise: Tensor) -> Tensor:
    """Normalise noise [n, c, s, s] to the sphere near which normal noise lies, for each image."""
    return noise * torch.rsqrt(noise.square().mean((1, 2, 3), keepdim=True) + 1e-8)


def _run(blocks: nn.ModuleList, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor | None]:
    """Features and RGB image after some blocks of a prior, w [n, d]."""
    for block, layers in zip(blocks, noise, strict=True):
        x, image = block(x, image, w, layers)
    return x, image
