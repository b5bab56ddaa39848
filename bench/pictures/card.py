"""Make the pictures of the model card: `python -m bench.pictures.card` writes assets/failures.png and assets/prior-samples.png.

With --variants, it also writes assets/variants-32.png for notebook 05. Inputs and seeds are fixed. The faces are the two sample
faces, photographs in the public domain, and samples of the prior.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

import gpen
from eval.report.plots import TILE, image_grid
from gpen.cli.parsing import Folder, parse
from gpen.degradation.degradation import Degradation
from gpen.errors import exit_status
from gpen.faces.samples import SAMPLES
from gpen.images import replace_atomically
from gpen.models.checkpoints import ASSETS, find, load_prior
from gpen.restoration.sampling import sample_faces
from gpen.training.ablation import VARIANTS

SEED = 1  # of the presets
SAMPLES_IN_A_ROW = 8
TRUNCATIONS = (1.0, 0.7)  # of the samples of the prior, a row each
PIXELS = {"failures": 200, "prior-samples": 128, "variants-32": 128}  # width of a face in the picture


@dataclass(frozen=True)
class Options:
    """Options of the command."""

    out: Folder = ASSETS  # folder of the pictures
    variants: Annotated[Path | None, arg(metavar="DIR")] = None  # weights of `python -m gpen train variants`: OUT/models


def failures(net: gpen.GPEN) -> dict[str, np.ndarray]:
    """Title -> input, result and original side by side, uint8 RGB [size, 3 * size, 3]: both sample faces, four degradations."""
    restorer, images = gpen.Restorer(net), {}
    degradations = {
        "×16": Degradation(scale=16),
        "blur of 6 px": Degradation(blur_sigma=6),
        "codeformer-2": Degradation.sample("codeformer-2", SEED, net.size),
        "severe": Degradation.sample("severe", SEED, net.size),
    }
    for name, degradation in degradations.items():
        for sample in SAMPLES.values():
            face = sample.load(net.size)
            low = degradation.resized(face)
            images[f"{sample.person}, {name}: input, restored, original"] = np.hstack([low, restorer.face(low).image, face])
    return images


def prior_samples() -> dict[str, np.ndarray]:
    """Title -> sample of prior-64, uint8 RGB [64, 64, 3], in the order of `python -m gpen sample` with seed 0."""
    prior = load_prior(find("prior-64"))
    return {
        f"{k}, truncation {psi:g}": face
        for psi in TRUNCATIONS
        for k, face in enumerate(sample_faces(prior, SAMPLES_IN_A_ROW, 0, psi), 1)
    }


def variants(folder: Path) -> dict[str, np.ndarray]:
    """Title -> face: two rows per sample face, with the truth, the input and the result of each variant, first seed."""
    restorers = {name: gpen.Restorer(gpen.load(folder / f"{name}-0.safetensors")) for name in VARIANTS}
    images: dict[str, np.ndarray] = {}
    for row, sample in enumerate(SAMPLES.values(), 1):
        face = sample.load(restorers["gpen"].net.size)
        low = Degradation.sample("codeformer-2", SEED, len(face)).resized(face)
        restored = {name.removeprefix("gpen-"): restorer.face(low).image for name, restorer in restorers.items()}
        images |= {f"{name} {row}": image for name, image in {"truth": face, "input": low, **restored}.items()}
    return images


def run(options: Options) -> None:
    """Write the pictures and print their paths."""
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {
        "failures": image_grid(failures(gpen.load()), 2, 3 * TILE),
        "prior-samples": image_grid(prior_samples(), SAMPLES_IN_A_ROW),
    }
    if options.variants:
        pictures["variants-32"] = image_grid(variants(options.variants), (2 + len(VARIANTS)) // 2)
    for name, figure in pictures.items():
        path = options.out / f"{name}.png"
        with replace_atomically(path) as partial:
            figure.savefig(partial, format="png", dpi=PIXELS[name] / TILE)
        print(path)


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.pictures.card", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
