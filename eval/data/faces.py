"""Aligned faces, read one image at a time: images of a source of eval.data.image_files, or the sample faces.

samples    offline: the photographs of gpen.faces.samples
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from eval.data.decoded import DecodedImages
from eval.data.image_files import ImageFile, by_name, describe, find_images
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES, SampleFace
from gpen.file_names import by_same_stem
from gpen.images import image_size, read_image, square_crop
from gpen.training.data.native_size import check_native_size

SAMPLE_SOURCE = "samples"
MIN_SIZE, MAX_SIZE = 32, 4096  # px; the perceptual networks need at least 32 px


@dataclass(frozen=True)
class Faces:
    """A set of faces: `names` in order, `load(name)` -> uint8 RGB [size, size, 3].

    A name is the path relative to the folder without its suffix, "00017" or "part2/00017"; with the suffix if two files differ
    only in it. A face that is smaller than `size` is an error unless allow_upscaled is set.
    """

    folder: Path
    size: int
    files: dict[str, ImageFile]  # by name, in order
    samples: dict[str, SampleFace] = field(default_factory=dict)  # by name, if these are the sample faces
    allow_upscaled: bool = False
    description: str = ""  # of the source, for the recipe of a run
    decoded: DecodedImages | None = None  # keeps decoded faces

    @classmethod
    def open(
        cls,
        source: str | Path,
        size: int = 256,
        limit: int | None = None,
        *,
        allow_upscaled: bool = False,
        option: str = "--data",
    ) -> "Faces":
        """Open the first `limit` faces by name.

        Raises GPENError for a missing folder, no images, a size out of range, and a folder in which two subfolders contain images
        of the same name.
        """
        check_selection(size, limit)
        if str(source) == SAMPLE_SOURCE and not Path(source).exists():
            return cls._samples(size, limit)
        files = find_images(source, option, limit)
        _check_subfolders(source, files, option)
        chosen = dict(list(by_name(files).items())[:limit])
        return cls(Path(source), size, chosen, {}, allow_upscaled, describe(source, limit))

    @classmethod
    def _samples(cls, size: int, limit: int | None) -> "Faces":
        samples = dict(list(SAMPLES.items())[:limit])
        files: dict[str, ImageFile] = {name: sample.path for name, sample in samples.items()}
        people = ", ".join(f"{sample.person} ({sample.source})" for sample in samples.values())
        return cls(Path(SAMPLE_SOURCE), size, files, samples, True, f"sample photographs in the public domain: {people}")

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return list(self.files)

    def check_native_size(self) -> int:
        """The number of faces that are enlarged; reads the headers of the files, not their pixels.

        Raises GPENError for more than 0 unless allow_upscaled is set.
        """
        sides = {
            name: self.samples[name].side if name in self.samples else min(image_size(file)) for name, file in self.files.items()
        }
        return check_native_size(sides, self.size, self.folder, self.allow_upscaled)

    def with_decoded(self, decoded: DecodedImages) -> "Faces":
        """The same faces; `load` takes those that it has returned before from `decoded`."""
        return replace(self, decoded=decoded)

    def load(self, name: str) -> np.ndarray:
        """The centre square, uint8 RGB [size, size, 3], reduced with INTER_AREA or enlarged with INTER_CUBIC; a sample aligned.

        Raises GPENError if the file cannot be read, and if it would be enlarged and allow_upscaled is not set.
        """
        return self.decoded.get(name, self._load) if self.decoded else self._load(name)

    def load_unresized(self, name: str) -> np.ndarray:
        """The centre square, uint8 RGB [s, s, 3], reduced if it is larger than size, never enlarged."""
        if sample := self.samples.get(name):
            return sample.load(min(self.size, sample.side))
        return reduced_square(read_image(self.files[name]), self.size)

    def _load(self, name: str) -> np.ndarray:
        if sample := self.samples.get(name):
            return sample.load(self.size)
        image = read_image(self.files[name])
        if (side := min(image.shape[:2])) < self.size and not self.allow_upscaled:
            raise GPENError(f"{self.files[name]} has {side} px, less than {self.size}; choose a smaller size or allow_upscaled.")
        return square_crop(image, self.size)


def reduced_square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of an image [h, w, 3], reduced by area averaging if it is larger than size px, never enlarged."""
    return square_crop(image, min(size, *image.shape[:2]))


def check_selection(size: int, limit: int | None) -> None:
    """Raise GPENError for a size or a number of images out of range."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise GPENError(f"--size {size} is out of range; choose {MIN_SIZE} to {MAX_SIZE} px.")
    if limit is not None and limit < 1:
        raise GPENError(f"--limit {limit} selects no image; choose 1 or more.")


def _check_subfolders(source: str | Path, files: Mapping[str, ImageFile], option: str) -> None:
    """Raise GPENError if two subfolders contain images of the same name: they may be inputs and their ground truth."""
    folders: dict[str, dict[str, None]] = {}
    for stem, group in by_same_stem(files).items():
        folders.setdefault(PurePosixPath(stem).name, {}).update(dict.fromkeys(str(PurePosixPath(path).parent) for path in group))
    if twice := {name: list(parents) for name, parents in folders.items() if len(parents) > 1}:
        name, (first, second, *_) = next(iter(twice.items()))
        raise GPENError(
            f"{option} {source} contains {name} in the folders {first} and {second} (and {len(twice) - 1:,} more such names); "
            "give one folder of faces, or evaluate given pairs with python -m eval run paired --lq DIR --gt DIR."
        )
