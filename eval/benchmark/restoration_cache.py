"""Cache of restored images, by a hash of everything that determines the result.

    CACHE/ab/abcdef....png        the result
    CACHE/ab/abcdef....seconds    its time in seconds, written last: a result without it is restored again

The key covers the low-quality image, the method with the sha256 of its weights, the degradation (an input of the non-blind
baselines), the mask, the size, the number of images in the batch, the source code of this project, the versions of the libraries
and the device.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from eval.benchmark.provenance import environment_of
from eval.data.lq_sets import Sample
from eval.methods.registry import Method, parse_method
from gpen.environment import environment_id
from gpen.images import read_image, write_atomically, write_image
from gpen.models.download import file_hash

UNCACHED = ("folder", "ground-truth")  # methods that read their results from files


@dataclass(frozen=True)
class RestorationCache:
    """The cached results of one method; folder None disables the cache."""

    folder: Path | None
    version: str  # method, weights, source code, libraries and device

    @classmethod
    def open(cls, folder: str | None, name: str, method: Method, device: str = "cpu") -> "RestorationCache":
        """Open the cache of a method."""
        kind = parse_method(name).kind
        identity = f"{kind} {file_hash(method.weights)} {method.settings}" if method.weights else name
        return cls(
            Path(folder) if folder and kind not in UNCACHED else None, f"{identity} {environment_id(environment_of(device))}"
        )

    def get(self, samples: list[Sample], size: int) -> tuple[list[np.ndarray], list[float]] | None:
        """(results uint8 RGB [size, size, 3], seconds of each).

        None unless all images of the batch are cached.

        An incomplete batch is not used, because the last digits of a network's output depend on the batch.
        """
        if self.folder is None:
            return None
        found = [_read(self._path(sample, size, len(samples))) for sample in samples]
        whole = [one for one in found if one is not None]
        return ([image for image, _ in whole], [seconds for _, seconds in whole]) if len(whole) == len(found) else None

    def put(self, samples: list[Sample], images: list[np.ndarray], seconds: float) -> None:
        """Store results; `seconds` is the time per image."""
        for sample, image in zip(samples, images, strict=True) if self.folder else ():
            path = self._path(sample, len(image), len(samples))
            write_image(path, image)
            write_atomically(path.with_suffix(".seconds"), repr(seconds).encode())

    def _path(self, sample: Sample, size: int, batch: int) -> Path:
        degradation = sample.degradation and sample.degradation.to_dict()
        inputs = json.dumps([self.version, size, batch, sample.lq.shape, degradation])
        key = hashlib.sha256(inputs.encode() + sample.lq.tobytes() + _bytes(sample.mask)).hexdigest()
        return cast(Path, self.folder) / key[:2] / f"{key}.png"


def _bytes(mask: np.ndarray | None) -> bytes:
    return b"" if mask is None else mask.tobytes()


def _read(path: Path) -> tuple[np.ndarray, float] | None:
    try:
        return read_image(path), float(path.with_suffix(".seconds").read_text())
    except (OSError, ValueError):  # missing or damaged: restored again
        return None
