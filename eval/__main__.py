"""python -m eval run fsr|bfr --data DIR --methods bilinear,gpen --out RUN    measure; resumes after a stop
python -m eval report RUN...                                                  print the tables in Markdown
"""

import argparse
import sys
from dataclasses import fields, replace

from gpen.errors import GPENError


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 2 for a user's mistake, with one sentence on standard error; 130 if interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (GPENError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    from eval.benchmark import RunSettings, run  # here, so that --help and mistakes answer at once
    from eval.metrics import MetricSettings
    from eval.report import report

    given = {name: value for name, value in vars(options).items() if value is not None}
    given["tasks"] = _tasks(options.family, options.tasks, options.preset)
    settings = RunSettings(**{f.name: given[f.name] for f in fields(RunSettings) if f.name in given})
    named = {f.name: given[f.name] for f in fields(MetricSettings) if f.name in given}
    run(settings, replace(MetricSettings(), **named))
    print(report([settings.out]))
    return 0


def _tasks(family: str, tasks: tuple[str, ...] | None, preset: str | None) -> tuple[str, ...]:
    if preset and (family != "bfr" or tasks):
        raise GPENError("--preset goes with run bfr, and without --tasks")
    if family == "fsr":
        tasks = tasks or ("fsr8",)
    else:
        tasks = tasks or ("bfr" if preset in (None, "gpen-release") else f"bfr-{preset}",)
    if strange := [task for task in tasks if not task.startswith(family)]:
        raise GPENError(f"{strange[0]} is no task of run {family}; give tasks that begin with {family}")
    return tasks


def _report(options: argparse.Namespace) -> int:
    from eval.report import report

    print(report(options.runs))
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eval", description="Measure face restoration.")
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="restore and score; resumes where it stopped")
    run.set_defaults(command=_run)
    run.add_argument("family", choices=["fsr", "bfr"], help="face super-resolution, blind face restoration")
    run.add_argument("--data", required=True, metavar="DIR", help="folder of aligned faces, any format")
    run.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    run.add_argument("--methods", type=_names, metavar="A,B", help="bilinear, gpen:PATH ... (bilinear,gpen)")
    run.add_argument("--tasks", type=_names, metavar="A,B", help="fsr4 to 64 (fsr8); bfr, bfr-PRESET (bfr)")
    run.add_argument("--preset", help="of the degradation, for bfr (gpen-release)")
    run.add_argument("--metrics", type=_names, metavar="A,B", help="psnr, ssim, ... (all but two LPIPS)")
    run.add_argument("--baseline", help="method that differences are taken to (bilinear)")
    run.add_argument("--size", type=int, help="px, of the true images (256)")
    run.add_argument("--limit", type=int, help="only the first so many images by name")
    run.add_argument("--seed", type=int, help="of the degradations (0)")
    run.add_argument("--batch", type=int, help="images at a time (8)")
    run.add_argument("--device", help="of the networks (cpu)")
    run.add_argument("--keep", action="store_true", help="write the restored images")
    run.add_argument("--identity-model", metavar="FILE", help="face embedding in ONNX")
    run.add_argument("--squeezenet", metavar="FILE", help="SqueezeNet 1.1's Caffe weights, .npz")
    show = commands.add_parser("report", help="print the tables of runs in Markdown")
    show.set_defaults(command=_report)
    show.add_argument("runs", nargs="+", metavar="RUN")
    return parser


if __name__ == "__main__":
    sys.exit(main())
