"""The degradation model: how a sharp face becomes the low-quality image that a restoration starts from.

    I_d = JPEG_q( (I * k) downsampled by s + n_sigma ), then resized back     (GPEN, Yang et al., CVPR 2021)

In order, each step off by default: colour shift, grey, shift, haze (these four in some presets only: they
stand for the light and the framing), blur by k, downsampling by s, Gaussian noise, JPEG. Values stay float32
from step to step and are rounded once, before JPEG. Downsampling is bilinear without antialiasing, as in the
released code: it reads four neighbours at any s, so detail that the blur has left aliases. Published
protocols include that.
"""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, cast

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.kernels import gaussian_kernel, gaussian_profile, motion_kernel
from gpen.presets import PRESETS

BLUR_KINDS = ("isotropic", "anisotropic", "motion")
MAX_SEED = 2**53 - 1  # the largest whole number that JSON keeps exact in a browser
MAX_PIXELS = 2**26  # of a low-quality image that s < 1 enlarges
MAX_JPEG_SIDE = 65500  # the format's limit
WIDE_KERNEL = 99  # px; from here on filter2D, which goes by Fourier transform, beats sepFilter2D
_STREAM = 2  # keeps the noise apart from a preset's draws with the same seed; gpen.presets has another number
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, the weights of OpenCV's grey

# name: (lowest, highest, whole numbers only, may be None)
_NUMBERS = {
    "blur_sigma": (0, 200, False, True),
    "blur_sigma_y": (0, 200, False, True),
    "blur_angle": (-360, 360, False, False),
    "kernel_size": (1, 2001, True, True),
    "scale": (0.01, 10000, False, True),
    "noise_sigma": (0, 255, False, True),
    "jpeg_quality": (1, 100, True, True),
    "haze": (0, 1, False, True),
    "seed": (0, MAX_SEED, True, False),
}
# name: (length, lowest, highest, whole numbers only)
_TUPLES = {"colour_shift": (3, -255, 255, False), "shift": (2, -4096, 4096, True)}


