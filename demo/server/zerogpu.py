"""Support for Hugging Face Spaces with ZeroGPU, which assigns a GPU for the duration of a call.

ZeroGPU requires that networks are moved to CUDA during startup and that functions that use them are decorated with
spaces.GPU. A decorated call runs in another process, so its arguments and results must be on the CPU. It reserves the GPU for
a number of seconds, which counts against the quota of the visitor: shorter reservations are served first. Small networks, such
as the default model, stay on the CPU: they are faster there than a GPU can be assigned. Without ZeroGPU the functions of this
module have no effect.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

import gpen

MAX_CPU_PARAMETERS = 10_000_000  # networks with at most as many stay on the CPU; the default model has 7.7 million
STARTUP_SECONDS = 10.0  # of a reservation, for the process and the copy of the network
SECONDS_PER_IMAGE = 0.5  # of a reservation, for an image of 512 px; several times what a GPU needs


def seconds(net: gpen.GPEN, n: int = 1) -> int:
    """Return the duration of a reservation for `n` images, which grows with the pixels of the network output."""
    return math.ceil(STARTUP_SECONDS + SECONDS_PER_IMAGE * n * (net.size / 512) ** 2)


def gpu(function: Callable, restorer: gpen.Restorer, n: int | Callable[..., int] = 1) -> Callable:
    """Decorate `function` with spaces.GPU if `restorer` is on a ZeroGPU; return it unchanged otherwise.

    n: number of images that a call restores, or a function of the arguments of the call that returns it.
    """
    spaces = _spaces()
    if spaces is None or not isinstance(restorer, ZeroGPURestorer):
        return function
    return spaces.GPU(duration=lambda *args: seconds(restorer.net, n(*args) if callable(n) else n))(function)


class ZeroGPURestorer(gpen.Restorer):
    """A Restorer whose network is on CUDA and runs with a GPU that is requested for each call.

    Attributes:
        startup: a Restorer of the same network on the CPU, for calls during startup, when no GPU is available yet.
    """

    def __init__(self, net: gpen.GPEN):
        super().__init__(copy.deepcopy(net).to("cuda"))
        self.startup = gpen.Restorer(net)
        run = super()._run
        self._run_on_gpu = gpu(lambda x: run(x).cpu(), self, len)

    def _run(self, x: Tensor) -> Tensor:  # x [n, 3, in_size, in_size] on the CPU -> [n, 3, size, size] on the CPU
        return self._run_on_gpu(x)


def make_restorer(net: gpen.GPEN) -> gpen.Restorer:
    """Return a Restorer of `net` with the engine in GPEN_ENGINE; on ZeroGPU a ZeroGPURestorer if the network is large."""
    if _spaces() is None or sum(parameter.numel() for parameter in net.parameters()) <= MAX_CPU_PARAMETERS:
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
