"""The folder of a training run: checkpoints that are replaced atomically, a JSON-lines log, curves, image grids."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gpen.environment import Environment, differences, environment_id
from gpen.errors import GPENError
from gpen.images import replace_atomically, to_image, write_atomically, write_image
from gpen.optional import import_optional
from gpen.training.monitoring.curves import draw, read_log


class TrainingRun:
    """The folder of a training run: checkpoint.pt, log.jsonl, environments.json, curves.png, grids/.

    Only a process that `writes` changes it.
    """

    def __init__(self, folder: str | Path, resume: bool, writes: bool = True):
        self.folder, self.writes, self.environment = Path(folder), writes, ""
        self.checkpoint, self.lines = self.folder / "checkpoint.pt", self.folder / "log.jsonl"
        if self.checkpoint.exists() and not resume:
            raise GPENError(f"{self.folder} already holds a run: continue it with --resume, or choose another folder.")
        if resume and not self.checkpoint.exists():
            raise GPENError(f"{self.folder} holds no checkpoint to resume from: start without --resume.")
        if writes:
            import_optional("matplotlib", "train", "Training")  # for the curves; fail now, not after the first interval
            (self.folder / "grids").mkdir(parents=True, exist_ok=True)

    def load(self) -> dict | None:
        """The last checkpoint, or None in a new run; lines of the log past it are dropped."""
        if not self.checkpoint.exists():
            return None
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if self.writes:
            kept = [record for record in self.read_log() if record["images_seen"] <= state["images_seen"]]
            write_atomically(self.lines, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return state

    def save(self, state: dict) -> None:
        """Replace the checkpoint in one step: a kill at any moment leaves the old one or the new one."""
        if not self.writes:
            return
        try:
            with replace_atomically(self.checkpoint) as partial, partial.open("wb") as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:
            raise GPENError(
                f"The checkpoint {self.checkpoint} could not be written ({error}). The last one is intact: "
                "free disk space, then use --resume."
            ) from None

    def export(self, write: Callable[[Path], Path]) -> Path | None:
        """Write the averaged network by the trainer's function; returns its file."""
        try:
            return write(self.folder) if self.writes else self.folder
        except OSError as error:
            raise GPENError(
                f"The network could not be written to {self.folder} ({error}): free disk space, then use --resume."
            ) from None

    def mark(self, found: Environment) -> None:
        """Mark the following lines of the log with the id of their environment, which environments.json describes."""
        self.environment = environment_id(found)
        path = self.folder / "environments.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if not self.writes or self.environment in known:
            return
        if known:
            changed = differences(list(known.values())[-1], found)
            print(f"{self.folder} was trained in another environment ({changed}): its log is marked.", file=sys.stderr)
        write_atomically(path, (json.dumps(known | {self.environment: found}, indent=1) + "\n").encode())

    def log(self, **record: float) -> None:
        """Append a line to log.jsonl."""
        if self.writes:
            line = {k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()}
            with self.lines.open("a") as file:
                file.write(json.dumps(line | {"environment": self.environment}) + "\n")

    def read_log(self) -> list[dict]:
        """The lines of log.jsonl so far."""
        return read_log(self.lines) if self.lines.exists() else []

    def grid(self, name: str, rows: list[Tensor]) -> None:
        """Write grids/NAME.png: one row of images for each tensor [n, 3, h, w] in [-1, 1], all of one size."""
        if self.writes:
            image = np.concatenate([np.concatenate([to_image(x) for x in row], 1) for row in rows], 0)
            write_image(self.folder / "grids" / f"{name}.png", image)

    def plot(self) -> None:
        """Draw curves.png from the log."""
        records = self.read_log()
        if self.writes and len(records) > 1:
            draw(records, self.folder / "curves.png")
