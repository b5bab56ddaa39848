"""The command line: python -m gpen restore | degrade | train | export | info. User errors end in one sentence and exit code 2."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import checkpoints, tasks
from .degradation import PRESETS, Degradation
from .engines import ENGINES, EXPORTS, export
from .errors import GPENError, exit_status
from .faces import load_detector
from .network import UnitRange
from .restore import Restorer, square
from .training.tasks import MAKERS
from .version import __version__

SAID = {
    "restored": "restored", "no face": "in which no face was found (aligned faces: --aligned)",
    "skipped": "there already (--overwrite makes them anew)", "failed": "failed",
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Parse `argv` (sys.argv without it), run the command, exit with 2 after a user's error."""
    arguments = _parser().parse_args(argv)
    if status := exit_status(lambda: arguments.run(arguments)):
        sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpen", description="Blind face restoration with a GAN prior.")
    parser.add_argument("--version", action="version", version=f"gpen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    restore = commands.add_parser("restore", help="restore the faces of photos and videos")
    restore.add_argument("paths", nargs="+", metavar="PATH", help="photos, videos, folders of them, patterns in quotes")
    restore.add_argument("--out", type=Path, required=True, metavar="DIR", help="written here under the same names and formats")
    restore.add_argument("--model", help="a name or a file; without it the default model")
    restore.add_argument("--strength", type=float, default=1.0, help="0 (the input) to 1 (the network's result)")
    restore.add_argument("--engine", choices=tuple(ENGINES), default="torch", help="what runs the network")
    restore.add_argument("--aligned", action="store_true", help="each picture is one face, square and aligned as FFHQ's are")
    restore.add_argument("--only", choices=("largest",), help="restore that face of each photo alone")
    restore.add_argument("--upscale", type=float, default=1.0, help="enlarge the whole photo so many times")
    restore.add_argument("--background", type=Path, metavar="FILE", help="a super-resolution model for the rest (spandrel)")
    restore.add_argument("--detector", default="mtcnn", help="mtcnn, yunet, or YuNet's .onnx file")
    restore.add_argument("--recursive", action="store_true", help="look into the folders of folders")
    restore.add_argument("--overwrite", action="store_true", help="make anew what DIR has already; without it that is skipped")
    restore.add_argument("--jobs", type=int, default=1, help="threads that read, search faces and write")
    restore.add_argument("--report", type=Path, metavar="FILE.json", help="boxes, landmarks, scores and times of every file")
    restore.add_argument("--task", choices=tuple(tasks.TASKS), default="restore", help="aligned faces, but for restore")
    restore.add_argument("--mask", type=Path, metavar="PATH", help="for inpaint: white where to fill, or a folder of NAME.png")
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
    train.add_argument("stage", nargs="?", choices=("prior", "finetune", "variants"),
                       help="prior: the GAN alone; finetune: all of it; variants: what each part is worth")  # fmt: skip
    train.add_argument("--smoke", action="store_true", help="both stages at 32 px in under two minutes; needs no data")
    train.add_argument("--data", metavar="DIR", help="aligned faces: a folder, hf:OWNER/NAME[:SPLIT[:COLUMN]], celeba-hq or ffhq")
    train.add_argument("--task", choices=("restore", *MAKERS), help="of finetune; it overrides the configuration's")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="checkpoints, log, curves and grids go here")
    train.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; see gpen/training/configs")
    train.add_argument("--resume", action="store_true")
    train.add_argument("--device", help="cpu or cuda; without it a GPU where there is one")
    train.set_defaults(run=_train)

    sample = commands.add_parser("sample", help="let a prior draw faces of people who do not exist")
    sample.add_argument("prior", help="its file, as train prior leaves it, or a whole GPEN's")
    sample.add_argument("--count", type=int, default=8)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--truncation", type=float, default=1.0, help="1: all kinds of faces; nearer to 0: fewer, better ones")
    sample.add_argument("--size", type=int, metavar="PX", help="enlarge them to this; without it the prior's own")
    sample.add_argument("--out", type=Path, required=True, metavar="DIR")
    sample.set_defaults(run=_sample)

    write = commands.add_parser("export", help="write a model as a file for other engines and programs")
    write.add_argument("--engine", choices=tuple(EXPORTS), required=True, help="what is to run the file")
    write.add_argument("--out", type=Path, required=True, metavar="FILE", help="; ".join(f"{k}: {v}" for k, v in EXPORTS.items()))
    write.add_argument("--model", help="a name or a file; without it the default model")
    write.add_argument("--task", choices=tuple(tasks.TASKS), default="restore", help="whose model it is")
    write.add_argument("--opset", type=int, help="of ONNX, 15 to 21; without it 17")
    write.add_argument("--seed", type=int, default=0, help="of the free noise of a model that enlarges")
    write.set_defaults(run=_export)

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
    from .files import find_files  # late: the other commands do without
    from .folder import Settings, make_folder, restore_files, write_report

    arguments.aligned |= arguments.task != "restore"  # the other tasks know no whole photos
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)})
    files = find_files(arguments.paths, arguments.out, arguments.recursive)
    make_folder(arguments.out)
    net = checkpoints.load(tasks.find_model(arguments.task, arguments.model))
    restorer = Restorer(net, engine=arguments.engine)
    make_detector = partial(load_detector, arguments.detector)
    if not settings.aligned:
        make_detector()  # one that cannot be had is the user's mistake, not each file's
    rows = []
    try:
        for row in restore_files(files, restorer, make_detector, settings):
            rows.append(row)
    finally:  # an interrupted run is reported too
        if arguments.report and rows:
            chosen = {name: value for name, value in vars(arguments).items() if name not in ("run", "report", "paths")}
            write_report(arguments.report, {"gpen": __version__, **chosen}, rows)
    found = Counter(row["status"] for row in rows)
    print(", ".join(f"{count} {SAID[status]}" for status, count in found.items()))
    if found["failed"]:
        sys.exit(1)


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
    from .training.config import FinetuneConfig, PriorConfig, read_run_config  # late: the other commands do without
    from .training.finetune import finetune
    from .training.prior import train_prior
    from .training.smoke import smoke
    from .training.variants import train_variants

    if arguments.smoke:
        print(smoke(arguments.out, arguments.data, arguments.device))
        return
    if not arguments.stage or not arguments.data:
        raise GPENError("Name a stage, prior or finetune, and a folder of faces with --data; or ask for --smoke.")
    if arguments.stage == "variants":
        print(train_variants(arguments.data, arguments.out, device=arguments.device))
        return
    stage, kind = (train_prior, PriorConfig) if arguments.stage == "prior" else (finetune, FinetuneConfig)
    config: Any = read_run_config(arguments.config, kind) if arguments.config else kind()
    if arguments.task:
        if arguments.stage == "prior":
            raise GPENError("A prior is of no task: leave out --task, and give it to finetune.")
        config = dataclasses.replace(config, task=arguments.task)
    print(stage(arguments.data, arguments.out, config, arguments.resume, arguments.device))


