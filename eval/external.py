"""Methods made elsewhere: networks that spandrel reads (GFPGAN, RestoreFormer, CodeFormer), and folders of finished results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eval.datasets import Faces, read_image
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.images import to_image, to_tensor

# The networks whose forward takes [-1, 1] and gives a tuple with the face in [-1, 1] first. What else their forward is told:
# GFPGAN's noise is the file's own, not drawn anew, so that a face has one result. CodeFormer's fidelity stays at its 0.5.
FACE_NETWORKS: dict[str, dict] = {"GFPGAN": {"randomize_noise": False}, "RestoreFormer": {}, "CodeFormer": {}}


@dataclass(frozen=True)
class FaceNetwork:
    """A network for aligned faces, called past spandrel's descriptor.

    The descriptor gives [0, 1] to GFPGAN and CodeFormer, which were trained on [-1, 1], and clips what comes out.
    """

    net: nn.Module
    options: dict
    size: int = 512  # px, what all three were trained at

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 RGB [512, 512, 3] each -> the same, restored."""
        device = next(self.net.parameters()).device
        restored = [self.net(to_tensor(image)[None].to(device), **self.options)[0][0] for image in images]
        return [to_image(x) for x in restored]


def load_spandrel(path: Path, device: str = "cpu") -> FaceNetwork:
    """The face network in a file of weights. Raises GPENError where spandrel is missing or the file is none of FACE_NETWORKS."""
    if not path.is_file():
        raise GPENError(f"spandrel:{path} names no file; check the path")
    patch_torchvision()  # spandrel imports torchvision
    try:
        import spandrel
    except ImportError as error:
        raise GPENError(f"spandrel:{path} needs its package ({error}); pip install spandrel") from error
    loader = spandrel.ModelLoader(device, registry=_registry(spandrel))
    try:
        model = loader.load_from_file(path)
    except spandrel.UnsupportedModelError as error:
        raise GPENError(f"{path} holds no network that spandrel knows (CodeFormer's need spandrel_extra_arches)") from error
    except Exception as error:  # spandrel passes on whatever its readers raise
        raise GPENError(f"{path} cannot be read as weights; fetch it again") from error
    if model.architecture.id not in FACE_NETWORKS:
        raise GPENError(f"{path} holds {model.architecture.id}; choose a file of {', '.join(FACE_NETWORKS)}")
    return FaceNetwork(model.model.eval(), FACE_NETWORKS[model.architecture.id])


def _registry(spandrel):
    """spandrel's own architectures and, where that package is installed, those of spandrel_extra_arches."""
    registry = spandrel.ArchRegistry()
    registry.add(*spandrel.MAIN_REGISTRY)
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:
        return registry
    registry.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


@dataclass(frozen=True)
class Results:
    """A folder of restored faces, matched to the images of a task by name."""

    folder: Path
    files: dict[str, Path]  # by name

    @classmethod
    def open(cls, folder: str | Path) -> "Results":
        """Raises GPENError for no folder or no image in it."""
        if not Path(folder).is_dir():
            raise GPENError(f"folder:{folder} is not a folder; name one that holds restored faces")
        return cls(Path(folder), Faces.open(folder).files)

    def load(self, name: str, size: int) -> np.ndarray:
        """uint8 RGB [size, size, 3]. Raises GPENError where there is no such image, or it has another size."""
        stem = Path(name).with_suffix("").as_posix() if name not in self.files else name
        if stem not in self.files:
            raise GPENError(f"{self.folder} holds no result for {name}; add {name}.png, or name another folder")
        image = read_image(self.files[stem])
        if image.shape[:2] != (size, size):
            h, w = image.shape[:2]
            raise GPENError(
                f"{self.files[stem]} has {w} x {h} pixels where the true image has {size} x {size}; resize it "
                "or give another --size"
            )
        return image
