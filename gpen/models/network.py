"""GPEN: an encoder followed by a StyleGAN2 generator (Yang et al., CVPR 2021).

    degraded image -> Encoder -> z -> mapping network -> w, input of every GAN block
                          '----- feature at each resolution ----> replaces the noise input of the GAN block at that resolution

The noise, and therefore the feature, is concatenated to the output of each convolution (`noise_mode="concat"`) instead of being
added to it as in StyleGAN2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from gpen.errors import GPENError
from gpen.models.blocks import BLOCKS, STARTS
from gpen.models.config import GPENConfig
from gpen.models.ops import EqualConv2d, EqualLinear, minibatch_stddev, pixel_norm

T = TypeVar("T")


def resolutions(size: int) -> list[int]:
    """Resolutions of the GAN blocks in px: 4, 8, ..., size."""
    return [2**k for k in range(2, int(math.log2(size)) + 1)]


class MappingNetwork(nn.Sequential):
    """StyleGAN mapping network: pixel norm of z [n, d], then fully connected layers -> w [n, d]."""

    def __init__(self, dim: int, layers: int):
        super().__init__(*(EqualLinear(dim, dim, lr_mul=0.01, activate=True) for _ in range(layers)))

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[EqualLinear]: ...  # type: ignore[override]  # nn.Sequential yields nn.Module

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(pixel_norm(z))


class Generator(nn.Module):
    """The GAN prior: mapping network, 4 x 4 input (a learned constant or a linear map of w), one GAN block per resolution."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        if config.block not in BLOCKS:
            raise GPENError(f"block must be one of {', '.join(BLOCKS)}; got {config.block!r}.")
        self.config = config
        self.mapping = MappingNetwork(config.style_dim, config.mapping_layers)
        if config.block in STARTS:
            self.start = STARTS[config.block](config.style_dim, config.channels(4))
        else:
            self.constant = nn.Parameter(torch.randn(1, config.channels(4), 4, 4))
        self.blocks = nn.ModuleList(BLOCKS[config.block](side, config) for side in resolutions(config.size))

    def noise(self, side: int, n: int = 1, random: torch.Generator | None = None) -> list[Tensor | None]:
        """Sample standard normal noise for the block at `side` px: one tensor [n, c, side, side] per layer.

        random: may be on another device than the network; with a CPU generator a seed gives the same noise on every device.
        """
        layers, shape = (1 if side == 4 else 2), (n, self.config.channels(side), side, side)
        if self.config.noise_mode == "none":
            return [None] * layers
        device = next(self.mapping.parameters()).device
        sampled_on = random.device if random else device
        return [torch.randn(shape, generator=random, device=sampled_on).to(device) for _ in range(layers)]

    def sample_noise(self, n: int = 1, random: torch.Generator | None = None) -> list[list[Tensor | None]]:
        """Sample the noise of all blocks, lowest resolution first, as `noise` does for each."""
        return [self.noise(side, n, random) for side in resolutions(self.config.size)]

    def first_input(self, w: Tensor) -> Tensor:
        """The input of the block at 4 px, [n, channels(4), 4, 4], for w [n, d]: computed from w, or the learned constant."""
        return self.start(w) if self.config.block in STARTS else self.constant.expand(len(w), -1, -1, -1)

    def forward(self, w: Tensor, noise: list[list[Tensor | None]]) -> Tensor:
        """Generate images [n, 3, size, size].

        w: [n, d], or [n, blocks, d] for one style per block. noise: for each block a list with one tensor per layer.
        """
        ws = w[:, None].expand(-1, len(self.blocks), -1) if w.ndim == 2 else w  # [n, blocks, d]
        x = self.first_input(ws[:, 0]).contiguous(memory_format=torch.channels_last)  # [n, c, 4, 4]
        image: Tensor | None = None  # [n, 3, s, s] from the first block that outputs an image
        for k, block in enumerate(self.blocks):
            x, image = block(x, image, ws[:, k], noise[k])
        return cast(Tensor, image).to(next(self.mapping.parameters()).dtype)


class Encoder(nn.Module):
    """A 1x1 convolution, then one low-pass filtered 3x3 convolution of stride 2 per level down to 4x4, which is mapped to z."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        c = [config.channels(side) for side in resolutions(config.in_size)][::-1]  # from in_size down to 4 px
        levels = [EqualConv2d(3, c[0], 1), *(EqualConv2d(a, b, 3, down=True) for a, b in zip(c, c[1:], strict=False))]
        self.levels = cast("list[EqualConv2d]", nn.ModuleList(levels))
        self.to_z = EqualLinear(c[-1] * 16, config.style_dim, activate=True)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x [n, 3, in_size, in_size] -> z [n, style_dim] and the features [n, channels(s), s, s], lowest resolution first."""
        features: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            features.insert(0, x)
        return self.to_z(x.flatten(1)), features


