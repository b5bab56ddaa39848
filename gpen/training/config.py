"""The settings of a training run: one dataclass a stage, read from a TOML file whose keys are the dataclass's fields."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..errors import GPENError
from ..network import GPENConfig
from .tasks import MAKERS


@dataclass(frozen=True)
class RunConfig:
    """What both stages have."""

    network: GPENConfig = field(default_factory=GPENConfig)
    discriminator_narrow: float | None = None  # the discriminator's own width; None: the network's
    images: int = 800_000  # length of the run, in images shown
    batch: int = 8  # over all processes
    seed: int = 0

    r1: float = 10.0  # lazy R1 on the discriminator ...
    r1_every: int = 16  # ... every so many steps; 0: never
    warmup: int = 0  # images over which the rates rise
    decay: float = 0.0  # last share of the run over which the rates fall to 0
    ema: int = 10_000  # half-life of the averaged weights, in images

    precision: str = "float32"  # or bfloat16 (autocast)
    workers: int = 1  # processes that read and degrade
    save_every: int = 4000  # images
    grid_every: int = 4000  # images

    def __post_init__(self):
        if self.precision not in ("float32", "bfloat16"):
            raise GPENError(f"precision is float32 or bfloat16; got {self.precision!r}.")
        if min(self.images, self.batch, self.save_every, self.grid_every, self.ema) < 1:
            raise GPENError("images, batch, save_every, grid_every and ema are at least 1.")
        if not 0 <= self.decay <= 1:
            raise GPENError(f"decay is a share of the run from 0 to 1; got {self.decay}.")

    def rate(self, shown: int) -> float:
        """The factor of every learning rate after `shown` images: up over `warmup`, down over the last `decay`."""
        rise = min(1.0, (shown + self.batch) / self.warmup) if self.warmup else 1.0
        fall = min(1.0, (self.images - shown) / (self.images * self.decay)) if self.decay else 1.0
        return rise * fall

    @property
    def discriminator(self) -> GPENConfig:
        """The settings that fix the discriminator's shape."""
        narrow = self.network.narrow if self.discriminator_narrow is None else self.discriminator_narrow
        return dataclasses.replace(self.network, narrow=narrow)


@dataclass(frozen=True)
class PriorConfig(RunConfig):
    """Stage 1: the GAN prior alone, trained as StyleGAN2 in GPEN's form (Karras et al., CVPR 2020, appendix B)."""

    lr: float = 2e-3  # of both networks
    path_length: float = 2.0  # weight of path length regularisation ...
    path_every: int = 4  # ... every so many steps; 0: never
    style_mixing: float = 0.9  # share of the images with two styles
    augment_target: float = 0.6  # of the discriminator's sign on real images (ADA); 0: no augmentation
    augment_images: int = 500_000  # in which the probability of augmentation can go from 0 to 1


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """Stage 2: L = L_A + alpha L_C + beta L_F on pairs degraded on the fly (Yang et al., CVPR 2021)."""

    task: str = "restore"  # or colorize, inpaint: what the pairs are made for
    init: str | None = None  # a whole network to start from; "identity": see gpen/training/start.py
    prior: str | None = None  # stage 1's prior; None, without init: one stage from random weights
    init_discriminator: str | None = None
    freeze_prior: bool = False  # GPEN-w/o-ft: only the encoder learns
    busy: float = 0.0  # a face is drawn in proportion to its file's size to this power; 0: all alike
    variety: float = 0.0  # share of the faces that gpen/training/variety.py puts into another photograph
    degradations: dict[str, float] = field(default_factory=lambda: {"gpen-release": 1.0})  # preset -> how often; restore only

    adversarial: float = 1.0  # weight of L_A; with feature = 0 too, the discriminator is left out
    content: float = 1.0  # alpha, of L_C = L1 ...
    content_levels: int = 1  # ... on so many levels of a pyramid; the paper has one
    feature: float = 0.02  # beta, of L_F
    identity: float = 0.0  # weight of an identity term; the released code has one, the paper none
    identity_jitter: float = 0.0  # by what share of its side the face shown to that network moves; above 0 mirrored too
    identity_looks: bool = False  # whether colours and sharpness of that face are drawn at random
    perceptual: float = 0.0  # weight of a perceptual term; neither the paper nor the released code has one
    identity_model: str | None = None  # the file that both need: see gpen/training/identity.py

    lr_encoder: float = 2e-3  # the paper's 100 : 10 : 1
    lr_decoder: float = 2e-4
    lr_discriminator: float = 2e-5
    lr_scales: float = 1.0  # times lr_decoder for the concatenation's scalars: they start at 0, far off without a prior
    beta1: float = 0.0  # of Adam; StyleGAN2's 0 suits the game, 0.9 plain L1
    clip: float = 0.0  # largest norm of the network's gradient; 0: any

    def __post_init__(self):
        super().__post_init__()
        if self.task != "restore" and self.task not in MAKERS:
            raise GPENError(f"task is restore, {' or '.join(MAKERS)}; got {self.task!r}.")
        if not self.degradations or min(self.degradations.values()) <= 0:
            raise GPENError("degradations names at least one preset, each with a share above 0.")
        if self.init and self.prior:
            raise GPENError("Start from init or from prior, not from both.")
        if (self.identity or self.perceptual) and not self.identity_model:
            raise GPENError("The identity and perceptual terms need identity_model, the file of a face recognition network.")

    @property
    def plays(self) -> bool:
        """Whether there is a discriminator to play against."""
        return bool(self.adversarial or self.feature)


Config = TypeVar("Config", bound=RunConfig)


def read_config(path: str | Path, kind: type[Config]) -> Config:
    """Settings of that kind from a TOML file. Raises GPENError where it is missing, not TOML, or has an unknown key."""
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError:
        raise GPENError(f"There is no configuration {path}: check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} is not TOML: {error}.") from None
    try:
        if "network" in content:
            content["network"] = GPENConfig(**content["network"])
        return kind(**content)
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).split("__init__() ")[-1].rstrip(".")
        known = ", ".join(f.name for f in dataclasses.fields(kind))
        raise GPENError(f"{path}: {reason} (known keys: {known}).") from None
