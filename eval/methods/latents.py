"""Analysis of GPEN: the information in z, w and the features (Yang et al., CVPR 2021, figure 3).

latents = encode(net, face)                       z and features of the encoder, w of the mapping network
generate(net, blend(latents, other, [4, 8]))      the face with the features of another face at 4 and 8 px
generate(net, blend(latents, other, ["z"]))       the face with the w that the z of another face gives
generate(net, blend(latents, None, ["w"]))        the face with w = 0
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gpen.errors import GPENError
from gpen.images import resize_to, to_image, to_tensor
from gpen.models.network import GPEN, MappingNetwork, resolutions


@dataclass(frozen=True)
class Latents:
    """The inputs of the generator for one face."""

    z: Tensor  # [1, d], from the deepest feature of the encoder
    w: Tensor  # [1, d], from z
    features: dict[int, Tensor]  # side -> [1, c, side, side], instead of noise
    mapping: MappingNetwork  # w = mapping(z)

    @property
    def rms(self) -> dict[int | str, float]:
        """Root mean square of z, of w and of each feature."""
        tensors: list[tuple[int | str, Tensor]] = [("z", self.z), ("w", self.w), *self.features.items()]
        return {name: x.square().mean().sqrt().item() for name, x in tensors}


@torch.inference_mode()
def encode(
    net: GPEN,
    image: np.ndarray,  # uint8 RGB [s, s, 3], an aligned face
) -> Latents:
    """Compute the latents of a face."""
    z, features = net.encoder(to_tensor(resize_to(image, net.in_size))[None])
    by_side = dict(zip(resolutions(net.in_size), features, strict=True))
    return Latents(z, net.generator.mapping(z), by_side, net.generator.mapping)


@torch.inference_mode()
def generate(net: GPEN, latents: Latents, seed: int = 0) -> np.ndarray:
    """Generate the face, uint8 RGB [size, size, 3]; seed: of the noise above the input size."""
    noise = net.noise_inputs(list(latents.features.values()), torch.Generator().manual_seed(seed))
    return to_image(net.generator(latents.w, noise)[0])


@torch.inference_mode()
def blend(latents: Latents, other: Latents | None, names: Sequence[int | str], share: float = 1.0) -> Latents:
    """Interpolate to the latents of another face (None: to zero).

    names: "z", "w", or sides in px.

    share 0 keeps the latents, 1 replaces them. With "z" and without "w", w is computed from the new z. Raises GPENError for an
    unknown name.
    """
    if unknown := [name for name in names if name not in ("z", "w") and name not in latents.features]:
        raise GPENError(f"Unknown latent {unknown[0]!r}; choose from z, w, {', '.join(map(str, latents.features))}.")

    def mix(own: Tensor, others: Tensor | None) -> Tensor:
        return own * (1 - share) if others is None else torch.lerp(own, others, share)

    z, w = latents.z, latents.w
    if "z" in names:
        z = mix(z, None if other is None else other.z)
        w = latents.mapping(z)
    if "w" in names:
        w = mix(latents.w, None if other is None else other.w)
    others = {} if other is None else other.features
    features = {side: mix(own, others.get(side)) if side in names else own for side, own in latents.features.items()}
    return replace(latents, z=z, w=w, features=features)
