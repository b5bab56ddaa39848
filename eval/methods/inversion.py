"""GAN inversion: search for a face of a GAN prior that equals the low-quality image after the operator of the task.

    pulse      one code per block, on a sphere, and the coarse noise       S. Menon et al., CVPR 2020
    mganprior  several codes, their features composed at one level         J. Gu, Y. Shen, B. Zhou, CVPR 2020

The tables call them "PULSE-like, own prior of N px": the searches follow the two releases, but the prior is not theirs. It is a
file given by the user (pulse:FILE) or assets/prior-SIZE.safetensors, written by python -m gpen train prior.

The operator is applied to the result at its full size, which for a smaller prior is the face enlarged with bicubic interpolation
(eval/methods/registry.py). In super-resolution it is that of the task: antialiased bicubic or plain bilinear downsampling. In all
other tasks it is antialiased bicubic resizing to the size of the low-quality image, as in PULSE: a blind method does not know the
degradation, so blur, noise and JPEG artefacts are reproduced. The search starts from the same seed for every image, independent
of the batch.

Images are in [-1, 1], where the squared error is 4 times that of the releases' images in [0, 1]. PULSE's loss for [0, 1] is
100 L2 + 0.05 GEOCROSS with L2 at least 1e-3; divided by 25, it is L2' + 0.002 GEOCROSS for L2' = 4 L2 at least 4e-3.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.data.lq_sets import Sample
from eval.methods.fixed_noise import Block, with_fixed_noise, with_noise
from gpen.degradation.degradation import Degradation
from gpen.images import to_image, to_tensor
from gpen.models.network import Generator, resolutions

SLOPE = 0.2  # of the leaky ReLU of the mapping network


@dataclass(frozen=True)
class PulseSettings:
    """The values of the published implementation of PULSE, for images in [-1, 1]."""

    steps: int = 100
    rate: float = 0.4  # maximum learning rate of Adam, see `one_cycle`
    geodesic: float = 0.002  # weight of GEOCROSS relative to the squared error
    tolerance: float = 4e-3  # squared error below which an image is as good as equal
    noise_side: int = 16  # px, up to which the noise is optimised (5 layers); above it is sampled once, in the last layer zero
    samples: int = 100_000  # w sampled for the mean and the deviation of the mapping network; the release takes 1,000,000
    seed: int = 0


@dataclass(frozen=True)
class MultiCodeSettings:
    """The values of the published super-resolution of mGANprior.

    Two things differ. Its loss also has a perceptual term, 0.001 times the L1 distance of features of VGG-16, whose weights are
    not part of this project. It divides the sum over the codes by their number in addition to initial weights of 1 / N, which its
    prior, PGGAN, undoes by normalising the features; other blocks do not.
    """

    codes: int = 20
    side: int = 16  # px, of the block whose features are composed: layer 6 of PGGAN
    steps: int = 2000
    rate: float = 1.0  # learning rate of gradient descent, constant
    seed: int = 0


def pulse(prior: Generator, samples: list[Sample], size: int, settings: PulseSettings | None = None) -> list[np.ndarray]:
    """Restore images: the face with the lowest total loss of each search, uint8 RGB of the size of the prior.

    The search variable v is standard normal; w = leaky_relu(std v + mean), a normal distribution fitted to the mapping network
    before its last activation. PULSE has one v per layer; here the layers of a block share one. After each step of Adam every v
    and every optimised noise map returns to the sphere of its initial norm. size: of the result after its enlargement, px.
    """
    settings = settings or PulseSettings()
    n, random = len(samples), torch.Generator().manual_seed(settings.seed)
    v = _leaf(torch.randn(1, len(prior.blocks), prior.config.style_dim, generator=random), n, prior)  # [n, blocks, d]
    noise = prior.sample_noise(random=random)
    coarse = 0 if noise[0][0] is None else min(len(resolutions(settings.noise_side)), len(noise) - 1)  # blocks
    optimised = [[_leaf(cast(Tensor, x), n, prior) for x in layers] for layers in noise[:coarse]]
    fixed = noise[coarse:]
    if fixed[-1][-1] is not None:
        fixed[-1][-1] = torch.zeros_like(fixed[-1][-1])
    mean, std = mapping_statistics(prior, settings.samples)
    blocks = [with_noise(*pair) for pair in zip(prior.blocks, optimised, strict=False)]
    blocks += with_fixed_noise(prior.blocks[coarse:], fixed)[0]
    free = [v, *(x for layers in optimised for x in layers)]
    radii = [_norm(x) for x in free]

    def make() -> tuple[Tensor, Tensor]:
        w = F.leaky_relu(std * v + mean, SLOPE)  # [n, blocks, d]
        return _run(blocks, prior.first_input(w[:, 0]), None, w)[1], settings.geodesic * geocross(w)

    def project() -> None:
        for x, radius in zip(free, radii, strict=True):
            x.mul_(radius / _norm(x))

    lowest = v.new_full((n,), torch.inf)
    best = v.new_zeros(n, 3, prior.config.size, prior.config.size)
    rates = (settings.rate * one_cycle(step, settings.steps) for step in range(settings.steps))
    errors, optimizer = _Errors(samples, size, prior), torch.optim.Adam(free)
    for faces, losses in _descend(make, errors, optimizer, rates, settings.tolerance, project):
        best = torch.where((losses < lowest)[:, None, None, None], faces, best)  # indices would wait for the device
        lowest = torch.minimum(lowest, losses)
    return [to_image(face) for face in best]


def mganprior(prior: Generator, samples: list[Sample], size: int, settings: MultiCodeSettings | None = None) -> list[np.ndarray]:
    """Restore images: the face of the last step of each search, uint8 RGB of the size of the prior.

    The features of the N codes of an image at one level are weighted by channel and summed (equation 3); the RGB image, which
    StyleGAN2 accumulates beside the features, counts as three more channels. The blocks above use the mean w of the codes. size:
    of the result after its enlargement, px.
    """
    settings = settings or MultiCodeSettings()
    n, codes, random = len(samples), settings.codes, torch.Generator().manual_seed(settings.seed)
    side = min(settings.side, prior.config.size // 2)
    split = resolutions(prior.config.size).index(side) + 1  # blocks before the composition
    z = _leaf(torch.randn(1, codes, prior.config.style_dim, generator=random), n, prior)  # [n, N, d]
    noise = prior.sample_noise(random=random)
    blocks, fixed = with_fixed_noise(prior.blocks[:split], noise[:split])
    above, _ = with_fixed_noise(prior.blocks[split:], noise[split:])

    def below() -> tuple[Tensor, list[Tensor]]:
        w = prior.mapping(z.flatten(0, 1))  # [n N, d]
        made = _run(blocks, prior.first_input(w), None, w[:, None].expand(-1, split, -1))
        parts = [part.unflatten(0, (n, codes)) for part in made if part is not None]  # [n, N, c, side, side] each
        return w.unflatten(0, (n, codes)).mean(1), parts

    with torch.no_grad():
        _, parts = below()
    channels = [part.shape[2] for part in parts]
    channels[0] += 0 if fixed is None else fixed.shape[1]
    shares = [_leaf(parts[0].new_full((1, codes, c, 1, 1), 1 / codes), n, prior) for c in channels]

    def make() -> tuple[Tensor, Tensor]:
        w, parts = below()
        composed = [(share[:, :, : part.shape[2]] * part).sum(1) for share, part in zip(shares, parts, strict=True)]
        if fixed is not None:  # equal for all codes
            composed[0] = torch.cat([composed[0], shares[0][:, :, parts[0].shape[2] :].sum(1) * fixed], 1)
        x, image = composed if len(composed) == 2 else (composed[0], None)  # [n, c, side, side] each
        return _run(above, x, image, w[:, None].expand(-1, len(above), -1))[1], w.new_zeros(n)

    rates = [settings.rate] * settings.steps
    for _ in _descend(make, _Errors(samples, size, prior), torch.optim.SGD([z, *shares], lr=settings.rate), rates):
        pass
    with torch.no_grad():
        return [to_image(face) for face in make()[0]]


@functools.lru_cache(maxsize=1)
@torch.no_grad()
def mapping_statistics(prior: Generator, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [d] of the output of the mapping network before its last activation.

    The inverse of a leaky ReLU of slope 0.2 is one of slope 5; the factor of the network's activation is part of the result.
    """
    random, device = torch.Generator().manual_seed(seed), next(prior.mapping.parameters()).device
    z = torch.randn(samples, prior.config.style_dim, generator=random).to(device)
    x = torch.cat([F.leaky_relu(prior.mapping(part), 1 / SLOPE) for part in z.split(8192)])  # [samples, d]
    return x.mean(0), x.std(0)


