"""Training images and pairs, degraded, or stripped of colours, or covered with strokes, on the fly.

Item number i is a function of the run's seed and i alone, so that a run may stop and resume, and use any number of worker
processes and machines, without changing what it sees.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..degradation import Degradation
from ..errors import GPENError
from ..images import to_tensor
from .config import FinetuneConfig, PriorConfig, RunConfig
from .hub import local_folder
from .tasks import MAKERS
from .variety import favoured, vary

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_STREAM = 3  # keeps these random numbers apart from gpen.presets' and gpen.degradation's with the same seed


def list_images(folder: str | Path) -> list[Path]:
    """The images below a folder, sorted. Raises GPENError where there is none."""
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise GPENError(f"There are no images in {folder}: give a folder of .png, .jpg or .webp faces.")
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
    """One degradation of a preset, or of "downsample": nothing but s, log-uniform from 8 to 32 at 512 px and in proportion."""
    if name == "downsample":
        return Degradation(scale=float(2 ** rng.uniform(3, 5) * size / 512))
    return Degradation.sample(name, seed=int(rng.integers(2**31)), size=size)


class Faces(Dataset):
    """Item i: a face [3, size, size] in [-1, 1], drawn from a folder or a Hugging Face dataset; half of them are flipped."""

    def __init__(self, folder: str | Path, config: PriorConfig | FinetuneConfig):
        self.files, self.size, self.seed = list_images(local_folder(folder)), config.network.size, config.seed

    def __getitem__(self, i: int) -> Tensor:
        return to_tensor(self.draw(np.random.default_rng([_STREAM, self.seed, i])))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """uint8 RGB [size, size, 3]."""
        image = read_face(self.files[self.choose(rng)], self.size)
        return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image

    def choose(self, rng: np.random.Generator) -> int:
        """The number of a file."""
        return int(rng.integers(len(self.files)))


class FacePairs(Faces):
    """Item i: (what the task gives the network [3, in_size, in_size], target [3, size, size]), in [-1, 1]."""

    def __init__(self, folder: str | Path, config: FinetuneConfig):
        super().__init__(folder, config)
        self.in_size, self.task = config.network.in_size, config.task
        self.variety = config.variety
        self.cumulative = None
        if config.busy:  # else no file is looked at before it is read
            self.cumulative = favoured(np.array([path.stat().st_size for path in self.files], float), config.busy)
        self.presets = list(config.degradations)
        self.shares = np.array(list(config.degradations.values())) / sum(config.degradations.values())

    def choose(self, rng: np.random.Generator) -> int:
        """The number of a file, busy ones more often."""
        if self.cumulative is None:
            return super().choose(rng)
        return int(np.searchsorted(self.cumulative, rng.random(), side="right"))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """uint8 RGB [size, size, 3]."""
        image = super().draw(rng)
        return vary(image, rng) if self.variety and rng.random() < self.variety else image

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # a pair in a face's place
        rng = np.random.default_rng([_STREAM, self.seed, i])
        image = self.draw(rng)
        if self.task in MAKERS:
            return to_tensor(MAKERS[self.task](image, self.in_size, rng)), to_tensor(image)
        degradation = draw_degradation(rng.choice(self.presets, p=self.shares), rng, self.size)
        degraded = degradation.resized(image)
        if self.in_size < self.size:
            degraded = cv2.resize(degraded, (self.in_size, self.in_size), interpolation=cv2.INTER_AREA)
        return to_tensor(degraded), to_tensor(degradation.target(image))


def batches(dataset: Dataset, config: RunConfig, start: int, rank: int = 0, processes: int = 1) -> DataLoader:
    """This process's share of each batch, from item `start` (a multiple of the batch) to the end of the run.

    Process r of p takes items r, r + p, ... of a batch: so the discriminator's groups of four are those of one process.
    """
    if config.batch % processes:
        raise GPENError(f"A batch of {config.batch} cannot be split among {processes} processes: take a multiple.")
    return DataLoader(
        dataset,
        batch_size=config.batch // processes,
        sampler=range(start + rank, config.images - config.images % config.batch, processes),
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if config.workers else None,
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)  # workers share the machine with the training itself
