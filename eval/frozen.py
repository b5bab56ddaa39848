"""The frozen low-quality set of a task: made once, the same for every method, and shareable as a folder.

    RUN/lq/TASK/IMAGE.png    the low-quality image at its own small size
    RUN/lq/TASK/params.json  each image's degradation with the hashes of the files and of the true image

Tasks. fsr4 ... fsr64: downsampling alone, by s, as the degradation model does it: cv2 INTER_LINEAR, without a
filter before it. bfr: the gpen-release degradation rescaled to the image size; bfr-PRESET: another preset.
wild: the images as they were found, at most of the run's size, without a degradation and without a true image.
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

FSR_SCALES = (4, 8, 16, 32, 64)
FSR_TASKS = {f"fsr{scale}": scale for scale in FSR_SCALES}
BFR_TASKS = {f"bfr-{preset}" if preset != "gpen-release" else "bfr": preset for preset in PRESETS}
WILD = "wild"
TASKS = (*FSR_TASKS, *BFR_TASKS, WILD)


@dataclass(frozen=True)
class Sample:
    """One image of a task."""

    name: str
    lq: np.ndarray  # uint8 RGB [h, w, 3], at its own size
    truth: np.ndarray | None  # uint8 RGB [size, size, 3]; grey where the task asks for a grey result; None in the wild
    degradation: Degradation | None  # None in the wild


@dataclass(frozen=True)
class FrozenSet:
    """A task's low-quality images with their truths."""

    folder: Path
    faces: Faces
    images: dict[str, dict]  # name -> {"degradation", "sha256", "truth_sha256"}, of which the first is null in the wild

    def sample(self, name: str) -> Sample:
        """Raises GPENError where the file or the face is not the one that was frozen."""
        entry, path = self.images[name], self.folder / f"{name}.png"
        face = _source(self.faces, name, entry["degradation"] is None)
        if _hash(face.tobytes()) != entry["truth_sha256"]:
            raise GPENError(f"{self.faces.files[name]} is not the image that {path} was made from; "
                            "give the same --data, or another --out")
        if not path.is_file() or _hash(path.read_bytes()) != entry["sha256"]:
            raise GPENError(f"{path} is not the file that was frozen; delete {self.folder} and run again")
        if entry["degradation"] is None:
            return Sample(name, read_image(path), None, None)
        degradation = Degradation.from_dict(entry["degradation"])
        return Sample(name, read_image(path), degradation.target(face), degradation)

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        return map(self.sample, names)


def degradation_for(task: str, name: str, size: int, seed: int) -> Degradation | None:
    """The degradation of one image: a function of these four alone, whatever process asks. None in the wild."""
    if task == WILD:
        return None
    image_seed = int(_hash(f"{seed}/{task}/{name}".encode())[:12], 16)  # 48 bits
    if task in FSR_TASKS:
        return Degradation(scale=FSR_TASKS[task], seed=image_seed)
    return Degradation.sample(BFR_TASKS[task], seed=image_seed, size=size)


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
        face = _source(faces, name, degradation is None)
        data = png(degradation(face) if degradation else face)
        write_atomically(folder / f"{name}.png", data)
        hashes = {"sha256": _hash(data), "truth_sha256": _hash(face.tobytes())}
        images[name] = {"degradation": degradation.to_dict() if degradation else None} | hashes
    if lacking:
        text = json.dumps(settings | {"images": dict(sorted(images.items()))}, indent=1)
        write_atomically(folder / "params.json", text.encode())
    return FrozenSet(folder, faces, images)


def _source(faces: Faces, name: str, wild: bool) -> np.ndarray:
    """What a low-quality image is made from, uint8 RGB [s, s, 3]: the true face; in the wild, the picture itself."""
    return faces.found(name) if wild else faces.load(name)


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
            raise GPENError(f"{path.parent} was made with {key} {stored.get(key)}, not {value}; "
                            "choose another --out")
    return images


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
