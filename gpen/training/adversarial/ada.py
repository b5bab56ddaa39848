"""Adaptive discriminator augmentation (ADA; Karras et al., NeurIPS 2020) for priors trained on few faces.

Real and generated images are augmented with probability p before the discriminator; p rises while the discriminator overfits the
real images and falls otherwise. The operations, their order and their strengths are those of the set "bgc" of the paper's code;
resampling is bilinear instead of the paper's wavelet filters, which cost time and change little at these sizes.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

INTERVAL = 4  # batches between two updates of p
SHIFT = 0.125  # standard deviation of the translation, and largest translation by whole pixels, as fractions of the width
SCALE = 0.2  # standard deviation of the binary logarithm of the scaling and of the stretching
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # standard deviations: of a sum for images in [-1, 1], of binary logarithms


class Augment:
    """Callable [n, 3, s, s] -> the same shape, twice differentiable; `p` adapts through `observe`."""

    def __init__(self, target: float, images: int):
        self.target, self.images, self.p = target, images, 0.0
        self.signs: list[float] = []  # of the batches since the last update of p

    def observe(self, sign: float, images: int) -> None:
        """Note the mean sign of the discriminator's scores of a batch of `images` real images; every four batches, move p.

        p moves by their share of `self.images`, up where the mean of the signs (r_t, equation 1) is above the target.
        """
        self.signs.append(sign)
        if len(self.signs) == INTERVAL:
            step = INTERVAL * images / self.images
            rises = sum(self.signs) / INTERVAL > self.target
            self.p = min(1.0, max(0.0, self.p + (step if rises else -step)))
            self.signs = []

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        if self.p == 0:
            return x
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 coordinates are wrong by up to half a pixel of 256
            return recolour(move(x.float(), self.p, random), self.p, random)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"p": self.p, "signs": list(self.signs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.p, self.signs = state["p"], list(state["signs"])


def move(x: Tensor, p: float, random: torch.Generator) -> Tensor:
    """x [n, 3, s, s] with a random `geometry` for each image; borders are reflected."""
    matrices = geometry(len(x), x.shape[-1], p, x.device, random)
    grid = F.affine_grid(matrices[:, :2], list(x.shape), align_corners=False)
    return _Resampling.apply(x, grid)


def geometry(n: int, size: int, p: float, device: torch.device, random: torch.Generator) -> Tensor:
    """Affine maps [n, 3, 3] from the coordinates of the result to those of the image, both from -1 to 1.

    Mirror image, quarter turn, translation by whole pixels, scaling, rotation, stretching, rotation and translation, each with
    probability p; the two rotations together.
    """
    draw = _Draw(n, p, device, random)
    mirror = draw.either(1 - 2 * draw.index(2), 1.0)
    quarter = draw.either(draw.index(4) * (math.pi / 2), 0.0)
    steps = draw.either((SHIFT * (2 * draw.uniform(2) - 1) * size).round() * (2 / size), 0.0)  # [n, 2]; the grid is 2 wide
    scale = draw.either(torch.exp2(SCALE * draw.normal()), 1.0)
    one_turn = 1 - math.sqrt(1 - p)  # so that an image is turned at all with probability p
    turns = [draw.either((2 * draw.uniform() - 1) * math.pi, 0.0, one_turn) for _ in range(2)]
    stretch = draw.either(torch.exp2(SCALE * draw.normal()), 1.0)
    shift = draw.either(SHIFT * 2 * draw.normal(2), 0.0)  # [n, 2]
    maps = [
        _scaling(mirror, torch.ones_like(mirror)), _rotation(quarter), _translation(steps), _scaling(scale, scale),
        _rotation(turns[0]), _scaling(stretch, 1 / stretch), _rotation(turns[1]), _translation(shift),
    ]  # fmt: skip
    return functools.reduce(torch.matmul, maps)


def recolour(x: Tensor, p: float, random: torch.Generator) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation of x [n, 3, h, w], in this order, each with probability p."""
    n = len(x)
    draw = _Draw(n, p, x.device, random)
    eye = torch.eye(3, device=x.device)
    luma = torch.full((3, 3), 1 / 3, device=x.device)  # projection on the grey axis
    brightness = draw.either(BRIGHTNESS * draw.normal(), 0.0)
    contrast = draw.either(torch.exp2(CONTRAST * draw.normal()), 1.0)[:, None, None]
    flip = draw.either(draw.index(2), 0.0)[:, None, None]
    hue = draw.either((2 * draw.uniform() - 1) * math.pi, 0.0)[:, None, None]
    saturation = draw.either(torch.exp2(SATURATION * draw.normal()), 1.0)[:, None, None]
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=x.device) / math.sqrt(3)
    rotation = torch.cos(hue) * eye + torch.sin(hue) * axis + (1 - torch.cos(hue)) * luma  # Rodrigues' formula, grey axis
    matrix = (luma + (eye - luma) * saturation) @ rotation @ (eye - 2 * flip * luma) * contrast  # [n, 3, 3]
    return torch.einsum("nij,njhw->nihw", matrix, x + brightness[:, None, None, None])


class _Draw:
    """Random numbers for n images; `either` takes a random value with probability p."""

    def __init__(self, n: int, p: float, device: torch.device, random: torch.Generator):
        self.n, self.p, self.device, self.random = n, p, device, random

    def uniform(self, *shape: int) -> Tensor:  # [n, *shape]
        return torch.rand(self.n, *shape, generator=self.random, device=self.random.device).to(self.device)

    def normal(self, *shape: int) -> Tensor:  # [n, *shape]
        return torch.randn(self.n, *shape, generator=self.random, device=self.random.device).to(self.device)

    def index(self, choices: int) -> Tensor:  # [n], float
        return (self.uniform() * choices).floor()

    def either(self, drawn: Tensor, otherwise: float, p: float | None = None) -> Tensor:
        """drawn [n, ...], or `otherwise` for images whose one random number is not below p."""
        coin = self.uniform() < (self.p if p is None else p)
        return torch.where(coin.view(-1, *[1] * (drawn.ndim - 1)), drawn, torch.full_like(drawn, otherwise))


def _scaling(x: Tensor, y: Tensor) -> Tensor:  # [n], [n] -> [n, 3, 3]
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def _translation(shift: Tensor) -> Tensor:  # [n, 2] -> [n, 3, 3]
    matrix = torch.eye(3, device=shift.device).repeat(len(shift), 1, 1)
    matrix[:, :2, 2] = shift
    return matrix


def _rotation(angle: Tensor) -> Tensor:  # [n] in radians -> [n, 3, 3]
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).view(-1, 3, 3)


class _Resampling(torch.autograd.Function):
    """Bilinear resampling of x [n, c, s, s] at grid [n, s, s, 2], differentiable by x as often as needed.

    R1 needs the second derivative, which grid_sample has in recent versions of PyTorch only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Adjoint.apply(gradient, *ctx.saved_tensors), None


class _Adjoint(torch.autograd.Function):
    """The adjoint of `_Resampling`, which is linear in x."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        bilinear, reflection, only_x = 0, 2, [True, False]  # the image itself is needed for the derivative by the grid only
        return torch.ops.aten.grid_sampler_2d_backward(y, y, grid, bilinear, reflection, False, only_x)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Resampling.apply(gradient, *ctx.saved_tensors), None
