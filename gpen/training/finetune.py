"""Stage 2: the whole network trained on pairs, L = L_A + alpha L_C + beta L_F (Yang et al., CVPR 2021, section 3.2)."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from .. import checkpoints
from ..errors import GPENError
from ..network import GPEN, Discriminator
from .config import FinetuneConfig
from .data import FacePairs, pairs
from .losses import discriminator_logistic, feature_matching, generator_logistic, r1_penalty
from .run import Run


class Finetune:
    """The networks, their averages and optimizers, and one step of training."""

    def __init__(self, config: FinetuneConfig, device: torch.device):
        torch.manual_seed(config.seed)
        self.config, self.device, self.shown = config, device, 0
        self.net = self._start(GPEN(config.network), config.init, checkpoints.load)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        narrowed = dataclasses.replace(config.network, narrow=config.discriminator_narrow)
        self.judge = self._start(Discriminator(narrowed), config.init_discriminator, checkpoints.load_discriminator)
        betas = (config.beta1, 0.99)
        self.optimizer = torch.optim.Adam(self._groups(), betas=betas)
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), lr=config.lr_discriminator, betas=betas)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def _start(self, net: nn.Module, init: str | None, load) -> nn.Module:
        if init:
            source = load(init)
            if source.config != net.config:
                raise GPENError(f"{init} is a network of other settings ({source.config}) than the configuration's.")
            net = source.requires_grad_(True).train()
        return net.to(device=self.device, memory_format=torch.channels_last)

    def _groups(self) -> list[dict]:
        config, generator = self.config, self.net.generator
        scales = [p for name, p in generator.named_parameters() if name.endswith("noise_scale")]
        decoder = [p for name, p in generator.named_parameters() if not name.endswith("noise_scale")]
        return [
            {"params": list(self.net.encoder.parameters()), "lr": config.lr_encoder},
            {"params": decoder, "lr": config.lr_decoder},
            {"params": scales, "lr": config.lr_decoder * config.lr_scales},
        ]

    def step(self, degraded: Tensor, target: Tensor) -> dict[str, float]:
        """One step on a batch [n, 3, s, s] of each; returns the losses. Raises FloatingPointError where they are not finite."""
        degraded, target = degraded.to(self.device), target.to(self.device)
        self._set_rates()
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
        with autocast:
            restored = self.net(degraded)
        losses = self._net_step(restored, target, autocast)
        if self.config.adversarial or self.config.feature:
            losses |= self._judge_step(restored.detach(), target, autocast)
        if not all(math.isfinite(value) for value in losses.values()):
            raise FloatingPointError(f"a loss is not a finite number: {losses}")
        self.shown += len(target)
        self._average(len(target))
        return losses

    def _net_step(self, restored: Tensor, target: Tensor, autocast) -> dict[str, float]:
        config = self.config
        total = F.l1_loss(restored.float(), target)
        losses = {"content": total.item()}
        total = config.content * total
        if config.adversarial or config.feature:
            self.judge.requires_grad_(False)
            with autocast:
                fake = self.judge.features(restored)
                with torch.no_grad():
                    real = self.judge.features(target)
                scores = self.judge.judge(fake[-1])
            adversarial, feature = generator_logistic(scores), feature_matching(fake, real)
            losses |= {"adversarial": adversarial.item(), "feature": feature.item()}
            total = total + config.adversarial * adversarial + config.feature * feature
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if config.clip:
            losses["norm"] = nn.utils.clip_grad_norm_(self.net.parameters(), config.clip).item()
        self.optimizer.step()
        return losses

    def _judge_step(self, restored: Tensor, target: Tensor, autocast) -> dict[str, float]:
        config, step = self.config, self.shown // self.config.batch
        self.judge.requires_grad_(True)
        with autocast:
            loss = discriminator_logistic(self.judge(target), self.judge(restored))
        self.judge_optimizer.zero_grad(set_to_none=True)
        losses = {"discriminator": loss.item()}
        loss.backward()
        if config.r1 and step % config.r1_every == 0:  # in float32: it is a gradient's gradient
            real = target.clone().requires_grad_(True)
            penalty = r1_penalty(self.judge(real), real)
            (penalty * (config.r1 / 2 * config.r1_every)).backward()
            losses["r1"] = penalty.item()
        self.judge_optimizer.step()
        return losses

    def _set_rates(self) -> None:
        config = self.config
        rise = min(1.0, (self.shown + config.batch) / config.warmup) if config.warmup else 1.0
        fall = min(1.0, (config.images - self.shown) / (config.images * config.decay)) if config.decay else 1.0
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * rise * fall
        self.judge_optimizer.param_groups[0]["lr"] = config.lr_discriminator * rise * fall

    @torch.no_grad()
    def _average(self, images: int) -> None:
        # early on the average follows fast: half of what was shown so far, at most the half-life of the settings
        keep = 0.5 ** (images / min(self.config.ema, max(1, self.shown / 2)))
        for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        return {
            "shown": self.shown, "net": self.net.state_dict(), "average": self.average.state_dict(),
            "judge": self.judge.state_dict(), "optimizer": self.optimizer.state_dict(),
            "judge_optimizer": self.judge_optimizer.state_dict(), "settings": dataclasses.asdict(self.config),
        }  # fmt: skip

    def load_state(self, state: dict) -> None:
        """The inverse of `state`. Raises GPENError where the run was one of another network."""
        try:
            for name in ("net", "average", "judge", "optimizer", "judge_optimizer"):
                getattr(self, name).load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError):
            raise GPENError("The checkpoint is of another network than the configuration's: resume with its own.") from None
        self.shown = state["shown"]


def finetune(data: str | Path, out: str | Path, config: FinetuneConfig, resume: bool = False, device: str = "cpu") -> Path:
    """Train, and write OUT/gpen.safetensors (the averaged weights) at each checkpoint; returns its path. Raises GPENError."""
    run, trainer = Run(out, resume), Finetune(config, torch.device(device))
    if state := run.load():
        trainer.load_state(state)
    preview = torch.utils.data.default_collate([FacePairs(data, config)[2**40 + k] for k in range(6)])  # no step's
    loader = pairs(data, config, trainer.shown)
    sums, since, began = defaultdict(list), trainer.shown, time.time()
    with tqdm(total=config.images, initial=trainer.shown, unit="img", disable=not sys.stderr.isatty()) as bar:
        for degraded, target in loader:
            try:
                losses = trainer.step(degraded, target)
            except FloatingPointError as error:
                raise GPENError(f"Training stopped at image {trainer.shown}: {error}; the last checkpoint stands.") from None
            for name, value in losses.items():
                sums[name].append(value)
            bar.update(len(target))
            if _passed(trainer.shown, 400, config.batch):
                means = {name: sum(values) / len(values) for name, values in sums.items()}
                bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
                run.log(shown=trainer.shown, rate=(trainer.shown - since) / (time.time() - began), **means)
                sums, since, began = defaultdict(list), trainer.shown, time.time()
            last = trainer.shown + config.batch > config.images
            if last or _passed(trainer.shown, config.grid_every, config.batch):
                _write_grid(run, trainer, preview)
            if last or _passed(trainer.shown, config.save_every, config.batch):
                run.save(trainer.state())
                checkpoints.save(trainer.average, run.folder / "gpen.safetensors", shown=str(trainer.shown))
    return run.folder / "gpen.safetensors"


def _passed(shown: int, every: int, batch: int) -> bool:
    """Whether the step that ended at `shown` passed a multiple of `every`."""
    return shown // every != (shown - batch) // every


@torch.no_grad()
def _write_grid(run: Run, trainer: Finetune, preview: list[Tensor]) -> None:
    degraded, target = preview
    restored = trainer.average(degraded.to(trainer.device)).cpu()
    shown = F.interpolate(degraded, target.shape[-2:], mode="bilinear") if degraded.shape != target.shape else degraded
    run.grid(f"{trainer.shown:08d}", [shown, restored, target])
