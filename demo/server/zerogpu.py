"""Support for Hugging Face Spaces with ZeroGPU, which assigns a GPU for the duration of a call.

ZeroGPU requires that networks are moved to CUDA during startup and that functions that use them are decorated with
spaces.GPU. A decorated call runs in another process, so its arguments and results must be on the CPU. Without ZeroGPU the
functions of this module have no effect.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

import gpen


def gpu(function: Callable) -> Callable:
    """Decorate `function` with spaces.GPU on ZeroGPU; return it unchanged otherwise."""
    spaces = _spaces()
    return spaces.GPU(function) if spaces else function


class ZeroGPURestorer(gpen.Restorer):
    """A Restorer whose network is on CUDA and runs with a GPU that is requested for each call.

    Attributes:
        startup: a Restorer of the same network on the CPU, for calls during startup, when no GPU is available yet.
    """

    def __init__(self, net: gpen.GPEN):
        super().__init__(copy.deepcopy(net).to("cuda"))
        self.startup = gpen.Restorer(net)
        run = super()._run
        self._run_on_gpu = gpu(lambda x: run(x).cpu())

    def _run(self, x: Tensor) -> Tensor:  # x [n, 3, in_size, in_size] on the CPU -> [n, 3, size, size] on the CPU
        return self._run_on_gpu(x)


def make_restorer(net: gpen.GPEN) -> gpen.Restorer:
    """Return a Restorer of `net` with the engine in GPEN_ENGINE; on ZeroGPU a ZeroGPURestorer."""
    if _spaces() is None:
        return gpen.Restorer(net, engine=os.environ.get("GPEN_ENGINE") or "torch")
    return ZeroGPURestorer(net)


def startup_restorer(restorer: gpen.Restorer) -> gpen.Restorer:
    """Return the restorer to use during startup, when ZeroGPU provides no GPU yet."""
    return restorer.startup if isinstance(restorer, ZeroGPURestorer) else restorer


def _spaces() -> ModuleType | None:
    """Return the package `spaces` if it is installed and CUDA is available, else None.

    The import must precede the first use of CUDA.
    """
    try:
        import spaces
    except ImportError:
        return None
    return spaces if torch.cuda.is_available() else None
