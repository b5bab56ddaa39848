"""Commands of python -m eval except the preference study: run, protocol, report, archive, tables, figures and so on."""

import os
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from eval.benchmark.settings import RunSettings
from eval.metrics.weights import MetricSettings
from eval.options import option
from gpen.degradation.presets import PRESETS
from gpen.errors import GPENError

Family = Literal["fsr", "bfr", "wild", "paired", "colorize", "inpaint", "ablation"]
METHODS = {"colorize": ("bilinear", "gpen-colorize"), "inpaint": ("bilinear", "telea", "gpen-inpaint")}  # other defaults
NOT_GIVEN = RunSettings("samples", tyro.MISSING, methods=(), tasks=(), size=0)


@dataclass(frozen=True)
class Run:
    """Restore images with methods and measure the results; an interrupted run is resumed, a finished one is extended.

    accelerate launch -m eval run ... distributes the images over processes, GPUs or machines.
    """

    family: tyro.conf.Positional[Family]
    """super-resolution, blind restoration, faces without ground truth, given pairs of low-quality images and ground truth,
    colorization, inpainting, or variants of GPEN"""
    settings: Annotated[RunSettings, tyro.conf.arg(name="")] = NOT_GIVEN
    metric_settings: Annotated[MetricSettings, tyro.conf.arg(name="")] = field(default_factory=MetricSettings)
    gt: Annotated[str | None, option("DIR", "none; required by paired")] = None
    """ground truth of the images in --lq, only for paired: a folder, a zip file, or hf:OWNER/NAME:SPLIT:COLUMN"""
    models: Annotated[str | None, option("DIR", "none; required by ablation")] = None
    """folder of NAME.safetensors or NAME-SEED.safetensors, only for ablation"""
    preset: Annotated[
        str | None,
        option("NAME", "gpen-release", f"preset of the degradation, only for bfr without --tasks: {', '.join(PRESETS)}"),
    ] = None

    def __call__(self) -> None:
        from eval.benchmark.run import run  # imported here so that --help is fast
        from eval.report.report import report, write_reports

        run(self.run_settings(), self.metric_settings)
        if int(os.environ.get("RANK", 0)) == 0:
            write_reports(self.settings.out)
            print(report([self.settings.out]))

    def run_settings(self) -> RunSettings:
        """The settings with the defaults of the family. Raises GPENError for options that do not belong to it."""
        tasks = self._tasks()
        if (self.family == "ablation") != bool(self.models):
            raise GPENError("--models DIR, a folder of weight files, is required by run ablation and not allowed for other runs.")
        methods, size, data = self.settings.methods, self.settings.size, self._data()
        if self.settings.lq and not size:
            from eval.data.paired import Pairs

            size = Pairs.open(self.settings.lq, data, self.settings.match, limit=self.settings.limit).faces.size
        if self.models:
            from eval.report.ablation import common_size, models

            files = models(self.models)
            methods, size = (*methods, *(f"gpen:{path}" for path in files)), size or common_size(files)
        methods = methods or METHODS.get(self.family, RunSettings.methods)
        return replace(self.settings, data=data, tasks=tasks, methods=methods, size=size or RunSettings.size)

    def _data(self) -> str:
        """The source of the ground truth. Raises GPENError for options of other families."""
        if self.family == "paired":
            if not (self.gt and self.settings.lq) or self.settings.data != NOT_GIVEN.data:
                raise GPENError(
                    "Run paired needs --lq DIR, the low-quality images, and --gt DIR, their ground truth, without --data."
                )
            return self.gt
        if self.gt or self.settings.lq or self.settings.match != RunSettings.match:
            raise GPENError("--lq, --gt and --match are options of run paired; remove them.")
        return self.settings.data

    def _tasks(self) -> tuple[str, ...]:
        tasks = self.settings.tasks
        if self.preset and (self.family != "bfr" or tasks):
            raise GPENError("--preset is an option of run bfr without --tasks; remove one of them.")
        if self.family == "ablation":
            from eval.report.ablation import TASKS

            return tasks or TASKS
        default = {"fsr": "fsr8", "bfr": "bfr" if self.preset in (None, "gpen-release") else f"bfr-{self.preset}"}
        tasks = tasks or (default.get(self.family, self.family),)
        if invalid := [task for task in tasks if not task.startswith(self.family)]:
            raise GPENError(f"{invalid[0]} is not a task of run {self.family}; give tasks that start with {self.family}.")
        return tasks


