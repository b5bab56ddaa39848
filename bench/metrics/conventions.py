"""PSNR and SSIM of two folders by this project and by the libraries that are installed: the table of docs/metrics.md.

    python -m bench.metrics.conventions --restored RUN/restored/TASK/METHOD --truth FACES

BasicSR, piq and pyiqa are no dependencies; their rows are left out if they cannot be imported. Install them into a folder of
their own and name it in PYTHONPATH.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from eval.data.faces import Faces
from eval.metrics import pixel
from gpen.cli.parsing import Folder, parse
from gpen.compat import patch_torchvision
from gpen.errors import GPENError, exit_status

MAX_SIZE = 4096  # px
Score = Callable[[np.ndarray, np.ndarray], float]  # of a restored image and the truth, uint8 RGB [h, w, 3]


def conventions() -> dict[str, Score]:
    """The scores by name; those of libraries that are not installed are left out."""
    found: dict[str, Score] = {
        "PSNR, this project, psnr": pixel.psnr,
        "PSNR, this project, psnr_y": lambda a, b: pixel.psnr(pixel.luma(a), pixel.luma(b)),
        "SSIM, this project, ssim": pixel.ssim,
        "SSIM, this project, ssim_y": lambda a, b: pixel.ssim(pixel.luma(a), pixel.luma(b)),
        "SSIM, this project, ssim_uniform": pixel.ssim_uniform,
    }
    for add in (_basicsr, _piq, _pyiqa):
        try:
            found |= add()
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)
    return dict(sorted(found.items(), key=lambda item: item[0][:4]))


def compare_folders(restored: Path, truth: Path) -> dict[str, float]:
    """The mean of each score over the images of `restored`, and two ways to average PSNR. Raises GPENError for missing images."""
    images, targets = Faces.open(restored, MAX_SIZE), Faces.open(truth, MAX_SIZE)
    pairs = [(images.load_unresized(name), targets.load_unresized(_known(name, targets))) for name in images.names]
    means = {name: float(np.mean([score(a, b) for a, b in pairs])) for name, score in conventions().items()}
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in pairs]
    return means | {"PSNR of the mean squared error of all images": 10 * math.log10(255**2 / np.mean(errors))}


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    restored: Folder  # restored images
    truth: Folder  # the ground truth, with the same names and sizes


def main(argv: list[str] | None = None) -> int:
    def run() -> None:
        options = parse(Options, argv, "python -m bench.metrics.conventions", description=__doc__.splitlines()[0])
        for name, value in compare_folders(options.restored, options.truth).items():
            print(f"{name:45} {value:9.4f}")

    return exit_status(run)


def _known(name: str, faces: Faces) -> str:
    if name not in faces.files:
        raise GPENError(f"--truth has no image {name}; give the folder with the ground truth of --restored.")
    return name


def _import(module: str) -> ModuleType:
    """Import a library that needs a module which newer versions of torchvision lack."""
    patch_torchvision()
    import torchvision.transforms.functional as functional

    sys.modules.setdefault("torchvision.transforms.functional_tensor", functional)  # for BasicSR
    return importlib.import_module(module)


def _basicsr() -> dict[str, Score]:
    scores = _import("basicsr.metrics.psnr_ssim")

    def by(name: str, crop: int, luma: bool) -> Score:  # BasicSR reads images as BGR
        score = getattr(scores, f"calculate_{name}")
        return lambda a, b: float(score(a[..., ::-1], b[..., ::-1], crop_border=crop, test_y_channel=luma))

    return {
        "PSNR, BasicSR, RGB": by("psnr", 0, False),
        "PSNR, BasicSR, RGB, crop_border=4": by("psnr", 4, False),
        "PSNR, BasicSR, test_y_channel": by("psnr", 0, True),
        "SSIM, BasicSR, RGB": by("ssim", 0, False),
        "SSIM, BasicSR, RGB, crop_border=4": by("ssim", 4, False),
        "SSIM, BasicSR, test_y_channel": by("ssim", 0, True),
    }


def _piq() -> dict[str, Score]:
    piq = _import("piq")

    def by(score: Callable, **options: bool) -> Score:
        return lambda a, b: float(score(_unit(a), _unit(b), data_range=1.0, **options))

    return {
        "PSNR, piq": by(piq.psnr),
        "PSNR, piq, convert_to_greyscale": by(piq.psnr, convert_to_greyscale=True),
        "SSIM, piq": by(piq.ssim),
        "SSIM, piq, downsample=False": by(piq.ssim, downsample=False),
    }


def _pyiqa() -> dict[str, Score]:
    pyiqa = _import("pyiqa")

    def by(name: str) -> Score:
        metric = pyiqa.create_metric(name, device=torch.device("cpu"))
        return lambda a, b: float(metric(_unit(a), _unit(b)))

    return {
        "PSNR, pyiqa, psnr": by("psnr"),
        "PSNR, pyiqa, psnry": by("psnry"),
        "SSIM, pyiqa, ssim": by("ssim"),
        "SSIM, pyiqa, ssimc": by("ssimc"),
    }


def _unit(image: np.ndarray) -> torch.Tensor:
    """[1, 3, h, w] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    sys.exit(main())
