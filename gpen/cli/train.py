"""python -m gpen train: train a model in two stages.

The options of a stage are the settings in gpen.training.config. Their defaults are those of the dataclass, or of the TOML file
given with --config.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import arg

from gpen.cli.parsing import Flag, OptionalFile, parse, print_overview
from gpen.training.config import FinetuneConfig, PriorConfig, read_run_config

Data = Annotated[str, arg(metavar="DIR")]
Device = Annotated[str | None, arg(metavar="NAME")]

DESCRIPTION = """Train a model in two stages.

`gpen train --smoke --out RUN` trains both at 32 px, without data.
`gpen train STAGE --help` lists all options.
`gpen train STAGE --config FILE --help` shows the values of the file."""


@dataclass(frozen=True)
class Stage:
    """Options of both stages."""

    data: Data  # aligned faces: a folder, hf:OWNER/NAME[:SPLIT[:COLUMN]], celeba-hq or ffhq
    out: Annotated[Path, arg(metavar="RUN")]  # folder for checkpoints, log, curves and image grids
    config: OptionalFile = None  # TOML file with settings, see gpen/training/configs; None: the defaults below
    resume: Flag = False  # continue the run in RUN from its last checkpoint
    device: Device = None  # device of PyTorch, cpu or cuda; None: a GPU if there is one


@dataclass(frozen=True)
class Prior(Stage):
    """Stage 1: train the GAN prior alone and write it to RUN/prior.safetensors.

    The options override the configuration file.
    """

    settings: Annotated[PriorConfig, arg(name="")] = field(default_factory=PriorConfig)

    def run(self) -> None:
        """Train and print the file of the prior."""
        from gpen.training.prior import train_prior  # lazy: --help needs no training code

        print(train_prior(self.data, self.out, self.settings, self.resume, self.device))


@dataclass(frozen=True)
class Finetune(Stage):
    """Stage 2: train the whole network and write it to RUN/gpen.safetensors.

    The options override the configuration file.
    """

    settings: Annotated[FinetuneConfig, arg(name="")] = field(default_factory=FinetuneConfig)

    def run(self) -> None:
        """Train and print the file of the network."""
        from gpen.training.finetune import finetune  # lazy: --help needs no training code

        print(finetune(self.data, self.out, self.settings, self.resume, self.device))


@dataclass(frozen=True)
class Variants:
    """Train variants of GPEN, each with the same small budget.

    A run that was stopped continues where it was.
    """

    data: Data  # aligned faces: a folder, hf:OWNER/NAME[:SPLIT[:COLUMN]], celeba-hq or ffhq
    out: Annotated[Path, arg(metavar="RUN")]  # folder of the runs; the networks are written to RUN/models
    device: Device = None  # device of PyTorch, cpu or cuda; None: a GPU if there is one

    def run(self) -> None:
        """Train and print the folder of the networks."""
        from gpen.training.ablation import train_variants  # lazy: --help needs no training code

        print(train_variants(self.data, self.out, device=self.device))


@dataclass(frozen=True)
class Smoke:
    """Check that training works: both stages at 32 px in under two minutes."""

    out: Annotated[Path, arg(metavar="RUN")]  # new or empty folder of the runs
    smoke: Flag = False  # train both stages at 32 px
    data: Annotated[str | None, arg(metavar="DIR")] = None  # folder of aligned faces; None: synthetic faces
    device: Device = None  # device of PyTorch, cpu or cuda; None: a GPU if there is one

    def run(self) -> None:
        """Train and print the file of the network."""
        from gpen.training.smoke import smoke  # lazy: --help needs no training code

        print(smoke(self.out, self.data, self.device))


@dataclass(frozen=True)
class ConfigFile:
    """The option that has the defaults of the others."""

    config: OptionalFile = None


STAGES = {
    "prior": (Prior, "Stage 1: the GAN prior alone."),
    "finetune": (Finetune, "Stage 2: the whole network on degraded faces."),
    "variants": (Variants, "Variants of GPEN: its ablation, other losses, other GAN blocks."),
}


def main(args: list[str]) -> None:
    """Run `gpen train` with these arguments."""
    read_command(args).run()


def read_command(args: list[str]) -> Any:
    """The stage named by the arguments, with its settings."""
    if args and args[0] in STAGES:
        kind, prog = STAGES[args[0]][0], f"gpen train {args[0]}"
        return parse(kind, args[1:], prog, _defaults(kind, args[1:], prog))
    if "--smoke" in args:
        return parse(Smoke, args, "gpen train")
    return print_overview({name: text for name, (_, text) in STAGES.items()}, args, "gpen train", DESCRIPTION)


def _defaults(kind: type, args: list[str], prog: str) -> Any:
    """Values of the options that are not given: those of the configuration file, if there is one."""
    if kind is Variants:
        return None
    stage = PriorConfig if kind is Prior else FinetuneConfig
    file, _ = tyro.cli(ConfigFile, args=args, prog=prog, add_help=False, return_unknown_args=True)
    settings = read_run_config(file.config, stage) if file.config else stage()
    if settings.network.in_size == settings.network.size:  # so that --network.size changes both
        network = copy.copy(settings.network)
        object.__setattr__(network, "in_size", 0)
        settings = dataclasses.replace(settings, network=network)
    missing: Any = tyro.MISSING_NONPROP
    return kind(data=missing, out=missing, settings=settings)
