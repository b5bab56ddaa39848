"""Command line: python -m gpen restore | degrade | train | sample | export | info. The exit status after a user error is 2."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from gpen.degradation.degradation import BLUR_KINDS, PRESETS, Degradation
from gpen.engines.registry import ENGINES, EXPORTS, export
from gpen.errors import GPENError, exit_status
from gpen.faces.detection import load_detector
from gpen.images import read_image, square_crop, write_image
from gpen.models import checkpoints
from gpen.models.network import UnitRange
from gpen.restoration import tasks
from gpen.restoration.restorer import Restorer
from gpen.restoration.task_inputs import MAKERS
from gpen.version import __version__

STATUS_TEXT = {
    "restored": "restored", "no face": "without a detected face (for aligned faces add --aligned)",
    "skipped": "skipped, the output exists (replace it with --overwrite)", "failed": "failed",
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Parse `argv` (default: sys.argv), run the command, exit with status 2 after a user error."""
    arguments = _parser().parse_args(argv)
    if status := exit_status(lambda: arguments.run(arguments)):
        sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpen", description="Blind face restoration with a GAN prior.")
    parser.add_argument("--version", action="version", version=f"gpen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    restore = commands.add_parser("restore", help="restore the faces of photos and videos")
    restore.add_argument("paths", nargs="+", metavar="PATH", help="photo, video, folder, or quoted pattern")
    restore.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder; names and formats are those of the inputs"
    )
    restore.add_argument("--model", help="name or file of a model (default: the model of this package)")
    restore.add_argument("--strength", type=float, default=1.0, help="weight of the network output, 0 to 1 (default: 1)")
    restore.add_argument("--engine", choices=tuple(ENGINES), default="torch", help="inference engine (default: torch)")
    restore.add_argument("--aligned", action="store_true", help="each image is one square FFHQ-aligned face")
    restore.add_argument("--only", choices=("largest",), help="restore only the largest face of each photo")
    restore.add_argument("--upscale", type=float, default=1.0, help="upscaling factor of the photo, 1 to 16 (default: 1)")
    restore.add_argument(
        "--background", type=Path, metavar="FILE", help="super-resolution model for the background, loaded with spandrel"
    )
    restore.add_argument(
        "--detector", default="mtcnn", help="face detector: mtcnn, yunet, or a YuNet .onnx file (default: mtcnn)"
    )
    restore.add_argument("--recursive", action="store_true", help="search subfolders")
    restore.add_argument("--overwrite", action="store_true", help="replace existing files in DIR instead of skipping them")
    restore.add_argument("--jobs", type=int, default=1, help="threads for reading, face detection and writing (default: 1)")
    restore.add_argument("--report", type=Path, metavar="FILE.json", help="write boxes, landmarks, scores and times of all files")
    restore.add_argument(
        "--task", choices=tuple(tasks.TASKS), default="restore", help="task of the model; all except restore need aligned faces"
    )
    restore.add_argument(
        "--mask", type=Path, metavar="PATH", help="for inpaint: mask, white where to fill in, or folder with NAME.png"
    )
    restore.set_defaults(run=_restore)

    degrade = commands.add_parser("degrade", help="degrade an image: blur, downsample by s, noise, JPEG")
    degrade.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    degrade.add_argument(
        "--blur-sigma", type=float, metavar="PX", help="standard deviation of the blur, 0 to 200 (default: no blur)"
    )
    degrade.add_argument("--blur-kind", choices=BLUR_KINDS, default="isotropic", help="blur kernel")
    degrade.add_argument("--blur-sigma-y", type=float, metavar="PX", help="second axis of an anisotropic kernel")
    degrade.add_argument(
        "--blur-angle", type=float, default=0.0, metavar="DEG", help="anticlockwise, of anisotropic and motion blur"
    )
    degrade.add_argument("--scale", type=float, metavar="S", help="downsampling factor, 0.01 to 10000 (default: none)")
    degrade.add_argument("--noise-sigma", type=float, help="standard deviation of the noise, 0 to 255 (default: no noise)")
    degrade.add_argument("--jpeg-quality", type=int, metavar="Q", help="1 to 100 (default: no JPEG)")
    degrade.add_argument("--preset", choices=sorted(PRESETS), help="sample all parameters from a preset with --seed")
    degrade.add_argument("--seed", type=int, default=0, help="of the noise and of --preset (default: 0)")
    degrade.add_argument("--resized", action="store_true", help="resize the result to the size of the input")
    degrade.add_argument("--out", type=Path, required=True, metavar="FILE", help="output file; .png is lossless")
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

    sample = commands.add_parser("sample", help="generate synthetic faces with a prior")
    sample.add_argument("prior", help="file of a prior (from train prior) or of a GPEN")
    sample.add_argument("--count", type=int, default=8, help="number of faces (default: 8)")
    sample.add_argument("--seed", type=int, default=0, help="of the latent codes and the noise (default: 0)")
    sample.add_argument("--truncation", type=float, default=1.0, help="psi of the truncation trick, 0 to 1 (default: 1)")
    sample.add_argument("--size", type=int, metavar="PX", help="resize the faces, 16 to 4096 (default: size of the prior)")
    sample.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    sample.set_defaults(run=_sample)

    write = commands.add_parser("export", help="export a model to ONNX or OpenVINO")
    write.add_argument("--engine", choices=tuple(EXPORTS), required=True, help="engine that will run the file")
    write.add_argument("--out", type=Path, required=True, metavar="FILE", help="; ".join(f"{k}: {v}" for k, v in EXPORTS.items()))
    write.add_argument("--model", help="name or file of a model (default: the model of this package)")
    write.add_argument("--task", choices=tuple(tasks.TASKS), default="restore", help="task of the model")
    write.add_argument("--opset", type=int, help="ONNX opset, 15 to 21 (default: 17)")
    write.add_argument("--seed", type=int, default=0, help="of the noise of a super-resolution model (default: 0)")
    write.set_defaults(run=_export)

    info = commands.add_parser("info", help="print the settings of a model")
    info.add_argument("model", nargs="?", help="name or file of a model (default: the model of this package)")
    info.set_defaults(run=_info)
    return parser