@dataclass(frozen=True)
class Degradation:
    """One degradation with all its numbers; call it on an image. A value out of its range raises GPENError.

    blur_sigma    standard deviation of the kernel, px of the input, 0 to 200
    blur_kind     "isotropic" | "anisotropic" (Gaussians) | "motion" (a line of length sqrt(12) blur_sigma,
                  so that blur_sigma is the standard deviation along it)
    blur_sigma_y  second axis of an anisotropic kernel, px; None takes blur_sigma
    blur_angle    of the first axis or the line, degrees anticlockwise from the horizontal
    kernel_size   px, odd; None is wide enough for 3 sigma, or for the whole line
    scale         s, 0.01 to 10000: [h, w] becomes [int(h // s), int(w // s)], at least 1; s < 1 enlarges
    noise_sigma   standard deviation, 0 to 255 (of 255), independent in each channel
    jpeg_quality  1 to 100
    grey          the low-quality image has no colours; nor has the target, unless grey_target is off
    colour_shift  added to R, G and B, each -255 to 255
    shift         whole px (right, down), mirrored at the borders; the target stays in place
    haze          the image's share, 0 to 1, the rest being white
    seed          of the noise, which depends on the seed and on the low-quality image's shape alone
    """

    blur_sigma: float | None = None
    blur_kind: str = "isotropic"
    blur_sigma_y: float | None = None
    blur_angle: float = 0.0
    kernel_size: int | None = None
    scale: float | None = None
    noise_sigma: float | None = None
    jpeg_quality: int | None = None
    grey: bool = False
    grey_target: bool = True
    colour_shift: tuple[float, float, float] | None = None
    shift: tuple[int, int] | None = None
    haze: float | None = None
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
        for name in ("grey", "grey_target"):
            if not isinstance(getattr(self, name), bool):
                raise GPENError(f"{name} must be true or false, not {_shown(getattr(self, name))}.")
        if not isinstance(self.blur_kind, str) or self.blur_kind not in BLUR_KINDS:
            raise GPENError(f"blur_kind must be {' or '.join(BLUR_KINDS)}, not {_shown(self.blur_kind)}.")
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise GPENError(f"kernel_size must be odd, not {self.kernel_size}: take {self.kernel_size + 1}.")

    @classmethod
    def sample(cls, preset: str, seed: int, size: int = 512) -> Degradation:
        """Draw from the ranges of PRESETS[preset], rescaled to faces of `size` x `size` px (16 to 4096).

        The seed fixes both the draw and the noise. An unknown preset, seed or size raises GPENError.
        """
        if not isinstance(preset, str) or preset not in PRESETS:
            raise GPENError(f"There is no preset {_shown(preset)}: choose one of {', '.join(PRESETS)}.")
        return cls(**PRESETS[preset].at(size).draw(int(_number("seed", seed, 0, MAX_SEED, whole=True))))

    @classmethod
    def from_dict(cls, values: dict) -> Degradation:
        """The inverse of to_dict. Fields left out take their defaults; unknown, bad ones raise GPENError."""
        if not isinstance(values, dict):
            raise GPENError(f"The parameters of a degradation must be a JSON object, not {_shown(values)}.")
        names = [field.name for field in fields(cls)]
        unknown = [key for key in values if key not in names]
        if unknown:
            raise GPENError(f"There is no parameter {_shown(unknown[0])}: choose among {', '.join(names)}.")
        return cls(**values)

    def to_dict(self) -> dict:
        """Every field, in types that JSON keeps."""
        return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self).items()}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The low-quality image at its own size.

        uint8 RGB [h, w, 3] or grey [h, w] -> uint8 of the same kind, [int(h // scale), int(w // scale)], at
        least 1 px a side. Another kind of array, or an enlargement beyond MAX_PIXELS, raises GPENError.
        """
        _, low_quality = deque(self._walk(image), maxlen=1).pop()
        return _quantised(low_quality)

    def resized(self, image: np.ndarray) -> np.ndarray:
        """The low-quality image resized back (bilinear) to the image's size: what the network is given."""
        return _resized_back(self(image), image)

    def steps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The images after each step that is on, rounded to uint8, from "original" to "resized".

        All names: original, recoloured, grey, shifted, hazy, blurred, downsampled, noisy, jpeg, resized.
        """
        images = {name: _quantised(x) for name, x in self._walk(image)}
        return images | {"resized": _resized_back(list(images.values())[-1], image)}

    def target(self, image: np.ndarray) -> np.ndarray:
        """What a restoration should reach: the image, without colours where grey and grey_target are on."""
        _check_image(image)
        grey = self.grey and self.grey_target
        return _quantised(_grey(np.ascontiguousarray(image, np.float32))) if grey else image.copy()

    def formula(self) -> str:
        """The formula with its numbers, such as "I_d = resize(JPEG_40((I ∗ k(σ=4)) ↓8 + n(σ=10)))"."""
        text = "I"
        if self.colour_shift is not None:
            text = f"({text} + ({', '.join(f'{value:.3g}' for value in self.colour_shift)}))"
        if self.grey:
            text = f"grey({text})"
        if self.shift is not None:
            text = f"shift({text}; {self.shift[0]}, {self.shift[1]})"
        if self.haze is not None:
            text = f"({self.haze:.3g} {text} + {1 - self.haze:.3g} white)"
        if self.blur_sigma is not None:
            text = f"({text} ∗ {self._kernel_name(self.blur_sigma)})"
        if self.scale is not None:
            text = f"{text} ↓{self.scale:.3g}"
        if self.noise_sigma is not None:
            text = f"{text} + n(σ={self.noise_sigma:.3g})"
        if self.jpeg_quality is not None:
            text = f"JPEG_{self.jpeg_quality}({text})"
        return f"I_d = resize({text})"

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

    def _walk(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """The name and image of each step that is on: float32, 0 to 255, not rounded; uint8 after JPEG."""
        _check_image(image)
        yield "original", image
        x: np.ndarray = np.ascontiguousarray(image, np.float32)  # [h, w, 3] or [h, w]
        if self.colour_shift is not None:
            added = np.array(self.colour_shift, np.float32)
            x = np.clip(x + (added if x.ndim == 3 else added @ _LUMA), 0, 255)
            yield "recoloured", x
        if self.grey:
            x = _grey(x)
            yield "grey", x
        if self.shift is not None:
            x = _shifted(x, *self.shift)
            yield "shifted", x
        if self.haze is not None:
            x = np.float32(self.haze) * x + np.float32((1 - self.haze) * 255)
            yield "hazy", x
        if self.blur_sigma is not None:
            x = self._blurred(x, self.blur_sigma)
            yield "blurred", x
        if self.scale is not None:
            x = cv2.resize(x, _low_size(x, self.scale), interpolation=cv2.INTER_LINEAR)  # [h // s, w // s, 3]
            yield "downsampled", x
        if self.noise_sigma is not None:
            noise = np.random.default_rng([_STREAM, self.seed]).standard_normal(x.shape, np.float32)
            x = x + np.multiply(noise, np.float32(self.noise_sigma), out=noise)
            yield "noisy", x
        if self.jpeg_quality is not None:
            yield "jpeg", _jpeg(_quantised(x), self.jpeg_quality)

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


def _low_size(x: np.ndarray, scale: float) -> tuple[int, int]:
    """(width, height) after downsampling, truncated as in the released code."""
    h, w = (max(1, int(side // scale)) for side in x.shape[:2])
    if scale < 1 and h * w > MAX_PIXELS:
        raise GPENError(f"scale {scale:.3g} makes the image {w} x {h} px: take a larger scale.")
    return w, h


def _grey(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _shifted(x: np.ndarray, right: int, down: int) -> np.ndarray:
    return x.take(_mirrored(x.shape[0], down), axis=0).take(_mirrored(x.shape[1], right), axis=1)


def _mirrored(length: int, shift: int) -> np.ndarray:
    """Index that each shifted pixel comes from, mirrored at both ends without repeating them, [length]."""
    period = max(1, 2 * (length - 1))
    return abs((np.arange(length) - shift + length - 1) % period - (length - 1))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    if max(image.shape[:2]) > MAX_JPEG_SIDE:
        raise GPENError(f"JPEG holds at most {MAX_JPEG_SIDE} pixels a side: take a smaller image or no JPEG.")
    colour = image.ndim == 3
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if colour else image
    _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cast(np.ndarray, cv2.imdecode(data, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) if colour else decoded


def _quantised(x: np.ndarray) -> np.ndarray:
    """Rounded to uint8, in a new array."""
    return x.copy() if x.dtype == np.uint8 else np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _resized_back(low_quality: np.ndarray, image: np.ndarray) -> np.ndarray:
    if low_quality.shape == image.shape:
        return low_quality
    return cv2.resize(low_quality, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _check_image(image: np.ndarray) -> None:
    is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size > 0
    if not is_image or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] == 3):
        raise GPENError("The image to degrade must be 8-bit RGB [h, w, 3] or grey [h, w] and not empty.")


def _number(name: str, value: Any, low: float, high: float, whole: bool) -> float | int:
    # compared before it is converted: false for NaN, and safe for whole numbers that no float can hold
    kind: Any = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        article = "a whole number" if whole else "a number"
        raise GPENError(f"{name} must be {article} from {low} to {high}, not {_shown(value)}.")
    return int(value) if whole else float(value)


def _numbers(name: str, value: object, length: int, low: float, high: float, whole: bool) -> tuple:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise GPENError(f"{name} must be a list of {length} numbers, not {_shown(value)}.")
    return tuple(_number(f"Each number of {name}", item, low, high, whole) for item in value)


def _shown(value: object) -> str:
    """A short form for a message. Python refuses to write whole numbers of thousands of digits."""
    return "a huge number" if isinstance(value, int) and abs(value) > 1e18 else reprlib.repr(value)
