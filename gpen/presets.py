"""Ranges of degradation that the field trains and tests with, to draw a Degradation from.

The figures are those of the releases and papers named in each preset's `source`. They hold for images of
`reference_size` px: `Preset.at(size)` rescales what is measured in px of the image (blur, kernel, s, shift),
so that the low-quality image has the same pixels whatever the size. Noise, JPEG and colour act on the values
of the low-quality image and stay. Below the reference size s may fall under 1: the low-quality image is then
the larger one. The releases also flip half of their training images: that is an augmentation of the data,
not a degradation, and belongs to the data loader.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from gpen.errors import GPENError

MIN_SIZE, MAX_SIZE = 16, 4096  # sides of the images that a preset can be rescaled to
_STREAM = 1  # keeps the draws apart from the noise of the same seed; gpen.degradation uses another number
GAUSSIANS = ("isotropic", "anisotropic")


@dataclass(frozen=True)
class Preset:
    """Ranges (low, high) that parameters are drawn from uniformly; None turns a step off.

    blur_sigma    px of the image, drawn for each axis of an anisotropic kernel; angles are 0 to 180 degrees
    blur_kinds    kernels, equally likely
    kernel_size   px, odd; None makes the kernel as wide as its sigma asks for
    scale         s, real; the low-quality image has 1/s of the pixels a side
    noise_sigma   of 255
    jpeg_quality  whole numbers, both ends included
    grey          probability that both the low-quality image and its target are grey
    colour_shift  (probability, largest shift of a channel, of 255) of a shift drawn for each channel
    haze          the image's share, the rest being white
    shift         largest displacement in px, along each axis, either way
    """

    source: str
    blur_sigma: tuple[float, float]
    scale: tuple[float, float]
    noise_sigma: tuple[float, float]
    jpeg_quality: tuple[int, int]
    blur_kinds: tuple[str, ...] = ("isotropic",)
    kernel_size: int | None = None
    grey: float = 0.0
    colour_shift: tuple[float, float] | None = None
    haze: tuple[float, float] | None = None
    shift: int | None = None
    reference_size: int = 512

    def at(self, size: int) -> Preset:
        """The preset for images of `size` x `size` px, 16 to 4096; another size raises GPENError."""
        if isinstance(size, bool) or not isinstance(size, Integral) or not MIN_SIZE <= size <= MAX_SIZE:
            raise GPENError(f"A preset's image size must be a whole number from {MIN_SIZE} to {MAX_SIZE} px.")
        ratio = int(size) / self.reference_size
        return replace(
            self,
            blur_sigma=(self.blur_sigma[0] * ratio, self.blur_sigma[1] * ratio),
            kernel_size=None if self.kernel_size is None else _nearest_odd(self.kernel_size * ratio),
            scale=(self.scale[0] * ratio, self.scale[1] * ratio),
            shift=None if self.shift is None else int(self.shift * ratio),
            reference_size=int(size),
        )

    def draw(self, seed: int) -> dict:
        """Fields of a Degradation drawn from these ranges; a seed gives the same numbers in every process.

        What all presets have is drawn in one order, used or not: a seed's degradations are alike across
        presets.
        """
        rng = np.random.default_rng([_STREAM, seed])
        kind = self.blur_kinds[rng.integers(len(self.blur_kinds))]
        sigma, sigma_y = rng.uniform(*self.blur_sigma, size=2)
        angle = rng.uniform(0, 180)
        drawn = {
            "blur_sigma": sigma,
            "blur_kind": kind,
            "blur_sigma_y": sigma_y if kind == "anisotropic" else None,
            "blur_angle": 0.0 if kind == "isotropic" else angle,
            "kernel_size": self.kernel_size,
            "scale": rng.uniform(*self.scale),
            "noise_sigma": rng.uniform(*self.noise_sigma),
            "jpeg_quality": int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1)),
            "grey": bool(rng.uniform() < self.grey),
        }
        return drawn | self._draw_extras(rng) | {"seed": seed}

    def _draw_extras(self, rng: np.random.Generator) -> dict:
        extras: dict[str, object] = {}
        if self.colour_shift is not None:
            probability, largest = self.colour_shift
            happens, shift = rng.uniform() < probability, rng.uniform(-largest, largest, size=3)
            extras["colour_shift"] = tuple(shift) if happens else None
        if self.haze is not None:
            extras["haze"] = rng.uniform(*self.haze)
        if self.shift is not None:
            extras["shift"] = tuple(rng.integers(-self.shift, self.shift + 1, size=2))
        return extras


def _nearest_odd(width: float) -> int:
    return max(3, 2 * round((width - 1) / 2) + 1)


PRESETS: dict[str, Preset] = {
    "gpen-release": Preset(
        source="the released GPEN training code (Yang et al., CVPR 2021)",
        blur_sigma=(0.1, 10),
        blur_kinds=GAUSSIANS,
        kernel_size=41,
        scale=(0.8, 8),
        noise_sigma=(0, 20),
        jpeg_quality=(60, 100),
        grey=0.2,
    ),
    "gfpgan": Preset(
        source="the released GFPGAN training settings (Wang et al., CVPR 2021)",
        blur_sigma=(0.1, 10),
        blur_kinds=GAUSSIANS,
        kernel_size=41,
        scale=(0.8, 8),
        noise_sigma=(0, 20),
        jpeg_quality=(60, 100),
        grey=0.01,
        colour_shift=(0.3, 20),
    ),
    "codeformer-2": Preset(
        source="the released CodeFormer training settings, stage 2 (Zhou et al., NeurIPS 2022)",
        blur_sigma=(1, 15),
        blur_kinds=GAUSSIANS,
        kernel_size=41,
        scale=(4, 30),
        noise_sigma=(0, 20),
        jpeg_quality=(30, 80),
    ),
    "codeformer-3": Preset(
        source="the released CodeFormer training settings, stage 3 (Zhou et al., NeurIPS 2022)",
        blur_sigma=(0.1, 10),
        blur_kinds=GAUSSIANS,
        kernel_size=41,
        scale=(1, 12),
        noise_sigma=(0, 15),
        jpeg_quality=(60, 100),
    ),
    "restoreformer++": Preset(
        source="the extended degrading model of RestoreFormer++ (Wang et al., TPAMI), haze and shift always",
        blur_sigma=(0.2, 10),
        scale=(1, 8),
        noise_sigma=(0, 20),
        jpeg_quality=(60, 100),
        haze=(0.7, 1),
        shift=32,
    ),
    "pltrans": Preset(
        source="PLTrans, which tests at x16, x32 and x64",
        blur_sigma=(0, 5),
        scale=(0.8, 32),
        noise_sigma=(0, 10),
        jpeg_quality=(50, 100),
    ),
    "severe": Preset(
        source="hard cases, not verified as anyone's protocol; blur sigma as in gpen-release",
        blur_sigma=(0.1, 10),
        blur_kinds=("isotropic", "motion"),
        scale=(10, 200),
        noise_sigma=(0, 25),
        jpeg_quality=(5, 50),
    ),
}
