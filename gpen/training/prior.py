"""Stage 1: the GAN prior alone, StyleGAN2 with its noise concatenated (Karras et al., CVPR 2020; Yang et al., CVPR 2021)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.models import checkpoints
from gpen.models.network import Discriminator, Generator
from gpen.training.adversarial.ada import Augment
from gpen.training.adversarial.discriminator import DiscriminatorTrainer
from gpen.training.adversarial.projected import ProjectedTrainer
from gpen.training.auxiliary_encoder import AuxiliaryEncoder, kl_divergence, sample_z
from gpen.training.config import PriorConfig
from gpen.training.data.dataset import Faces
from gpen.training.data.fingerprints import inherited_notes, join_notes
from gpen.training.growing import load_prior_into
from gpen.training.loop import ema_update, train
from gpen.training.losses.terms import generator_logistic, range_penalty
from gpen.training.monitoring.validation import PriorValidation
from gpen.training.runtime.compilation import compiled
from gpen.training.runtime.parallel import Distributed

Noise = list[list[Tensor | None]]


class Prior:
    """Generator, its averaged weights, discriminator, and one step. All random numbers follow from the seed and the step."""

    def __init__(self, config: PriorConfig, group: Distributed):
        torch.manual_seed(config.seed)
        self.config, self.group, self.images_seen = config, group, 0
        self.autocast = torch.autocast(group.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
        place: dict[str, Any] = {"device": group.device, "memory_format": torch.channels_last}
        net = Generator(config.network)
        self.net = (load_prior_into(net, config.init) if config.init else net).to(**place)
        if not config.sample_noise:
            scales_to_zero(self.net)
        self.forward = compiled(self.net, config.compile, group.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.adversary = self._adversary(place)
        lazy = config.path_length_interval / (config.path_length_interval + 1) if self._regularizes else 1.0
        self.lr = config.lr * lazy
        betas = (config.beta1, 0.99**lazy)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr, betas=betas, fused=True)
        self.path_mean = torch.zeros((), device=group.device)
        self._parts = ["net", "ema", "adversary", "optimizer"]  # of a checkpoint
        if config.reconstruction_share:
            self.encoder = AuxiliaryEncoder(config.network.size, config.network.style_dim).to(group.device)
            encoder = self.encoder.parameters()
            self.encoder_optimizer = torch.optim.Adam(encoder, lr=config.lr_encoder, betas=(0.5, 0.99), fused=True)
            self._parts += ["encoder", "encoder_optimizer"]
        self.validation = PriorValidation(config, group) if config.validation.data and group.rank == 0 else None
        self.notes = join_notes(self.validation.notes if self.validation else {}, inherited_notes(config.init))

    def _adversary(self, place: dict[str, Any]) -> DiscriminatorTrainer | ProjectedTrainer:
        config = self.config
        if config.discriminator == "projected":
            return ProjectedTrainer(config, bool(config.reconstruction_share), self.group, self.autocast)
        augment = Augment(config.ada_target, config.ada_images) if config.ada_target else None
        net = Discriminator(config.discriminator_network).to(**place).requires_grad_(False)
        return DiscriminatorTrainer(net, config.lr, config.beta1, config.r1_weight, config.r1_interval, augment)

    @property
    def _regularizes(self) -> bool:
        return bool(self.config.path_length_weight and self.config.path_length_interval)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """One step on this process's real images [n, 3, size, size]; returns the losses."""
        config, step = self.config, self.images_seen // self.config.batch_size
        random = self._random(step)
        real = real.to(self.group.device, non_blocking=True)
        trains = self.images_seen >= config.frozen_images
        self.net.requires_grad_(trains)
        fake, losses = self._generate(real, random)
        if not fake.requires_grad:
            fake.requires_grad_(True)  # the balance of the heads needs gradients at the image
        losses |= self._losses(fake, real, step, random)
        losses |= self._update(losses, step, random, trains)
        if trains:
            ema_update(self.ema, self.net, config.batch_size, config.trained(self.images_seen), config.ema_half_life)
        if isinstance(self.adversary, ProjectedTrainer):
            losses |= self.adversary.step(config.lr_decay(self.images_seen))
        else:
            factor = config.lr_factor(self.images_seen)
            losses |= self.adversary.step(real, fake.detach(), step, factor, self.autocast, self.group, random)
        return {name: loss.detach() for name, loss in losses.items()}

    def _generate(self, real: Tensor, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Images [n, 3, size, size]: first reconstructions of as many real ones, then samples; and the loss of z."""
        z, noise, crossing = self._latent(self.config.batch_size, random)
        losses = {}
        if pairs := self.config.reconstructions(len(real)):
            with self.autocast:
                mean, log_variance = self.encoder(real[:pairs])
            losses["kl"] = kl_divergence(mean, log_variance)
            encoded = sample_z(mean, log_variance, z[0, :pairs])
            z = torch.cat([torch.cat([encoded, z[0, pairs:]])[None], z[1:]])
            crossing[:pairs] = len(self.net.blocks)  # a reconstruction has one style
        with self.autocast:
            return self.forward(self._styles(z, crossing), noise).float(), losses

    def _losses(self, fake: Tensor, real: Tensor, step: int, random: torch.Generator) -> dict[str, Tensor]:
        """The terms of the generator's loss by name, before their weights; images [n, 3, size, size]."""
        config, losses = self.config, {}
        if pairs := self.config.reconstructions(len(real)):
            losses["content"] = _content(fake[:pairs], real[:pairs])
        if config.range_weight:
            losses["range"] = range_penalty(fake)
        if isinstance(self.adversary, ProjectedTrainer):
            reference = config.content_weight * losses["content"] if pairs else None
            return losses | self.adversary.losses(fake, real, pairs, self.images_seen, step, random, reference)
        with self.autocast:
            return losses | {"adversarial": generator_logistic(self.adversary.scores(fake, random))}

    def _update(self, losses: dict[str, Tensor], step: int, random: torch.Generator, trains: bool) -> dict[str, Tensor]:
        """A step of the optimizers on the weighted sum of the losses; returns the loss of path length, where it is in turn.

        While the generator is frozen (not `trains`), the auxiliary encoder learns alone.
        """
        config, regularizer = self.config, {}
        total = torch.stack([getattr(config, f"{name}_weight", 1.0) * loss for name, loss in losses.items()]).sum()
        factor = config.lr_factor(self.images_seen)
        steps: list[tuple[nn.Module, torch.optim.Optimizer, float]] = [(self.net, self.optimizer, self.lr)] if trains else []
        if config.reconstruction_share:
            steps.append((self.encoder, self.encoder_optimizer, config.lr_encoder))
        for _, optimizer, _ in steps:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        if trains and self._regularizes and step % config.path_length_interval == 0:
            regularizer["path_length"] = self._path_length(random)
        for net, optimizer, lr in steps:
            self.group.average_gradients(net)
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()
        return regularizer

    def _random(self, step: int) -> torch.Generator:
        return torch.Generator(self.group.device).manual_seed(self.config.seed * 2**32 + step)

    def _latent(self, images: int, random: torch.Generator) -> tuple[Tensor, Noise, Tensor]:
        """z [2, n, d], noise, and the block [n] from which on the second style counts, of this process's share of `images`.

        Every process samples the numbers of all, so that any number of processes trains on the same ones.
        """
        config, blocks = self.config, len(self.net.blocks)
        z = torch.randn(2, images, config.network.style_dim, generator=random, device=self.group.device)
        mixes = torch.rand(images, generator=random, device=self.group.device) < config.style_mixing_probability
        crossing = torch.randint(1, blocks, (images,), generator=random, device=self.group.device)
        crossing = torch.where(mixes, crossing, blocks)  # [images]
        mine = slice(self.group.rank, None, self.group.processes)
        noise = [[None if x is None else x[mine] for x in block] for block in self.net.sample_noise(images, random)]
        if not config.sample_noise:
            noise = [[None if x is None else torch.zeros_like(x) for x in block] for block in noise]
        return z[:, mine], noise, crossing[mine]

    def _styles(self, z: Tensor, crossing: Tensor) -> Tensor:
        """w [n, blocks, d] of z [2, n, d], with style mixing (StyleGAN, section 3.1)."""
        w = self.net.mapping(z.flatten(0, 1)).unflatten(0, (2, -1))  # [2, n, d]
        first = torch.arange(len(self.net.blocks), device=w.device) < crossing[:, None]  # [n, blocks]
        return torch.where(first[:, :, None], w[0][:, None], w[1][:, None])

    def _path_length(self, random: torch.Generator) -> Tensor:
        """Add the gradient of path length regularisation (StyleGAN2, equation 4), on half a batch in float32.

        It pulls the norm of J_w^T y towards its running mean.
        """
        config = self.config
        images = max(self.group.processes, config.batch_size // 2)
        z, noise, crossing = self._latent(images, random)
        w = self._styles(z, crossing)
        fake = self.net(w, noise)
        y = torch.randn(images, *fake.shape[1:], generator=random, device=fake.device) / math.sqrt(fake[0, 0].numel())
        y = y[self.group.rank :: self.group.processes]
        (gradient,) = torch.autograd.grad((fake * y).sum(), w, create_graph=True)  # [n, blocks, d]
        length = gradient.square().sum(2).mean(1).sqrt()  # [n]
        mean = self.path_mean.lerp(self.group.mean(length.detach().mean()), 0.01)
        penalty = (length - mean).square().mean()
        (penalty * (config.path_length_weight * config.path_length_interval)).backward()
        self.path_mean = mean
        return penalty

    @torch.no_grad()
    def preview(self, real: Tensor) -> list[Tensor]:
        """Rows for a grid: three of samples of fixed latents, one of real faces, [n, 3, size, size] each."""
        random = torch.Generator(self.group.device).manual_seed(0)
        rows = []
        for _ in range(3):
            z = torch.randn(len(real), self.config.network.style_dim, generator=random, device=self.group.device)
            noise = self.ema.sample_noise(len(real), random)
            rows.append(self.ema(self.ema.mapping(z), noise).cpu())
        return [*rows, real]

    def validate(self) -> tuple[dict[str, float], dict[str, list[Tensor]]]:
        """Diversity and Frechet distance of the averaged generator's samples, and a sheet of fixed latents."""
        return self.validation(self.ema) if self.validation else ({}, {})

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        return {"stage": "prior", "path_mean": self.path_mean} | {name: getattr(self, name).state_dict() for name in self._parts}

    def load_state(self, state: dict) -> None:
        """The inverse of `state`. Raises RuntimeError, ValueError or KeyError for another network's."""
        for name in self._parts:
            getattr(self, name).load_state_dict(state[name])
        self.path_mean = state["path_mean"].to(self.group.device)

    def export(self, folder: Path) -> Path:
        """Write FOLDER/prior.safetensors (the averaged weights) and, of StyleGAN2's kind, FOLDER/discriminator.safetensors."""
        notes = self.config.notes(self.images_seen) | self.notes
        if isinstance(self.adversary, DiscriminatorTrainer):
            checkpoints.save(self.adversary.net, folder / "discriminator.safetensors", None, **notes)
        return checkpoints.save(self.ema, folder / "prior.safetensors", None, **notes)


@torch.no_grad()
def scales_to_zero(net: Generator) -> None:
    """Set the scalars of the noise inputs to 0. They stay there while the noise is 0, and the images do not depend on noise."""
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):
            parameter.zero_()


def _content(reconstructed: Tensor, real: Tensor) -> Tensor:
    """L1 at full size and at a quarter of the side."""
    return F.l1_loss(reconstructed, real) + F.l1_loss(F.avg_pool2d(reconstructed, 4), F.avg_pool2d(real, 4))


def train_prior(data: str | Path, out: str | Path, config: PriorConfig, resume: bool = False, device: str | None = None) -> Path:
    """Train on the faces in `data`; returns OUT/prior.safetensors. Raises GPENError for what a user can correct."""
    dataset = Faces(data, config)
    return train(Prior(config, Distributed(device)), dataset, out, resume)
