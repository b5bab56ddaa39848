"""The settings of a training run, read from a TOML file; every key is a field of the dataclass below."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import GPENError
from ..network import GPENConfig


@dataclass(frozen=True)
class FinetuneConfig:
    """Stage 2: L = L_A + L_C + beta L_F on pairs degraded on the fly (Yang et al., CVPR 2021, section 3.2)."""

    network: GPENConfig = field(default_factory=GPENConfig)
    discriminator_narrow: float = 1.0  # the discriminator's own width
    init: str | None = None  # a network to start from; None: from random weights (one stage, no prior)
    init_discriminator: str | None = None

    degradations: dict[str, float] = field(default_factory=lambda: {"gpen-release": 1.0})  # preset -> how often
    images: int = 800_000  # length of the run, in images shown
    batch: int = 8
    seed: int = 0

    adversarial: float = 1.0  # weight of L_A; 0 leaves the discriminator out
    content: float = 1.0  # alpha, of L_C = L1
    feature: float = 0.02  # beta, of L_F
    r1: float = 10.0  # lazy R1 on the discriminator ...
    r1_every: int = 16  # ... every so many steps

    lr_encoder: float = 2e-3  # the paper's 100 : 10 : 1
    lr_decoder: float = 2e-4
    lr_discriminator: float = 2e-5
    lr_scales: float = 1.0  # times lr_decoder for the scalars of the concatenation: they start at 0, and far off without a prior
    beta1: float = 0.0  # of Adam; StyleGAN2's 0 suits the game, 0.9 plain L1
    warmup: int = 0  # images over which the rates rise
    decay: float = 0.0  # last share of the run over which the rates fall to 0
    clip: float = 0.0  # largest norm of the network's gradient; 0: any
    ema: int = 10_000  # half-life of the averaged weights, in images

    precision: str = "float32"  # or bfloat16 (autocast)
    workers: int = 1  # processes that degrade
    save_every: int = 4000  # images
    grid_every: int = 4000  # images

    def __post_init__(self):
        if not self.degradations or min(self.degradations.values()) <= 0:
            raise GPENError("degradations names at least one preset, each with a share above 0.")
        if self.precision not in ("float32", "bfloat16"):
            raise GPENError(f"precision is float32 or bfloat16; got {self.precision!r}.")
        if min(self.images, self.batch, self.save_every, self.grid_every, self.ema, self.r1_every) < 1:
            raise GPENError("images, batch, save_every, grid_every, ema and r1_every are at least 1.")


def read_config(path: str | Path) -> FinetuneConfig:
    """A FinetuneConfig from a TOML file. Raises GPENError where the file is missing, not TOML, or has an unknown key."""
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError:
        raise GPENError(f"There is no configuration {path}: check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} is not TOML: {error}.") from None
    try:
        if "network" in content:
            content["network"] = GPENConfig(**content["network"])
        return FinetuneConfig(**content)
    except (TypeError, ValueError) as error:
        known = ", ".join(f.name for f in dataclasses.fields(FinetuneConfig))
        raise GPENError(f"{path}: {str(error).removeprefix('FinetuneConfig.__init__() ')} (known keys: {known}).") from None
