"""Atomic writes: an interrupted process leaves either the old or the new file."""

import os
from pathlib import Path

import cv2
import numpy as np


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB [h, w, 3] as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
