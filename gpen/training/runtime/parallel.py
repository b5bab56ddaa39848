"""Training in one process or in several (`accelerate launch`): ranks, and averages over all processes.

Gradients are averaged explicitly after each backward pass, as in the reference StyleGAN2, not by a wrapper of the network:
regularisers that differentiate a gradient, and several passes per step, then need no special treatment.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from gpen.optional import import_optional


class Distributed:
    """The processes of a run. `rank` 0 writes files."""

    def __init__(self, device: str | None = None):
        self.rank, self.processes = 0, 1
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            self._join(device)

    def _join(self, device: str | None) -> None:
        accelerate = import_optional("accelerate", "train", "A run with several processes")
        state = accelerate.PartialState(cpu=device == "cpu")
        self.rank, self.processes, self.device = state.process_index, state.num_processes, state.device

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.processes == 1:
            return value
        value = value.clone()
        torch.distributed.all_reduce(value)
        return value / self.processes

    def average_gradients(self, net: nn.Module) -> None:
        """Replace every gradient by its mean over the processes."""
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        if self.processes == 1 or not gradients:
            return
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until every process has reached this call."""
        if self.processes > 1:
            torch.distributed.barrier()
