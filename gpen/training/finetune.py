"""Stage 2: the whole network on pairs, L = L_A + alpha L_C + beta L_F (Yang et al., CVPR 2021)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checkpoints
from ..errors import GPENError
from ..network import GPEN, Discriminator
from .config import FinetuneConfig
from .data import FacePairs
from .identity import IdentityLoss, Recogniser
from .judge import Judge
from .loop import follow, train
from .losses import content, feature_matching, generator_logistic
from .parallel import Group
from .perceptual import PerceptualLoss
from .start import IDENTITY, start_as_identity

Net = TypeVar("Net", bound=nn.Module)


class Finetune:
    """The networks, the average, the optimizers, and one step."""

    def __init__(self, config: FinetuneConfig, group: Group):
        torch.manual_seed(config.seed)
        self.config, self.group, self.shown = config, group, 0
        net = GPEN(config.network)
        self.net = self._place(start_as_identity(net) if config.init == IDENTITY else _start(net, config.init, checkpoints.load))
        if config.prior:
            self.net.generator.load_state_dict(_start(self.net.generator, config.prior, checkpoints.load_prior).state_dict())
        self.net.generator.requires_grad_(not config.freeze_prior)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        judge = _start(Discriminator(config.discriminator), config.init_discriminator, checkpoints.load_discriminator)
        self.judge = Judge(self._place(judge), config.lr_discriminator, config.beta1, config.r1, config.r1_every)
        self.recognising = self._recognising()
        self.optimizer = torch.optim.Adam(self._groups(), betas=(config.beta1, 0.99))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def _place(self, net: Net) -> Net:
        net.to(device=self.group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        return net.train()

    def _recognising(self) -> dict[str, IdentityLoss | PerceptualLoss]:
        """The terms that ask a face recognition network, by the settings' names for their weights; none without a weight."""
        config = self.config
        if not (config.identity or config.perceptual):
            return {}
        recogniser = self._place(Recogniser(cast(str, config.identity_model)))
        identity = IdentityLoss(recogniser, config.identity_jitter, config.identity_looks)
        terms = {"identity": identity, "perceptual": PerceptualLoss(recogniser)}
        return {name: term for name, term in terms.items() if getattr(config, name)}

    def _groups(self) -> list[dict]:
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
        autocast = torch.autocast(self.group.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
        with autocast:
            restored = self.net(degraded)
        losses = self._net_step(restored, target, autocast)
        if config.plays:
            rate = config.rate(self.shown)
            losses |= self.judge.step(target, restored.detach(), self.shown // config.batch, rate, autocast, self.group)
        follow(self.average, self.net, config.batch, self.shown, config.ema)
        return losses

    def _net_step(self, restored: Tensor, target: Tensor, autocast: torch.autocast) -> dict[str, Tensor]:
        config = self.config
        distance = content(restored.float(), target, config.content_levels)
        total, losses = config.content * distance, {"content": distance.detach()}
        if config.plays:
            self.judge.net.requires_grad_(False)
            with autocast:
                fake = self.judge.net.features(restored)
                with torch.no_grad():
                    real = self.judge.net.features(target)
                scores = self.judge.net.score_features(fake[-1])
            adversarial, feature = generator_logistic(scores), feature_matching(fake, real)
            losses |= {"adversarial": adversarial.detach(), "feature": feature.detach()}
            total = total + config.adversarial * adversarial + config.feature * feature
        random = self._random()
        for name, term in self.recognising.items():
            with autocast:
                distance = term(restored, target, random)
            total, losses[name] = total + getattr(config, name) * distance, distance.detach()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.group.average_gradients(self.net)
        if config.clip:
            losses["norm"] = nn.utils.clip_grad_norm_(self.net.parameters(), config.clip)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * config.rate(self.shown)
        self.optimizer.step()
        return losses

    def _random(self) -> torch.Generator:
        """Of this step and process: a resumed run draws what an uninterrupted one does."""
        step = self.shown // self.config.batch * self.group.processes + self.group.rank
        return torch.Generator(self.group.device).manual_seed(self.config.seed * 2**32 + step)

    def preview(self, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Rows for a grid: degraded, restored, true, each [n, 3, size, size]."""
        degraded, target = batch
        with torch.no_grad():
            restored = self.average(degraded.to(self.group.device)).cpu()
        if degraded.shape != target.shape:
            degraded = F.interpolate(degraded, target.shape[-2:], mode="bilinear")
        return [degraded, restored, target]

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        parts = ("net", "average", "judge", "optimizer")
        return {"stage": "finetune"} | {name: getattr(self, name).state_dict() for name in parts}

    def load_state(self, state: dict) -> None:
        """The inverse of `state`. Raises RuntimeError, ValueError or KeyError for another network's."""
        for name in ("net", "average", "judge", "optimizer"):
            getattr(self, name).load_state_dict(state[name])

    def export(self, folder: Path) -> Path:
        """Write FOLDER/gpen.safetensors (the average) and, where there is one, FOLDER/discriminator.safetensors."""
        if self.config.plays:
            checkpoints.save(self.judge.net, folder / "discriminator.safetensors")
        return checkpoints.save(self.average, folder / "gpen.safetensors", shown=str(self.shown), task=self.config.task)


def _start(net: Net, init: str | None, load: Callable[..., Net]) -> Net:
    """`net` itself, or the network in the file `init`, which must have the same settings."""
    if not init:
        return net
    source = load(init)
    wanted, found = net.state_dict(), source.state_dict()
    if [(name, t.shape) for name, t in wanted.items()] != [(name, t.shape) for name, t in found.items()]:
        raise GPENError(f"{init} holds a network of other settings ({source.config}) than the configuration asks for.")
    return source.requires_grad_(True)


def finetune(data: str | Path, out: str | Path, config: FinetuneConfig, resume: bool = False, device: str | None = None) -> Path:
    """Train on the faces in `data`; returns OUT/gpen.safetensors. Raises GPENError where a user can mend it."""
    dataset = FacePairs(data, config)
    return train(Finetune(config, Group(device)), dataset, out, resume)
