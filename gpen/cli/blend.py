"""python -m gpen blend: blend a network that started as the identity with its input, within its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from gpen.cli.parsing import File, Flag, parse
from gpen.errors import GPENError
from gpen.models import checkpoints
from gpen.training.config import FinetuneConfig
from gpen.training.data.dataset import FacePairs, list_images
from gpen.training.data.fingerprints import CHOSEN_ON, join_fingerprints, join_notes
from gpen.training.initialization import blend_with_input

EXAMPLES = 64  # faces for the mean style


@dataclass(frozen=True)
class Blend:
    """Blend a network with its input, within its weights.

    The output becomes alpha * input + (1 - alpha) * network.

    The network must have been trained with init = "identity".
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]  # file or name of the network
    data: Annotated[str, arg(metavar="DIR")]  # folder of faces for the mean style; they are degraded by gpen-release
    alpha: float  # weight of the input in the output, 0 to 1
    out: File  # output file, .safetensors; the weights are stored in float16
    chosen_on: Annotated[str | None, arg(metavar="DIR")] = None  # faces on which alpha was chosen; stored as fingerprints
    allow_upscaled: Flag = False  # enlarge faces that are smaller than the network

    def run(self) -> None:
        """Write the blended network and print its path."""
        if not 0 <= self.alpha <= 1:
            raise GPENError(f"--alpha is the weight of the input, 0 to 1; got {self.alpha}.")
        path = checkpoints.find(self.model)
        net = checkpoints.load(path)
        pairs = FacePairs(self.data, FinetuneConfig(network=net.config, allow_upscaled=self.allow_upscaled))
        blend_with_input(net, self.alpha, torch.stack([pairs[i][0] for i in range(EXAMPLES)]))
        notes = checkpoints.read_metadata(path)
        kept: dict[str, str] = {name: notes[name] for name in ("images_seen", "licence", "task") if name in notes}
        chosen = {CHOSEN_ON: join_fingerprints(list_images(self.chosen_on))} if self.chosen_on else {}
        kept |= join_notes(notes, pairs.notes, chosen)
        print(checkpoints.save(net, self.out, torch.float16, alpha=str(self.alpha), **kept))


def main(args: list[str]) -> None:
    """Run `gpen blend` with these arguments."""
    parse(Blend, args, "gpen blend").run()
