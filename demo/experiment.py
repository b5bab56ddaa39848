"""One experiment: a face is degraded, restored by GPEN and by plain enlarging, and both are measured.

    I_d = JPEG_q( (I * k) downsampled by s + n_sigma ), then resized back      (Yang et al., CVPR 2021)

Nothing here knows of the page: these are the functions behind its sliders and behind its API.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import numpy as np

from eval import metrics
from gpen.degradation import Degradation
from gpen.errors import GPENError

METRICS = ("psnr", "ssim", "lpips_alex")
METHODS = ("Bilinear", "GPEN")
MIN_SCALE = 0.5  # below it a small upload would grow into an image of gigabytes
MAX_JSON_BYTES = 64 * 1024
LARGEST_NUMBER = 2**53  # seeds end there
EXTRAS = ("grey_target", "colour_shift", "shift", "haze")  # what some presets draw and no slider shows
_DECIMALS = 2  # of numbers drawn for the sliders


@dataclass(frozen=True)
class Experiment:
    """Everything the page shows of one face under one degradation. Images are uint8 RGB [size, size, 3]."""

    degradation: Degradation
    steps: dict[str, np.ndarray]  # name -> image after that step, at its own size
    target: np.ndarray  # what a restoration should reach: the face, grey where the degradation asks for it
    degraded: np.ndarray  # resized back, bilinear: the network's input and the baseline
    restored: np.ndarray
    scores: dict[str, dict[str, float | str]]  # method -> metric -> value, or why there is none
    seconds: float  # of the restoration alone


def run(restorer, face: np.ndarray, degradation: Degradation) -> Experiment:
    """Degrade `face` (uint8 RGB [size, size, 3]), restore it, measure GPEN and bilinear against it."""
    check(degradation)
    steps = degradation.steps(face)
    target, degraded = degradation.target(face), steps["resized"]
    start = time.perf_counter()
    restored = restorer.face(degraded).image  # [size, size, 3]
    seconds = time.perf_counter() - start
    scores = {
        method: metrics.compare(image, target, METRICS) for method, image in zip(METHODS, (degraded, restored), strict=True)
    }
    return Experiment(degradation, steps, target, degraded, restored, scores, seconds)


def check(degradation: Degradation) -> None:
    """Refuse what would take the server too much memory."""
    if degradation.scale is not None and degradation.scale < MIN_SCALE:
        raise GPENError(f"On this page s is at least {MIN_SCALE}, not {degradation.scale:.3g}: take a larger scale.")


def check_numbers(**values) -> None:
    """Refuse what is no number that anything here could mean: programs send words, lists, NaN and 1e308."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST_NUMBER:
            raise GPENError(f"{name} must be a plain number, not {repr(value)[:40]}.")


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
    **extras,
) -> Degradation:
    """Plain numbers, of which 0 (1 for scale) stands for "off", as a Degradation, where None does."""
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
    check(degradation)
    return degradation


def sample(preset: str, seed: float, size: int) -> Degradation:
    """A draw from a preset for images of `size` px, its numbers rounded to what the sliders show."""
    drawn = Degradation.sample(preset, seed=_whole(seed), size=size)
    names = ("blur_sigma", "blur_sigma_y", "blur_angle", "scale", "noise_sigma")
    rounded = {name: round(getattr(drawn, name), _DECIMALS) for name in names if getattr(drawn, name) is not None}
    if drawn.haze is not None:
        rounded["haze"] = round(drawn.haze, _DECIMALS)
    return replace(drawn, **rounded)


def from_json(data: bytes) -> Degradation:
    """The parameters of a downloaded JSON file. GPENError, one sentence, for anything else."""
    if len(data) > MAX_JSON_BYTES:
        raise GPENError("This file is too large to hold parameters: please choose a JSON file downloaded here.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise GPENError("This file is not JSON: please choose a parameters file downloaded here.") from None
    degradation = Degradation.from_dict(values)
    check(degradation)
    return degradation


def to_json(degradation: Degradation) -> bytes:
    """What from_json reads, and `python -m gpen degrade` and gpen.Degradation.from_dict likewise."""
    return (json.dumps(degradation.to_dict(), indent=2) + "\n").encode()


def _whole(value: float) -> float | int:
    """A number box gives 3.0 for 3; what is not whole stays, for Degradation to refuse."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
