"""Support for Hugging Face Spaces with ZeroGPU, which assigns a GPU for the duration of a call.

ZeroGPU requires that networks are moved to CUDA during startup and that functions that use them are decorated with
spaces.GPU. A decorated call runs in another process, so its arguments and results must be on the CPU. Without ZeroGPU the
functions of this module have no effect.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

import torch

import gpen


def gpu(function: Callable) -> Callable:
    """Decorate `function` with spaces.GPU on ZeroGPU; return it unchanged otherwise."""
    spaces = _spaces()
    return spaces.GPU(function) if spaces else function


def make_restorer(net: gpen.GPEN) -> gpen.Restorer:
    """Return a Restorer of `net` with the engine in GPEN_ENGINE; on ZeroGPU the network is on CUDA."""
    if _spaces() is None:
        return gpen.Restorer(net, engine=os.environ.get("GPEN_ENGINE") or "torch")
    made = gpen.Restorer(copy.deepcopy(net).to("cuda"))
    made.starter = gpen.Restorer(net)
    run = made._run
    made._run = gpu(lambda x: run(x).cpu())  # x [n, 3, in_size, in_size], on the CPU -> [n, 3, size, size], likewise
    return made


def startup_restorer(restorer: gpen.Restorer) -> gpen.Restorer:
    """Return a restorer that can run during startup, when ZeroGPU provides no GPU yet: on the CPU."""
    return getattr(restorer, "starter", restorer)


def _spaces():
    """Return the package `spaces` if it is installed and CUDA is available, else None.

    The import must precede the first use of CUDA.
    """
    try:
        import spaces
    except ImportError:
        return None
    return spaces if torch.cuda.is_available() else None
