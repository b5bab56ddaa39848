"""The frozen low-quality set of a task: made once, the same for every method, and shareable as a folder.

    RUN/lq/TASK/IMAGE.png    the low-quality image at its own small size
    RUN/lq/TASK/params.json  each image's degradation with the hashes of the files and of the true image

Tasks. fsr4 ... fsr64: downsampling alone, by s, as the degradation model does it: cv2 INTER_LINEAR, without a
filter before it. bfr: the gpen-release degradation rescaled to the image size; bfr-PRESET: another preset.
wild: the images as they were found, at most of the run's size, without a degradation and without a true image.
colorize: the face without its colours; inpaint: the face under white brush strokes (gpen.tasks, gpen.training.tasks).
All are resized back with cv2 INTER_LINEAR before a network sees them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.datasets import Faces, read_image
from eval.files import png, write_atomically
from gpen.degradation import Degradation
from gpen.errors import GPENError
from gpen.presets import PRESETS
from gpen.tasks import apply_mask, grey
from gpen.training.tasks import strokes

FSR_SCALES = (4, 8, 16, 32, 64)
FSR_TASKS = {f"fsr{scale}": scale for scale in FSR_SCALES}
BFR_TASKS = {f"bfr-{preset}" if preset != "gpen-release" else "bfr": preset for preset in PRESETS}
WILD, COLORIZE, INPAINT = "wild", "colorize", "inpaint"
UNDEGRADED = (WILD, COLORIZE, INPAINT)
TASKS = (*FSR_TASKS, *BFR_TASKS, *UNDEGRADED)


@dataclass(frozen=True)
class Sample:
    """One image of a task."""

    name: str
    lq: np.ndarray  # uint8 RGB [h, w, 3], at its own size
    truth: np.ndarray | None  # uint8 RGB [size, size, 3]; grey where the task asks for a grey result; None in the wild
    degradation: Degradation | None  # of fsr and bfr
    mask: np.ndarray | None = None  # of inpaint: bool [size, size], what is to be filled in


@dataclass(frozen=True)
class FrozenSet:
    """A task's low-quality images with their truths."""

    folder: Path
    faces: Faces
    images: dict[str, dict]  # name -> {"degradation", "sha256", "truth_sha256"}, of which the first is null but in fsr and bfr
    task: str
    seed: int

    def sample(self, name: str) -> Sample:
        """Raises GPENError where the file or the face is not the one that was frozen."""
        entry, path = self.images[name], self.folder / f"{name}.png"
        face = _source(self.faces, name, self.task)
        if _hash(face.tobytes()) != entry["truth_sha256"]:
            raise GPENError(
                f"{self.faces.files[name]} is not the image that {path} was made from; give the same --data, or another --out"
            )
        if not path.is_file() or _hash(path.read_bytes()) != entry["sha256"]:
            raise GPENError(f"{path} is not the file that was frozen; delete {self.folder} and run again")
        if self.task in UNDEGRADED:
            mask = mask_for(name, len(face), self.seed) if self.task == INPAINT else None
            return Sample(name, read_image(path), None if self.task == WILD else face, None, mask)
        degradation = Degradation.from_dict(entry["degradation"])
        return Sample(name, read_image(path), degradation.target(face), degradation)

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        return map(self.sample, names)


def degradation_for(task: str, name: str, size: int, seed: int) -> Degradation | None:
    """The degradation of one image: a function of these four alone, whatever process asks. None but for fsr and bfr."""
    if task in UNDEGRADED:
        return None
    image_seed = _seed(task, name, seed)
    if task in FSR_TASKS:
        return Degradation(scale=FSR_TASKS[task], seed=image_seed)
    return Degradation.sample(BFR_TASKS[task], seed=image_seed, size=size)


def mask_for(name: str, size: int, seed: int) -> np.ndarray:
    """What is hidden of one image in the task inpaint, bool [size, size]: a function of these three alone."""
    return strokes(size, np.random.default_rng(_seed(INPAINT, name, seed)))


def freeze(
    task: str,
    faces: Faces,
    folder: Path,
    seed: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> FrozenSet:
    """The frozen set in `folder`: read where it exists, extended by the faces that it lacks, made where not.

    Raises GPENError where it was made with another seed or size.
    """
    settings = {"task": task, "size": faces.size, "seed": seed}
    images = _read(folder / "params.json", settings)
    lacking = [name for name in faces.names if name not in images]
    for name in progress(lacking):
        degradation = degradation_for(task, name, faces.size, seed)
        face = _source(faces, name, task)
        data = png(_given(task, face, name, degradation, seed))
        write_atomically(folder / f"{name}.png", data)
        hashes = {"sha256": _hash(data), "truth_sha256": _hash(face.tobytes())}
        images[name] = {"degradation": degradation.to_dict() if degradation else None} | hashes
    if lacking:
        text = json.dumps(settings | {"images": dict(sorted(images.items()))}, indent=1)
        write_atomically(folder / "params.json", text.encode())
    return FrozenSet(folder, faces, images, task, seed)


def _source(faces: Faces, name: str, task: str) -> np.ndarray:
    """What a low-quality image is made from, uint8 RGB [s, s, 3]: the true face; in the wild, the picture itself."""
    return faces.found(name) if task == WILD else faces.load(name)


def _given(task: str, face: np.ndarray, name: str, degradation: Degradation | None, seed: int) -> np.ndarray:
    """The low-quality image, uint8 RGB [h, w, 3]."""
    if degradation:
        return degradation(face)
    if task == INPAINT:
        return apply_mask(face, mask_for(name, len(face), seed))
    return grey(face) if task == COLORIZE else face


def _read(path: Path, settings: dict) -> dict[str, dict]:
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text())
        images = stored.pop("images")
    except (ValueError, KeyError, AttributeError) as error:
        raise GPENError(f"{path} is damaged; delete {path.parent} and run again") from error
    for key, value in settings.items():
        if stored.get(key) != value:
            raise GPENError(f"{path.parent} was made with {key} {stored.get(key)}, not {value}; choose another --out")
    return images


def _seed(task: str, name: str, seed: int) -> int:
    """Of one image's random numbers, below 2**48."""
    return int(_hash(f"{seed}/{task}/{name}".encode())[:12], 16)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
