"""Support for GPEN files in spandrel (0.4) and the programs that load models with it.

    from gpen.integrations.spandrel import install
    install()                                                       # into MAIN_REGISTRY of spandrel
    model = spandrel.ModelLoader().load_from_file("GPEN-BFR-512.pth")
    face = model(face)                                              # [1, 3, h, w] in [0, 1], an aligned face of any size

The task of a GPEN file cannot be inferred from its tensors. A registry therefore loads GPEN files for one task:
`ModelLoader(registry=install("inpaint", ArchRegistry()))` loads GPEN-Inpainting-1024.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.images import to_image, to_tensor
from gpen.models import checkpoints
from gpen.models.network import GPEN
from gpen.restoration import tasks
from gpen.restoration.restorer import Restorer

patch_torchvision()  # before spandrel, which imports it
from spandrel import (  # noqa: E402
    MAIN_REGISTRY,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    MaskedImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
    StateDict,
)

_PUBLISHED, _OWN = {"ecd0.0.0.weight", "generator.input.input"}, {"encoder.levels.0.weight", "generator.constant"}


def install(task: str = "restore", registry: ArchRegistry = MAIN_REGISTRY) -> ArchRegistry:
    """Add support for GPEN files of a task, a key of gpen.restoration.tasks.TASKS, to a registry of spandrel; idempotent.

    Returns the registry. Raises GPENError for an unknown task, or if the registry loads GPEN files for another task.
    """
    if task not in tasks.TASKS:
        raise GPENError(f"There is no task {task!r}: choose one of {', '.join(tasks.TASKS)}.")
    if (existing := registry.get("GPEN")) and existing.architecture.task != task:
        raise GPENError(f"This registry loads GPEN files for {existing.architecture.task!r}: give another registry for {task!r}.")
    registry.add(ArchSupport.from_architecture(GPENArch(task)), ignore_duplicates=True)
    return registry


class GPENArch(Architecture[GPEN]):
    """GPEN of any size, width and noise mode, in the published layout (also under the key g_ema) or that of this package."""

    def __init__(self, task: str = "restore"):
        super().__init__(id="GPEN", detect=_detect)
        self.task = task

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[GPEN] | MaskedImageModelDescriptor[GPEN]:
        """Load a network; its settings are inferred from the tensors. Raises GPENError if it is not a complete GPEN."""
        net = cast(GPEN, checkpoints.from_tensors(state_dict))
        common = {
            "model": net, "state_dict": net.state_dict(), "architecture": self, "tags": [f"{net.size}px", self.task],
            "supports_half": False, "supports_bfloat16": True, "input_channels": 3, "output_channels": 3,
            "size_requirements": SizeRequirements(square=True),  # images of another size are resized, see _resized
            "tiling": ModelTiling.INTERNAL,  # a face cannot be restored in tiles
        }  # fmt: skip
        if self.task == "inpaint":
            return MaskedImageModelDescriptor(**common, purpose="Inpainting", call_fn=_inpaint)
        if self.task == "restore":
            scale = net.size // net.in_size
            return ImageModelDescriptor(**common, purpose="FaceSR", scale=scale, call_fn=_restore)
        return ImageModelDescriptor(
            **common, purpose="Restoration", scale=1, call_fn=lambda net, image: _by_task(net, self.task, image)
        )


def _detect(state: StateDict) -> bool:
    content = state.get("g_ema", state)
    return isinstance(content, dict) and (_PUBLISHED <= content.keys() or _OWN <= content.keys())


def _restore(net: GPEN, image: Tensor) -> Tensor:
    """Restore a face: [1, 3, s, s] in [0, 1] -> [1, 3, s * scale, s * scale], approximately in [0, 1]."""
    restored = (net(_resized(image, net.in_size) * 2 - 1) + 1) / 2
    return _resized(restored, image.shape[-1] * (net.size // net.in_size))


def _by_task(net: GPEN, task: str, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Run a task in 8 bits: image [1, 3, s, s] in [0, 1], mask [1, 1, s, s] of 0 and 1 -> [1, 3, s, s] in [0, 1]."""
    holes = None if mask is None else (mask[0, 0] > 0.5).cpu().numpy()
    result = tasks.run(Restorer(net), task, to_image(image[0] * 2 - 1), holes)
    return _resized(((to_tensor(result)[None] + 1) / 2).to(image), image.shape[-1])


def _inpaint(net: GPEN, image: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask > 0.5, _by_task(net, "inpaint", image, mask), image)  # unmasked pixels are unchanged


def _resized(image: Tensor, side: int) -> Tensor:
    """Resize a face to `side` px. It is not padded, because a padded face would not be aligned."""
    if image.shape[-1] == side:
        return image
    resized = F.interpolate(image.float(), (side, side), mode="bilinear", antialias=image.shape[-1] > side)
    return resized.to(image.dtype)
