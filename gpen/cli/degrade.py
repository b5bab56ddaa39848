"""python -m gpen degrade: degrade an image, or all images of folders as an LQ set, with a seed."""

from __future__ import annotations

import dataclasses
import glob
import json
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from tqdm import tqdm
from tyro.conf import Positional, arg

from gpen.cli.parsing import Flag, parse
from gpen.degradation.degradation import BLUR_KINDS, PRESETS, Degradation
from gpen.degradation.operators import DOWNSAMPLING
from gpen.degradation.seeds import image_seed
from gpen.errors import GPENError
from gpen.file_names import is_media, why_unreadable
from gpen.images import read_image, write_atomically, write_image
from gpen.media.batch import make_folder
from gpen.media.discovery import find_files
from gpen.version import __version__

if TYPE_CHECKING:
    BlurKind = str
    Downsampling = str
    PresetName = str
else:
    BlurKind = Literal[BLUR_KINDS]
    Downsampling = Literal[DOWNSAMPLING]
    PresetName = Literal[tuple(sorted(PRESETS))]

PRESET_HELP = f"sample all parameters from a preset with --seed: {', '.join(sorted(PRESETS))}; None: use the options above"
PARAMETERS = "degradations.json"  # in the output folder


@dataclass(frozen=True)
class Degrade:
    """Degrade images: blur, downsample by s, noise, JPEG.

    Several images are written to a folder, with their parameters as JSON.
    """

    # an image file; or several images, folders, or quoted patterns with * or **
    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="PATH...", help_behavior_hint="(required)")]
    # output file of one image, .png is lossless; or folder for NAME.png of each image and degradations.json
    out: Annotated[Path, arg(metavar="FILE|DIR")]
    blur_sigma: Annotated[float | None, arg(metavar="PX")] = None  # standard deviation of the blur in px, 0 to 200; None: no blur
    blur_kind: BlurKind = "isotropic"  # blur kernel
    # standard deviation along the second axis of an anisotropic kernel in px, 0 to 200; None: that of the first axis
    blur_sigma_y: Annotated[float | None, arg(metavar="PX")] = None
    # angle of an anisotropic or motion blur in degrees anticlockwise, -360 to 360
    blur_angle: Annotated[float, arg(metavar="DEGREES")] = 0.0
    scale: Annotated[float | None, arg(metavar="S")] = None  # downsampling factor, 0.01 to 10000; None: no downsampling
    downsampling: Downsampling = "bilinear"  # operator of --scale; bilinear is not antialiased, bicubic is
    # standard deviation of the noise in grey levels, 0 to 255; None: no noise
    noise_sigma: Annotated[float | None, arg(metavar="SIGMA")] = None
    jpeg_quality: Annotated[int | None, arg(metavar="Q")] = None  # JPEG quality, 1 to 100; None: no JPEG
    preset: Annotated[PresetName | None, arg(metavar="NAME", help=PRESET_HELP)] = None
    # seed of the noise and of --preset, 0 to 2**53 - 1; that of each of several images is derived from it and the name
    seed: int = 0
    resized: Flag = False  # resize the result to the size of the input
    recursive: Flag = False  # search subfolders

    def run(self) -> None:
        """Write the degraded images; print the formula of one image, or how many were written."""
        if not self.paths:
            raise GPENError("There is nothing to degrade: name images or folders.")
        first = Path(self.paths[0])
        is_file = not first.is_dir() and (first.exists() or not glob.has_magic(self.paths[0]))
        if len(self.paths) == 1 and is_file and self.out.suffix and not self.out.is_dir():
            degradation = self._degrade(first, self.out, self.seed)
            print(degradation.formula())
        else:
            self._degrade_all()

    def _degrade_all(self) -> None:
        """Degrade the images of a set into the folder `out`."""
        if self.out.suffix and not self.out.is_dir():
            raise GPENError(f"--out {self.out} has the name of a file, but several images are written: give a folder.")
        found = find_files(self.paths, self.out, self.recursive, why_unreadable)
        targets: dict[Path, Path] = {}
        for source, target in found.files.items():
            target = target.with_suffix(".png")
            if target.exists() and target.samefile(source):
                raise GPENError(f"{target} is the input itself: choose another --out.")
            if (other := targets.setdefault(target, source)) != source:
                raise GPENError(f"{other} and {source} would both be written to {target}: rename one of them.")
        make_folder(self.out)
        rows, failed = [], 0
        for target, source in tqdm(targets.items(), unit="image", disable=None):
            name = unicodedata.normalize("NFC", target.relative_to(self.out).with_suffix("").as_posix())
            try:
                degradation = self._degrade(source, target, image_seed(self.seed, name))
            except GPENError as error:
                failed += 1
                print(f"error: {error}", file=sys.stderr)
                continue
            rows.append({"image": f"{name}.png", "source": str(source), "degradation": degradation.to_dict()})
        options = {name: value for name, value in dataclasses.asdict(self).items() if name not in ("paths", "out", "recursive")}
        lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)  # one line per image
        text = f'{json.dumps({"gpen": __version__, **options})[:-1]}, "images": [\n  {lines}\n]}}\n'
        write_atomically(self.out / PARAMETERS, text.encode())
        for path, reason in found.skipped.items():
            if is_media(path):
                print(f"skipped: {path}: {reason}.", file=sys.stderr)
        print(f"{len(rows)} degraded" + (f", {failed} failed" if failed else ""))
        if failed:
            sys.exit(1)

    def _degrade(self, source: Path, target: Path, seed: int) -> Degradation:
        """Write one degraded image and return its degradation."""
        image = read_image(source)
        degradation = self._degradation(image, seed)
        write_image(target, degradation.resized(image) if self.resized else degradation(image))
        return degradation

    def _degradation(self, image: np.ndarray, seed: int) -> Degradation:
        if self.preset:
            return Degradation.sample(self.preset, seed=seed, size=max(image.shape[:2]))
        names = (
            "blur_sigma", "blur_kind", "blur_sigma_y", "blur_angle", "scale", "downsampling", "noise_sigma", "jpeg_quality",
        )  # fmt: skip
        return Degradation(**{name: getattr(self, name) for name in names}, seed=seed)


def main(args: list[str]) -> None:
    """Run `gpen degrade` with these arguments."""
    parse(Degrade, args, "gpen degrade").run()
