"""The losses of GPEN (Yang et al., CVPR 2021) and of its prior, StyleGAN2's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gpen.models.ops import full_precision


def generator_logistic(fake_scores: Tensor) -> Tensor:
    """L_A for the network: the non-saturating logistic loss of the discriminator's scores [n, 1] of restored images."""
    return F.softplus(-full_precision(fake_scores)).mean()


def discriminator_logistic(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """L_A for the discriminator, of its scores [n, 1]."""
    return F.softplus(-full_precision(real_scores)).mean() + F.softplus(full_precision(fake_scores)).mean()


def content(restored: Tensor, target: Tensor, levels: int = 1) -> Tensor:
    """L_C: the L1 distance of images [n, 3, h, w], summed over `levels` of a pyramid, each half the size of the one before.

    levels = 1 is the paper's. Further levels raise the weight of coarse structure, on which identity depends, against texture.
    """
    total = F.l1_loss(restored, target)
    for _ in range(levels - 1):
        restored, target = F.avg_pool2d(restored, 2), F.avg_pool2d(target, 2)
        total = total + F.l1_loss(restored, target)
    return total


def feature_matching(fake: list[Tensor], real: list[Tensor], norm: str = "l2") -> Tensor:
    """L_F: the norm of the difference between the discriminator's features of restored and true images, summed over its layers.

    norm: "l2", the root of the sum of squares, is the paper's; "rms", the root of their mean, does not grow with the size of a
    layer: it is smaller by the root of c h w, 90 to 2,900 in GPEN-BFR-512. fake, real: [n, c, h, w] for each layer.
    """
    total = full_precision(fake[0]).new_zeros(())
    for f, r in zip(fake, real, strict=True):
        squares = (full_precision(f) - full_precision(r)).square().flatten(1)  # [n, c h w]
        total = total + (squares.sum(1) if norm == "l2" else squares.mean(1)).add(1e-12).sqrt().mean()
    return total


def r1_penalty(real_scores: Tensor, real_images: Tensor) -> Tensor:
    """R1 (Mescheder et al., ICML 2018): the mean squared norm of the scores' gradient by the real images [n, 3, h, w]."""
    (gradient,) = torch.autograd.grad(real_scores.sum(), real_images, create_graph=True)
    return full_precision(gradient).square().sum((1, 2, 3)).mean()


def range_penalty(images: Tensor) -> Tensor:
    """Mean squared excess of images [n, 3, h, w] beyond [-1, 1]."""
    return F.relu(full_precision(images).abs() - 1).square().mean()
