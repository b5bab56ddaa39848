"""External methods: networks read by spandrel, and folders of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from eval.data.image_files import ImageFile, find_images
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.file_names import by_same_stem, same_name, without_suffix
from gpen.images import image_size, read_image, to_image, to_tensor
from gpen.models.families import recognise
from gpen.optional import import_optional

# Networks whose forward maps [-1, 1] to a tuple with the face in [-1, 1] first, with further arguments of forward.
# GFPGAN uses the noise of the weight file instead of random noise, so that results are reproducible.
# CodeFormer uses its default fidelity, 0.5.
FACE_NETWORKS: dict[str, dict] = {"GFPGAN": {"randomize_noise": False}, "RestoreFormer": {}, "CodeFormer": {}}

NAMED = 3  # images that an error names


@dataclass(frozen=True)
class FaceNetwork:
    """A network for aligned faces, without spandrel's descriptor.

    The descriptor feeds images in [0, 1] to GFPGAN and CodeFormer, which were trained on [-1, 1], and clips their output.
    """

    net: nn.Module
    options: dict
    size: int = 512  # px, the training size of all three

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Restore images, uint8 RGB [512, 512, 3] each."""
        device = next(self.net.parameters()).device
        restored = [self.net(to_tensor(image)[None].to(device), **self.options)[0][0] for image in images]
        return [to_image(x) for x in restored]


def load_spandrel(path: Path, device: str = "cpu") -> FaceNetwork:
    """Load the network in a weight file.

    Raises GPENError if spandrel is missing or for a network not in FACE_NETWORKS.
    """
    if not path.is_file():
        raise GPENError(f"spandrel:{path} is not a file; check the path.")
    patch_torchvision()  # spandrel imports torchvision
    spandrel = import_optional("spandrel", "eval", f"spandrel:{path}")
    loader = spandrel.ModelLoader(device, registry=_registry(spandrel))
    try:
        model = loader.load_from_file(path)
    except spandrel.UnsupportedModelError as error:
        raise GPENError(_unsupported(path, loader.load_state_dict_from_file(path))) from error
    except Exception as error:  # spandrel raises the exceptions of its readers
        raise GPENError(f"{path} cannot be read as weights; download it again.") from error
    if model.architecture.id not in FACE_NETWORKS:
        raise GPENError(f"{path} is a network of type {model.architecture.id}; give one of {', '.join(FACE_NETWORKS)}.")
    return FaceNetwork(model.model.eval(), FACE_NETWORKS[model.architecture.id])


def _unsupported(path: Path, state: dict) -> str:
    """The message for a file that spandrel does not support."""
    if {"generator.input.input", "generator.constant"} & state.keys():
        return f"{path} holds a GPEN network; write gpen:{path}."
    family = recognise(state)
    if family is None:
        return f"{path} is not supported by spandrel; give one of {', '.join(FACE_NETWORKS)}."
    if family.network == "CodeFormer":
        return f"{path} holds a CodeFormer network, which needs the package spandrel_extra_arches; install it."
    return (
        f"{path} holds a {family.network} network, which spandrel does not restore faces with: {family.advice.format(file=path)}."
    )


def _registry(spandrel: ModuleType) -> Any:
    """The architectures of spandrel and, if it is installed, of spandrel_extra_arches; GPEN's has a method of its own."""
    registry = spandrel.ArchRegistry()
    registry.add(*(found for found in spandrel.MAIN_REGISTRY if found.architecture.id != "GPEN"))
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError:
        return registry
    registry.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


@dataclass(frozen=True)
class ResultFolder:
    """A folder of restored faces, assigned to the images of a task by name."""

    folder: Path
    files: dict[str, ImageFile]  # by path
    paths: dict[str, list[str]]  # by the form of the name with and without the suffix

    @classmethod
    def open(cls, folder: str | Path) -> "ResultFolder":
        """Open a folder or a zip file. Raises GPENError for a missing folder and for a folder without images."""
        files = find_images(folder, "folder:")
        return cls(Path(folder), files, by_same_stem(files) | {same_name(path): [path] for path in files})

    def load(self, name: str, input_name: str = "") -> np.ndarray:
        """Read the result of an image, uint8 RGB [s, s, 3] of any size.

        Its file has the name of the image, or of its given input, with the suffix of any format, in any Unicode form. Raises
        GPENError for a missing result, for several, and for one that is not square.
        """
        self.check({name: input_name})
        return read_image(self.files[self._paths(name, input_name)[0]])

    def check(self, names: Mapping[str, str]) -> None:
        """Check that each image, by the name of the given input if there is one, has one square result.

        Reads the headers of the files, not their pixels. Raises GPENError as `load` does, for all images in one message.
        """
        paths = {name: self._paths(name, input_name) for name, input_name in names.items()}
        if missing := [name for name, found in paths.items() if not found]:
            count = (
                f"for {len(missing):,} of {len(names):,} images ({_listed(missing)})" if len(names) > 1 else f"for {missing[0]}"
            )
            raise GPENError(f"{self.folder} has no result {count}; add {missing[0]}.png or give another folder.")
        if several := {name: found for name, found in paths.items() if len(found) > 1}:
            name, found = next(iter(several.items()))
            more = f" and {len(several) - 1:,} more images" if len(several) > 1 else ""
            raise GPENError(
                f"{self.folder} has several results for {name} ({', '.join(found)}){more}; remove all but one of them."
            )
        sizes = {found[0]: image_size(self.files[found[0]]) for found in paths.values()}
        if wide := [f"{self.files[path]} has {w} x {h} px" for path, (w, h) in sizes.items() if w != h]:
            raise GPENError(f"{_listed(wide)}; results are square, so crop them or give another folder.")

    def _paths(self, name: str, input_name: str) -> list[str]:
        """The files that have the name of an image, or else that of its input."""
        forms = [same_name(name), same_name(without_suffix(name)), same_name(input_name)]
        return next((self.paths[form] for form in forms if form in self.paths), [])


def _listed(items: list[str]) -> str:
    return ", ".join(items[:NAMED]) + (", ..." if len(items) > NAMED else "")