@dataclass(frozen=True)
class ProtocolCommand:
    """List published test sets (count, size, source, licence, conventions), or verify that a folder holds one.

    python -m eval protocol list; python -m eval protocol verify DIR --name celeba-test
    """

    action: tyro.conf.Positional[Literal["list", "verify"]]
    """list, or verify a folder"""
    folder: tyro.conf.Positional[Annotated[str | None, option("[DIR]", "none; required by verify")]] = None
    """images to verify: a folder, a zip file, or hf:OWNER/NAME:SPLIT"""
    name: Annotated[str | None, option("NAME", "all")] = None
    """name of a test set, as printed by list"""

    def __call__(self) -> None:
        from eval.data import protocols

        if (self.action == "verify") != bool(self.folder):
            raise GPENError("Give the folder to verify, as in python -m eval protocol verify DIR; list has none.")
        if self.folder:
            print(protocols.verify(self.folder, self.name))
        else:
            chosen = [protocols.find_protocol(self.name)] if self.name else protocols.protocols().values()
            print(*chosen, sep="\n\n")


@dataclass(frozen=True)
class Report:
    """Print the tables of runs and their comparison; with --published also published results of the same protocol."""

    runs: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required without --published)")]
    ]
    """folders of finished runs"""
    format: Literal["md", "latex", "json"] = "md"
    """output format: Markdown, LaTeX or JSON"""
    published: bool = False
    """print published results with the protocol of the runs; without runs, all published results"""

    def __call__(self) -> None:
        from eval.report.report import report

        if not self.runs and not self.published:
            raise GPENError("There is nothing to report; give the folder of a run, RUN.")
        print(report(self.runs, self.format, self.published))


@dataclass(frozen=True)
class Archive:
    """Archive the summary and the recipe of a run as one JSON file, which the page displays."""

    run: tyro.conf.Positional[Annotated[str, option("RUN")]]
    """folder of a finished run"""
    file: tyro.conf.Positional[Annotated[str, option("FILE")]]
    """JSON file to write, for example assets/results/NAME.json"""

    def __call__(self) -> None:
        from eval.report import archive

        print(archive.write(self.run, self.file))


@dataclass(frozen=True)
class Tables:
    """Write the tables of archived runs in Markdown files anew, such as those of README.md and docs/results.md.

    The figures of the sentences that docs/figures.toml describes are written anew, too.
    A table stands between the lines <!-- table ARCHIVE.json --> and <!-- /table -->. tasks=A,B, methods=A,B and metrics=A,B after
    the file reduce it. FIRST.json,SECOND.json: one table of two runs.
    """

    files: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="(required)")]
    ]
    """Markdown files, one or more"""

    def __call__(self) -> None:
        from eval.report.compact import write_tables

        if not self.files:
            raise GPENError("There is nothing to write; give a Markdown file, FILE.")
        print(*map(write_tables, self.files), sep="\n")


@dataclass(frozen=True)
class Figures:
    """Plot all figures that a run has the data for, as PNG."""

    run: tyro.conf.Positional[Annotated[str, option("RUN")]]
    """folder of the run"""
    out: Annotated[str | None, option("DIR", "RUN/figures")] = None
    """folder for the figures"""

    def __call__(self) -> None:
        from eval.report import figures

        print(*figures.write_all(self.run, self.out), sep="\n")


