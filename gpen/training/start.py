"""Where stage 2 without a prior starts: at the identity, so that what the network has not learnt it leaves alone.

From random weights a network spends its first thousands of images on finding its input again, and then draws a face of its own.
Here three channels of the encoder's first feature hold the input's colours; concatenated at full resolution, they reach the last
colour layer, which begins as a copy of them. Every other colour layer begins at zero.
"""

from __future__ import annotations

import torch

from ..errors import GPENError
from ..network import GPEN
from ..ops import GAIN

IDENTITY = "identity"  # what `init` of the settings says for it
COLOURS = 3


@torch.no_grad()
def start_as_identity(net: GPEN) -> GPEN:
    """Set `net` so that net(x) = x for x in [-1, 1]; the rest stays random. Raises GPENError where the settings rule that out."""
    config, last = net.config, net.generator.blocks[-1]
    fits = config.noise_mode == "concat" and config.block == "stylegan2" and config.in_size == config.size
    if not fits or config.channels(config.size) < COLOURS:
        raise GPENError('init = "identity" needs StyleGAN2 blocks, concatenated features, an input as large as the output.')
    stem, first = net.encoder.levels[0], config.channels(config.size)  # the feature comes after the block's own channels
    mine = slice(first, first + COLOURS)
    stem.weight[:COLOURS] = torch.eye(COLOURS)[:, :, None, None] / stem.scale
    stem.bias[:COLOURS] = 1.0  # x + 1 is not negative, and passes the leaky ReLU, which multiplies by GAIN, as it is
    last.conv.noise_scale.fill_(1.0)
    for block in net.generator.blocks:
        block.to_rgb.weight.zero_()
    last.to_rgb.weight[:, mine] = torch.eye(COLOURS) / (last.to_rgb.scale * GAIN**2)
    last.to_rgb.style.weight[mine] = 0.0
    last.to_rgb.bias.fill_(-1.0)
    return net
