"""Folders of aligned faces, decoded one image at a time."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.restore import square

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm"}
MIN_SIZE, MAX_SIZE = 32, 4096  # px; smaller images fall short of the perceptual networks


@dataclass(frozen=True)
class Faces:
    """A folder of faces: `names` in order, `load(name)` -> uint8 RGB [size, size, 3].

    A name is the path below the folder without its suffix, "00017" or "part2/00017"; with it where two files
    differ only in that. Files that are no images are passed over, hidden ones too.
    """

    folder: Path
    size: int
    files: dict[str, Path]  # by name, in the order of names

    @classmethod
    def open(cls, folder: str | Path, size: int = 256, limit: int | None = None) -> "Faces":
        """The first `limit` faces by name. Raises GPENError for no folder, no image, a size out of range."""
        folder = Path(folder)
        if not folder.is_dir():
            raise GPENError(f"--data {folder} is not a folder; name one that holds images of faces")
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise GPENError(f"--size {size} is out of range; choose {MIN_SIZE} to {MAX_SIZE} pixels")
        if limit is not None and limit < 1:
            raise GPENError(f"--limit {limit} leaves no image; choose 1 or more")
        files = _named(folder)
        if not files:
            raise GPENError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
        return cls(folder, size, dict(sorted(files.items())[:limit]))

    @property
    def names(self) -> list[str]:
        return list(self.files)

    def load(self, name: str) -> np.ndarray:
        """uint8 RGB [size, size, 3]: the centre square, shrunk with INTER_AREA or enlarged with INTER_CUBIC.

        Raises GPENError where the file cannot be read.
        """
        return square(read_image(self.files[name]), self.size)


def read_image(path: Path) -> np.ndarray:
    """Any picture that OpenCV or Pillow reads, upright by its EXIF tag, as uint8 RGB [h, w, 3].

    Raises GPENError for anything else.
    """
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)  # 8 bits, EXIF applied
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    return _read_with_pillow(path) if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_with_pillow(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GPENError(f"{path} cannot be read as an image; remove it or replace it") from error


def _named(folder: Path) -> dict[str, Path]:
    paths = [path.relative_to(folder) for path in folder.rglob("*")
             if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if odd := [path for path in paths if not str(path).isprintable()]:
        raise GPENError(f"the file name {str(odd[0])!r} has control characters in it; rename the file")
    stems = [path.with_suffix("").as_posix() for path in paths]
    count = Counter(stems)
    return {stem if count[stem] == 1 else path.as_posix(): folder / path
            for stem, path in zip(stems, paths, strict=True)}
