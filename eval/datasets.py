"""Aligned faces, decoded one image at a time: a folder of them, a dataset of the Hugging Face Hub, or the sample faces.

DIR                     images in any format, in folders below it too
celeba-hq, ffhq, hf:OWNER/NAME[:SPLIT[:COLUMN]]     fetched once, no more images than are asked for; see gpen.training.hub
samples                 offline: assets/samples/*.png, drawn by the project's own prior, and scikit-image's astronaut (NASA)
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpen.checkpoints import ASSETS
from gpen.errors import GPENError
from gpen.images import ASTRONAUT_CROP, read_image, square_crop

SAMPLES = "samples"
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm"}
MIN_SIZE, MAX_SIZE = 32, 4096  # px; smaller images fall short of the perceptual networks


@dataclass(frozen=True)
class Faces:
    """Faces: `names` in order, `load(name)` -> uint8 RGB [size, size, 3].

    A name is the path below the folder without its suffix, "00017" or "part2/00017"; with it where two files
    differ only in that. Files that are no images are passed over, hidden ones too.
    """

    folder: Path
    size: int
    files: dict[str, Path]  # by name, in the order of names
    crops: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # name -> top, left, side of the face in px

    @classmethod
    def open(cls, source: str | Path, size: int = 256, limit: int | None = None) -> "Faces":
        """The first `limit` faces by name. Raises GPENError for no folder, no image, a size out of range."""
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise GPENError(f"--size {size} is out of range; choose {MIN_SIZE} to {MAX_SIZE} pixels")
        if limit is not None and limit < 1:
            raise GPENError(f"--limit {limit} leaves no image; choose 1 or more")
        if str(source) == SAMPLES and not Path(source).exists():
            return cls._samples(size, limit)
        folder = _local(source, limit)
        if not folder.is_dir():
            raise GPENError(f"--data {folder} is not a folder; name one that holds images of faces")
        files = _named(folder)
        if not files:
            raise GPENError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
        return cls(folder, size, dict(sorted(files.items())[:limit]))

    @classmethod
    def _samples(cls, size: int, limit: int | None) -> "Faces":
        import skimage.data

        folder = ASSETS / "samples"
        astronaut = Path(skimage.data.__file__).with_name("astronaut.png")
        files = {"astronaut": astronaut} | {path.stem: path for path in sorted(folder.glob("*.png"))}
        return cls(folder, size, dict(list(files.items())[:limit]), {"astronaut": ASTRONAUT_CROP})

    @property
    def names(self) -> list[str]:
        return list(self.files)

    def load(self, name: str) -> np.ndarray:
        """uint8 RGB [size, size, 3]: the centre square, shrunk with INTER_AREA or enlarged with INTER_CUBIC.

        Raises GPENError where the file cannot be read.
        """
        return square_crop(self._read(name), self.size)

    def found(self, name: str) -> np.ndarray:
        """The centre square as it was found, uint8 RGB [s, s, 3] with s <= size: a larger one is shrunk, none enlarged."""
        image = square_crop(self._read(name))
        return square_crop(image, self.size) if len(image) > self.size else image

    def _read(self, name: str) -> np.ndarray:
        image = read_image(self.files[name])
        if name not in self.crops:
            return image
        top, left, side = self.crops[name]
        return image[top : top + side, left : left + side]


def _local(source: str | Path, limit: int | None) -> Path:
    """The folder of a dataset of the Hub, fetched where it is not there yet; a folder is itself.

    With a limit so many images are streamed and no more, unless the whole of it lies in the cache.
    """
    if Path(source).exists():
        return Path(source)
    from gpen.download import cache_folder
    from gpen.training import hub

    found = hub.named(source)
    if found is None or limit is None or (cache_folder() / "datasets" / found.folder).is_dir():
        return hub.local_folder(source)
    slice_ = f"{found.split}[:{min(limit, found.most or limit)}]"
    return hub.local_folder(":".join(["hf", found.dataset, slice_, *filter(None, [found.column])]))


def _named(folder: Path) -> dict[str, Path]:
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if odd := [path for path in paths if not str(path).isprintable()]:
        raise GPENError(f"the file name {str(odd[0])!r} has control characters in it; rename the file")
    stems = [path.with_suffix("").as_posix() for path in paths]
    count = Counter(stems)
    return {stem if count[stem] == 1 else path.as_posix(): folder / path for stem, path in zip(stems, paths, strict=True)}
