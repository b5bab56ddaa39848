"""Command line of the evaluation: python -m eval COMMAND; see python -m eval --help.

The commands are the dataclasses of eval/commands.py and eval/preference/cli.py.
"""

import importlib
import io
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Union

import tyro

from eval.options import CONFIG

COMMANDS = {  # name: (module, type, description)
    "run": ("eval.commands", "Run", "restore and measure images; resumes an interrupted run"),
    "protocol": ("eval.commands", "ProtocolCommand", "list published test sets; verify a downloaded one"),
    "report": ("eval.commands", "Report", "print the tables of runs and compare runs"),
    "archive": ("eval.commands", "Archive", "write the summary and the recipe of a run to one JSON file"),
    "tables": ("eval.commands", "Tables", "write the tables of archived runs in Markdown files"),
    "figures": ("eval.commands", "Figures", "plot the figures of a run"),
    "study": ("eval.preference.cli", "StudyCommand", "preference study: build it; export, import and score votes"),
    "diversity": ("eval.commands", "Diversity", "measure the diversity of variations of one face"),
    "fit-niqe": ("eval.commands", "FitNiqe", "fit the pristine model of NIQE on sharp faces"),
    "train-unet": ("eval.commands", "TrainUnet", "train the U-Net baseline"),
}


@dataclass(frozen=True)
class NotImported:
    """Stands for the commands that are not called, so that only the options of one command are imported."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Exit status: 0; 2 for an error of the user, with a message on standard error; 130 if interrupted. Raises SystemExit for
    --help (status 0) and for invalid options (status 2).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # help and tables contain arrows, which some encodings lack
    command = tyro.cli(
        _commands(arguments[0] if arguments else ""),
        prog="python -m eval",
        description="Evaluate face restoration: benchmarks, reports, preference studies.",
        args=arguments,
        config=CONFIG,
    )
    from gpen.errors import exit_status  # imported here so that --help is fast: gpen imports torch

    status = exit_status(command)
    if status == 130:
        print("Interrupted; run the same command to resume.", file=sys.stderr)
    return status


def _commands(called: str) -> Any:
    """The union of the commands for tyro; only the module of the command that is called is imported."""
    members = []
    for name, (module, kind, description) in COMMANDS.items():
        command = getattr(importlib.import_module(module), kind) if name == called else NotImported
        text = None if name == called and name != "study" else description  # the docstring of a command is longer
        members.append(Annotated[command, tyro.conf.subcommand(name, description=text)])
    return Union[tuple(members)]  # noqa: UP007


if __name__ == "__main__":
    sys.exit(main())