def _sample(arguments: argparse.Namespace) -> None:
    from .samples import samples  # late: the other commands do without

    if arguments.count < 1 or not 16 <= (arguments.size or 16) <= 4096:
        raise GPENError(f"--count is at least 1 and --size 16 to 4096; got {arguments.count} and {arguments.size}.")
    prior = checkpoints.load_prior(arguments.prior)
    faces = samples(prior, arguments.count, arguments.seed, arguments.truncation)
    for k, face in enumerate(faces, 1):
        _write(arguments.out / f"face-{k:02d}.png", square(face, arguments.size))
    print(arguments.out)


def _export(arguments: argparse.Namespace) -> None:
    loaded = checkpoints.load(tasks.find_model(arguments.task, arguments.model))
    net = UnitRange(loaded) if arguments.task == "seg2face" else loaded  # every file's images are in [-1, 1]
    print(export(net, arguments.out, arguments.engine, arguments.opset, arguments.seed))


def _info(arguments: argparse.Namespace) -> None:
    net = checkpoints.load(arguments.model)
    parameters = sum(p.numel() for p in net.parameters())
    print(checkpoints.find(arguments.model))
    for name, value in vars(net.config).items():
        print(f"{name:20} {value}")
    print(f"{'parameters':20} {parameters:,}")
