"""Training images, and pairs of inputs and targets made on the fly by degradation, colour removal or masks.

Item i depends on the run's seed and on i alone, so that a run sees the same data after an interruption and with any number of
worker processes and machines.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from gpen.file_names import is_image
from gpen.images import decode, read_bytes, read_image, square_crop, to_tensor
from gpen.restoration.task_inputs import MAKERS
from gpen.training.config import FinetuneConfig, PriorConfig, RunConfig
from gpen.training.data.augmentation import augment_photo, sampling_cdf
from gpen.training.data.fingerprints import TRAINED_ON, fingerprint_of
from gpen.training.data.hub import local_folder
from gpen.training.data.native_size import check_native_size

SHARED_MEMORY_ERRORS = ("shared memory", "shm", "Bus error", "No space left on device")  # in texts of PyTorch's errors
NAMED = 3  # bad files that an error names
_STREAM = 3  # separates these random numbers from those of gpen.degradation.presets and gpen.degradation with the same seed


def list_images(folder: str | Path) -> list[Path]:
    """The image files below a folder, sorted, without hidden ones. Raises GPENError where there is none."""
    files = sorted(path for path in Path(folder).rglob("*") if is_image(path) and path.is_file())
    if not files:
        raise GPENError(f"There are no images in {folder}: give a folder of .png, .jpg or .webp faces.")
    return files


class CheckedImage(NamedTuple):
    """What the check of an image file finds out."""

    side: int  # the shorter one, px
    fingerprint: str


def check_images(files: list[Path], skip_bad: bool) -> dict[Path, CheckedImage]:
    """The files that decode completely. Raises GPENError, naming the others, unless skip_bad leaves them out."""
    good, bad = dict[Path, CheckedImage](), []
    for path in tqdm(files, "checking images", unit="img", leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True):
        try:
            content = read_bytes(path)
            good[path] = CheckedImage(min(decode(content, path).shape[:2]), fingerprint_of(content))
        except GPENError:
            bad.append(path)
    if not bad or (skip_bad and good):
        return good
    names = ", ".join(map(str, bad[:NAMED])) + (f" and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
    raise GPENError(f"{len(bad)} of {len(files)} files are no complete images ({names}): replace them, or use --skip-bad.")


def read_face(path: Path, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3]: the central square, resized. Raises GPENError where the file is no complete image."""
    return square_crop(read_image(path), size)


def sample_degradation(name: str, rng: np.random.Generator, size: int) -> Degradation:
    """A random degradation for images of `size` px.

    name: a preset, or "downsample": s alone, log-uniform from 8 to 32 at 512 px and rescaled to `size`.
    """
    if name == "downsample":
        return Degradation(scale=float(2 ** rng.uniform(3, 5) * size / 512))
    return Degradation.sample(name, seed=int(rng.integers(2**31)), size=size)


class Faces(Dataset):
    """Item i: a face [3, size, size] in [-1, 1] of a folder or a Hugging Face dataset; half of them are mirrored.

    Raises GPENError where a file is no complete image, or smaller than the network, unless the settings leave such files out, or
    enlarge them. notes: the fingerprints of the files, metadata of the weights.
    """

    def __init__(self, folder: str | Path, config: PriorConfig | FinetuneConfig):
        images = check_images(list_images(local_folder(folder)), config.skip_bad)
        self.files = list(images)
        self.size, self.seed = config.network.size, config.seed
        check_native_size({path.name: image.side for path, image in images.items()}, self.size, folder, config.allow_upscaled)
        self.notes = {TRAINED_ON: " ".join(sorted({image.fingerprint for image in images.values()}))}

    def __getitem__(self, i: int) -> Tensor:
        return to_tensor(self.sample(np.random.default_rng([_STREAM, self.seed, i])))

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """A random face, uint8 RGB [size, size, 3]."""
        image = read_face(self.files[self.sample_index(rng)], self.size)
        return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image

    def sample_index(self, rng: np.random.Generator) -> int:
        """The number of a random file."""
        return int(rng.integers(len(self.files)))


class FacePairs(Faces):
    """Item i: (input of the task [3, in_size, in_size], target [3, size, size]), in [-1, 1]."""

    def __init__(self, folder: str | Path, config: FinetuneConfig):
        super().__init__(folder, config)
        self.in_size, self.task = config.network.in_size, config.task
        self.augmentation_probability = config.augmentation_probability
        self.cdf = None
        if power := config.file_size_sampling_power:  # the sizes of remote files are slow to find out
            self.cdf = sampling_cdf(np.array([path.stat().st_size for path in self.files], float), power)
        self.presets = list(config.degradations)
        self.shares = np.array(list(config.degradations.values())) / sum(config.degradations.values())

    def sample_index(self, rng: np.random.Generator) -> int:
        """The number of a random file, larger files more often where the settings say so."""
        if self.cdf is None:
            return super().sample_index(rng)
        return int(np.searchsorted(self.cdf, rng.random(), side="right"))

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """A random face, uint8 RGB [size, size, 3]."""
        image = super().sample(rng)
        return augment_photo(image, rng) if rng.random() < self.augmentation_probability else image

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # pairs instead of faces
        rng = np.random.default_rng([_STREAM, self.seed, i])
        image = self.sample(rng)
        if self.task in MAKERS:
            return to_tensor(MAKERS[self.task](image, self.in_size, rng)), to_tensor(image)
        degradation = sample_degradation(rng.choice(self.presets, p=self.shares), rng, self.size)
        degraded = degradation.resized(image)
        if self.in_size < self.size:
            degraded = cv2.resize(degraded, (self.in_size, self.in_size), interpolation=cv2.INTER_AREA)
        return to_tensor(degraded), to_tensor(degradation.target(image))


def batches(dataset: Dataset, config: RunConfig, start: int, rank: int = 0, processes: int = 1) -> DataLoader:
    """This process's share of each batch, from item `start` (a multiple of the batch size) to the end of the run.

    Process r of p takes items r, r + p, ... of a batch: the groups of the minibatch standard deviation are those of one process.
    Raises GPENError where the batch cannot be split.
    """
    if config.batch_size % processes:
        raise GPENError(
            f"A batch of {config.batch_size} cannot be split among {processes} processes: set batch_size to a multiple."
        )
    return DataLoader(
        dataset,
        batch_size=config.batch_size // processes,
        sampler=range(start + rank, config.total_images - config.total_images % config.batch_size, processes),
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if config.workers else None,
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)  # workers share the processor with the training itself


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Raise what fails in a worker process, or for lack of shared memory, as a GPENError of one sentence."""
    try:
        yield
    except GPENError as error:  # from a worker, its message is followed by a traceback
        raise GPENError(str(error).rsplit("GPENError: ")[-1].strip()) from None
    except (RuntimeError, OSError) as error:
        text = str(error)
        if any(sign in text for sign in SHARED_MEMORY_ERRORS):
            raise GPENError(
                "The worker processes ran out of shared memory (/dev/shm): set workers = 0, or enlarge /dev/shm."
            ) from None
        if "DataLoader worker" in text:
            raise GPENError(f"A worker process failed ({text.strip().splitlines()[-1]}): set workers = 0 to see where.") from None
        raise
