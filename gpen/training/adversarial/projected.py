"""Projected discriminator: small heads on a frozen feature network (Projected GAN, Sauer et al., NeurIPS 2021).

Each head scores patches of one feature map of SqueezeNet, and one or two more score patches of the image itself, with the hinge
loss. The weight of each head follows from the ratio of gradient norms at the image, reconstruction over head, so that no head
outweighs the reconstruction; the LPIPS of reconstructions comes from the same features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gpen.models.ops import full_precision
from gpen.training.adversarial.diffaugment import DiffAugment
from gpen.training.config import HEADS, ProjectedConfig, RunConfig
from gpen.training.losses.squeezenet import MIN_SIZE, TAP_CHANNELS, SqueezeNet, enlarge, lpips, lpips_heads
from gpen.training.runtime.parallel import Distributed

TAPS = {"conv1": 0, "fire4": 1, "fire7": 2, "fire12": 6}  # head -> its place among SqueezeNet's features
COLOR_SIZE = 32  # px: what the head "colors" sees
WIDTH = 64  # channels of a head
FINAL_SIZE = 8  # px: largest side of a head's logits on features
KEEP = 0.8  # of the logarithm of a head's weight at each measurement


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Spectrally normalised convolution, group normalisation, leaky ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False)
    return [spectral_norm(conv), nn.GroupNorm(8, outputs), nn.LeakyReLU(0.2)]


def _feature_head(channels: int, size: int) -> nn.Sequential:
    """[n, channels, size, size] -> logits [n, 1, s, s], s at most 8."""
    layers: list[nn.Module] = []
    if channels > 2 * WIDTH:
        layers, channels = [spectral_norm(nn.Conv2d(channels, WIDTH, 1))], WIDTH
    while size > FINAL_SIZE:
        layers += _conv(channels, WIDTH, 4, stride=2)
        channels, size = WIDTH, size // 2
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 3, padding=1)))


def _image_head(widths: tuple[int, ...]) -> nn.Sequential:
    """[n, 3, h, w] -> logits of patches, [n, 1, h / 4, w / 4]."""
    first, *rest = widths
    layers: list[nn.Module] = [spectral_norm(nn.Conv2d(3, first, 4, 2, 1)), nn.LeakyReLU(0.2)]
    for k, (inputs, outputs) in enumerate(zip(widths, rest, strict=False)):
        layers += _conv(inputs, outputs, 4, 2) if k == 0 else _conv(inputs, outputs, 3)
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))


class ProjectedDiscriminator(nn.Module):
    """Heads by name: images and their features -> the logits of each head.

    size: of the images in px; head_names: some of config.HEADS. Features are scaled to unit root mean square, measured on the
    first batch of real images.
    """

    scales: Tensor

    def __init__(self, size: int, head_names: tuple[str, ...]):
        super().__init__()
        self.heads = nn.ModuleDict()
        taps = _tap_sizes(max(size, MIN_SIZE))
        for name in HEADS:
            if name in head_names and name in TAPS:
                self.heads[name] = _feature_head(TAP_CHANNELS[TAPS[name]], taps[TAPS[name]])
            elif name in head_names:
                self.heads[name] = _image_head((WIDTH, 2 * WIDTH, 2 * WIDTH) if name == "pixels" else (WIDTH // 2, WIDTH))
        self.register_buffer("scales", torch.zeros(len(TAPS)))  # 1 / root mean square of each tapped layer; 0: not measured

    @torch.no_grad()
    def measure(self, features: list[Tensor], group: Distributed) -> None:
        """Set the scales from the features of a batch of real images, once."""
        if not self.scales.any():
            squares = torch.stack([features[i].float().square().mean() for i in TAPS.values()])
            self.scales.copy_(group.mean(squares).rsqrt())

    def forward(self, images: Tensor, features: list[Tensor]) -> dict[str, Tensor]:
        """images [n, 3, size, size] in [-1, 1] and SqueezeNet's features of them -> logits [n, 1, h, w] by head."""
        logits = {}
        for name, head in self.heads.items():
            if name in TAPS:
                place = list(TAPS).index(name)
                logits[name] = head(features[TAPS[name]] * self.scales[place].to(features[0].dtype))
            elif name == "colors":
                logits[name] = head(F.interpolate(images, size=(COLOR_SIZE, COLOR_SIZE), mode="area"))
            else:
                logits[name] = head(images)
        return logits


def _tap_sizes(size: int) -> list[int]:
    """Sides of SqueezeNet's seven features of an image of size x size px."""
    first = (size - 3) // 2 + 1
    pooled = [first]
    for _ in range(3):
        pooled.append(math.ceil((pooled[-1] - 3) / 2) + 1)
    return [pooled[0], pooled[1], pooled[2], *[pooled[3]] * 4]


def hinge_discriminator(real: dict[str, Tensor], fake: dict[str, Tensor]) -> Tensor:
    """Hinge loss of the logits of real and generated images, summed over the heads: 2 a head at the start, 0 at the best."""
    losses = [F.relu(1 - full_precision(real[name])).mean() + F.relu(1 + full_precision(fake[name])).mean() for name in real]
    return torch.stack(losses).sum()


