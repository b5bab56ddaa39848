"""Initialisation of stage 2 without a prior: the network starts as the identity.

Three channels of the encoder's first feature hold the input's colours. Concatenated at full resolution, they reach the last
to-RGB layer, which starts as a copy of them; all other to-RGB layers start at zero.

A network trained from this start can be blended with its input afterwards, within its weights: `blend_with_input`, or

    python -m gpen blend RUN/gpen.safetensors --data FACES --alpha 0.4 --out FILE.safetensors
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from gpen.errors import GPENError
from gpen.models.blocks import StyleGAN2Block
from gpen.models.network import GPEN
from gpen.models.ops import GAIN

IDENTITY = "identity"  # value of the setting `init` that selects this start
COLORS = 3


@torch.no_grad()
def start_as_identity(net: GPEN) -> GPEN:
    """Set `net` so that net(x) = x for x in [-1, 1]; its other weights stay random.

    Raises GPENError for settings that do not allow it.
    """
    config, blocks = net.config, cast("list[StyleGAN2Block]", net.generator.blocks)
    last = blocks[-1]
    fits = config.noise_mode == "concat" and config.block == "stylegan2" and config.in_size == config.size
    if not fits or config.channels(config.size) < COLORS:
        raise GPENError('init = "identity" needs StyleGAN2 blocks, concatenated features, an input as large as the output.')
    stem, first = net.encoder.levels[0], config.channels(config.size)  # the feature comes after the block's own channels
    mine = slice(first, first + COLORS)
    stem.weight[:COLORS] = torch.eye(COLORS)[:, :, None, None] / stem.scale
    # x + 1 is not negative, and passes the leaky ReLU, which multiplies by GAIN, as it is
    cast(Tensor, stem.bias)[:COLORS] = 1.0
    last.conv.noise_scale.fill_(1.0)
    for block in blocks:
        block.to_rgb.weight.zero_()
    last.to_rgb.weight[:, mine] = torch.eye(COLORS) / (last.to_rgb.scale * GAIN**2)
    last.to_rgb.style.weight[mine] = 0.0
    last.to_rgb.bias.fill_(-1.0)
    return net


@torch.no_grad()
def blend_with_input(net: GPEN, alpha: float, examples: Tensor) -> GPEN:
    """Change the weights of a network that started as the identity so that its output is alpha * x + (1 - alpha) * net(x).

    The new term uses the three channels that held the input at the start. It is exact where their style is the same for all
    faces; the mean style is measured on `examples` [n, 3, size, size], typical inputs. alpha 0 changes nothing.
    Raises GPENError where the channels no longer hold the input.
    """
    blocks = cast("list[StyleGAN2Block]", net.generator.blocks)
    config, stem, last = net.config, net.encoder.levels[0], blocks[-1]
    first = config.channels(config.size)
    mine = slice(first, first + COLORS)
    gain = GAIN**2 * last.conv.noise_scale
    mix = gain * stem.weight[:COLORS, :, 0, 0] * stem.scale  # [3, 3], maps the input's colours to the concatenated channels,
    shift = gain * cast(Tensor, stem.bias)[:COLORS] + GAIN * last.conv.bias[mine]  # with this offset
    if not torch.linalg.cond(mix) <= 2:  # a singular one has no condition number
        raise GPENError("The first three channels of this network do not hold its input: it was not initialised as the identity.")
    style = last.to_rgb.style(net.generator.mapping(net.encoder(examples)[0]))[:, mine].mean(0)  # [3]
    inverse = torch.linalg.inv(mix)
    for block in blocks:
        block.to_rgb.weight.mul_(1 - alpha)
        block.to_rgb.bias.mul_(1 - alpha)
    last.to_rgb.weight[:, mine] += alpha * inverse / (last.to_rgb.scale * style)
    last.to_rgb.bias.sub_(alpha * inverse @ shift)
    return net
