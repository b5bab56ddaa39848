"""Settings of a training run: one dataclass per stage and concern, read from a TOML file with the same keys.

The comments of the fields are the help texts of `python -m gpen train STAGE --help`.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gpen.errors import GPENError
from gpen.models.network import GPENConfig
from gpen.restoration.task_inputs import MAKERS

PRECISIONS = ("float32", "bfloat16")
DISCRIMINATORS = ("stylegan2", "projected")
FEATURE_NORMS = ("l2", "rms")
HEADS = ("conv1", "fire4", "fire7", "fire12", "pixels", "colors")

if TYPE_CHECKING:  # values come from TOML files as text, and are checked in __post_init__
    Precision = str
    DiscriminatorName = str
    FeatureNorm = str
else:  # the choices that the command line offers
    Precision = Literal[PRECISIONS]
    DiscriminatorName = Literal[DISCRIMINATORS]
    FeatureNorm = Literal[FEATURE_NORMS]


@dataclass(frozen=True)
class DiffAugmentConfig:
    """Differentiable augmentation of what the projected discriminator and LPIPS see (Zhao et al., NeurIPS 2020)."""

    shift: float = 0.125  # largest translation, as a fraction of the side, 0 to 1; borders are reflected
    zoom: float = 0.0  # largest relative change of size, 0 to 1
    color: float = 0.5  # strength of brightness, saturation and contrast changes, 0 to 1
    cutout: float = 0.0  # side of the square that is set to grey, as a fraction of the side of the image, 0 to 1

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in dataclasses.astuple(self)):
            raise GPENError(f"shift, zoom, color and cutout are fractions from 0 to 1; got {dataclasses.astuple(self)}.")


@dataclass(frozen=True)
class ProjectedConfig:
    """Discriminator heads and LPIPS on a frozen SqueezeNet 1.1 (Projected GAN, Sauer et al., NeurIPS 2021)."""

    # file of the SqueezeNet weights; None: the file in GPEN_SQUEEZENET, then torchvision's file in TORCH_HOME
    feature_network: str | None = None
    share: float = 0.12  # gradient norm of one head at the image, as a fraction of that of the reconstruction, at least 0
    # factors of `share` by head, above 0; heads: conv1, fire4, fire7, fire12, pixels, colors; a head without a factor is left out
    head_weights: dict[str, float] = field(
        default_factory=lambda: {"conv1": 0.5, "fire4": 1.0, "fire7": 1.0, "fire12": 1.0, "pixels": 0.25}
    )
    balance_interval: int = 32  # steps between two measurements of the gradient norms, at least 1
    start_images: int = 800  # number of images after which the adversarial term starts, at least 0
    ramp_images: int = 4000  # number of images over which the adversarial term then rises to its full weight, at least 1
    lr: float = 3e-4  # learning rate of the heads
    augmentation: DiffAugmentConfig = field(default_factory=DiffAugmentConfig)

    def __post_init__(self) -> None:
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
    images: int = 100  # number of faces, at least 2
    interval: int = 8000  # training images between two validations, at least 1
    embedding: str | None = None  # ONNX face embedding for the identity score; None: GPEN_IDENTITY_MODEL, or no score

    def __post_init__(self) -> None:
        if min(self.images, self.interval) < 1 or (self.data and self.images < 2):
            raise GPENError("Validation needs at least 2 images and an interval of at least 1 image.")


@dataclass(frozen=True)
class RunConfig:
    """Settings of both stages."""

    network: GPENConfig = field(default_factory=GPENConfig)
    total_images: int = 800_000  # length of the run, in training images, at least 1
    batch_size: int = 8  # images per step over all processes, at least 1
    seed: int = 0  # seed of the weights, the data and the noise

    discriminator: DiscriminatorName = "stylegan2"  # stylegan2: the paper's; projected: heads on frozen features
    discriminator_narrow: float | None = None  # width of StyleGAN2's discriminator, see network.narrow; None: that of the network
    r1_weight: float = 10.0  # weight of lazy R1 regularisation of StyleGAN2's discriminator
    r1_interval: int = 16  # steps between two R1 regularisations; 0: never
    projected: ProjectedConfig = field(default_factory=ProjectedConfig)

    frozen_images: int = 0  # number of images at the start during which the network is frozen and the discriminator learns
    lr_warmup_images: int = 0  # number of images over which the learning rates rise, after frozen_images
    lr_decay_fraction: float = 0.0  # last fraction of the run over which the learning rates fall to 0, 0 to 1
    ema_half_life: int = 10_000  # half-life of the exponential moving average of the weights, in images, at least 1

    precision: Precision = "float32"  # number format of the forward pass; bfloat16 uses autocast
    compile: bool = False  # use torch.compile for the network; on a CPU it needs a C++ compiler
    workers: int = 1  # number of processes that read and degrade images; 0: the training process itself
    skip_bad: bool = False  # leave out files that are no complete image, instead of refusing the folder
    allow_upscaled: bool = False  # enlarge images that are smaller than the network, instead of refusing the folder
    save_interval: int = 4000  # images between two checkpoints, at least 1
    grid_interval: int = 4000  # images between two image grids, at least 1
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    # licence of the weights, stored in their file and printed by gpen info; "CC BY-NC-SA 4.0" for weights trained on FFHQ;
    # None: nothing is stored
    licence: str | None = None

    def __post_init__(self) -> None:
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

    def notes(self, images_seen: int) -> dict[str, str]:
        """Metadata of the files that a run writes."""
        return {"images_seen": str(images_seen)} | ({"licence": self.licence} if self.licence else {})

    def lr_factor(self, images_seen: int) -> float:
        """Factor of the network's learning rates, and of StyleGAN2's discriminator: warm-up and decay together."""
        return self.lr_warmup(images_seen) * self.lr_decay(images_seen)

    @property
    def discriminator_network(self) -> GPENConfig:
        """The settings that fix the shape of StyleGAN2's discriminator."""
        narrow = self.network.narrow if self.discriminator_narrow is None else self.discriminator_narrow
        return dataclasses.replace(self.network, narrow=narrow)


