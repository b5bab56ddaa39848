"""Training of StyleGAN2's discriminator, the same in both stages: logistic loss, lazy R1, Adam (StyleGAN2, appendix B)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from gpen.models.network import Discriminator
from gpen.training.adversarial.ada import Augment
from gpen.training.losses.terms import discriminator_logistic, r1_penalty
from gpen.training.runtime.parallel import Distributed


class DiscriminatorTrainer:
    """A discriminator with its optimizer. `augment` (stage 1) is applied to all images that it scores."""

    def __init__(
        self, net: Discriminator, lr: float, beta1: float, r1_weight: float, r1_interval: int, augment: Augment | None = None
    ):
        self.net, self.r1_weight, self.r1_interval, self.augment = net, r1_weight, r1_interval, augment
        lazy = (
            r1_interval / (r1_interval + 1) if r1_weight and r1_interval else 1.0
        )  # lazy regularisation (StyleGAN2, appendix B)
        self.lr = lr * lazy
        self.optimizer = torch.optim.Adam(net.parameters(), lr=self.lr, betas=(beta1**lazy, 0.99**lazy))

    def scores(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        """[n, 3, size, size] -> [n, 1]."""
        return self.net(self.augment(images, cast(torch.Generator, random)) if self.augment else images)

    def step(
        self,
        real: Tensor,
        fake: Tensor,
        step: int,
        lr_factor: float,
        autocast: torch.autocast,
        group: Distributed,
        random: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """One step on real and generated images [n, 3, size, size]; returns the losses."""
        self.net.requires_grad_(True)
        self.optimizer.param_groups[0]["lr"] = self.lr * lr_factor
        self.optimizer.zero_grad(set_to_none=True)
        with autocast:
            real_scores, fake_scores = self.scores(real, random), self.scores(fake, random)
            loss = discriminator_logistic(real_scores, fake_scores)
        loss.backward()
        losses = {"discriminator": loss.detach()}
        if self.r1_weight and self.r1_interval and step % self.r1_interval == 0:
            losses["r1"] = self._regularize(real, random)
        group.average_gradients(self.net)
        self.optimizer.step()
        self.net.requires_grad_(False)
        if self.augment:
            sign = group.mean(real_scores.detach().float().sign().mean()).item()
            self.augment.observe(sign, len(real) * group.processes)
            losses |= {"sign": real_scores.new_tensor(sign), "augment": real_scores.new_tensor(self.augment.p)}
        return losses

    def _regularize(self, real: Tensor, random: torch.Generator | None) -> Tensor:
        """R1 by the image before its augmentation, in float32: a second derivative is too inexact in bfloat16."""
        real = real.detach().clone().requires_grad_(True)
        penalty = r1_penalty(self.scores(real, random), real)
        (penalty * (self.r1_weight / 2 * self.r1_interval)).backward()
        return penalty.detach()

    def state_dict(self) -> dict:
        """Everything that a resumed run needs."""
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state | ({"ada": self.augment.state_dict()} if self.augment else {})

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.augment:
            self.augment.load_state_dict(state["ada"])
