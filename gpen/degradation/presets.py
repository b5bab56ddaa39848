"""Degradation presets: parameter ranges of published training and test protocols, from which a Degradation is sampled.

The values are those of the code releases and papers named in each preset's `source`, for images of `reference_size` px.
`Preset.at(size)` rescales the parameters that are measured in px (blur, kernel, s, shift), so that the low-quality image has the
same size for every image size; noise, JPEG and colour parameters are unchanged. Below the reference size s can be less than 1, in
which case the low-quality image is the larger one. A preset without a reference size has the same ranges at every image size.

GPEN's released code never rescales: gpen-release does the same, also at 256 px. gpen-release-scaled has its ranges at 512 px
and rescales them. All other presets are of methods for 512 px and are rescaled. The random flips of the releases are data
augmentation, not degradation; they are part of the data loader.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from gpen.degradation.colour import JITTER
from gpen.errors import GPENError

MIN_SIZE, MAX_SIZE = 16, 4096  # px, range of Preset.at
_STREAM = 1  # random stream, independent of the noise in gpen.degradation for the same seed
GAUSSIANS = ("isotropic", "anisotropic")


@dataclass(frozen=True)
class ColourJitter:
    """Ranges (low, high) of a colour jitter, which are sampled uniformly; the four are applied in random order.

    probability              that the low-quality image is changed
    brightness, contrast,
    saturation               1 leaves the image unchanged
    hue                      fraction of the circle
    """

    probability: float
    brightness: tuple[float, float] = (0.5, 1.5)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.0, 1.5)
    hue: tuple[float, float] = (-0.1, 0.1)

    def sample(self, rng: np.random.Generator) -> dict:
        """Sample the fields of a Degradation; every call consumes the same number of random values."""
        happens = rng.uniform() < self.probability
        values = {name: rng.uniform(*getattr(self, name)) for name in JITTER}
        order = tuple(JITTER[i] for i in rng.permutation(len(JITTER)))
        return values | {"jitter_order": order} if happens else {}


@dataclass(frozen=True)
class Preset:
    """Ranges (low, high) of uniformly sampled parameters; None turns a step off.

    source        code release or paper that the values are taken from
    blur_sigma    px, sampled per axis of an anisotropic kernel; angles are sampled from 0 to 180 degrees
    blur_kinds    kernels, sampled with equal probability
    kernel_size   odd number of px; None covers 3 sigma on each side
    scale         s, real; the low-quality image has 1 / s of the resolution
    noise_sigma   standard deviation, 0 to 255
    jpeg_quality  integer, both ends included
    grey          probability that both the low-quality image and its target are grey
    haze          weight of the image in a blend with white
    shift         maximum absolute translation in px along each axis
    colour_shift  (probability, maximum of 255) of a shift of the low-quality image that is sampled per channel
    grey_input    probability that the low-quality image is grey, but not its target
    colour_jitter of the low-quality image
    reference_size  px, size of the images that the ranges are for; None: the ranges are the same at every size
    """

    source: str
    blur_sigma: tuple[float, float]
    scale: tuple[float, float]
    noise_sigma: tuple[float, float]
    jpeg_quality: tuple[int, int]
    blur_kinds: tuple[str, ...] = ("isotropic",)
    kernel_size: int | None = None
    grey: float = 0.0
    haze: tuple[float, float] | None = None
    shift: int | None = None
    colour_shift: tuple[float, float] | None = None
    grey_input: float = 0.0
    colour_jitter: ColourJitter | None = None
    reference_size: int | None = 512

    def at(self, size: int) -> Preset:
        """Rescale the preset to images of `size` x `size` px, 16 to 4096; without a reference size it is returned unchanged.

        Raises GPENError for any other size.
        """
        if isinstance(size, bool) or not isinstance(size, Integral) or not MIN_SIZE <= size <= MAX_SIZE:
            raise GPENError(
                f"The image size of a preset must be an integer from {MIN_SIZE} to {MAX_SIZE} px; got {str(size)[:20]!r}."
            )
        if self.reference_size is None:
            return self
        ratio = int(size) / self.reference_size
        return replace(
            self,
            blur_sigma=(self.blur_sigma[0] * ratio, self.blur_sigma[1] * ratio),
            kernel_size=None if self.kernel_size is None else _nearest_odd(self.kernel_size * ratio),
            scale=(self.scale[0] * ratio, self.scale[1] * ratio),
            shift=None if self.shift is None else int(self.shift * ratio),
            reference_size=int(size),
        )

    def sample(self, seed: int) -> dict:
        """Sample the fields of a Degradation; deterministic for a given seed.

        The parameters common to all presets are always sampled, in the same order, so that a seed gives related degradations
        across presets.
        """
        rng = np.random.default_rng([_STREAM, seed])
        kind = self.blur_kinds[rng.integers(len(self.blur_kinds))]
        sigma, sigma_y = rng.uniform(*self.blur_sigma, size=2)
        angle = rng.uniform(0, 180)
        sampled = {
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
        return sampled | self._sample_extras(rng) | {"seed": seed}

    def _sample_extras(self, rng: np.random.Generator) -> dict:
        extras: dict[str, object] = {}
        if self.colour_shift is not None:
            probability, largest = self.colour_shift
            happens, shift = rng.uniform() < probability, rng.uniform(-largest, largest, size=3)
            extras["colour_shift"] = tuple(shift) if happens else None
        if self.haze is not None:
            extras["haze"] = rng.uniform(*self.haze)
        if self.shift is not None:
            extras["shift"] = tuple(rng.integers(-self.shift, self.shift + 1, size=2))
        if self.grey_input:
            extras["grey_input"] = bool(rng.uniform() < self.grey_input)
        if self.colour_jitter is not None:
            extras |= self.colour_jitter.sample(rng)
        return extras


def _nearest_odd(width: float) -> int:
    return max(3, 2 * round((width - 1) / 2) + 1)


_GPEN_RELEASE = Preset(
    source="the released GPEN training code (Yang et al., CVPR 2021), its ranges in px the same at every image size",
    blur_sigma=(0.1, 10),
    blur_kinds=GAUSSIANS,
    kernel_size=41,
    scale=(0.8, 8),
    noise_sigma=(0, 20),
    jpeg_quality=(60, 100),
    grey=0.2,
    reference_size=None,
)
PRESETS: dict[str, Preset] = {
    "gpen-release": _GPEN_RELEASE,
    "gpen-release-scaled": replace(
        _GPEN_RELEASE,
        source="the released GPEN training code (Yang et al., CVPR 2021), its ranges in px rescaled from 512 px, unlike there",
        reference_size=512,
    ),
    "gfpgan": Preset(
        source="the released GFPGAN training settings (Wang et al., CVPR 2021)",
        blur_sigma=(0.1, 10),
        blur_kinds=GAUSSIANS,
        kernel_size=41,
        scale=(0.8, 8),
        noise_sigma=(0, 20),
        jpeg_quality=(60, 100),
        colour_shift=(0.3, 20),
        grey_input=0.01,
        colour_jitter=ColourJitter(0.3),
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
        source="the extended degrading model of RestoreFormer++ (Wang et al., TPAMI), haze and shift always on; "
        "the released code uses them with probabilities of 0.008 and 0.2",
        blur_sigma=(0.2, 10),
        scale=(1, 8),
        noise_sigma=(0, 20),
        jpeg_quality=(60, 100),
        haze=(0.7, 1),
        shift=32,
    ),
    "pltrans": Preset(
        source="PLTrans, evaluated at x16, x32 and x64",
        blur_sigma=(0, 5),
        scale=(0.8, 32),
        noise_sigma=(0, 10),
        jpeg_quality=(50, 100),
    ),
    "severe": Preset(
        source="hard cases, not a published protocol; blur sigma as in gpen-release",
        blur_sigma=(0.1, 10),
        blur_kinds=("isotropic", "motion"),
        scale=(10, 200),
        noise_sigma=(0, 25),
        jpeg_quality=(5, 50),
    ),
}
