"""Degradation model: computes the low-quality input of restoration from a high-quality image.

    I_d = JPEG_q( (I * k) downsampled by s + n_sigma ), then resized back     (GPEN, Yang et al., CVPR 2021)

The steps, in order and each off by default: grey, shift, haze (these three in some presets only), blur with the kernel k,
downsampling by s, Gaussian noise, JPEG. Values are float32 between the steps and are rounded once, before JPEG. Downsampling is
bilinear without antialiasing by default, as in the released code, so that high frequencies alias: the published protocols of
blind restoration include this aliasing. Super-resolution uses antialiased bicubic downsampling (gpen/degradation/operators.py).

After JPEG and resizing, some presets change the colours of the low-quality image only, in the order of GFPGAN: colour shift,
grey, colour jitter. `__call__`, which does not resize, changes the colours of the small image; resized back, it differs from
`resized` by rounding, by the clipping of values out of range and by the hue, which is not linear (about one level of 255).
"""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any

import cv2
import numpy as np

from gpen.degradation.colour import JITTER, adjust, shift_channels, to_grey
from gpen.degradation.kernels import gaussian_kernel, gaussian_profile, motion_kernel
from gpen.degradation.operators import DOWNSAMPLING, downsample, jpeg, quantise, resize_back, translate
from gpen.degradation.presets import PRESETS
from gpen.errors import GPENError

BLUR_KINDS = ("isotropic", "anisotropic", "motion")
MAX_SEED = 2**53 - 1  # the largest integer that JavaScript represents exactly
WIDE_KERNEL = 99  # px; from this size filter2D, which uses the DFT, is faster than sepFilter2D
_STREAM = 2  # random stream of the noise, independent of the one in gpen.degradation.presets for the same seed

# name: (minimum, maximum, integer, may be None)
_NUMBERS = {
    "blur_sigma": (0, 200, False, True),
    "blur_sigma_y": (0, 200, False, True),
    "blur_angle": (-360, 360, False, False),
    "kernel_size": (1, 2001, True, True),
    "scale": (0.01, 10000, False, True),
    "noise_sigma": (0, 255, False, True),
    "jpeg_quality": (1, 100, True, True),
    "haze": (0, 1, False, True),
    "brightness": (0, 10, False, True),
    "contrast": (0, 10, False, True),
    "saturation": (0, 10, False, True),
    "hue": (-0.5, 0.5, False, True),
    "seed": (0, MAX_SEED, True, False),
}
# name: (length, minimum, maximum, integer)
_TUPLES = {"colour_shift": (3, -255, 255, False), "shift": (2, -4096, 4096, True)}
_CHOICES = {"blur_kind": BLUR_KINDS, "downsampling": DOWNSAMPLING}


