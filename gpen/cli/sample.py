"""python -m gpen sample: generate synthetic faces with a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from gpen.cli.parsing import Folder, parse
from gpen.errors import GPENError
from gpen.images import square_crop, write_image
from gpen.models import checkpoints
from gpen.restoration.sampling import sample_faces


@dataclass(frozen=True)
class Sample:
    """Generate synthetic faces with a prior, as face-01.png, face-02.png, ..."""

    prior: Annotated[Positional[str], arg(metavar="PRIOR")]  # file of a prior (from train prior) or of a GPEN
    out: Folder  # output folder
    count: int = 8  # number of faces, at least 1
    seed: int = 0  # seed of the latent codes and the noise
    truncation: float = 1.0  # psi of the truncation trick, 0 (the mean face) to 1 (no truncation)
    size: Annotated[int | None, arg(metavar="PX")] = None  # resize the faces, 16 to 4096 px; None: the size of the prior

    def run(self) -> None:
        """Write the faces and print the folder."""
        if self.count < 1 or not 16 <= (self.size or 16) <= 4096:
            raise GPENError(f"--count must be at least 1 and --size from 16 to 4096; got {self.count} and {self.size}.")
        prior = checkpoints.load_prior(self.prior)
        faces = sample_faces(prior, self.count, self.seed, self.truncation)
        for k, face in enumerate(faces, 1):
            write_image(self.out / f"face-{k:02d}.png", square_crop(face, self.size))
        print(self.out)


def main(args: list[str]) -> None:
    """Run `gpen sample` with these arguments."""
    parse(Sample, args, "gpen sample").run()
