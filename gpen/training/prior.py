"""Stage 1: the GAN prior alone, StyleGAN2 with its noise concatenated (Karras et al., CVPR 2020; Yang et al., CVPR 2021)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import checkpoints
from ..network import Discriminator, Generator, resolutions
from .augment import Augment
from .config import PriorConfig
from .data import Faces
from .judge import Judge
from .loop import follow, train
from .losses import generator_logistic
from .parallel import Group

Noise = list[list[Tensor | None]]


class Prior:
    """Generator, its average, discriminator, and one step. All random numbers follow from the seed and the step."""

    def __init__(self, config: PriorConfig, group: Group):
        torch.manual_seed(config.seed)
        self.config, self.group, self.shown = config, group, 0
        place: dict[str, Any] = {"device": group.device, "memory_format": torch.channels_last}
        self.net = Generator(config.network).to(**place)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        augment = Augment(config.augment_target, config.augment_images) if config.augment_target else None
        judge = Discriminator(config.discriminator).to(**place)
        self.judge = Judge(judge, config.lr, 0.0, config.r1, config.r1_every, augment)
        self.judge.net.requires_grad_(False)
        lazy = config.path_every / (config.path_every + 1) if self._regularizes else 1.0
        self.lr = config.lr * lazy
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr, betas=(0.0, 0.99**lazy))
        self.path_mean = torch.zeros((), device=group.device)

    @property
    def _regularizes(self) -> bool:
        return bool(self.config.path_length and self.config.path_every)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """One step on this process's real images [n, 3, size, size]; returns the losses."""
        config, step = self.config, self.shown // self.config.batch
        random = self._random(step)
        real = real.to(self.group.device, non_blocking=True)
        autocast = torch.autocast(self.group.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
        with autocast:
            fake = self.net(*self._latent(config.batch, random))
            loss = generator_logistic(self.judge.scores(fake, random))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        losses = {"adversarial": loss.detach()}
        if self._regularizes and step % config.path_every == 0:
            losses["path"] = self._regularize(random)
        self.group.average_gradients(self.net)
        rate = config.rate(self.shown)
        self.optimizer.param_groups[0]["lr"] = self.lr * rate
        self.optimizer.step()
        losses |= self.judge.step(real, fake.detach(), step, rate, autocast, self.group, random)
        follow(self.average, self.net, config.batch, self.shown, config.ema)
        return losses

    def _random(self, step: int) -> torch.Generator:
        return torch.Generator(self.group.device).manual_seed(self.config.seed * 2**32 + step)

    def _latent(self, images: int, random: torch.Generator) -> tuple[Tensor, Noise]:
        """w [n, blocks, d] and noise of this process's share of `images`; every process draws all, so that all agree."""
        config, blocks = self.config, len(self.net.blocks)
        z = torch.randn(2, images, config.network.style_dim, generator=random, device=self.group.device)
        mixes = torch.rand(images, generator=random, device=self.group.device) < config.style_mixing
        crossing = torch.randint(1, blocks, (images,), generator=random, device=self.group.device)
        crossing = torch.where(mixes, crossing, blocks)  # [images]: from this block on, the second style
        mine = slice(self.group.rank, None, self.group.processes)
        w = self.net.mapping(z[:, mine].flatten(0, 1)).unflatten(0, (2, -1))  # [2, n, d]
        first = torch.arange(blocks, device=w.device) < crossing[mine, None]  # [n, blocks]
        w = torch.where(first[:, :, None], w[0][:, None], w[1][:, None])
        noise = [self.net.noise(side, images, random) for side in resolutions(config.network.size)]
        return w, [[None if layer is None else layer[mine] for layer in block] for block in noise]

    def _regularize(self, random: torch.Generator) -> Tensor:
        """Path length (StyleGAN2, equation 4): the norm of J_w^T y should be its own running mean. Half a batch, in float32."""
        config = self.config
        images = max(self.group.processes, config.batch // 2)
        w, noise = self._latent(images, random)
        fake = self.net(w, noise)
        y = torch.randn(images, *fake.shape[1:], generator=random, device=fake.device) / math.sqrt(fake[0, 0].numel())
        y = y[self.group.rank :: self.group.processes]
        (gradient,) = torch.autograd.grad((fake * y).sum(), w, create_graph=True)  # [n, blocks, d]
        length = gradient.square().sum(2).mean(1).sqrt()  # [n]
        mean = self.path_mean.lerp(self.group.mean(length.detach().mean()), 0.01)
        penalty = (length - mean).square().mean()
        (penalty * (config.path_length * config.path_every)).backward()
        self.path_mean = mean
        return penalty.detach()

    @torch.no_grad()
    def preview(self, real: Tensor) -> list[Tensor]:
        """Rows for a grid: three of samples, one of real faces, [n, 3, size, size] each."""
        random = torch.Generator(self.group.device).manual_seed(0)
        rows = []
        for _ in range(3):
            z = torch.randn(len(real), self.config.network.style_dim, generator=random, device=self.group.device)
            noise = [self.average.noise(side, len(real), random) for side in resolutions(self.config.network.size)]
            rows.append(self.average(self.average.mapping(z), noise).cpu())
        return [*rows, real]

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        parts = ("net", "average", "judge", "optimizer")
        return {"stage": "prior", "path_mean": self.path_mean} | {name: getattr(self, name).state_dict() for name in parts}

    def load_state(self, state: dict) -> None:
        """The inverse of `state`. Raises RuntimeError, ValueError or KeyError for another network's."""
        for name in ("net", "average", "judge", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.path_mean = state["path_mean"].to(self.group.device)

    def export(self, folder: Path) -> Path:
        """Write FOLDER/prior.safetensors (the average) and FOLDER/discriminator.safetensors."""
        checkpoints.save(self.judge.net, folder / "discriminator.safetensors")
        return checkpoints.save(self.average, folder / "prior.safetensors", shown=str(self.shown))


def train_prior(data: str | Path, out: str | Path, config: PriorConfig, resume: bool = False, device: str | None = None) -> Path:
    """Train on the faces in `data`; returns OUT/prior.safetensors. Raises GPENError where a user can mend it."""
    dataset = Faces(data, config)
    return train(Prior(config, Group(device)), dataset, out, resume)
