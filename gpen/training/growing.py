"""A prior of one size as the start of a larger network: the new resolutions begin without colours of their own.

The blocks up to the prior's size are copied. The colour weights of the blocks above start at zero, so that the larger generator
first gives the prior's images, enlarged by its resampling filter.
"""

from __future__ import annotations

import torch

from gpen.errors import GPENError
from gpen.models import checkpoints
from gpen.models.network import Generator


@torch.no_grad()
def load_prior_into(net: Generator, file: str) -> Generator:
    """Copy the prior in `file`, of the same or of a smaller size, into `net`; returns `net`.

    Raises GPENError where the prior is larger, or has other widths, blocks or noise inputs.
    """
    source = checkpoints.load_prior(file)
    own, found = net.state_dict(), source.state_dict()
    misfit = [name for name, tensor in found.items() if name not in own or own[name].shape != tensor.shape]
    if misfit or source.config.size > net.config.size:
        raise GPENError(
            f"{file} holds a prior of other settings ({source.config.size} px) than the configuration ({net.config.size} px): "
            "give one of the same widths and style, and of the same or of a smaller size."
        )
    net.load_state_dict(found, strict=False)
    for name, parameter in net.named_parameters():
        if name not in found and ".to_rgb." in name and ".style." not in name:
            parameter.zero_()
    return net
