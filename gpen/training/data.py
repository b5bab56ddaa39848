"""Training pairs, degraded on the fly. Pair number i is a function of the run's seed and i alone, so that a run may stop and
resume, and use any number of worker processes, without changing what it sees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..degradation import Degradation
from ..errors import GPENError
from ..restore import to_tensor
from .config import FinetuneConfig

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_STREAM = 3  # keeps these random numbers apart from gpen.presets' and gpen.degradation's with the same seed


def list_images(folder: str | Path) -> list[Path]:
    """The images below a folder, sorted. Raises GPENError where there is none."""
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise GPENError(f"There are no images in {folder}: give a folder of .png or .jpg faces.")
    return files


def read_face(path: Path, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3]. Raises GPENError where the file is no image."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise GPENError(f"{path} cannot be read as an image: remove it or fetch it again.")
    if image.shape[:2] != (size, size):
        shrinks = min(image.shape[:2]) > size
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def draw_degradation(name: str, rng: np.random.Generator, size: int) -> Degradation:
    """One degradation of a preset, or of "downsample": nothing but s, log-uniform from 2 to 32 on a 512 px image's scale."""
    if name == "downsample":
        return Degradation(scale=float(2 ** rng.uniform(1, 5) * size / 256))
    return Degradation.sample(name, seed=int(rng.integers(2**31)), size=size)


class FacePairs(Dataset):
    """Item i: (degraded and resized [3, in_size, in_size], target [3, size, size]), in [-1, 1]. Half of them are flipped."""

    def __init__(self, folder: str | Path, config: FinetuneConfig):
        self.files = list_images(folder)
        self.size, self.in_size, self.seed = config.network.size, config.network.in_size, config.seed
        self.presets = list(config.degradations)
        self.shares = np.array(list(config.degradations.values())) / sum(config.degradations.values())

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([_STREAM, self.seed, i])
        image = read_face(self.files[rng.integers(len(self.files))], self.size)
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        preset = rng.choice(self.presets, p=self.shares)
        degradation = draw_degradation(preset, rng, self.size)
        degraded = degradation.resized(image)
        if self.in_size < self.size:
            degraded = cv2.resize(degraded, (self.in_size, self.in_size), interpolation=cv2.INTER_AREA)
        return to_tensor(degraded), to_tensor(degradation.target(image))


def pairs(folder: str | Path, config: FinetuneConfig, start: int) -> DataLoader:
    """Batches of FacePairs from pair number `start` (a multiple of the batch) to the end of the run."""
    numbers = range(start, config.images - config.images % config.batch)
    return DataLoader(
        FacePairs(folder, config),
        batch_size=config.batch,
        sampler=numbers,
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if config.workers else None,
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)  # workers share the machine with the training itself
