"""Both stages at 32 px in under two minutes on two cores: a check that training works, and an example.

Without a folder of faces it generates synthetic ones: ellipses with eyes and a mouth, in random colours and positions.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.images import write_image
from gpen.models.network import GPENConfig
from gpen.training.config import FinetuneConfig, PriorConfig
from gpen.training.finetune import finetune
from gpen.training.prior import train_prior

NETWORK = GPENConfig(size=32, narrow=0.125, style_dim=64, mapping_layers=4)
PRIOR = PriorConfig(
    network=NETWORK, total_images=3200, batch_size=16, ema_half_life=400, ada_images=20_000, workers=0,
    save_interval=1600, grid_interval=800,
)  # fmt: skip
FINETUNE = FinetuneConfig(
    network=NETWORK, total_images=3200, batch_size=16, ema_half_life=400, workers=0, save_interval=1600, grid_interval=800,
    degradations={"gpen-release-scaled": 0.5, "downsample": 0.5}, adversarial_weight=0.05, lr_decoder=2e-3, lr_discriminator=2e-4,
    feature_matching_norm="rms", lr_scales=5.0, grad_clip=1.0, lr_decay_fraction=0.5,
)  # fmt: skip


def smoke(out: str | Path, data: str | Path | None = None, device: str | None = None) -> Path:
    """Train the prior, then the whole network, into OUT/prior and OUT/gpen; returns the network's file."""
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise GPENError(f"{out} is not empty: choose another folder for the smoke test.")
    data = data or draw_faces(out / "heads")
    prior = train_prior(data, out / "prior", PRIOR, device=device)
    discriminator = prior.with_name("discriminator.safetensors")
    config = {**vars(FINETUNE), "init_prior": str(prior), "init_discriminator": str(discriminator)}
    return finetune(data, out / "gpen", FinetuneConfig(**config), device=device)


def draw_faces(folder: Path, count: int = 200, size: int = 32) -> Path:
    """Write `count` synthetic faces of size x size px as PNG into `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for k in range(count):
        write_image(folder / f"{k:03d}.png", _head(rng, size))
    return folder


def _head(rng: np.random.Generator, size: int) -> np.ndarray:
    """uint8 RGB [size, size, 3], drawn four times as large and shrunk, so that edges are smooth."""
    side = 4 * size
    background, hair = (tuple(int(c) for c in rng.integers(30, 220, 3)) for _ in range(2))
    tone = rng.uniform(0.35, 1.0)
    skin = tuple(int(c * tone) for c in (240, 200, 170))
    image = np.full((side, side, 3), background, np.uint8)
    x, y = (int(side * (0.5 + rng.normal(0, 0.02))) for _ in range(2))
    width, height = int(side * rng.uniform(0.26, 0.34)), int(side * rng.uniform(0.36, 0.44))
    cv2.ellipse(image, (x, y - side // 12), (width + side // 14, height), 0, 0, 360, hair, -1, cv2.LINE_AA)
    cv2.ellipse(image, (x, y + side // 16), (width, height - side // 16), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for turn in (-1, 1):
        eye = (x + turn * int(width * 0.45), y - side // 32)
        cv2.circle(image, eye, side // 20, (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(image, eye, side // 36, (20, 30, 40), -1, cv2.LINE_AA)
    smile = int(rng.integers(side // 40, side // 12))
    cv2.ellipse(image, (x, y + side // 5), (side // 9, smile), 0, 0, 180, (170, 50, 60), -1, cv2.LINE_AA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