class GPEN(nn.Module):
    """Encoder and generator: y = net(x), images in [-1, 1].

    alignment: of the faces of photos for this network, "ffhq", or "gpen" for the models of the authors' program.
    """

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.config = config
        self.alignment = "ffhq"
        self.encoder = Encoder(config)
        self.generator = Generator(config)

    @property
    def size(self) -> int:
        """Output resolution in px."""
        return self.config.size

    @property
    def in_size(self) -> int:
        """Input resolution in px."""
        return self.config.in_size

    def forward(self, x: Tensor, seed: int = 0, feature_mask: Tensor | None = None) -> Tensor:
        """Restore x [n, 3, in_size, in_size] in [-1, 1] -> [n, 3, size, size], approximately in [-1, 1] (not clamped).

        seed: of the noise above in_size (super-resolution only). The noise is the same for every image of a batch, so that the
        result does not depend on the batch. feature_mask: [n], 1, or 0 for an image whose features are replaced by zeros, so that
        z alone describes it; None: 1 for all. Raises ValueError for any other shape of x.
        """
        if x.shape[1:] != (3, self.in_size, self.in_size):
            raise ValueError(f"This network takes [n, 3, {self.in_size}, {self.in_size}]; got {list(x.shape)}.")
        z, features = self.encoder(x.contiguous(memory_format=torch.channels_last))
        if feature_mask is not None:
            features = [f * feature_mask.to(f.dtype)[:, None, None, None] for f in features]
        # a torch.Generator is a graph break for torch.compile, and is not needed if every block has a feature
        random = torch.Generator().manual_seed(seed) if self.in_size < self.size else None
        return self.generator(self.generator.mapping(z), self.noise_inputs(features, random))

    def noise_inputs(self, features: Sequence[T], random: torch.Generator | None = None) -> list[list[T | Tensor | None]]:
        """Return the noise inputs of the generator: the features of the encoder, then sampled noise above in_size.

        features: one per resolution up to in_size, lowest first, [n, channels(s), s, s] (or any object in place of the tensor).
        random: generator of the noise, see `Generator.noise`. The result has for each block a list with one tensor per layer; the
        sampled noise has a batch size of 1.
        """
        noise: list[list[T | Tensor | None]] = []
        for k, side in enumerate(resolutions(self.size)):
            if k < len(features):
                noise.append([features[k]] * (1 if side == 4 else 2))
            else:
                noise.append([*self.generator.noise(side, random=random)])
        return noise


class UnitRange(nn.Module):
    """Adapter for a network with images in [0, 1] (GPEN-Seg2face-512): input and output are in [-1, 1]."""

    def __init__(self, net: GPEN):
        super().__init__()
        self.net, self.config, self.size, self.in_size = net, net.config, net.size, net.in_size

    def forward(self, x: Tensor) -> Tensor:  # [n, 3, in_size, in_size] -> [n, 3, size, size]
        return self.net((x + 1) / 2) * 2 - 1


class DiscriminatorBlock(nn.Module):
    """Residual block of StyleGAN2: two convolutions, the second of stride 2, and a 1x1 skip convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = EqualConv2d(inputs, inputs, 3)
        self.conv2 = EqualConv2d(inputs, outputs, 3, down=True)
        self.skip = EqualConv2d(inputs, outputs, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:  # [n, inputs, h, w] -> [n, outputs, h / 2, w / 2]
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Residual discriminator of StyleGAN2; uses `size`, `channel_multiplier`, `narrow` and `stddev_group` of the settings."""

    def __init__(self, config: GPENConfig):
        super().__init__()
        self.config = config
        c = [config.channels(side) for side in resolutions(config.size)][::-1]  # from size down to 4 px
        self.stem = EqualConv2d(3, c[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in zip(c, c[1:], strict=False))
        self.last_conv = EqualConv2d(c[-1] + 1, c[-1], 3)
        self.hidden = EqualLinear(c[-1] * 16, c[-1], activate=True)
        self.score = EqualLinear(c[-1], 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [n, 3, size, size] -> the output of each residual block, from [n, c, size / 2, size / 2] to [n, c, 4, 4]."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def score_features(self, deepest: Tensor) -> Tensor:
        """Map the last of `features`, [n, c, 4, 4], to logits [n, 1]; higher is more real."""
        x = self.last_conv(minibatch_stddev(deepest, self.config.stddev_group))
        return self.score(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.score_features(self.features(x)[-1])