def _restore(arguments: argparse.Namespace) -> None:
    from gpen.media.batch import Settings, make_folder, restore_files, write_report
    from gpen.media.discovery import find_files  # lazy: not needed by the other commands

    arguments.aligned |= arguments.task != "restore"  # the other tasks do not support whole photos
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)})
    files = find_files(arguments.paths, arguments.out, arguments.recursive)
    make_folder(arguments.out)
    net = checkpoints.load(tasks.find_model(arguments.task, arguments.model))
    restorer = Restorer(net, engine=arguments.engine)
    make_detector = partial(load_detector, arguments.detector)
    if not settings.aligned:
        make_detector()  # fail once here, not for every file
    rows = []
    try:
        for row in restore_files(files, restorer, make_detector, settings):
            rows.append(row)
    finally:  # also write the report of an interrupted run
        if arguments.report and rows:
            chosen = {name: value for name, value in vars(arguments).items() if name not in ("run", "report", "paths")}
            write_report(arguments.report, {"gpen": __version__, **chosen}, rows)
    found = Counter(row["status"] for row in rows)
    print(", ".join(f"{count} {STATUS_TEXT[status]}" for status, count in found.items()))
    if found["failed"]:
        sys.exit(1)


def _degrade(arguments: argparse.Namespace) -> None:
    image = read_image(arguments.image)
    if arguments.preset:
        degradation = Degradation.sample(arguments.preset, seed=arguments.seed, size=max(image.shape[:2]))
    else:
        names = ("blur_sigma", "blur_kind", "blur_sigma_y", "blur_angle", "scale", "noise_sigma", "jpeg_quality", "seed")
        degradation = Degradation(**{name: getattr(arguments, name) for name in names})
    write_image(arguments.out, degradation.resized(image) if arguments.resized else degradation(image))
    print(degradation.formula())


def _train(arguments: argparse.Namespace) -> None:
    from gpen.training.ablation import train_variants
    from gpen.training.config import FinetuneConfig, PriorConfig, read_run_config  # late: the other commands do without
    from gpen.training.finetune import finetune
    from gpen.training.prior import train_prior
    from gpen.training.smoke import smoke

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
    from gpen.models.sampling import sample_faces  # lazy: not needed by the other commands

    if arguments.count < 1 or not 16 <= (arguments.size or 16) <= 4096:
        raise GPENError(f"--count must be at least 1 and --size from 16 to 4096; got {arguments.count} and {arguments.size}.")
    prior = checkpoints.load_prior(arguments.prior)
    faces = sample_faces(prior, arguments.count, arguments.seed, arguments.truncation)
    for k, face in enumerate(faces, 1):
        write_image(arguments.out / f"face-{k:02d}.png", square_crop(face, arguments.size))
    print(arguments.out)


def _export(arguments: argparse.Namespace) -> None:
    loaded = checkpoints.load(tasks.find_model(arguments.task, arguments.model))
    net = UnitRange(loaded) if arguments.task == "seg2face" else loaded  # images of exported networks are in [-1, 1]
    print(export(net, arguments.out, arguments.engine, arguments.opset, arguments.seed))


def _info(arguments: argparse.Namespace) -> None:
    net = checkpoints.load(arguments.model)
    parameters = sum(p.numel() for p in net.parameters())
    print(checkpoints.find(arguments.model))
    for name, value in vars(net.config).items():
        print(f"{name:20} {value}")
    print(f"{'parameters':20} {parameters:,}")
