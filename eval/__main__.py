"""Command line of the evaluation.

    python -m eval run fsr|bfr --data DIR --methods bilinear,gpen --out RUN    measure; resumes an interrupted run
    python -m eval run wild --data DIR --out RUN              faces without ground truth
    python -m eval run colorize|inpaint --data DIR --out RUN  colorization and inpainting with the default models
    python -m eval run ablation --models DIR --out RUN        all variants of GPEN in a folder
    python -m eval report RUN... [--format md|latex|json]     print tables, compare runs
    python -m eval study build|export|import|score ...        preference study (eval/preference/cli.py)
    python -m eval fit-niqe --data DIR --out FILE.npz         fit the pristine model of niqe_fitted on your own faces

accelerate launch -m eval run ... distributes the images of a run over processes, GPUs or machines.
"""

import argparse
import os
import sys
from dataclasses import fields, replace

from eval.preference import cli as preference
from gpen.errors import GPENError, exit_status

OTHER_TASKS = {
    "colorize": ("bilinear", "gpen-colorize"),
    "inpaint": ("bilinear", "telea", "gpen-inpaint"),
}  # with their default methods
FAMILIES = ("fsr", "bfr", "wild", *OTHER_TASKS, "ablation")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Exit status: 0; 2 for an error of the user, with a message on standard error; 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    status = exit_status(lambda: options.command(options))
    if status == 130:
        print("Interrupted; run the same command to resume.", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    from eval.benchmark.run import RunSettings, run  # imported here so that --help is fast
    from eval.metrics.weights import MetricSettings
    from eval.report.report import report, write_reports

    given = {name: value for name, value in vars(options).items() if value is not None}
    given["tasks"] = _tasks(options.family, options.tasks, options.preset)
    given |= _ablation(options)
    if options.family in OTHER_TASKS:
        given.setdefault("methods", OTHER_TASKS[options.family])
    settings = RunSettings(**{f.name: given[f.name] for f in fields(RunSettings) if f.name in given})
    paths = {f.name: given[f.name] for f in fields(MetricSettings) if f.name in given}
    run(settings, replace(MetricSettings(), **paths))
    if int(os.environ.get("RANK", 0)) == 0:
        write_reports(settings.out)
        print(report([settings.out]))
    return 0


def _tasks(family: str, tasks: tuple[str, ...] | None, preset: str | None) -> tuple[str, ...]:
    if preset and (family != "bfr" or tasks):
        raise GPENError("--preset is an option of run bfr without --tasks; remove one of them.")
    if family == "ablation":
        from eval.report.ablation import TASKS

        return tasks or TASKS
    default = {"fsr": "fsr8", "bfr": "bfr" if preset in (None, "gpen-release") else f"bfr-{preset}"}
    tasks = tasks or (default.get(family, family),)
    if invalid := [task for task in tasks if not task.startswith(family)]:
        raise GPENError(f"{invalid[0]} is not a task of run {family}; give tasks that start with {family}.")
    return tasks


def _ablation(options: argparse.Namespace) -> dict:
    """The settings given by --models."""
    if (options.family == "ablation") != bool(options.models):
        raise GPENError("--models DIR, a folder of weight files, is required by run ablation and not allowed for other runs.")
    if not options.models:
        return {}
    from eval.report.ablation import common_size, models

    files = models(options.models)
    methods = (*(options.methods or ()), *(f"gpen:{path}" for path in files))
    return {"methods": methods, "size": options.size or common_size(files)}


def _report(options: argparse.Namespace) -> int:
    from eval.report.report import report

    print(report(options.runs, options.format))
    return 0


def _fit_niqe(options: argparse.Namespace) -> int:
    from eval.data.faces import Faces
    from eval.metrics import niqe

    faces = Faces.open(options.data, options.size, options.limit)
    try:
        model = niqe.fit(faces.load(name) for name in faces.names)
    except ValueError as error:
        raise GPENError(f"--data {options.data}: {error}") from error
    niqe.save_model(model, options.out, f"{len(faces.names)} faces of {options.data} at {options.size} px")
    print(f"Wrote {options.out}; use it with --niqe-faces {options.out}.")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eval", description="Evaluate face restoration.")
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="restore and measure images; resumes an interrupted run"))
    show = commands.add_parser("report", help="print the tables of runs and compare runs")
    show.set_defaults(command=_report)
    show.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    show.add_argument("--format", choices=["md", "latex", "json"], default="md", help="output format (default: md)")
    fit = commands.add_parser("fit-niqe", help="fit the pristine model of NIQE on sharp faces")
    fit.set_defaults(command=_fit_niqe)
    fit.add_argument("--data", required=True, metavar="DIR", help="aligned faces, as for run")
    fit.add_argument("--out", required=True, metavar="FILE.npz", help="file to write")
    fit.add_argument("--size", type=int, default=256, help="image size, px (default: 256)")
    fit.add_argument("--limit", type=int, help="maximum number of images, by name (default: all)")
    preference.add_commands(commands)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.set_defaults(command=_run)
    run.add_argument(
        "family",
        choices=FAMILIES,
        help="super-resolution, blind restoration, photos without ground truth, colorization, inpainting, GPEN variants",
    )
    run.add_argument(
        "--data",
        default="samples",
        metavar="DIR",
        help="folder of aligned faces, celeba-hq, ffhq, hf:OWNER/NAME, or samples (default: samples)",
    )
    run.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    run.add_argument(
        "--methods", type=_names, metavar="A,B", help="methods, for example bilinear,gpen:PATH (default: bilinear,gpen)"
    )
    run.add_argument("--models", metavar="DIR", help="folder of NAME.safetensors or NAME-SEED.safetensors, for ablation")
    run.add_argument("--tasks", type=_names, metavar="A,B", help="fsr4 to fsr64 (default: fsr8); bfr, bfr-PRESET (default: bfr)")
    run.add_argument("--preset", help="preset of the degradation, for bfr (default: gpen-release)")
    run.add_argument("--metrics", type=_names, metavar="A,B", help="metrics (default: all except lpips_vgg and lpips_squeeze)")
    run.add_argument("--baseline", help="reference method of the differences (default: bilinear)")
    run.add_argument("--size", type=int, help="size of the ground truth, px (default: 256; for ablation that of the models)")
    run.add_argument("--limit", type=int, help="maximum number of images, by name (default: all)")
    run.add_argument("--seed", type=int, help="seed of the degradations (default: 0)")
    run.add_argument("--batch", type=int, help="batch size (default: 8)")
    run.add_argument("--device", help="device of the networks (default: cpu)")
    run.add_argument("--keep", action="store_true", help="write the restored images")
    run.add_argument("--cache", metavar="DIR", help="folder of a cache of restored images, shared by runs")
    run.add_argument("--identity-model", metavar="FILE", help="face embedding in ONNX")
    run.add_argument("--squeezenet", metavar="FILE", help="Caffe weights of SqueezeNet 1.1, .npz")
    run.add_argument("--fid-statistics", metavar="FILE", help="mu and sigma of a reference set, .npz of pytorch-fid")
    run.add_argument("--niqe-parameters", metavar="FILE", help="published pristine model of NIQE, .npz or .mat")
    run.add_argument("--niqe-faces", metavar="FILE", help="pristine model of python -m eval fit-niqe")


if __name__ == "__main__":
    sys.exit(main())
