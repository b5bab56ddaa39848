"""Settings of a GPEN network."""

from __future__ import annotations

from dataclasses import dataclass

from gpen.errors import GPENError

NOISE_MODES = ("concat", "add", "none")


@dataclass(frozen=True)
class GPENConfig:
    """Settings that determine the shape of every tensor. The defaults are those of GPEN-BFR-512, a published model."""

    size: int = 512  # output resolution in px, a power of two, 8 to 4096
    in_size: int = 0  # input resolution in px, a power of two; below size for super-resolution; 0: equal to size
    channel_multiplier: float = 2  # multiplies the channels of all levels from 64 px
    narrow: float = 1.0  # multiplies the channels of every level
    style_dim: int = 512  # dimension of z and w, at least 1
    mapping_layers: int = 8  # number of layers of the mapping network, at least 1
    noise_mode: str = "concat"  # concat: GPEN; add: GPEN-noise-add; none: no noise inputs, z alone reaches the GAN blocks
    block: str = "stylegan2"  # type of the GAN block: stylegan2, stylegan, pggan or biggan
    # images per group of the minibatch standard deviation of StyleGAN2's discriminator, at least 1; 0: the whole batch, as in the
    # discriminators that the authors of GPEN published
    stddev_group: int = 4

    def __post_init__(self) -> None:
        """Raise GPENError for a value out of range; `block` is checked by `Generator`."""
        if not self.in_size:
            object.__setattr__(self, "in_size", self.size)
        for side in (self.size, self.in_size):
            if not 8 <= side <= 4096 or side & (side - 1):
                raise GPENError(f"size and in_size must be powers of two from 8 to 4096 px; got {side}.")
        if self.in_size > self.size:
            raise GPENError(f"in_size ({self.in_size} px) must not exceed size ({self.size} px).")
        if self.noise_mode not in NOISE_MODES:
            raise GPENError(f"noise_mode must be one of {', '.join(NOISE_MODES)}; got {self.noise_mode!r}.")
        if self.stddev_group < 0:
            raise GPENError(f"stddev_group must be at least 0; got {self.stddev_group}.")
        if min(self.style_dim, self.mapping_layers, self.channels(4), self.channels(self.size)) < 1:
            raise GPENError("style_dim, mapping_layers and the number of channels of every level must be at least 1.")

    def channels(self, side: int) -> int:
        """Number of channels at the resolution `side`: 512 up to 32 px, then halved per doubling, times the multipliers."""
        return int((512 if side <= 32 else 16384 // side * self.channel_multiplier) * self.narrow)
