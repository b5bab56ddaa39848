"""What a run leaves in its folder: checkpoints written whole or not at all, a JSON-lines log, grids of samples."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import GPENError
from ..restore import to_image


class Run:
    """The folder of a training run: checkpoint.pt, log.jsonl, grids/."""

    def __init__(self, folder: str | Path, resume: bool):
        self.folder = Path(folder)
        self.checkpoint = self.folder / "checkpoint.pt"
        if self.checkpoint.exists() and not resume:
            raise GPENError(f"{self.folder} holds a run already: continue it with --resume or choose another folder.")
        if resume and not self.checkpoint.exists():
            raise GPENError(f"{self.folder} holds no checkpoint to resume from: start without --resume.")
        (self.folder / "grids").mkdir(parents=True, exist_ok=True)

    def load(self) -> dict | None:
        """The last checkpoint, or None in a new run."""
        if not self.checkpoint.exists():
            return None
        return torch.load(self.checkpoint, map_location="cpu", weights_only=True)

    def save(self, state: dict) -> None:
        """Replace the checkpoint in one step: a kill at any moment leaves the old one or the new one."""
        partial = self.folder / "checkpoint.pt.partial"
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise GPENError(f"No checkpoint could be written ({error}); the last one stands: make room, then --resume.") from None
        partial.replace(self.checkpoint)

    def log(self, **record: float) -> None:
        """Append a line to log.jsonl."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()}) + "\n")

    def grid(self, name: str, rows: list[Tensor]) -> None:
        """Write grids/NAME.png: one row of images for each tensor [n, 3, h, w] in [-1, 1], all of one size."""
        image = np.concatenate([np.concatenate([to_image(x) for x in row], 1) for row in rows], 0)
        cv2.imwrite(str(self.folder / "grids" / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
