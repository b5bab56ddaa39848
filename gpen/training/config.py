"""Settings of a training run: one dataclass per stage and concern, read from a TOML file with the same keys."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gpen.errors import GPENError
from gpen.models.network import GPENConfig
from gpen.restoration.task_inputs import MAKERS

PRECISIONS = ("float32", "bfloat16")
DISCRIMINATORS = ("stylegan2", "projected")
HEADS = ("conv1", "fire4", "fire7", "fire12", "pixels", "colors")


@dataclass(frozen=True)
class DiffAugmentConfig:
    """Differentiable augmentation of what the projected discriminator and LPIPS see (Zhao et al., NeurIPS 2020)."""

    shift: float = 0.125  # largest translation, as a fraction of the side; borders are reflected
    zoom: float = 0.0  # largest relative change of size
    color: float = 0.5  # strength of brightness, saturation and contrast changes, 0 to 1
    cutout: float = 0.0  # side of the square that is set to grey, as a fraction of the image's side

    def __post_init__(self):
        if not all(0 <= value <= 1 for value in dataclasses.astuple(self)):
            raise GPENError(f"shift, zoom, color and cutout are fractions from 0 to 1; got {dataclasses.astuple(self)}.")


@dataclass(frozen=True)
class ProjectedConfig:
    """Discriminator heads and LPIPS on a frozen SqueezeNet 1.1 (Projected GAN, Sauer et al., NeurIPS 2021)."""

    feature_network: str | None = (
        None  # file of the SqueezeNet weights; None: GPEN_SQUEEZENET, then torchvision's file in TORCH_HOME
    )
    share: float = 0.12  # gradient norm of one head at the image, as a fraction of the reconstruction's
    head_weights: dict[str, float] = field(  # factors of `share`; a head that is left out does not exist
        default_factory=lambda: {"conv1": 0.5, "fire4": 1.0, "fire7": 1.0, "fire12": 1.0, "pixels": 0.25}
    )
    balance_interval: int = 32  # steps between two measurements of the gradient norms
    start_images: int = 800  # images after which the adversarial term sets in ...
    ramp_images: int = 4000  # ... and over which it rises to its full weight
    lr: float = 3e-4
    augmentation: DiffAugmentConfig = field(default_factory=DiffAugmentConfig)

    def __post_init__(self):
        if unknown := sorted(self.head_weights.keys() - set(HEADS)):
            raise GPENError(f"head_weights has no head {unknown[0]!r}: choose among {', '.join(HEADS)}.")
        if not self.head_weights or min(self.head_weights.values()) <= 0:
            raise GPENError("head_weights names at least one head, each with a factor above 0.")
        if self.share < 0 or min(self.balance_interval, self.start_images + 1, self.ramp_images) < 1:
            raise GPENError("share and start_images are at least 0, balance_interval and ramp_images at least 1.")

    def ramp(self, images_seen: int) -> float:
        """Weight of the adversarial term, 0 to 1, after `images_seen` images."""
        return min(1.0, max(0.0, (images_seen - self.start_images) / self.ramp_images))


@dataclass(frozen=True)
class ValidationConfig:
    """Scores on a fixed set of faces during a run, written to the log and drawn as curves."""

    data: str | None = None  # folder of faces that are not in the training data; None: no validation
    images: int = 100
    interval: int = 8000  # images
    embedding: str | None = None  # ONNX face embedding for the identity score; None: GPEN_IDENTITY_MODEL, or no score

    def __post_init__(self):
        if min(self.images, self.interval) < 1 or (self.data and self.images < 2):
            raise GPENError("Validation needs at least 2 images and an interval of at least 1 image.")


@dataclass(frozen=True)
class RunConfig:
    """What both stages have."""

    network: GPENConfig = field(default_factory=GPENConfig)
    total_images: int = 800_000  # length of the run, in training images
    batch_size: int = 8  # over all processes
    seed: int = 0

    discriminator: str = "stylegan2"  # the paper's, or projected: heads on frozen features
    discriminator_narrow: float | None = None  # width of StyleGAN2's discriminator; None: the network's
    r1_weight: float = 10.0  # lazy R1 on StyleGAN2's discriminator ...
    r1_interval: int = 16  # ... every so many steps; 0: never
    projected: ProjectedConfig = field(default_factory=ProjectedConfig)

    frozen_images: int = 0  # images at the start during which only the discriminator learns
    lr_warmup_images: int = 0  # images over which the learning rates rise, after frozen_images
    lr_decay_fraction: float = 0.0  # last fraction of the run over which the learning rates fall to 0
    ema_half_life: int = 10_000  # of the exponential moving average of the weights, in images

    precision: str = "float32"  # or bfloat16 (autocast)
    compile: bool = False  # torch.compile of the network; needs a C++ compiler on a CPU
    workers: int = 1  # processes that read and degrade images
    skip_bad: bool = False  # leave out files that are no whole image, instead of refusing the folder
    save_interval: int = 4000  # images between two checkpoints
    grid_interval: int = 4000  # images between two image grids
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise GPENError(f"precision is {' or '.join(PRECISIONS)}; got {self.precision!r}.")
        if self.discriminator not in DISCRIMINATORS:
            raise GPENError(f"discriminator is {' or '.join(DISCRIMINATORS)}; got {self.discriminator!r}.")
        if min(self.total_images, self.batch_size, self.save_interval, self.grid_interval, self.ema_half_life) < 1:
            raise GPENError("total_images, batch_size, save_interval, grid_interval and ema_half_life are at least 1.")
        if not 0 <= self.lr_decay_fraction <= 1:
            raise GPENError(f"lr_decay_fraction is a fraction of the run, 0 to 1; got {self.lr_decay_fraction}.")

    def trained(self, images_seen: int) -> int:
        """Images on which the network itself has learned, after `images_seen` in all."""
        return max(0, images_seen - self.frozen_images)

    def lr_warmup(self, images_seen: int) -> float:
        """Factor of the network's learning rates that rises to 1 over lr_warmup_images."""
        return min(1.0, (self.trained(images_seen) + self.batch_size) / self.lr_warmup_images) if self.lr_warmup_images else 1.0

    def lr_decay(self, images_seen: int) -> float:
        """Factor of all learning rates that falls to 0 over the last lr_decay_fraction of the run."""
        left = self.total_images - images_seen
        return min(1.0, left / (self.total_images * self.lr_decay_fraction)) if self.lr_decay_fraction else 1.0

    @property
    def discriminator_network(self) -> GPENConfig:
        """The settings that fix the shape of StyleGAN2's discriminator."""
        narrow = self.network.narrow if self.discriminator_narrow is None else self.discriminator_narrow
        return dataclasses.replace(self.network, narrow=narrow)

    @property
    def uses_features(self) -> bool:
        """Whether the frozen feature network takes part."""
        return self.discriminator == "projected"


