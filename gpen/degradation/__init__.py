"""Degradation model: blur, downsampling, noise, JPEG, and presets of published recipes."""
