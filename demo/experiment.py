"""Degrade a face, restore it, and evaluate GPEN and bilinear interpolation against the original.

    I_d = JPEG_q( (I * k) downsampled by s + n_sigma ), then resized back      (Yang et al., CVPR 2021)

These functions do not depend on the page; they are called by its sliders and its API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import gpen
from eval.metrics import registry
from gpen.degradation.degradation import MAX_SEED, Degradation
from gpen.errors import GPENError
from gpen.images import resize_to
from gpen.restoration.tasks import grey as to_grey

METRICS = ("psnr", "ssim", "lpips_alex")
METHODS = ("Bilinear", "GPEN")
MIN_SCALE = 0.5  # smaller values would enlarge the image without limit
MAX_JSON_BYTES = 64 * 1024
MAX_NUMBER = 2**53  # maximum of any argument; also that of a seed
EXTRA_FIELDS = (  # parameters of some presets and tasks that have no slider
    "downsampling", "shift", "haze", "colour_shift", "grey_input", "brightness", "contrast", "saturation", "hue", "jitter_order",
)  # fmt: skip
_DECIMALS = 2  # of sampled parameters
VARIATIONS = 6  # restorations of one input for the map of their spread
MAX_ATTEMPTS = 10_000  # samples of a preset until one looks like its name
# range of each slider; sampled values are limited to it
SLIDER_RANGES: dict[str, tuple[float, float]] = {
    "blur_sigma": (0, 20),
    "blur_sigma_y": (0, 20),
    "blur_angle": (-360, 360),
    "kernel_size": (0, 101),
    "scale": (1, 64),
    "noise_sigma": (0, 50),
    "jpeg_quality": (1, 100),
}


@dataclass(frozen=True)
class Look:
    """A kind of damage named by what it looks like: samples of a preset that satisfy a condition.

    Attributes:
        name: in English. The texts of demo/languages have the name and the method that was trained with the preset.
        preset: name in gpen.degradation.PRESETS.
        accepts: (degradation, size of the face in px) -> whether it looks like the name.
    """

    name: str
    preset: str
    accepts: Callable[[Degradation, int], bool]


LOOKS = (
    Look(
        "light damage", "gpen-release-scaled",
        lambda d, size: not d.grey and _blur(d) <= size / 100 and _scale(d) <= size / 96,
    ),
    Look("old photo", "gpen-release-scaled", lambda d, size: d.grey and _blur(d) >= size / 128),
    Look(
        "small web image", "codeformer-2",
        lambda d, size: _scale(d) >= size / 48 and (d.jpeg_quality or 100) <= 60,
    ),
    Look("severe damage", "severe", lambda d, size: _scale(d) >= size / 32),
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """Images and scores of one face under one degradation. Images are uint8 RGB [size, size, 3]."""

    degradation: Degradation
    steps: dict[str, np.ndarray]  # name -> image after this step, at its own size
    target: np.ndarray  # ground truth: the face, converted to grey if the degradation requires it
    degraded: np.ndarray  # resized back bilinearly: the input of the network and the baseline
    restored: np.ndarray
    scores: dict[str, dict[str, float | str]]  # method -> metric -> value, or the reason why it is missing
    seconds: float  # time of the restoration


def run(restorer: gpen.Restorer, face: np.ndarray, degradation: Degradation) -> Experiment:
    """Degrade `face`, uint8 RGB [h, h, 3], at the size of the network, restore it, and evaluate GPEN and bilinear.

    The result of a grey face is grey.
    """
    check_scale(degradation)
    face = resize_to(face, restorer.net.size)
    steps = degradation.steps(face)
    target, degraded = degradation.target(face), list(steps.values())[-1]
    start = time.perf_counter()
    restored = restorer.face(degraded).image  # [size, size, 3]
    if (target == target[..., :1]).all():
        restored = to_grey(restored)
    seconds = time.perf_counter() - start
    scores = {
        method: registry.compare(image, target, METRICS) for method, image in zip(METHODS, (degraded, restored), strict=True)
    }
    return Experiment(degradation, steps, target, degraded, restored, scores, seconds)


def spread(restorer: gpen.Restorer, result: Experiment) -> np.ndarray:
    """Return the standard deviation over VARIATIONS restorations of the same input, mean over channels.

    float32 [size, size], 0 to 255. It is high where the input does not determine the face. Takes several passes of the network.
    """
    variations = restorer.variations(result.degraded, VARIATIONS)
    return np.std(np.stack(variations, dtype=np.float32), axis=0).mean(axis=2)  # [n, size, size, 3] -> [size, size]


def residual(result: Experiment) -> np.ndarray:
    """Return |D(restored) - D(original)|, mean over channels, where D is the degradation with the same noise.

    float32 [size, size], 0 to 255. It is low where the restored face explains the damaged image.
    """
    again = result.degradation.resized(result.restored)
    return np.abs(again.astype(np.float32) - result.degraded).mean(axis=2)


def check_scale(degradation: Degradation) -> None:
    """Raise GPENError if applying the degradation would need too much memory."""
    if degradation.scale is not None and degradation.scale < MIN_SCALE:
        raise GPENError(f"The scale is {degradation.scale:.3g}: choose a scale of at least {MIN_SCALE}.")


def check_numbers(**values: object) -> None:
    """Raise GPENError for values that are not finite plain numbers, such as text, lists or NaN."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_NUMBER:
            raise GPENError(f"{name} must be a number; got {repr(value)[:40]}.")