@dataclass(frozen=True)
class PriorConfig(RunConfig):
    """Stage 1: the GAN prior alone, trained as StyleGAN2 in GPEN's form (Karras et al., CVPR 2020, appendix B).

    The defaults are the paper's. With discriminator = "projected" an auxiliary encoder, which is not kept, can make a part of
    each batch reconstructions of real faces: that is what makes stage 1 work within the budget of a CPU.
    """

    init: str | None = None  # a prior to start from, of the same or of a smaller size
    lr: float = 2e-3  # of the generator, and of StyleGAN2's discriminator
    beta1: float = 0.0  # of Adam
    path_length_weight: float = 2.0  # of path length regularisation ...
    path_length_interval: int = 4  # ... every so many steps; 0: never
    style_mixing_probability: float = 0.9
    ada_target: float = 0.6  # of the discriminator's sign on real images (ADA, StyleGAN2's discriminator only); 0: no ADA
    ada_images: int = 500_000  # in which the augmentation probability can go from 0 to 1

    reconstruction_share: float = 0.0  # part of each batch that reconstructs real faces; 0: adversarial training alone
    content_weight: float = 6.0  # L1 of a reconstruction, at full size and at a quarter
    perceptual_weight: float = 1.0  # LPIPS of a reconstruction
    kl_weight: float = 5e-4  # of the KL divergence of z from the unit normal, per nat
    lr_encoder: float = 1e-3  # of the auxiliary encoder
    range_weight: float = 0.0  # of the penalty on values outside [-1, 1]

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.reconstruction_share < 1:
            raise GPENError(f"reconstruction_share is from 0 to below 1; got {self.reconstruction_share}.")
        if self.reconstruction_share and self.discriminator != "projected":
            raise GPENError('reconstruction_share needs discriminator = "projected", whose features LPIPS compares.')


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """Stage 2: L = L_A + alpha L_C + beta L_F on pairs degraded on the fly (Yang et al., CVPR 2021)."""

    task: str = "restore"  # or colorize, inpaint: what the pairs are made for
    init: str | None = None  # a whole network to start from; "identity": see gpen/training/initialization.py
    init_prior: str | None = None  # stage 1's prior, of the same or of a smaller size; None, without init: random weights
    init_encoder: str | None = None  # a whole network whose encoder is taken
    init_discriminator: str | None = None  # StyleGAN2's, of stage 1
    freeze_prior: bool = False  # GPEN-w/o-ft: only the encoder learns
    file_size_sampling_power: float = 0.0  # faces are sampled in proportion to file size to this power; 0: uniformly
    augmentation_probability: float = 0.0  # of photometric and geometric augmentation before the degradation
    degradations: dict[str, float] = field(default_factory=lambda: {"gpen-release": 1.0})  # preset -> share; restore only

    adversarial_weight: float = 1.0  # of L_A; with StyleGAN2's discriminator and feature_matching_weight 0, 0 leaves it out
    content_weight: float = 1.0  # alpha, of L_C = L1 ...
    content_levels: int = 1  # ... on so many levels of a pyramid; the paper has one
    feature_matching_weight: float = 0.02  # beta, of L_F; StyleGAN2's discriminator only
    perceptual_weight: float = 0.0  # of LPIPS on SqueezeNet; needs discriminator = "projected"
    identity_weight: float = 0.0  # the released code has an identity term, the paper has none
    identity_interval: int = 1  # the identity term sees every n-th image of a batch
    identity_jitter: float = 0.0  # random crop: largest shift as a fraction of the crop's side; above 0 mirrored too
    identity_color_jitter: bool = False  # whether the colours and sharpness of that crop are random
    identity_model: str | None = None  # file of the face recognition network: see gpen/training/losses/identity.py

    lr_encoder: float = 2e-3  # the paper's 100 : 10 : 1
    lr_decoder: float = 2e-4
    lr_discriminator: float = 2e-5  # of StyleGAN2's discriminator
    lr_scales: float = 1.0  # times lr_decoder, for the scalars of the concatenation: they start at 0
    beta1: float = 0.0  # of Adam
    grad_clip: float = 0.0  # largest norm of the network's gradient; 0: none

    def __post_init__(self):
        super().__post_init__()
        if self.task != "restore" and self.task not in MAKERS:
            raise GPENError(f"task is restore, {' or '.join(MAKERS)}; got {self.task!r}.")
        if not self.degradations or min(self.degradations.values()) <= 0:
            raise GPENError("degradations names at least one preset, each with a share above 0.")
        if self.init and (self.init_prior or self.init_encoder):
            raise GPENError("Start from init, or from init_prior and init_encoder, not from both.")
        if self.identity_weight and not self.identity_model:
            raise GPENError("identity_weight needs identity_model, the file of a face recognition network.")
        if self.perceptual_weight and self.discriminator != "projected":
            raise GPENError('perceptual_weight needs discriminator = "projected", whose features LPIPS compares.')
        if self.identity_interval < 1:
            raise GPENError(f"identity_interval is at least 1; got {self.identity_interval}.")

    @property
    def uses_discriminator(self) -> bool:
        """Whether adversarial training takes place."""
        return bool(self.adversarial_weight or (self.feature_matching_weight and self.discriminator == "stylegan2"))


Config = TypeVar("Config", bound=RunConfig)


def read_run_config(path: str | Path, kind: type[Config]) -> Config:
    """Settings of that kind from a TOML file. Raises GPENError where it is missing, not TOML, or has an unknown key."""
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError:
        raise GPENError(f"There is no configuration {path}: check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} is not TOML: {error}.") from None
    try:
        return _build(kind, content)
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).split("__init__() ")[-1].rstrip(".")
        known = ", ".join(f.name for f in dataclasses.fields(kind))
        raise GPENError(f"{path}: {reason} (known keys: {known}).") from None


def _build(kind, content: dict):
    """A dataclass out of a table; the tables in it become the dataclasses of their fields."""
    types = typing.get_type_hints(kind)
    inner = {name: types[name] for name, value in content.items() if isinstance(value, dict)}
    tables = {name: _build(inner[name], content[name]) for name in inner if dataclasses.is_dataclass(inner[name])}
    return kind(**content | tables)
