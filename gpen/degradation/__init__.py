"""Degradation model: blur, downsampling, noise, JPEG, and presets of published recipes."""

from gpen.degradation.degradation import BLUR_KINDS, Degradation
from gpen.degradation.presets import PRESETS, Preset

__all__ = ["BLUR_KINDS", "Degradation", "PRESETS", "Preset"]
