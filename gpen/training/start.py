"""Where stage 2 without a prior starts: at the identity, so that what the network has not learnt it leaves alone.

From random weights a network spends its first thousands of images on finding its input again, and then draws a face of its own.
Here three channels of the encoder's first feature hold the input's colours; concatenated at full resolution, they reach the last
colour layer, which begins as a copy of them. Every other colour layer begins at zero.

A network so trained can be drawn back towards its input afterwards, within its weights: `lean_on_input`, or

    python -m gpen.training.start RUN/gpen.safetensors --data FACES --share 0.4 --out FILE.safetensors
"""

from __future__ import annotations

import argparse
import sys
from typing import cast

import torch
from torch import Tensor

from .. import checkpoints
from ..blocks import StyleGAN2Block
from ..errors import GPENError, exit_status
from ..network import GPEN
from ..ops import GAIN
from .config import FinetuneConfig
from .data import FacePairs

IDENTITY = "identity"  # what `init` of the settings says for it
COLOURS = 3


@torch.no_grad()
def start_as_identity(net: GPEN) -> GPEN:
    """Set `net` so that net(x) = x for x in [-1, 1]; the rest stays random. Raises GPENError where the settings rule that out."""
    config, blocks = net.config, cast("list[StyleGAN2Block]", net.generator.blocks)
    last = blocks[-1]
    fits = config.noise_mode == "concat" and config.block == "stylegan2" and config.in_size == config.size
    if not fits or config.channels(config.size) < COLOURS:
        raise GPENError('init = "identity" needs StyleGAN2 blocks, concatenated features, an input as large as the output.')
    stem, first = net.encoder.levels[0], config.channels(config.size)  # the feature comes after the block's own channels
    mine = slice(first, first + COLOURS)
    stem.weight[:COLOURS] = torch.eye(COLOURS)[:, :, None, None] / stem.scale
    # x + 1 is not negative, and passes the leaky ReLU, which multiplies by GAIN, as it is
    cast(Tensor, stem.bias)[:COLOURS] = 1.0
    last.conv.noise_scale.fill_(1.0)
    for block in blocks:
        block.to_rgb.weight.zero_()
    last.to_rgb.weight[:, mine] = torch.eye(COLOURS) / (last.to_rgb.scale * GAIN**2)
    last.to_rgb.style.weight[mine] = 0.0
    last.to_rgb.bias.fill_(-1.0)
    return net


@torch.no_grad()
def lean_on_input(net: GPEN, share: float, examples: Tensor) -> GPEN:
    """Change the weights of a network that started as the identity so that it gives share * x + (1 - share) * net(x).

    The new term reads the input off the three channels that held it at the start. It is exact where their style is the same for
    every face; `examples` [n, 3, size, size], inputs of the kind the network is for, tell the mean style. `share` 0 changes
    nothing. Raises GPENError where the channels no longer hold the input.
    """
    blocks = cast("list[StyleGAN2Block]", net.generator.blocks)
    config, stem, last = net.config, net.encoder.levels[0], blocks[-1]
    first = config.channels(config.size)
    mine = slice(first, first + COLOURS)
    gain = GAIN**2 * last.conv.noise_scale
    mix = gain * stem.weight[:COLOURS, :, 0, 0] * stem.scale  # [3, 3], from the input's colours to the concatenated channels,
    shift = gain * cast(Tensor, stem.bias)[:COLOURS] + GAIN * last.conv.bias[mine]  # which also hold this
    if not torch.linalg.cond(mix) <= 2:  # a singular one has no condition number
        raise GPENError("This network no longer holds its input in its first three channels: it did not start as the identity.")
    style = last.to_rgb.style(net.generator.mapping(net.encoder(examples)[0]))[:, mine].mean(0)  # [3]
    inverse = torch.linalg.inv(mix)
    for block in blocks:
        block.to_rgb.weight.mul_(1 - share)
        block.to_rgb.bias.mul_(1 - share)
    last.to_rgb.weight[:, mine] += share * inverse / (last.to_rgb.scale * style)
    last.to_rgb.bias.sub_(share * inverse @ shift)
    return net


def main() -> int:
    """The command above, its exit status; the file is stored in float16."""
    parser = argparse.ArgumentParser("python -m gpen.training.start")
    parser.add_argument("model")
    parser.add_argument("--data", required=True, metavar="DIR", help="faces, degraded as gpen-release does, for the mean style")
    parser.add_argument("--share", type=float, required=True, help="of the input in the answer, 0 to 1")
    parser.add_argument("--out", required=True, metavar="FILE")
    options = parser.parse_args()
    return exit_status(lambda: _store(options))


def _store(options: argparse.Namespace) -> None:
    net = checkpoints.load(options.model)
    pairs = FacePairs(options.data, FinetuneConfig(network=net.config))
    lean_on_input(net, options.share, torch.stack([pairs[i][0] for i in range(64)]))
    print(checkpoints.save(net, options.out, torch.float16, lean=str(options.share)))


if __name__ == "__main__":
    sys.exit(main())
