"""torch.compile of the network that is trained. The feature network, LPIPS and the discriminator stay eager.

Their graph is kept for a second backward pass (gradient norms of single heads), and a compiled feature network then returned zero
gradients for all but one of its layers (torch 2.13, CPU).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gpen.errors import GPENError


def compiled(net: nn.Module, enabled: bool, device: torch.device) -> Callable[..., Tensor]:
    """`net` compiled, which shares its weights, or `net` itself. Raises GPENError where a CPU has no C++ compiler."""
    if not enabled:
        return net
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise GPENError("compile = true needs a C++ compiler (g++ or clang++): install one, or set compile = false.")
    return torch.compile(net, dynamic=False)
