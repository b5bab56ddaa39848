"""python -m eval run fsr|bfr --data DIR --methods bilinear,gpen --out RUN    measure; resumes after a stop
python -m eval run wild --data DIR --out RUN              faces without true images
python -m eval run colorize|inpaint --data DIR --out RUN  the other tasks, with the models that are here
python -m eval run ablation --models DIR --out RUN        every variant of GPEN in a folder
python -m eval report RUN... [--format md|latex|json]     print tables, compare runs
python -m eval study build|export|import|score ...        what people prefer (eval/preference/cli.py)
python -m eval fit-niqe --data DIR --out FILE.npz         the pristine model of niqe_fitted, from faces of yours

accelerate launch -m eval run ... splits a run's images over processes, GPUs or machines.
"""

import argparse
import os
import sys
from dataclasses import fields, replace

from eval.preference import cli as preference
from gpen.errors import GPENError, exit_status

OTHER_TASKS = {"colorize": ("bilinear", "gpen-colorize"), "inpaint": ("bilinear", "telea", "gpen-inpaint")}  # and their methods
FAMILIES = ("fsr", "bfr", "wild", *OTHER_TASKS, "ablation")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 2 for a user's mistake, with one sentence on standard error; 130 if interrupted."""
    options = _parser().parse_args(arguments)
    status = exit_status(lambda: options.command(options))
    if status == 130:
        print("stopped; the same command goes on from here", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    from eval.benchmark import RunSettings, run  # here, so that --help and mistakes answer at once
    from eval.report import report
    from eval.weights import MetricSettings

    given = {name: value for name, value in vars(options).items() if value is not None}
    given["tasks"] = _tasks(options.family, options.tasks, options.preset)
    given |= _ablation(options)
    if options.family in OTHER_TASKS:
        given.setdefault("methods", OTHER_TASKS[options.family])
    settings = RunSettings(**{f.name: given[f.name] for f in fields(RunSettings) if f.name in given})
    named = {f.name: given[f.name] for f in fields(MetricSettings) if f.name in given}
    run(settings, replace(MetricSettings(), **named))
    if int(os.environ.get("RANK", 0)) == 0:
        print(report([settings.out]))
    return 0


def _tasks(family: str, tasks: tuple[str, ...] | None, preset: str | None) -> tuple[str, ...]:
    if preset and (family != "bfr" or tasks):
        raise GPENError("--preset goes with run bfr, and without --tasks")
    if family == "ablation":
        from eval.ablation import TASKS

        return tasks or TASKS
    first = {"fsr": "fsr8", "bfr": "bfr" if preset in (None, "gpen-release") else f"bfr-{preset}"}
    tasks = tasks or (first.get(family, family),)
    if strange := [task for task in tasks if not task.startswith(family)]:
        raise GPENError(f"{strange[0]} is no task of run {family}; give tasks that begin with {family}")
    return tasks


def _ablation(options: argparse.Namespace) -> dict:
    """The settings that --models stands for."""
    if (options.family == "ablation") != bool(options.models):
        raise GPENError("run ablation needs --models DIR, a folder of weight files; the other runs take none")
    if not options.models:
        return {}
    from eval.ablation import common_size, models

    files = models(options.models)
    methods = (*(options.methods or ()), *(f"gpen:{path}" for path in files))
    return {"methods": methods, "size": options.size or common_size(files)}


def _report(options: argparse.Namespace) -> int:
    from eval.report import report

    print(report(options.runs, options.format))
    return 0


def _fit_niqe(options: argparse.Namespace) -> int:
    from eval import niqe
    from eval.datasets import Faces

    faces = Faces.open(options.data, options.size, options.limit)
    try:
        model = niqe.fit(faces.load(name) for name in faces.names)
    except ValueError as error:
        raise GPENError(f"--data {options.data}: {error}") from error
    niqe.save(model, options.out, f"{len(faces.names)} faces of {options.data} at {options.size} px")
    print(f"{options.out}: name it with --niqe-faces {options.out}")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eval", description="Measure face restoration.")
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="restore and score; resumes where it stopped"))
    show = commands.add_parser("report", help="print the tables of runs, compare them")
    show.set_defaults(command=_report)
    show.add_argument("runs", nargs="+", metavar="RUN")
    show.add_argument("--format", choices=["md", "latex", "json"], default="md", help="md")
    fit = commands.add_parser("fit-niqe", help="fit NIQE's pristine model on sharp faces")
    fit.set_defaults(command=_fit_niqe)
    fit.add_argument("--data", required=True, metavar="DIR", help="as in run")
    fit.add_argument("--out", required=True, metavar="FILE.npz")
    fit.add_argument("--size", type=int, default=256, help="px (256)")
    fit.add_argument("--limit", type=int, help="only the first so many images by name")
    preference.add_commands(commands)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.set_defaults(command=_run)
    run.add_argument(
        "family",
        choices=FAMILIES,
        help="face super-resolution, blind face restoration, faces without true images, colours, holes, variants of GPEN",
    )
    run.add_argument(
        "--data",
        default="samples",
        metavar="DIR",
        help="folder of aligned faces, any format; celeba-hq, ffhq or hf:OWNER/NAME; the project's sample faces (samples)",
    )
    run.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    run.add_argument("--methods", type=_names, metavar="A,B", help="bilinear, gpen:PATH ... (bilinear,gpen)")
    run.add_argument("--models", metavar="DIR", help="of NAME.safetensors or NAME-SEED.safetensors, for ablation")
    run.add_argument("--tasks", type=_names, metavar="A,B", help="fsr4 to 64 (fsr8); bfr, bfr-PRESET (bfr)")
    run.add_argument("--preset", help="of the degradation, for bfr (gpen-release)")
    run.add_argument("--metrics", type=_names, metavar="A,B", help="psnr, ssim, ... (all but two LPIPS)")
    run.add_argument("--baseline", help="method that differences are taken to (bilinear)")
    run.add_argument("--size", type=int, help="px, of the true images (256; of the models for ablation)")
    run.add_argument("--limit", type=int, help="only the first so many images by name")
    run.add_argument("--seed", type=int, help="of the degradations (0)")
    run.add_argument("--batch", type=int, help="images at a time (8)")
    run.add_argument("--device", help="of the networks (cpu)")
    run.add_argument("--keep", action="store_true", help="write the restored images")
    run.add_argument("--cache", metavar="DIR", help="keep restored images by content, for this and other runs")
    run.add_argument("--identity-model", metavar="FILE", help="face embedding in ONNX")
    run.add_argument("--squeezenet", metavar="FILE", help="SqueezeNet 1.1's Caffe weights, .npz")
    run.add_argument("--fid-statistics", metavar="FILE", help="mu and sigma of a reference set, .npz of pytorch-fid")
    run.add_argument("--niqe-parameters", metavar="FILE", help="NIQE's published pristine model, .npz or .mat")
    run.add_argument("--niqe-faces", metavar="FILE", help="pristine model of python -m eval fit-niqe")


if __name__ == "__main__":
    sys.exit(main())