def hinge_generator(fake: dict[str, Tensor]) -> dict[str, Tensor]:
    """The generator's loss for each head: minus the mean logit of its images."""
    return {name: -full_precision(logits).mean() for name, logits in fake.items()}


@dataclass
class GradientBalance:
    """Weights of the heads from gradient norms at the image, averaged geometrically over the measurements."""

    weights: dict[str, float] = field(default_factory=dict)  # reconstruction's norm over the head's

    def update(self, reference: float, norms: dict[str, float]) -> None:
        """Move the weights towards reference / norm. A norm of 0 or a value that is not finite leaves its weight as it is."""
        for name, norm in norms.items():
            if not (norm > 0 and reference > 0 and math.isfinite(reference / norm)):
                continue
            ratio = reference / norm
            before = self.weights.get(name)
            self.weights[name] = ratio if before is None else before**KEEP * ratio ** (1 - KEEP)


class ProjectedTrainer:
    """The frozen features, the heads with their optimizer, and the losses that come from them."""

    def __init__(self, config: RunConfig, reconstructs: bool, group: Distributed, autocast: torch.autocast):
        self.config: ProjectedConfig = config.projected
        self.size, self.group, self.autocast = config.network.size, group, autocast
        self.reconstructs = reconstructs  # without reconstructions every head has its factor as weight
        self.features = SqueezeNet(self.config.feature_network).to(group.device)
        self.lpips_heads = [head.to(group.device) for head in lpips_heads()]
        self.net = ProjectedDiscriminator(self.size, tuple(self.config.head_weights)).to(group.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.config.lr, betas=(0.0, 0.99), fused=True)
        self.balance = GradientBalance()
        self.net.requires_grad_(False)

    def losses(
        self,
        fake: Tensor,
        real: Tensor,
        pairs: int,
        images_seen: int,
        step: int,
        random: torch.Generator,
        reference: Tensor | None,
    ) -> dict[str, Tensor]:
        """Losses of the network for its images `fake` [n, 3, size, size]; the first `pairs` of them reconstruct those of `real`.

        reference: a further reconstruction loss, in whose gradient at `fake` the heads are balanced together with LPIPS.
        Returns "perceptual" (LPIPS of the pairs, where there are any) and "adversarial" (the sum of the weighted heads).
        """
        augment = DiffAugment.sample(len(fake), self.size, self.config.augmentation, fake.device, random)
        self._images = [augment(real).detach(), augment(fake)]
        with self.autocast:
            with torch.no_grad():
                real_features = self.features(enlarge(self._images[0]))
            fake_features = self.features(enlarge(self._images[1]))
            self.net.measure(real_features, self.group)
            self.net.eval()  # the power iteration of the spectral norm belongs to the discriminator's step
            heads = hinge_generator(self.net(self._images[1], fake_features))
        self._features = [real_features, fake_features]
        losses = {}
        if pairs:
            pair = [f[:pairs] for f in fake_features], [r[:pairs] for r in real_features]
            losses["perceptual"] = lpips(*pair, self.lpips_heads).mean()
        if self.reconstructs and step % self.config.balance_interval == 0:
            target = losses["perceptual"] if reference is None else losses["perceptual"] + reference
            self.balance.update(self._norm(target, fake), {name: self._norm(loss, fake) for name, loss in heads.items()})
        ramp = self.config.share * self.config.ramp(images_seen) if self.reconstructs else 1.0
        balance = self.balance.weights
        weighted = [
            ramp * self.config.head_weights[name] * (balance.get(name, 0.0) if self.reconstructs else 1.0) * loss
            for name, loss in heads.items()
        ]
        return losses | {"adversarial": torch.stack(weighted).sum()}

    def _norm(self, loss: Tensor, images: Tensor) -> float:
        """Norm of the loss's gradient by the images, over all processes; the graph stays."""
        (gradient,) = torch.autograd.grad(loss, images, retain_graph=True)
        return self.group.mean(gradient.float().square().sum()).sqrt().item()

    def step(self, lr_decay: float) -> dict[str, Tensor]:
        """Train the heads on the images and features of the last call of `losses`."""
        (real_images, fake_images), (real_features, fake_features) = self._images, self._features
        self.net.requires_grad_(True).train()
        self.optimizer.param_groups[0]["lr"] = self.config.lr * lr_decay
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            real = self.net(real_images, real_features)
            fake = self.net(fake_images.detach(), [f.detach() for f in fake_features])
        loss = hinge_discriminator(real, fake)
        loss.backward()
        self.group.average_gradients(self.net)
        self.optimizer.step()
        self.net.requires_grad_(False)
        del self._images, self._features
        return {"discriminator": loss.detach()}

    def state_dict(self) -> dict:
        """Everything that a resumed run needs."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "balance": self.balance.weights}

    def load_state_dict(self, state: dict) -> None:
        """The inverse of `state_dict`. Raises RuntimeError, ValueError or KeyError for another discriminator's."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.balance.weights = dict(state["balance"])
