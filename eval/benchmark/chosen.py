"""Images of a run on which one of its methods or metrics was chosen: values measured on them are no test results.

Weight files store fingerprints of such images under `chosen_on`: training those of its validation faces, python -m gpen blend
--chosen-on those on which alpha was chosen, python -m eval fit-niqe those of the pristine model.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from eval.data.faces import Faces
from gpen.models.checkpoints import read_metadata
from gpen.training.data.fingerprints import CHOSEN_ON, fingerprint, split_fingerprints


def count_chosen(weights: Mapping[str, Iterable[Path]], faces: Faces) -> dict[str, int]:
    """The number of images of the run on which a method or metric was chosen, by the names in `weights`; without zeros."""
    stored: dict[str, set[str]] = {name: set().union(*map(_stored, paths)) for name, paths in weights.items()}
    if not any(stored.values()):
        return {}
    own = {fingerprint(path) for path in faces.files.values()}
    return {name: len(images & own) for name, images in stored.items() if images & own}


def _stored(path: Path) -> set[str]:
    """The fingerprints in a weight file."""
    if path.suffix == ".safetensors":
        return split_fingerprints(read_metadata(path).get(CHOSEN_ON, ""))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return split_fingerprints(str(archive[CHOSEN_ON])) if CHOSEN_ON in archive else set()
    return set()