@dataclass(frozen=True)
class PriorConfig(RunConfig):
    """Stage 1: the GAN prior alone, trained as StyleGAN2 in GPEN's form (Karras et al., CVPR 2020, appendix B).

    The defaults of rates, R1, path length and style mixing are those of StyleGAN2; ADA is in addition to it. With discriminator =
    "projected" an auxiliary encoder, which is not kept, can make a part of each batch reconstructions of real faces: that is what
    makes stage 1 work within the budget of a CPU.
    """

    init: str | None = None  # file of a prior to start from, of the same or of a smaller size; None: random weights
    lr: float = 2e-3  # learning rate of the generator, and of StyleGAN2's discriminator
    beta1: float = 0.0  # beta1 of Adam, 0 to below 1
    path_length_weight: float = 2.0  # weight of path length regularisation
    path_length_interval: int = 4  # steps between two path length regularisations; 0: never
    style_mixing_probability: float = 0.9  # probability of style mixing, 0 to 1
    sample_noise: bool = True  # normal noise as input of the GAN blocks; false: zeros in its place (GPEN-w/o-noise)
    # target of the mean sign of StyleGAN2's discriminator on real images (ADA), 0 to 1; 0: no ADA
    ada_target: float = 0.6
    ada_images: int = 500_000  # number of images in which the augmentation probability of ADA can go from 0 to 1

    # fraction of each batch that reconstructs real faces, 0 to below 1; 0: adversarial training alone
    reconstruction_share: float = 0.0
    content_weight: float = 6.0  # weight of the L1 distance of a reconstruction, at full size and at a quarter
    perceptual_weight: float = 1.0  # weight of LPIPS of a reconstruction
    kl_weight: float = 5e-4  # weight of the KL divergence of z from the unit normal distribution, per nat
    lr_encoder: float = 1e-3  # learning rate of the auxiliary encoder
    range_weight: float = 0.0  # weight of the penalty on values outside [-1, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.reconstruction_share < 1:
            raise GPENError(f"reconstruction_share is from 0 to below 1; got {self.reconstruction_share}.")
        if self.reconstruction_share and self.discriminator != "projected":
            raise GPENError('reconstruction_share needs discriminator = "projected", whose features LPIPS compares.')
        self.reconstructions(self.batch_size)

    def reconstructions(self, n: int) -> int:
        """How many of the n images of a process in a step are reconstructions.

        Raises GPENError if reconstruction_share makes none of them, or all, a reconstruction.
        """
        count = round(self.reconstruction_share * n)
        if self.reconstruction_share and not 0 < count < n:
            raise GPENError(
                f"With reconstruction_share {self.reconstruction_share}, {count} of {n} images per step and process are "
                "reconstructions: choose reconstruction_share and batch_size with at least one reconstruction and one sample."
            )
        return count


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """Stage 2: L = L_A + alpha L_C + beta L_F on pairs degraded on the fly (Yang et al., CVPR 2021)."""

    task: str = "restore"  # what the training pairs are made for: restore, colorize or inpaint
    # file of a whole network to start from; "identity": see gpen/training/initialization.py; None: init_prior, or random weights
    init: str | None = None
    init_prior: str | None = None  # file of the prior of stage 1, of the same or of a smaller size; None: no prior
    init_encoder: str | None = None  # file of a whole network whose encoder is used; None: random weights
    init_discriminator: str | None = None  # file of StyleGAN2's discriminator of stage 1; None: random weights
    freeze_prior: bool = False  # train the encoder only (GPEN-w/o-ft)
    # probability that all features of an image are replaced by zeros, 0 to 1, so that z alone describes it; 0: the paper's
    feature_dropout: float = 0.0
    # faces are sampled with probability proportional to file size to this power; 0: uniformly
    file_size_sampling_power: float = 0.0
    # probability of photometric and geometric augmentation before the degradation, 0 to 1
    augmentation_probability: float = 0.0
    # share of each degradation preset, above 0, for the task restore; gpen-release: as in the released code, at any size
    degradations: dict[str, float] = field(default_factory=lambda: {"gpen-release": 1.0})

    # weight of L_A; 0 leaves out StyleGAN2's discriminator if feature_matching_weight is 0 too
    adversarial_weight: float = 1.0
    content_weight: float = 1.0  # weight alpha of L_C, the L1 distance
    content_levels: int = 1  # number of pyramid levels on which L_C is computed, at least 1; 1: the paper's
    feature_matching_weight: float = 0.02  # weight beta of L_F, for StyleGAN2's discriminator only; 0.02 with l2: the paper's
    # norm of each layer's difference in L_F; l2: root of the sum of squares, the paper's; rms: root of their mean, far smaller
    feature_matching_norm: FeatureNorm = "l2"
    perceptual_weight: float = 0.0  # weight of LPIPS on SqueezeNet; needs discriminator = "projected"
    identity_weight: float = 0.0  # weight of the identity term, which the released code has and the paper has not
    identity_interval: int = 1  # the identity term sees every n-th image of a batch, n at least 1
    # largest shift of a random crop for the identity term, as a fraction of the side of the crop; above 0 also mirrored
    identity_jitter: float = 0.0
    identity_color_jitter: bool = False  # vary the colours and the sharpness of that crop at random
    # file of the face recognition network, see gpen/training/losses/identity.py; None: only without identity_weight
    identity_model: str | None = None

    lr_encoder: float = 2e-3  # learning rate of the encoder; the paper's ratio is 100 : 10 : 1
    lr_decoder: float = 2e-4  # learning rate of the decoder, the embedded prior
    lr_discriminator: float = 2e-5  # learning rate of StyleGAN2's discriminator
    lr_scales: float = 1.0  # factor of lr_decoder for the scalars of the concatenation, which start at 0
    beta1: float = 0.0  # beta1 of Adam, 0 to below 1
    grad_clip: float = 0.0  # largest norm of the gradient of the network; 0: no limit

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != "restore" and self.task not in MAKERS:
            raise GPENError(f"task is restore, {' or '.join(MAKERS)}; got {self.task!r}.")
        if not 0 <= self.feature_dropout <= 1:
            raise GPENError(f"feature_dropout is a probability, 0 to 1; got {self.feature_dropout}.")
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
        if self.feature_matching_norm not in FEATURE_NORMS:
            raise GPENError(f"feature_matching_norm is {' or '.join(FEATURE_NORMS)}; got {self.feature_matching_norm!r}.")

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


def _build(kind: Any, content: dict) -> Any:
    """A dataclass out of a table; the tables in it become the dataclasses of their fields."""
    types = typing.get_type_hints(kind)
    inner = {name: types[name] for name, value in content.items() if isinstance(value, dict)}
    tables = {name: _build(inner[name], content[name]) for name in inner if dataclasses.is_dataclass(inner[name])}
    return kind(**content | tables)