def one_cycle(step: int, steps: int) -> float:
    """Factor of PULSE's learning rate (linear1cycledrop): 0.1 to 1 to 0.1 in 90 % of the steps, then to 0.001."""
    t, main = step / steps, 0.9
    if t < main:
        return 0.1 + 0.9 * (1 - abs(2 * t / main - 1))
    return 0.1 + (t - main) / (1 - main) * (0.001 - 0.1)


def geocross(codes: Tensor) -> Tensor:
    """GEOCROSS of PULSE, [n, blocks, d] -> [n]: mean squared angle between the codes of a face, times d / 8."""
    a, b = codes[:, :, None], codes[:, None]
    angle = 2 * torch.atan2((a - b).norm(dim=-1) + 1e-8, (a + b).norm(dim=-1))  # [n, blocks, blocks]
    return angle.square().mean((1, 2)) * codes.shape[-1] / 8


def operator(sample: Sample) -> str:
    """The downsampling operator that a search inverts: "bilinear" (not antialiased) or "bicubic" (antialiased).

    That of the task for super-resolution, where downsampling is the whole degradation; otherwise bicubic.
    """
    if sample.degradation is None:
        return "bicubic"
    values, default = sample.degradation.to_dict(), Degradation().to_dict()
    if any(value != default[name] for name, value in values.items() if name not in ("scale", "downsampling", "seed")):
        return "bicubic"
    return values["downsampling"]


