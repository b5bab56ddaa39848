"""GPEN: a StyleGAN2 generator embedded behind an encoder (Yang et al., CVPR 2021).

    degraded image -> Encoder -> z -> mapping network -> w, broadcast to every GAN block
                          '----- feature at each resolution ----> in the place of the noise of the GAN block at that resolution

The noise, hence the feature, is concatenated to what a convolution gives (`noise_mode="concat"`), not added as in StyleGAN2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from .blocks import BLOCKS, FROM_W
from .errors import GPENError
from .ops import EqualConv2d, EqualLinear, minibatch_stddev, pixel_norm

NOISE_MODES = ("concat", "add", "none")


@dataclass(frozen=True)
class GPENConfig:
    """What fixes every tensor's shape. The defaults are GPEN-BFR-512's, the model of the paper."""

    size: int = 512  # side of the output in pixels, a power of two
    in_size: int = 0  # side of the input; smaller than size: super-resolution; 0: the same
    channel_multiplier: float = 2  # widens the levels from 64 px up
    narrow: float = 1.0  # widens or narrows every level
    style_dim: int = 512  # of z and w
    mapping_layers: int = 8
    noise_mode: str = "concat"  # concat: the paper's GPEN; add: GPEN-noise-add; none: GPEN-w/o-noise
    block: str = "stylegan2"  # the family of the GAN block, one of gpen.blocks.BLOCKS

    def __post_init__(self):
        if not self.in_size:
            object.__setattr__(self, "in_size", self.size)
        for side in (self.size, self.in_size):
            if not 8 <= side <= 4096 or side & (side - 1):
                raise GPENError(f"Sizes are powers of two from 8 to 4096 px; got {side}.")
        if self.in_size > self.size:
            raise GPENError(f"The input ({self.in_size} px) cannot be larger than the output ({self.size} px).")
        if self.noise_mode not in NOISE_MODES:
            raise GPENError(f"noise_mode is one of {', '.join(NOISE_MODES)}; got {self.noise_mode!r}.")
        if self.block not in BLOCKS:
            raise GPENError(f"block is one of {', '.join(BLOCKS)}; got {self.block!r}.")
        if min(self.style_dim, self.mapping_layers, self.channels(4), self.channels(self.size)) < 1:
            raise GPENError("style_dim, mapping_layers and every level's number of channels are at least 1.")

    def channels(self, side: int) -> int:
        """Channels of the features of side x side pixels: 512 up to 32 px, then halved with each doubling, both scaled."""
        return int((512 if side <= 32 else 16384 // side * self.channel_multiplier) * self.narrow)


def sides(size: int) -> list[int]:
    """4, 8, ..., size."""
    return [2**k for k in range(2, int(math.log2(size)) + 1)]


class MappingNetwork(nn.Sequential):
    """z [n, d], normalised -> w [n, d]."""

    def __init__(self, dim: int, layers: int):
        super().__init__(*(EqualLinear(dim, dim, lr_mul=0.01, activate=True) for _ in range(layers)))

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[EqualLinear]: ...  # type: ignore[override]  # torch's own knows of modules only

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(pixel_norm(z))


class Generator(nn.Module):
    """The GAN prior: mapping network, features of 4 x 4 (a learned constant, or made of w), one GAN block per resolution."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.style_dim, config.mapping_layers)
        if config.block in FROM_W:
            self.start = EqualLinear(config.style_dim, config.channels(4) * 16)
        else:
            self.constant = nn.Parameter(torch.randn(1, config.channels(4), 4, 4))
        self.blocks = nn.ModuleList(BLOCKS[config.block](side, config) for side in sides(config.size))

    def noise(self, side: int, n: int = 1, random: torch.Generator | None = None) -> list[Tensor | None]:
        """Standard normal noise for the block at `side` px: one [n, c, side, side] for each of its layers.

        `random` may live on another device than the network: drawn on the CPU, one seed gives the same noise everywhere.
        """
        layers, shape = (1 if side == 4 else 2), (n, self.config.channels(side), side, side)
        if self.config.noise_mode == "none":
            return [None] * layers
        home = next(self.mapping.parameters()).device
        drawn_on = random.device if random else home
        return [torch.randn(shape, generator=random, device=drawn_on).to(home) for _ in range(layers)]

    def forward(self, w: Tensor, noise: list[list[Tensor | None]]) -> Tensor:
        """w [n, d], or [n, blocks, d] for a style of its own in each block; noise: a list a block -> [n, 3, size, size]."""
        ws = w[:, None].expand(-1, len(self.blocks), -1) if w.ndim == 2 else w  # [n, blocks, d]
        if self.config.block in FROM_W:
            x = pixel_norm(self.start(ws[:, 0]).unflatten(1, (-1, 4, 4)))  # [n, c, 4, 4]
        else:
            x = self.constant.expand(len(ws), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None  # until a block gives colours: [n, 3, s, s]
        for k, block in enumerate(self.blocks):
            x, image = block(x, image, ws[:, k], noise[k])
        return cast(Tensor, image)


class Encoder(nn.Module):
    """A 1x1 convolution, then one low-passed 3x3 convolution of stride 2 a level down to 4x4; the deepest feature gives z."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        c = [config.channels(side) for side in sides(config.in_size)][::-1]  # from in_size down to 4 px
        levels = [EqualConv2d(3, c[0], 1), *(EqualConv2d(a, b, 3, down=True) for a, b in zip(c, c[1:], strict=False))]
        self.levels = cast("list[EqualConv2d]", nn.ModuleList(levels))
        self.to_z = EqualLinear(c[-1] * 16, config.style_dim, activate=True)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x [n, 3, in_size, in_size] -> z [n, style_dim] and the features, 4 px first: [n, channels(s), s, s]."""
        features: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            features.insert(0, x)
        return self.to_z(x.flatten(1)), features


class GPEN(nn.Module):
    """The whole network: y = net(x), images in [-1, 1]."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.generator = Generator(config)

    @property
    def size(self) -> int:
        """Side of the output in pixels."""
        return self.config.size

    @property
    def in_size(self) -> int:
        """Side of the input in pixels."""
        return self.config.in_size

    def forward(self, x: Tensor, seed: int = 0) -> Tensor:
        """x [n, 3, in_size, in_size] in [-1, 1] -> [n, 3, size, size], about [-1, 1].

        `seed` fixes the free noise above in_size (super-resolution only). It is the same for each image of a batch, so that
        a batch gives what its images give one by one. Raises ValueError on any other shape.
        """
        if x.shape[1:] != (3, self.in_size, self.in_size):
            raise ValueError(f"This network takes [n, 3, {self.in_size}, {self.in_size}]; got {list(x.shape)}.")
        z, features = self.encoder(x.contiguous(memory_format=torch.channels_last))
        noise = [[feature] * (1 if k == 0 else 2) for k, feature in enumerate(features)]
        random = torch.Generator().manual_seed(seed)
        noise += [self.generator.noise(side, random=random) for side in sides(self.size)[len(features) :]]
        return self.generator(self.generator.mapping(z), noise)


class UnitRange(nn.Module):
    """A network whose images are in [0, 1] (GPEN-Seg2face-512) made to look like all others, whose are in [-1, 1]."""

    def __init__(self, net: GPEN):
        super().__init__()
        self.net, self.config, self.size, self.in_size = net, net.config, net.size, net.in_size

    def forward(self, x: Tensor) -> Tensor:  # [n, 3, in_size, in_size] -> [n, 3, size, size]
        return self.net((x + 1) / 2) * 2 - 1


class DiscriminatorBlock(nn.Module):
    """StyleGAN2's residual block: two convolutions, the second halving, beside a halving 1x1 skip."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = EqualConv2d(inputs, inputs, 3)
        self.conv2 = EqualConv2d(inputs, outputs, 3, down=True)
        self.skip = EqualConv2d(inputs, outputs, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h / 2, w / 2]
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """StyleGAN2's residual discriminator. `size`, `channel_multiplier` and `narrow` of the settings fix its shape."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.config = config
        c = [config.channels(side) for side in sides(config.size)][::-1]  # from size down to 4 px
        self.stem = EqualConv2d(3, c[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in zip(c, c[1:], strict=False))
        self.last_conv = EqualConv2d(c[-1] + 1, c[-1], 3)
        self.hidden = EqualLinear(c[-1] * 16, c[-1], activate=True)
        self.score = EqualLinear(c[-1], 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [n, 3, size, size] -> what each residual block gives, [n, c, size / 2, size / 2] first, [n, c, 4, 4] last."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def judge(self, deepest: Tensor) -> Tensor:
        """The last of `features`, [n, c, 4, 4] -> the scores [n, 1]: the larger, the more real."""
        x = self.last_conv(minibatch_stddev(deepest))
        return self.score(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x)[-1])
