"""Stage 2: the whole network on pairs, L = L_A + alpha L_C + beta L_F (Yang et al., CVPR 2021)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen.errors import GPENError
from gpen.models import checkpoints
from gpen.models.network import GPEN, Discriminator
from gpen.training.adversarial.discriminator import DiscriminatorTrainer
from gpen.training.adversarial.projected import ProjectedTrainer
from gpen.training.config import FinetuneConfig
from gpen.training.data.dataset import FacePairs
from gpen.training.data.fingerprints import inherited_notes, join_notes
from gpen.training.growing import load_prior_into
from gpen.training.initialization import IDENTITY, start_as_identity
from gpen.training.loop import ema_update, train
from gpen.training.losses.identity import FaceRecognitionNet, IdentityLoss
from gpen.training.losses.terms import content, feature_matching, generator_logistic
from gpen.training.monitoring.validation import RestorationValidation
from gpen.training.runtime.compilation import compiled
from gpen.training.runtime.parallel import Distributed

Net = TypeVar("Net", bound=nn.Module)


class Finetune:
    """The networks, the averaged weights, the optimizers, and one training step."""

    def __init__(self, config: FinetuneConfig, group: Distributed):
        torch.manual_seed(config.seed)
        self.config, self.group, self.images_seen = config, group, 0
        self.autocast = torch.autocast(group.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
        self.net = self._place(_initial(config))
        self.net.generator.requires_grad_(not config.freeze_prior)
        self.forward = compiled(self.net, config.compile, group.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.adversary = self._adversary()
        self.identity = self._identity()
        self.optimizer = torch.optim.Adam(self._parameter_groups(), betas=(config.beta1, 0.99), fused=True)
        self.rates = [parameters["lr"] for parameters in self.optimizer.param_groups]
        self.validation = RestorationValidation(config, group) if config.validation.data and group.rank == 0 else None
        self.notes = join_notes(self.validation.notes if self.validation else {}, inherited_notes(*_sources(config)))

    def _place(self, net: Net) -> Net:
        net.to(device=self.group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        return net.train()

    def _adversary(self) -> DiscriminatorTrainer | ProjectedTrainer:
        config = self.config
        if config.discriminator == "projected":
            return ProjectedTrainer(config, True, self.group, self.autocast)
        net = Discriminator(config.discriminator_network)
        net = _load_whole(net, config.init_discriminator, checkpoints.load_discriminator)
        return DiscriminatorTrainer(self._place(net), config.lr_discriminator, config.beta1, config.r1_weight, config.r1_interval)

    def _identity(self) -> IdentityLoss | None:
        config = self.config
        if not config.identity_weight:
            return None
        net = self._place(FaceRecognitionNet(cast(str, config.identity_model)))
        return IdentityLoss(net, config.identity_jitter, config.identity_color_jitter)

    def _parameter_groups(self) -> list[dict]:
        config, generator = self.config, self.net.generator
        scales = [p for name, p in generator.named_parameters() if name.endswith("noise_scale")]
        decoder = [p for name, p in generator.named_parameters() if not name.endswith("noise_scale")]
        return [
            {"params": list(self.net.encoder.parameters()), "lr": config.lr_encoder},
            {"params": decoder, "lr": config.lr_decoder},
            {"params": scales, "lr": config.lr_decoder * config.lr_scales},
        ]

    def step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """One step on this process's (degraded, target), [n, 3, s, s] each; returns the losses."""
        config = self.config
        degraded, target = (x.to(self.group.device, non_blocking=True) for x in batch)
        trains = self.images_seen >= config.frozen_images
        with self.autocast, torch.set_grad_enabled(trains):
            restored = self._restore(degraded)
        if not trains:
            restored = restored.detach().requires_grad_(True)  # the balance of the heads needs gradients at the image
        losses = self._losses(restored.float(), target)
        if trains:
            losses |= self._update(losses)
            ema_update(self.ema, self.net, config.batch_size, config.trained(self.images_seen), config.ema_half_life)
        if isinstance(self.adversary, ProjectedTrainer):
            losses |= self.adversary.step(config.lr_decay(self.images_seen))
        elif config.uses_discriminator:
            rate = config.lr_factor(self.images_seen)
            losses |= self.adversary.step(target, restored.detach(), self._step_number, rate, self.autocast, self.group)
        return {name: loss.detach() for name, loss in losses.items()}

    def _restore(self, degraded: Tensor) -> Tensor:
        """degraded [n, 3, in_size, in_size] -> [n, 3, size, size], with the features of some of the images dropped."""
        dropout = self.config.feature_dropout
        if not dropout:
            return self.forward(degraded)
        random = torch.rand(len(degraded), generator=self._random(), device=self.group.device)
        return self.forward(degraded, feature_mask=(random >= dropout).float())

    @property
    def _step_number(self) -> int:
        return self.images_seen // self.config.batch_size

    def _losses(self, restored: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms of the network's loss by name, before their weights; images [n, 3, size, size]."""
        config, random = self.config, self._random()
        losses = {"content": content(restored, target, config.content_levels)}
        if isinstance(self.adversary, ProjectedTrainer):
            pairs = len(target)
            losses |= self.adversary.losses(restored, target, pairs, self.images_seen, self._step_number, random, None)
        elif config.uses_discriminator:
            losses |= self._stylegan2_losses(self.adversary.net, restored, target)
        if self.identity:
            every = config.identity_interval
            with self.autocast:
                losses["identity"] = self.identity(restored[::every], target[::every], random)
        return losses

    def _stylegan2_losses(self, discriminator: Discriminator, restored: Tensor, target: Tensor) -> dict[str, Tensor]:
        """L_A and L_F."""
        discriminator.requires_grad_(False)
        with self.autocast:
            fake = discriminator.features(restored)
            with torch.no_grad():
                real = discriminator.features(target)
            scores = discriminator.score_features(fake[-1])
        matching = feature_matching(fake, real, self.config.feature_matching_norm)
        return {"adversarial": generator_logistic(scores), "feature_matching": matching}

    def _update(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """A step of the network's optimizer on the weighted sum of the losses; returns the norm of a clipped gradient."""
        config, norm = self.config, {}
        total = torch.stack([getattr(config, f"{name}_weight") * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.group.average_gradients(self.net)
        if config.grad_clip:
            norm["grad_norm"] = nn.utils.clip_grad_norm_(self.net.parameters(), config.grad_clip)
        factor = config.lr_factor(self.images_seen)
        for parameters, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            parameters["lr"] = rate * factor
        self.optimizer.step()
        return norm

    def _random(self) -> torch.Generator:
        """Random numbers of this step and process: a resumed run uses the same ones as an uninterrupted run."""
        step = self._step_number * self.group.processes + self.group.rank
        return torch.Generator(self.group.device).manual_seed(self.config.seed * 2**32 + step)

    def preview(self, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Rows for a grid: degraded, restored, true, each [n, 3, size, size]."""
        degraded, target = batch
        with torch.no_grad():
            restored = self.ema(degraded.to(self.group.device)).cpu()
        if degraded.shape != target.shape:
            degraded = F.interpolate(degraded, target.shape[-2:], mode="bilinear")
        return [degraded, restored, target]

    def validate(self) -> tuple[dict[str, float], dict[str, list[Tensor]]]:
        """Scores of the averaged network on the validation faces, and a grid for each preset."""
        return self.validation(self.ema) if self.validation else ({}, {})

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        parts = ("net", "ema", "adversary", "optimizer")
        return {"stage": "finetune"} | {name: getattr(self, name).state_dict() for name in parts}

    def load_state(self, state: dict) -> None:
        """The inverse of `state`. Raises RuntimeError, ValueError or KeyError for another network's."""
        for name in ("net", "ema", "adversary", "optimizer"):
            getattr(self, name).load_state_dict(state[name])

    def export(self, folder: Path) -> Path:
        """Write FOLDER/gpen.safetensors (the averaged weights) and, of StyleGAN2's kind, FOLDER/discriminator.safetensors."""
        notes = self.config.notes(self.images_seen) | self.notes
        if self.config.uses_discriminator and isinstance(self.adversary, DiscriminatorTrainer):
            checkpoints.save(self.adversary.net, folder / "discriminator.safetensors", None, **notes)
        return checkpoints.save(self.ema, folder / "gpen.safetensors", None, task=self.config.task, **notes)


def _initial(config: FinetuneConfig) -> GPEN:
    """The network that the settings start from."""
    net = GPEN(config.network)
    if config.init == IDENTITY:
        return start_as_identity(net)
    net = _load_whole(net, config.init, checkpoints.load)
    net.alignment = "ffhq"  # that of the training images, also if it starts from a published model
    if config.init_prior:
        load_prior_into(net.generator, config.init_prior)
    if config.init_encoder:
        encoder = checkpoints.load(config.init_encoder).encoder
        net.encoder = _same_shapes(net.encoder, encoder, config.init_encoder)
    return net


def _sources(config: FinetuneConfig) -> list[str | None]:
    """The files from which the network and the discriminator start."""
    whole = None if config.init == IDENTITY else config.init
    return [whole, config.init_prior, config.init_encoder, config.init_discriminator]


def _load_whole(net: Net, init: str | None, load: Callable[..., Net]) -> Net:
    """`net` itself, or the network in the file `init`, which must have the same settings."""
    return _same_shapes(net, load(init), init) if init else net


def _same_shapes(net: Net, source: Net, file: str) -> Net:
    """`source`, trainable, if its tensors are those of `net`. Raises GPENError otherwise."""
    wanted, found = net.state_dict(), source.state_dict()
    if [(name, t.shape) for name, t in wanted.items()] != [(name, t.shape) for name, t in found.items()]:
        raise GPENError(f"{file} holds a network of other settings than the configuration: give one of the same size and widths.")
    return source.requires_grad_(True)


def finetune(data: str | Path, out: str | Path, config: FinetuneConfig, resume: bool = False, device: str | None = None) -> Path:
    """Train on the faces in `data`; returns OUT/gpen.safetensors. Raises GPENError for what a user can correct."""
    dataset = FacePairs(data, config)
    return train(Finetune(config, Distributed(device)), dataset, out, resume)
