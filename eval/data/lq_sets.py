"""The LQ set of a task: low-quality images, fixed by the seed, the same for every method.

    RUN/lq/TASK/IMAGE.png    the low-quality image at its own small size
    RUN/lq/TASK/params.json  the degradation of each image and the hashes of the files and of the ground truth

Tasks. fsr4 ... fsr64: antialiased bicubic downsampling by s, as in PULSE and most papers on face super-resolution; fsr4-bilinear
... fsr64-bilinear: bilinear downsampling without a filter before it, as in the released code of mGANprior. bfr: the preset
gpen-release; bfr-PRESET: another preset. The presets are used without their grey images (grey, grey_input), which
are an augmentation of training. wild: the images without a degradation and without a ground truth, at most as large as
the size of the run. paired: given files (eval.data.paired), at most as large as the size of the run. colorize: the face in grey;
inpaint: the face with white brush strokes (gpen.restoration.tasks, gpen.restoration.task_inputs). All are resized with cv2
INTER_LINEAR to the input of a network.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eval.data.faces import Faces, reduced_square
from eval.data.image_files import ImageFile
from gpen.degradation.degradation import Degradation
from gpen.degradation.presets import PRESETS
from gpen.degradation.seeds import image_seed
from gpen.errors import GPENError
from gpen.file_names import without_suffix
from gpen.images import encode, read_bytes, read_image, write_atomically
from gpen.restoration.task_inputs import strokes
from gpen.restoration.tasks import apply_mask, grey

FSR_SCALES = (4, 8, 16, 32, 64)
OPERATORS = {"bicubic": "bicubic, antialiased", "bilinear": "bilinear, not antialiased"}  # of downsampling
FSR_TASKS = {  # task -> scale and operator
    f"fsr{scale}" + (f"-{operator}" if operator != "bicubic" else ""): (scale, operator)
    for operator in OPERATORS
    for scale in FSR_SCALES
}
BFR_TASKS = {f"bfr-{preset}" if preset != "gpen-release" else "bfr": preset for preset in PRESETS}
WILD, PAIRED, COLORIZE, INPAINT = "wild", "paired", "colorize", "inpaint"
UNDEGRADED = (WILD, PAIRED, COLORIZE, INPAINT)  # without a degradation that is known
TASKS = (*FSR_TASKS, *BFR_TASKS, *UNDEGRADED)


@dataclass(frozen=True)
class Sample:
    """One image of a task."""

    name: str
    lq: np.ndarray  # uint8 RGB [h, w, 3], at its own size
    truth: np.ndarray | None  # ground truth, uint8 RGB [size, size, 3]; grey for a grey degradation; None for wild
    degradation: Degradation | None  # None except for fsr and bfr
    mask: np.ndarray | None = None  # of inpaint: bool [size, size], True where pixels are missing
    file_name: str = ""  # of paired: the name of the given file without its suffix


@dataclass(frozen=True)
class LQSet:
    """The low-quality images of a task with their ground truth."""

    folder: Path
    faces: Faces
    images: dict[str, dict]  # name -> {"degradation", "sha256", "truth_sha256"}
    task: str
    seed: int
    _verified: set[str] = field(default_factory=set)  # names whose hashes were checked

    def sample(self, name: str) -> Sample:
        """Read one image. Its hashes are checked the first time.

        Raises GPENError if the low-quality file or the face has changed since the set was built.
        """
        entry, path = self.images[name], self.folder / f"{name}.png"
        face = _source(self.faces, name, self.task)
        if name not in self._verified:
            self._verify(name, face)
        if self.task in UNDEGRADED:
            mask = mask_for(name, len(face), self.seed) if self.task == INPAINT else None
            file_name = given_name(entry.get("file", ""))
            return Sample(name, read_image(path), None if self.task == WILD else face, None, mask, file_name)
        degradation = Degradation.from_dict(entry["degradation"])
        return Sample(name, read_image(path), degradation.target(face), degradation)

    def _verify(self, name: str, face: np.ndarray) -> None:
        entry, path = self.images[name], self.folder / f"{name}.png"
        if _hash(face.tobytes()) != entry["truth_sha256"]:
            raise GPENError(f"{self.faces.files[name]} is not the source of {path}; give the same --data or another --out.")
        if not path.is_file() or _hash(path.read_bytes()) != entry["sha256"]:
            raise GPENError(f"{path} has changed since the LQ set was built; delete {self.folder} and run again.")
        self._verified.add(name)

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        """Read several images, one at a time."""
        return map(self.sample, names)


def given_name(file: ImageFile | str) -> str:
    """The name of a given low-quality file without its suffix, "" for none."""
    return without_suffix(Path(str(file)).name)


def task_label(task: str) -> str:
    """The task with the operator of its downsampling, if it is one of super-resolution: "fsr8 (bicubic, antialiased)"."""
    return f"{task} ({OPERATORS[FSR_TASKS[task][1]]})" if task in FSR_TASKS else task


def task_description(task: str) -> str:
    """How the low-quality images of a task are made, for recipe.json."""
    if task in FSR_TASKS:
        scale, operator = FSR_TASKS[task]
        return f"downsampled by {scale}: {OPERATORS[operator]}"
    if task in BFR_TASKS:
        return f"degraded with the preset {BFR_TASKS[task]}, without grey images"
    return {
        WILD: "not degraded",
        PAIRED: "given files; inputs larger than the ground truth are reduced to its size by area averaging, smaller ones are "
        "enlarged bilinearly for networks and in the row bilinear; results of another size than the ground truth are reduced by "
        "area averaging or enlarged bicubically",
        COLORIZE: "grey faces",
        INPAINT: "faces with white brush strokes",
    }[task]


def degradation_for(task: str, name: str, size: int, seed: int) -> Degradation | None:
    """The degradation of one image, a function of the arguments only.

    None for tasks without a degradation.
    """
    if task in UNDEGRADED:
        return None
    own_seed = image_seed(seed, f"{task}/{name}")
    if task in FSR_TASKS:
        scale, operator = FSR_TASKS[task]
        return Degradation(scale=scale, downsampling=operator, seed=own_seed)
    return replace(Degradation.sample(BFR_TASKS[task], seed=own_seed, size=size), grey=False, grey_input=False)


def mask_for(name: str, size: int, seed: int) -> np.ndarray:
    """The mask of one image in the task inpaint, bool [size, size], a function of the arguments only."""
    return strokes(size, np.random.default_rng(image_seed(seed, f"{INPAINT}/{name}")))


def build_lq_set(
    task: str,
    faces: Faces,
    folder: Path,
    seed: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
    given: Mapping[str, ImageFile] | None = None,  # of the task paired: the low-quality files by the names of their faces
) -> LQSet:
    """The LQ set in `folder`: an existing set is read and extended by the missing faces.

    Raises GPENError if it was built with another seed or size, by a version with other degradations, or from other given files.
    """
    settings = {"task": task, "size": faces.size, "seed": seed}
    given = given or {}
    images = _read(folder / "params.json", settings)
    _check_degradations(folder, images, task, faces.size, seed)
    _check_given(folder, images, given)
    missing = [name for name in faces.names if name not in images]
    for name in progress(missing):
        degradation = degradation_for(task, name, faces.size, seed)
        face = _source(faces, name, task)
        lq = reduced_square(read_image(given[name]), faces.size) if given else _degrade(task, face, name, degradation, seed)
        data = encode(lq)
        write_atomically(folder / f"{name}.png", data)
        hashes = {"sha256": _hash(data), "truth_sha256": _hash(face.tobytes())}
        if given:
            hashes |= {"file": str(given[name]), "file_sha256": _hash(read_bytes(given[name]))}
        images[name] = {"degradation": degradation.to_dict() if degradation else None} | hashes
    if missing:
        text = json.dumps(settings | {"images": dict(sorted(images.items()))}, indent=1)
        write_atomically(folder / "params.json", text.encode())
    return LQSet(folder, faces, images, task, seed)


def _source(faces: Faces, name: str, task: str) -> np.ndarray:
    """The image before the degradation, uint8 RGB [s, s, 3]: the aligned face; for wild the image itself."""
    return faces.load_unresized(name) if task == WILD else faces.load(name)


def _degrade(task: str, face: np.ndarray, name: str, degradation: Degradation | None, seed: int) -> np.ndarray:
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
        raise GPENError(f"{path} is damaged; delete {path.parent} and run again.") from error
    for key, value in settings.items():
        if stored.get(key) != value:
            raise GPENError(f"{path.parent} was built with {key} {stored.get(key)}, not {value}; choose another --out.")
    return images


def _check_degradations(folder: Path, images: dict[str, dict], task: str, size: int, seed: int) -> None:
    """Raise GPENError if the images of a set that exists have other degradations than those of this version."""
    for name, entry in images.items():
        degradation = degradation_for(task, name, size, seed)
        if entry["degradation"] != (degradation and degradation.to_dict()):
            raise GPENError(f"{folder} was built by another version, with another degradation of {name}; choose another --out.")


def _check_given(folder: Path, images: dict[str, dict], given: Mapping[str, ImageFile]) -> None:
    """Raise GPENError if the images of a set that exists were made from other files than the given ones."""
    for name in images.keys() & given.keys():
        if images[name]["file_sha256"] != _hash(read_bytes(given[name])):
            raise GPENError(f"{folder / name}.png was made from another file than {given[name]}; choose another --out.")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