def from_numbers(
    blur_sigma: float,
    blur_kind: str,
    blur_sigma_y: float,
    blur_angle: float,
    kernel_size: float,
    scale: float,
    noise_sigma: float,
    jpeg_quality: float,
    grey: bool,
    seed: float,
    **extras: Any,
) -> Degradation:
    """Return a Degradation from numbers where 0 (1 for the scale) means "off"."""
    blurred = bool(blur_sigma) or blur_kind == "anisotropic" and bool(blur_sigma_y)
    degradation = Degradation(
        blur_sigma=blur_sigma if blurred else None,
        blur_kind=blur_kind,
        blur_sigma_y=blur_sigma_y if blur_kind == "anisotropic" else None,
        blur_angle=0.0 if blur_kind == "isotropic" else blur_angle,
        kernel_size=_whole(kernel_size) or None,
        scale=None if scale == 1 else scale,
        noise_sigma=noise_sigma or None,
        jpeg_quality=_whole(jpeg_quality) or None,
        grey=grey,
        seed=_whole(seed),
        **extras,
    )
    check_scale(degradation)
    return degradation


def sample_look(look: Look, seed: int, size: int) -> Degradation:
    """Return the sample of the first seed after `seed` that looks like the name of `look` and fits the sliders.

    Raises GPENError if none of MAX_ATTEMPTS does.
    """
    for k in range(1, MAX_ATTEMPTS + 1):
        sampled = sample(look.preset, (_whole(seed) + k) % (MAX_SEED + 1), size)
        if look.accepts(sampled, size) and within_sliders(sampled) == sampled:
            return sampled
    raise GPENError(f"No sample of {look.preset} looks like {look.name} at {size} px: choose another preset.")


def within_sliders(degradation: Degradation) -> Degradation:
    """Return the degradation with each parameter limited to SLIDER_RANGES."""
    values = {name: getattr(degradation, name) for name in SLIDER_RANGES}
    limited = {name: min(max(value, SLIDER_RANGES[name][0]), SLIDER_RANGES[name][1]) for name, value in values.items() if value}
    return replace(degradation, **limited)


def sample(preset: str, seed: float, size: int) -> Degradation:
    """Sample a degradation from a preset for images of `size` px, rounded to slider precision."""
    sampled = Degradation.sample(preset, seed=_whole(seed), size=size)
    names = (
        "blur_sigma", "blur_sigma_y", "blur_angle", "scale", "noise_sigma", "haze", "brightness", "contrast", "saturation", "hue",
    )  # fmt: skip
    rounded = {name: round(getattr(sampled, name), _DECIMALS) for name in names if getattr(sampled, name) is not None}
    return replace(sampled, **rounded)


def from_json(data: bytes) -> Degradation:
    """Parse a downloaded parameters file. Raises GPENError for any other content."""
    if len(data) > MAX_JSON_BYTES:
        raise GPENError(
            f"The file has {len(data)} bytes, which is too large for parameters: choose a JSON file downloaded from this page."
        )
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise GPENError("The file is not JSON: choose a parameters file downloaded from this page.") from None
    degradation = Degradation.from_dict(values)
    check_scale(degradation)
    return degradation


def to_json(degradation: Degradation) -> bytes:
    """Serialise a degradation for from_json, `python -m gpen degrade` and gpen.Degradation.from_dict."""
    return (json.dumps(degradation.to_dict(), indent=2) + "\n").encode()


def _blur(degradation: Degradation) -> float:
    return degradation.blur_sigma or 0


def _scale(degradation: Degradation) -> float:
    return degradation.scale or 1


def _whole(value: float) -> Any:
    """Convert 3.0 from a number field to 3; other fractions are left for Degradation to reject."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
