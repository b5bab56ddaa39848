"""Variants of GPEN, trained on the same faces with equal budgets.

The first four are those of GPEN's ablation (Yang et al., CVPR 2021), the others are not in that publication.

    gpen            prior, embedded and fine-tuned with L_A + L_C + beta L_F
    gpen-wo-ft      the embedded prior is frozen, only the encoder learns
    gpen-wo-noise   no noise is added to the GAN blocks while training them; features are concatenated in fine-tuning as in gpen
    gpen-noise-add  noise and features are added, not concatenated
    gpen-z-only     the network has neither noise nor feature inputs: z alone reaches the prior
    gpen-wo-prior   one stage from random weights, with the images of both
    gpen-l1         L_C alone
    gpen-stylegan, gpen-pggan, gpen-biggan     the GAN block of another family (gpen.models.blocks)

`python -m gpen train variants --data FACES --out RUN` writes RUN/models/NAME-SEED.safetensors, and
`python -m eval run ablation --models RUN/models --data OTHERS --out TABLE` measures them on one LQ set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile
from typing import Any

from gpen.errors import GPENError
from gpen.models import checkpoints
from gpen.models.network import GPENConfig
from gpen.training.config import FinetuneConfig, PriorConfig
from gpen.training.finetune import finetune
from gpen.training.prior import train_prior

_STAGE: dict[str, Any] = {"batch_size": 16, "precision": "bfloat16", "workers": 0, "save_interval": 4000, "grid_interval": 8000}


@dataclass(frozen=True)
class VariantsConfig:
    """Settings that all variants share: a small budget, an afternoon of one core in all."""

    network: GPENConfig = field(default_factory=lambda: GPENConfig(size=32, narrow=0.0625, style_dim=128, mapping_layers=4))
    prior: PriorConfig = field(
        default_factory=lambda: PriorConfig(
            total_images=16_000,
            r1_weight=0.2,
            path_length_interval=16,
            ada_images=200_000,
            lr_warmup_images=800,
            ema_half_life=2000,
            **_STAGE,
        )
    )
    # equal learning rates, not the paper's 100 : 10 : 1: in a short run the prior would hardly change with those
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            total_images=8_000,
            adversarial_weight=0.05,
            feature_matching_norm="rms",
            r1_weight=0.2,
            lr_decoder=2e-3,
            lr_discriminator=2e-4,
            lr_scales=5.0,
            grad_clip=1.0,
            lr_warmup_images=400,
            lr_decay_fraction=0.5,
            ema_half_life=1000,
            degradations={"gpen-release-scaled": 0.5, "codeformer-2": 0.5},
            **_STAGE,
        )  # fmt: skip
    )
    seeds: tuple[int, ...] = (0, 1)


@dataclass(frozen=True)
class Variant:
    """Differences from GPEN."""

    network: dict = field(default_factory=dict)
    finetune: dict = field(default_factory=dict)
    prior: dict | None = field(default_factory=dict)  # None: no stage 1


VARIANTS = {
    "gpen": Variant(),
    "gpen-wo-ft": Variant(finetune={"freeze_prior": True}),
    "gpen-wo-noise": Variant(prior={"sample_noise": False}),
    "gpen-noise-add": Variant(network={"noise_mode": "add"}),
    "gpen-z-only": Variant(network={"noise_mode": "none"}),
    "gpen-wo-prior": Variant(prior=None),
    "gpen-l1": Variant(finetune={"adversarial_weight": 0.0, "feature_matching_weight": 0.0}),
    "gpen-stylegan": Variant(network={"block": "stylegan"}),
    "gpen-pggan": Variant(network={"block": "pggan"}),
    "gpen-biggan": Variant(network={"block": "biggan"}),
}


def train_variants(data: str | Path, out: str | Path, config: VariantsConfig | None = None, device: str | None = None) -> Path:
    """Train the variants that OUT lacks; returns OUT/models. An interrupted call continues.

    Raises GPENError as the stages do, and where OUT/models has a file of that name with other settings.
    """
    out, config = Path(out), config or VariantsConfig()
    (out / "models").mkdir(parents=True, exist_ok=True)
    for seed in config.seeds:
        for name, variant in VARIANTS.items():
            model = out / "models" / f"{name}-{seed}.safetensors"
            if not model.exists():
                copyfile(_train(variant, name, seed, data, out, config, device), model)
            elif checkpoints.load(model).config != replace(config.network, **variant.network):
                raise GPENError(f"{model} has other settings than the variant {name}: move it away, or choose another folder.")
    return out / "models"


def _train(
    variant: Variant, name: str, seed: int, data: str | Path, out: Path, config: VariantsConfig, device: str | None
) -> Path:
    """Train one variant with one seed; returns the file of its weights."""
    network = replace(config.network, **variant.network)
    settings = {"network": network, "seed": seed} | variant.finetune
    if variant.prior is not None:
        stage = replace(config.prior, network=network, seed=seed, **variant.prior)
        # variants with the same blocks and noise share their prior
        noise = network.noise_mode if stage.sample_noise else f"{network.noise_mode}-of-zeros"
        folder = out / f"prior-{network.block}-{noise}-{seed}"
        prior = _stage(train_prior, data, folder, stage, device, "prior.safetensors")
        discriminator = {"init_discriminator": str(prior.with_name("discriminator.safetensors"))}
        settings |= {"init_prior": str(prior)} | (discriminator if variant.finetune.get("adversarial_weight", 1) else {})
    else:
        settings["total_images"] = config.prior.total_images + config.finetune.total_images
    return _stage(finetune, data, out / f"{name}-{seed}", replace(config.finetune, **settings), device, "gpen.safetensors")


def _stage(
    train: Callable[..., Path],
    data: str | Path,
    folder: Path,
    config: PriorConfig | FinetuneConfig,
    device: str | None,
    result: str,
) -> Path:
    """Result of a stage, trained or resumed unless it is finished."""
    finished = folder / "finished"
    if not finished.exists():
        train(data, folder, config, resume=(folder / "checkpoint.pt").exists(), device=device)
        finished.touch()
    return folder / result
