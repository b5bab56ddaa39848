"""A small U-Net as a baseline without a GAN prior, trained with L1 and optionally a GAN loss.

    python -m eval train-unet --data DIR --out RUN    writes RUN/unet.safetensors for the method unet:PATH
    python -m eval train-unet --data DIR --out TWIN --start RUN/unet.safetensors --adversarial

The method unet without a path uses assets/unet-SIZE.safetensors.

Architecture of O. Ronneberger, P. Fischer, T. Brox, MICCAI 2015, with a residual connection from input to output.

It is trained in the loop of stage 2, but not as GPEN is, so a difference between the two is not due to the networks alone:

                       U-Net                                      the default model (configs/default-256.toml)
    losses             L1; with --adversarial also a GAN loss     L1 on three levels, LPIPS on SqueezeNet features,
                       of weight 0.05                             identity, and an adversarial loss of share 0.12
    discriminator      none, or a narrow one of StyleGAN2         projected: heads on frozen features
    degradations       gpen-release                               four presets, mixed
    images             --data, 40,000 by default                  assets/MODEL_CARD.md; a quarter of them augmented
    start              the identity, or --start FILE              an earlier model

The paper's GPEN has L1, an adversarial loss and feature matching, and starts from a GAN prior.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gpen.errors import GPENError
from gpen.images import replace_atomically, to_image, to_tensor
from gpen.models.config import GPENConfig
from gpen.training.config import FinetuneConfig
from gpen.training.finetune import Finetune
from gpen.training.runtime.parallel import Distributed

WIDTHS = (24, 48, 96, 168)  # channels at scale 1, 1/2, 1/4, 1/8: one million parameters
ADVERSARIAL = 0.05  # weight of the adversarial loss relative to L1


class UNet(nn.Module):
    """y = net(x), images [n, 3, size, size] in [-1, 1]; the sides must be multiples of 8."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size  # px, of the training images
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip((3, *WIDTHS), WIDTHS, strict=False))
        self.up = nn.ModuleList(_convolutions(a + b, a) for a, b in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True))
        self.last = nn.Conv2d(WIDTHS[0], 3, 1)
        nn.init.zeros_(self.last.weight)  # initially the identity
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(self, x: Tensor) -> Tensor:
        skips, y = [], x
        for k, level in enumerate(self.down):
            y = level(F.avg_pool2d(y, 2) if k else y)  # [n, WIDTHS[k], h / 2^k, w / 2^k]
            skips.append(y)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            y = level(torch.cat([skip, y], 1))
        return x + self.last(y)


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2))


@torch.inference_mode()
def restore(net: UNet, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Restore images, uint8 RGB [net.size, net.size, 3] each."""
    x = torch.stack([to_tensor(image) for image in images]).to(net.last.weight.device)
    return [to_image(y) for y in net(x)]


def save(net: UNet, path: Path, notes: dict[str, str] | None = None) -> Path:
    """Write `net` and `notes` to a .safetensors file in float16, sufficient for 8-bit results; returns its path."""
    state = {name: tensor.detach().cpu().half().contiguous() for name, tensor in net.state_dict().items()}
    with replace_atomically(path) as partial:
        save_file(state, partial, {"format": "gpen-unet", "size": str(net.size)} | (notes or {}))
    return path


def load(path: Path, device: str = "cpu") -> UNet:
    """Load a U-Net written by `save`. Raises GPENError for another file."""
    try:
        with safe_open(path, "pt") as file:
            net = UNet(int(file.metadata()["size"]))
            net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise GPENError(f"{path} is not a U-Net; train one with python -m eval train-unet --data DIR --out RUN.") from error
    return net.to(device).eval().requires_grad_(False)


class UNetTraining(Finetune):
    """Training of stage 2 with a U-Net instead of GPEN."""

    net: Any  # a UNet
    ema: Any

    def __init__(self, config: FinetuneConfig, group: Distributed, start: str | Path | None = None):
        """start: file of a U-Net of the same size to start from; None: the identity. Raises GPENError for another file."""
        super().__init__(config, group)  # creates the discriminator, and a narrow GPEN that is replaced
        self.net = self._place(_initial(config.network.size, start))
        self.forward = self.net
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.lr_decoder, betas=(config.beta1, 0.99))
        self.rates = [config.lr_decoder]

    def export(self, folder: Path) -> Path:
        """Write FOLDER/unet.safetensors (the averaged network)."""
        return save(self.ema, folder / "unet.safetensors", self.notes)


def _initial(size: int, start: str | Path | None) -> UNet:
    """The U-Net for training at `size` px: that of the file `start`, or the identity."""
    if start is None:
        return UNet(size)
    net = load(Path(start)).requires_grad_(True)
    if net.size != size:
        raise GPENError(f"--start {start} was trained at {net.size} px: give a U-Net of {size} px, or --size {net.size}.")
    return net


def unet_config(
    size: int, images: int, adversarial: bool, seed: int = 0, precision: str = "float32", allow_upscaled: bool = False
) -> FinetuneConfig:
    """Settings of stage 2 for a U-Net at `size` px.

    The width of the network applies to the discriminator only.
    """
    return FinetuneConfig(
        network=GPENConfig(size=size, narrow=0.125, channel_multiplier=1),
        total_images=images,
        seed=seed,
        precision=precision,
        adversarial_weight=ADVERSARIAL if adversarial else 0.0,
        feature_matching_weight=0.0,
        frozen_images=min(400, images // 30) if adversarial else 0,  # the discriminator learns first
        lr_decoder=5e-4 if adversarial else 1e-3,
        lr_discriminator=5e-4,
        beta1=0.5 if adversarial else 0.9,
        grad_clip=1.0,
        lr_warmup_images=400,
        lr_decay_fraction=0.3,
        ema_half_life=1000,
        save_interval=1000,
        allow_upscaled=allow_upscaled,
    )