@dataclass(frozen=True)
class Diversity:
    """Measure how far variations of one input are from each other, from the default output and from the ground truth."""

    data: Annotated[str, option("DIR", "samples")] = "samples"
    """aligned faces, as for run"""
    task: Annotated[str, option("TASK")] = "bfr-gpen-release-scaled"
    """task of run fsr or run bfr, by which the faces are degraded"""
    model: Annotated[str | None, option("MODEL", "the default model")] = None
    """name or file of a GPEN"""
    variations: Annotated[int, option("N")] = 8
    """variations of each face, 2 to 64"""
    limit: Annotated[int | None, option("N", "all")] = None
    """maximum number of faces, by name, 1 or more"""
    seed: int = 0
    """seed of the degradations and of the variations, an integer from 0"""
    metric_settings: Annotated[MetricSettings, tyro.conf.arg(name="")] = field(default_factory=MetricSettings)

    def __call__(self) -> None:
        import gpen
        from eval.benchmark.diversity import measure_diversity
        from eval.data.faces import Faces
        from eval.data.lq_sets import TASKS
        from eval.report.report import diversity_report

        if self.task not in TASKS:
            raise GPENError(f"Unknown task {self.task!r}; choose from {', '.join(TASKS)}.")
        net = gpen.load(self.model)
        faces = Faces.open(self.data, net.size, self.limit)
        faces.check_native_size()
        print(diversity_report(measure_diversity(net, faces, self.task, self.variations, self.seed, self.metric_settings)))


@dataclass(frozen=True)
class FitNiqe:
    """Fit the pristine model of niqe_fitted on sharp faces."""

    data: Annotated[str, option("DIR")]
    """aligned faces, as for run"""
    out: Annotated[str, option("FILE.npz")]
    """file to write, for --niqe-faces"""
    size: Annotated[int, option("PX")] = 256
    """size of the faces, 32 to 4096 px"""
    limit: Annotated[int | None, option("N", "all")] = None
    """maximum number of images, by name, 1 or more"""

    def __call__(self) -> None:
        from eval.data.faces import Faces
        from eval.metrics import niqe

        faces = Faces.open(self.data, self.size, self.limit)
        faces.check_native_size()
        try:
            model = niqe.fit(faces.load(name) for name in faces.names)
        except ValueError as error:
            raise GPENError(f"--data {self.data}: {error}") from error
        source = f"{len(faces.names)} faces of {self.data} at {self.size} px"
        niqe.save_model(model, self.out, source, faces.files.values())
        print(f"Wrote {self.out}; use it with --niqe-faces {self.out}.")


@dataclass(frozen=True)
class TrainUnet:
    """Train the U-Net baseline of the method unet."""

    data: Annotated[str, option("DIR")]
    """folder of aligned faces"""
    out: Annotated[str, option("RUN")]
    """folder for the checkpoint, the log, image grids and unet.safetensors"""
    adversarial: bool = False
    """train with L1 and an adversarial loss instead of L1 alone"""
    start: Annotated[str | None, option("FILE", "the identity")] = None
    """U-Net to start from, such as unet.safetensors of a run without --adversarial"""
    size: Annotated[int, option("PX")] = 256
    """size of the images, a power of two, px"""
    images: Annotated[int, option("N")] = 40_000
    """number of training images, 1 or more"""
    seed: int = 0
    """random seed, an integer"""
    precision: Annotated[str, option("float32|bfloat16")] = "float32"
    """precision of the computation"""
    allow_upscaled: bool = False
    """enlarge faces that are smaller than --size, which are an error otherwise"""
    resume: bool = False
    """resume the run in --out"""
    device: Annotated[str | None, option(default="cuda if available, else cpu")] = None
    """cpu or cuda"""

    def __call__(self) -> None:
        from eval.methods.unet import UNetTraining, unet_config
        from gpen.training.data.dataset import FacePairs
        from gpen.training.loop import train
        from gpen.training.runtime.parallel import Distributed

        config = unet_config(self.size, self.images, self.adversarial, self.seed, self.precision, self.allow_upscaled)
        training = UNetTraining(config, Distributed(self.device), self.start)
        print(train(training, FacePairs(self.data, config), self.out, self.resume))
