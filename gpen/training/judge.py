"""The discriminator's side of the game, the same in both stages: logistic loss, lazy R1, Adam (StyleGAN2, appendix B)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..network import Discriminator
from .augment import Augment
from .losses import discriminator_logistic, r1_penalty
from .parallel import Group


class Judge:
    """A discriminator that learns. `augment` (stage 1) is applied to whatever it scores."""

    def __init__(self, net: Discriminator, lr: float, beta1: float, r1: float, r1_every: int, augment: Augment | None = None):
        self.net, self.r1, self.r1_every, self.augment = net, r1, r1_every, augment
        lazy = r1_every / (r1_every + 1) if r1 and r1_every else 1.0  # one step in so many does two steps' work
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
        rate: float,
        autocast: torch.autocast,
        group: Group,
        random: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Learn from [n, 3, size, size] of each; returns the losses."""
        self.net.requires_grad_(True)
        self.optimizer.param_groups[0]["lr"] = self.lr * rate
        self.optimizer.zero_grad(set_to_none=True)
        with autocast:
            real_scores, fake_scores = self.scores(real, random), self.scores(fake, random)
            loss = discriminator_logistic(real_scores, fake_scores)
        loss.backward()
        losses = {"discriminator": loss.detach()}
        if self.r1 and self.r1_every and step % self.r1_every == 0:
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
        """R1 in float32, for it is a gradient's gradient, and by the image that the discriminator sees."""
        seen = self.augment(real, cast(torch.Generator, random)) if self.augment else real
        seen = seen.detach().clone().requires_grad_(True)
        penalty = r1_penalty(self.net(seen), seen)
        (penalty * (self.r1 / 2 * self.r1_every)).backward()
        return penalty.detach()

    def state_dict(self) -> dict:
        """Everything that a resumed run needs."""
        p = self.augment.p if self.augment else 0.0
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "augment": p}

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.augment:
            self.augment.p = state["augment"]