@dataclass(frozen=True)
class Degradation:
    """A degradation with fixed parameters; call it on an image. Raises GPENError for a value out of range.

    blur_sigma    standard deviation of the blur kernel in px of the input, 0 to 200
    blur_kind     "isotropic" | "anisotropic" (Gaussian) | "motion" (a line of length sqrt(12) blur_sigma, so that
                  blur_sigma is the standard deviation along it)
    blur_sigma_y  standard deviation along the second axis of an anisotropic kernel in px; None: blur_sigma
    blur_angle    of the first axis or the line, in degrees anticlockwise from the horizontal
    kernel_size   odd number of px; None covers 3 sigma on each side, or the whole line
    scale         s, 0.01 to 10000: [h, w] is resized to [int(h // s), int(w // s)], at least 1 px; s < 1 enlarges
    downsampling  operator: "bilinear" (four neighbours, not antialiased) | "bicubic" (antialiased)
    noise_sigma   standard deviation of the Gaussian noise, 0 to 255, independent per channel
    jpeg_quality  q, 1 to 100
    grey          convert the image to grey before all other steps, and also the target
    shift         integer translation in px (right, down), mirrored at the borders; the target is not shifted
    haze          weight of the image in a blend with white, 0 to 1
    colour_shift  added to R, G and B of the low-quality image, each -255 to 255
    grey_input    convert the low-quality image to grey, but not the target
    brightness    colour jitter of the low-quality image: factor, 0 to 10
    contrast      colour jitter: weight of the image in a blend with its mean grey, 0 to 10
    saturation    colour jitter: weight of the image in a blend with its grey version, 0 to 10
    hue           colour jitter: turn of the hue as a fraction of the circle, -0.5 to 0.5
    jitter_order  order in which the four are applied
    seed          of the noise, which depends only on the seed and the shape of the low-quality image
    """

    blur_sigma: float | None = None
    blur_kind: str = "isotropic"
    blur_sigma_y: float | None = None
    blur_angle: float = 0.0
    kernel_size: int | None = None
    scale: float | None = None
    downsampling: str = "bilinear"
    noise_sigma: float | None = None
    jpeg_quality: int | None = None
    grey: bool = False
    shift: tuple[int, int] | None = None
    haze: float | None = None
    colour_shift: tuple[float, float, float] | None = None
    grey_input: bool = False
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    jitter_order: tuple[str, ...] = JITTER
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high, whole, optional) in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None or not optional:
                object.__setattr__(self, name, _number(name, value, low, high, whole))
        for name, (length, low, high, whole) in _TUPLES.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value, length, low, high, whole))
        for name in ("grey", "grey_input"):
            if not isinstance(getattr(self, name), bool):
                raise GPENError(f"{name} must be true or false; got {_shown(getattr(self, name))}.")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise GPENError(f"{name} must be {' or '.join(choices)}; got {_shown(value)}.")
        order: Any = self.jitter_order
        if not isinstance(order, list | tuple) or sorted(map(str, order)) != sorted(JITTER):
            raise GPENError(f"jitter_order must hold {', '.join(JITTER)}, each once; got {_shown(order)}.")
        object.__setattr__(self, "jitter_order", tuple(map(str, order)))
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise GPENError(f"kernel_size must be odd; got {self.kernel_size}: use {self.kernel_size + 1}.")

    @classmethod
    def sample(cls, preset: str, seed: int, size: int = 512) -> Degradation:
        """Sample from the ranges of PRESETS[preset] for images of `size` x `size` px (16 to 4096).

        seed: of both the sampled parameters and the noise. Raises GPENError for an unknown preset or a seed or size out of range.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise GPENError(f"There is no preset {_shown(preset)}: choose one of {', '.join(PRESETS)}.")
        return cls(**PRESETS[preset].at(size).sample(int(_number("seed", seed, 0, MAX_SEED, whole=True))))

    @classmethod
    def from_dict(cls, values: dict) -> Degradation:
        """Inverse of `to_dict`; missing fields have their defaults. Raises GPENError for an unknown field or an invalid value."""
        if not isinstance(values, dict):
            raise GPENError(f"The parameters of a degradation must be a JSON object; got {_shown(values)}.")
        names = [field.name for field in fields(cls)]
        unknown = [key for key in values if key not in names]
        if unknown:
            raise GPENError(f"There is no parameter {_shown(unknown[0])}: choose one of {', '.join(names)}.")
        return cls(**values)

    def to_dict(self) -> dict:
        """Return every field, with JSON-compatible types."""
        return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self).items()}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Compute the low-quality image at its own (small) size.

        image: uint8 RGB [h, w, 3] or grey [h, w]. Returns the same type, [int(h // scale), int(w // scale)], at least 1 x 1.
        Raises GPENError for any other array, or an enlargement beyond MAX_PIXELS.
        """
        return self._recoloured(self._low_quality(image))

    def resized(self, image: np.ndarray) -> np.ndarray:
        """Compute the low-quality image and resize it (bilinear) to the size of `image`: the input of the network."""
        return self._recoloured(resize_back(self._low_quality(image), image))

    def steps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the image after each active step, rounded to uint8, from "original" to the input of the network.

        The names of the steps: original, grey, shifted, hazy, blurred, downsampled, noisy, jpeg, resized, recoloured.
        """
        images = {name: quantise(x) for name, x in self._steps(image)}
        images["resized"] = resize_back(list(images.values())[-1], image)
        return images | ({"recoloured": self._recoloured(images["resized"])} if self._changes_colours() else {})

    def target(self, image: np.ndarray) -> np.ndarray:
        """Return the ground truth of the restoration: the image, converted to grey if grey is set."""
        _check_image(image)
        return quantise(to_grey(np.ascontiguousarray(image, np.float32))) if self.grey else image.copy()

    def formula(self) -> str:
        """Format the degradation as a formula with its parameters, such as "I_d = resize(JPEG_40((I ∗ k(σ=4)) ↓8 + n(σ=10)))"."""
        text = "I"
        if self.grey:
            text = f"grey({text})"
        if self.shift is not None:
            text = f"shift({text}; {self.shift[0]}, {self.shift[1]})"
        if self.haze is not None:
            text = f"({self.haze:.3g} {text} + {1 - self.haze:.3g} white)"
        if self.blur_sigma is not None:
            text = f"({text} ∗ {self._kernel_name(self.blur_sigma)})"
        if self.scale is not None:
            text = f"{text} ↓{self.scale:.3g}" + (f" {self.downsampling}" if self.downsampling != "bilinear" else "")
        if self.noise_sigma is not None:
            text = f"{text} + n(σ={self.noise_sigma:.3g})"
        if self.jpeg_quality is not None:
            text = f"JPEG_{self.jpeg_quality}({text})"
        text = f"resize({text})"
        if self.colour_shift is not None:
            text = f"{text} + ({', '.join(f'{value:.3g}' for value in self.colour_shift)})"
        if self.grey_input:
            text = f"grey({text})"
        for name, value in self._jitter():
            text = f"{name}({text}; {value:.3g})"
        return f"I_d = {text}"

    def _kernel_name(self, blur_sigma: float) -> str:
        sigma, angle = f"σ={blur_sigma:.3g}", f"{self.blur_angle:.3g}°"
        names = {
            "isotropic": f"k({sigma})",
            "anisotropic": f"k({sigma}×{self._sigma_y(blur_sigma):.3g}, {angle})",
            "motion": f"line({sigma}, {angle})",
        }
        return names[self.blur_kind]

    def _sigma_y(self, sigma: float) -> float:
        return sigma if self.blur_sigma_y is None else self.blur_sigma_y

    def _low_quality(self, image: np.ndarray) -> np.ndarray:
        """The low-quality image before any change of its colours, uint8."""
        _, low_quality = deque(self._steps(image), maxlen=1).pop()
        return quantise(low_quality)

    def _jitter(self) -> list[tuple[str, float]]:
        """The active operators of the colour jitter in their order, with their values."""
        values = [(name, getattr(self, name)) for name in self.jitter_order]
        return [(name, value) for name, value in values if value is not None]

    def _changes_colours(self) -> bool:
        return self.colour_shift is not None or self.grey_input or bool(self._jitter())

    def _recoloured(self, low_quality: np.ndarray) -> np.ndarray:
        """Apply colour shift, grey and colour jitter to a uint8 image; the same array if none is active."""
        if not self._changes_colours():
            return low_quality
        x = low_quality.astype(np.float32)  # [h, w, 3] or [h, w]
        if self.colour_shift is not None:
            x = shift_channels(x, self.colour_shift)
        if self.grey_input:
            x = to_grey(x)
        for name, value in self._jitter():
            x = adjust(x, name, value)
        return quantise(x)

    def _steps(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the image of each active step: float32, 0 to 255, not rounded; uint8 after JPEG."""
        _check_image(image)
        yield "original", image
        x: np.ndarray = np.ascontiguousarray(image, np.float32)  # [h, w, 3] or [h, w]
        if self.grey:
            x = to_grey(x)
            yield "grey", x
        if self.shift is not None:
            x = translate(x, *self.shift)
            yield "shifted", x
        if self.haze is not None:
            x = np.float32(self.haze) * x + np.float32((1 - self.haze) * 255)
            yield "hazy", x
        if self.blur_sigma is not None:
            x = self._blurred(x, self.blur_sigma)
            yield "blurred", x
        if self.scale is not None:
            x = downsample(x, self.scale, self.downsampling)  # [h // s, w // s, 3]
            yield "downsampled", x
        if self.noise_sigma is not None:
            noise = np.random.default_rng([_STREAM, self.seed]).standard_normal(x.shape, np.float32)
            x = x + np.multiply(noise, np.float32(self.noise_sigma), out=noise)
            yield "noisy", x
        if self.jpeg_quality is not None:
            yield "jpeg", jpeg(quantise(x), self.jpeg_quality)

    def _blurred(self, x: np.ndarray, sigma: float) -> np.ndarray:
        if self.blur_kind == "isotropic":
            profile = gaussian_profile(sigma, self.kernel_size)
            if len(profile) < WIDE_KERNEL:
                return cv2.sepFilter2D(x, -1, profile, profile)
            kernel = np.outer(profile, profile)
        elif self.blur_kind == "anisotropic":
            kernel = gaussian_kernel(sigma, self._sigma_y(sigma), self.blur_angle, self.kernel_size)
        else:
            kernel = motion_kernel(sigma, self.blur_angle, self.kernel_size)
        return cv2.filter2D(x, -1, kernel)


def _check_image(image: np.ndarray) -> None:
    is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size > 0
    if not is_image or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] == 3):
        raise GPENError("The image to degrade must be a non-empty uint8 array, RGB [h, w, 3] or grey [h, w].")


def _number(name: str, value: Any, low: float, high: float, whole: bool) -> float | int:
    # compare before converting: false for NaN, and safe for integers beyond the range of float
    kind: Any = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        article = "an integer" if whole else "a number"
        raise GPENError(f"{name} must be {article} from {low} to {high}; got {_shown(value)}.")
    return int(value) if whole else float(value)


def _numbers(name: str, value: object, length: int, low: float, high: float, whole: bool) -> tuple:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise GPENError(f"{name} must be a list of {length} numbers; got {_shown(value)}.")
    return tuple(_number(f"Each number of {name}", item, low, high, whole) for item in value)


def _shown(value: object) -> str:
    """Shorten a value for an error message. Python cannot format integers of thousands of digits by default."""
    return "a huge number" if isinstance(value, int) and abs(value) > 1e18 else reprlib.repr(value)
