"""Spaces with ZeroGPU: a GPU is lent for the length of a call. Everywhere else nothing here changes anything.

ZeroGPU asks that a network is moved to cuda while the app starts and that whatever runs it is decorated with spaces.GPU.
A decorated call runs in another process, so that what goes in and comes out is on the CPU.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

import torch

import gpen


def gpu(function: Callable) -> Callable:
    """`function`, with a GPU lent for each call where there is ZeroGPU; otherwise the function itself."""
    spaces = _spaces()
    return spaces.GPU(function) if spaces else function


def restorer(net: gpen.GPEN) -> gpen.Restorer:
    """A Restorer of `net` with GPEN_ENGINE; where there is ZeroGPU the network is on cuda, with a GPU lent for every run."""
    if _spaces() is None:
        return gpen.Restorer(net, engine=os.environ.get("GPEN_ENGINE") or "torch")
    made = gpen.Restorer(copy.deepcopy(net).to("cuda"))
    made.starter = gpen.Restorer(net)
    run = made._run
    made._run = gpu(lambda x: run(x).cpu())  # x [n, 3, in_size, in_size], on the CPU -> [n, 3, size, size], likewise
    return made


def at_start(restorer: gpen.Restorer) -> gpen.Restorer:
    """The one that may run while the app starts, when no GPU is lent yet: with ZeroGPU that of the same network on the CPU."""
    return getattr(restorer, "starter", restorer)


def _spaces():
    """The package `spaces` where it is installed and there is a GPU, else None. It must come before CUDA's first use."""
    try:
        import spaces
    except ImportError:
        return None
    return spaces if torch.cuda.is_available() else None