def downsampling(prior_size: int, size: int, low: int, kind: str) -> Tensor:
    """Matrix [low, prior_size] that maps a row of the face of a prior to a row of the low-quality image.

    The face is resized to `size` px as the result is (bicubic, or area averaging if it is larger), then to `low` px with the
    operator `kind`. Both are separable and linear, so the image is the face multiplied with such a matrix from each side.
    """
    identity = torch.eye(prior_size)[None, None]  # [1, 1, prior_size, prior_size]; its columns are resized
    enlarge = "area" if prior_size > size else "bicubic"
    result = F.interpolate(identity, (size, prior_size), mode=enlarge, align_corners=None if enlarge == "area" else False)
    return F.interpolate(result, (low, prior_size), mode=kind, align_corners=False, antialias=kind == "bicubic")[0, 0]


class _Errors:
    """Mean squared errors [n] of faces [n, 3, s, s] to the low-quality images of samples after the operator.

    Samples of the same size and operator are computed together.
    """

    def __init__(self, samples: list[Sample], size: int, prior: Generator):
        device, side = next(prior.mapping.parameters()).device, prior.config.size
        groups: dict[tuple[int, int, str], list[int]] = {}
        for i, sample in enumerate(samples):
            groups.setdefault((*sample.lq.shape[:2], operator(sample)), []).append(i)
        self.groups = []
        for (h, w, kind), members in groups.items():
            targets = torch.stack([to_tensor(samples[i].lq) for i in members]).to(device)  # [m, 3, h, w]
            rows, columns = (downsampling(side, size, low, kind).to(device) for low in (h, w))
            self.groups.append((members, rows, columns.t(), targets))
        order = [i for members in groups.values() for i in members]
        self.places = torch.tensor(order, device=device).argsort()  # of each sample in the concatenated groups

    def __call__(self, faces: Tensor) -> Tensor:
        errors = [
            (rows @ faces[members] @ columns - targets).square().mean((1, 2, 3))
            for members, rows, columns, targets in self.groups
        ]
        return torch.cat(errors)[self.places]


def _descend(
    make: Callable[[], tuple[Tensor, Tensor]],  # -> faces [n, 3, s, s], penalties [n]
    errors: _Errors,
    optimizer: torch.optim.Optimizer,
    rates: Iterable[float],  # learning rate of each step
    tolerance: float = 0.0,  # errors below it count as this
    project: Callable[[], None] = lambda: None,  # called after each step
) -> Iterator[tuple[Tensor, Tensor]]:
    """Minimise the total loss of all images in one batch; yields the faces and losses [n] before each step."""
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        faces, penalties = make()
        losses = errors(faces).clamp(min=tolerance) + penalties
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        with torch.no_grad():
            project()
        yield faces.detach(), losses.detach()


def _leaf(x: Tensor, n: int, prior: Generator) -> nn.Parameter:
    """A parameter: x [1, ...] repeated for each of n images."""
    return nn.Parameter(x.to(next(prior.mapping.parameters()).device).repeat(n, *[1] * (x.ndim - 1)))


def _norm(x: Tensor) -> Tensor:
    """Norm of each vector of v [n, blocks, d], or of each noise map [n, c, s, s] of a channel."""
    return (x.detach().square().sum(tuple(range(2, x.ndim)), keepdim=True) + 1e-9).sqrt()


def _run(blocks: list[Block], x: Tensor, image: Tensor | None, w: Tensor) -> tuple[Tensor, Tensor]:
    """Features and RGB image after some blocks of a prior, w [n, blocks, d]."""
    x = x.contiguous(memory_format=torch.channels_last)
    for k, block in enumerate(blocks):
        x, image = block(x, image, w[:, k])
    return x, cast(Tensor, image)
