"""Degradation model: blur, downsampling, noise, JPEG, and presets of published recipes."""

from gpen.degradation.degradation import BLUR_KINDS, Degradation
from gpen.degradation.presets import PRESETS, ColourJitter, Preset

__all__ = ["BLUR_KINDS", "ColourJitter", "Degradation", "PRESETS", "Preset"]
