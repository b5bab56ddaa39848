"""The command line: python -m gpen restore | degrade | train | info. User errors end in one sentence and exit code 2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from . import checkpoints
from .degradation import PRESETS, Degradation
from .errors import GPENError
from .restore import Restorer
from .version import __version__


def main(argv: list[str] | None = None) -> None:
    """Parse `argv` (sys.argv without it), run the command, exit with 2 after a user's error."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except GPENError as error:
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpen", description="Blind face restoration with a GAN prior.")
    parser.add_argument("--version", action="version", version=f"gpen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    restore = commands.add_parser("restore", help="restore aligned faces")
    restore.add_argument("images", nargs="+", type=Path, metavar="FACE", help="square, FFHQ-aligned face images")
    restore.add_argument("--out", type=Path, required=True, metavar="DIR", help="written as DIR/NAME.png")
    restore.add_argument("--model", help="a name or a file; without it the default model")
    restore.add_argument("--strength", type=float, default=1.0, help="0 (the input) to 1 (the network's result)")
    restore.set_defaults(run=_restore)

    degrade = commands.add_parser("degrade", help="degrade an image: blur, downsample by s, noise, JPEG")
    degrade.add_argument("image", type=Path)
    degrade.add_argument("--blur-sigma", type=float)
    degrade.add_argument("--blur-kind", choices=("isotropic", "anisotropic", "motion"), default="isotropic")
    degrade.add_argument("--blur-sigma-y", type=float)
    degrade.add_argument("--blur-angle", type=float, default=0.0)
    degrade.add_argument("--scale", type=float)
    degrade.add_argument("--noise-sigma", type=float)
    degrade.add_argument("--jpeg-quality", type=int)
    degrade.add_argument("--preset", choices=sorted(PRESETS), help="draw every number from a preset with --seed instead")
    degrade.add_argument("--seed", type=int, default=0)
    degrade.add_argument("--resized", action="store_true", help="write the image resized back to its first size")
    degrade.add_argument("--out", type=Path, required=True, metavar="FILE", help="lossless if it ends in .png")
    degrade.set_defaults(run=_degrade)

    train = commands.add_parser("train", help="train a model in two stages")
    train.add_argument("stage", nargs="?", choices=("prior", "finetune"), help="prior: the GAN alone; finetune: all of it")
    train.add_argument("--smoke", action="store_true", help="both stages at 32 px in under two minutes; needs no data")
    train.add_argument("--data", type=Path, metavar="DIR", help="a folder of aligned faces")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="checkpoints, log, curves and grids go here")
    train.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see gpen/training/configs")
    train.add_argument("--resume", action="store_true")
    train.add_argument("--device", help="cpu or cuda; without it a GPU where there is one")
    train.set_defaults(run=_train)

    info = commands.add_parser("info", help="say what a model file holds")
    info.add_argument("model", nargs="?", help="a name or a file; without it the default model")
    info.set_defaults(run=_info)
    return parser


def _read(path: Path) -> np.ndarray:
    """uint8 RGB [h, w, 3]."""
    if not path.is_file():
        raise GPENError(f"There is no file {path}: check the path.")
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise GPENError(f"{path} cannot be read as an image: give a PNG, JPEG or WebP file.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise GPENError(f"{path.name} has no ending of an image format: name it .png.")
    path.write_bytes(data.tobytes())


def _restore(arguments: argparse.Namespace) -> None:
    restorer = Restorer(checkpoints.load(arguments.model), arguments.strength)
    for path in arguments.images:
        out = arguments.out / f"{path.stem}.png"
        if out.exists():
            raise GPENError(f"{out} is there already: choose another --out.")
        _write(out, restorer.face(_read(path)).image)
        print(out)


def _degrade(arguments: argparse.Namespace) -> None:
    image = _read(arguments.image)
    if arguments.preset:
        degradation = Degradation.sample(arguments.preset, seed=arguments.seed, size=max(image.shape[:2]))
    else:
        names = ("blur_sigma", "blur_kind", "blur_sigma_y", "blur_angle", "scale", "noise_sigma", "jpeg_quality", "seed")
        degradation = Degradation(**{name: getattr(arguments, name) for name in names})
    _write(arguments.out, degradation.resized(image) if arguments.resized else degradation(image))
    print(degradation.formula())


def _train(arguments: argparse.Namespace) -> None:
    from .training.config import FinetuneConfig, PriorConfig, read_config  # late: the other commands do without
    from .training.finetune import finetune
    from .training.prior import train_prior
    from .training.smoke import smoke

    if arguments.smoke:
        print(smoke(arguments.out, arguments.data, arguments.device))
        return
    if not arguments.stage or not arguments.data:
        raise GPENError("Name a stage, prior or finetune, and a folder of faces with --data; or ask for --smoke.")
    stage, kind = (train_prior, PriorConfig) if arguments.stage == "prior" else (finetune, FinetuneConfig)
    config = read_config(arguments.config, kind) if arguments.config else kind()
    print(stage(arguments.data, arguments.out, config, arguments.resume, arguments.device))


def _info(arguments: argparse.Namespace) -> None:
    net = checkpoints.load(arguments.model)
    parameters = sum(p.numel() for p in net.parameters())
    print(checkpoints.find(arguments.model))
    for name, value in vars(net.config).items():
        print(f"{name:20} {value}")
    print(f"{'parameters':20} {parameters:,}")
