"""GPEN taken apart: what z, w and the concatenated features each carry (Yang et al., CVPR 2021, figure 3).

parts = take_apart(net, face)                    the encoder's z and features, the mapping network's w
put_together(net, blend(parts, other, [4, 8]))   the face with another's features at 4 and 8 px
put_together(net, blend(parts, other, ["z"]))    the face with the w that another's z gives
put_together(net, blend(parts, None, ["w"]))     the face with w = 0
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gpen.errors import GPENError
from gpen.images import resize_to, to_image, to_tensor
from gpen.network import GPEN, MappingNetwork, resolutions


@dataclass(frozen=True)
class Parts:
    """Everything that the generator hears of one face."""

    z: Tensor  # [1, d], from the encoder's deepest feature
    w: Tensor  # [1, d], from z
    features: dict[int, Tensor]  # side -> [1, c, side, side], in the place of the noise
    mapping: MappingNetwork  # w = mapping(z)

    @property
    def strengths(self) -> dict[int | str, float]:
        """Root mean square of z, of w and of each feature."""
        parts: list[tuple[int | str, Tensor]] = [("z", self.z), ("w", self.w), *self.features.items()]
        return {name: part.square().mean().sqrt().item() for name, part in parts}


@torch.inference_mode()
def take_apart(
    net: GPEN,
    image: np.ndarray,  # uint8 RGB [s, s, 3], an aligned face
) -> Parts:
    """The parts of a face."""
    z, features = net.encoder(to_tensor(resize_to(image, net.in_size))[None])
    by_side = dict(zip(resolutions(net.in_size), features, strict=True))
    return Parts(z, net.generator.mapping(z), by_side, net.generator.mapping)


@torch.inference_mode()
def put_together(net: GPEN, parts: Parts, seed: int = 0) -> np.ndarray:
    """The face that the generator makes of them, uint8 RGB [size, size, 3]; seed: of the noise above the input's size."""
    noise = net.noise_inputs(list(parts.features.values()), torch.Generator().manual_seed(seed))
    return to_image(net.generator(parts.w, noise)[0])


@torch.inference_mode()
def blend(parts: Parts, other: Parts | None, what: Sequence[int | str], share: float = 1.0) -> Parts:
    """`share` of the other face's (None: of nothing) z, w and features, where `what` names them: "z", "w", or sides in px.

    With "z", and without "w", w follows: it is made of the new z. Raises GPENError for a name that no part has.
    """
    if unknown := [name for name in what if name not in ("z", "w") and name not in parts.features]:
        raise GPENError(f"there is no part {unknown[0]!r}; choose from z, w, {', '.join(map(str, parts.features))}")

    def mix(own: Tensor, others: Tensor | None) -> Tensor:
        return own * (1 - share) if others is None else torch.lerp(own, others, share)

    z, w = parts.z, parts.w
    if "z" in what:
        z = mix(z, None if other is None else other.z)
        w = parts.mapping(z)
    if "w" in what:
        w = mix(parts.w, None if other is None else other.w)
    others = {} if other is None else other.features
    features = {side: mix(own, others.get(side)) if side in what else own for side, own in parts.features.items()}
    return replace(parts, z=z, w=w, features=features)
