"""Command line: python -m gpen COMMAND. The exit status after a user error or a usage error is 2.

Each command is one file with a dataclass of its options and a function `main(args)`. Only the file of the chosen command is
imported, so that `--help` stays quick.
"""

from __future__ import annotations

import sys
from importlib import import_module

from gpen.cli.parsing import print_overview
from gpen.errors import exit_status
from gpen.version import __version__

COMMANDS = {  # name: (module, help)
    "restore": ("restore", "Restore the faces of photos and videos."),
    "degrade": ("degrade", "Degrade an image: blur, downsample by s, noise, JPEG."),
    "train": ("train", "Train a model in two stages."),
    "sample": ("sample", "Generate synthetic faces with a prior."),
    "export": ("export", "Export a model to ONNX or OpenVINO."),
    "info": ("info", "Print the file, settings, size, budget and licence of a model."),
    "curves": ("plot_curves", "Plot the loss curves of training runs."),
    "blend": ("blend", "Blend a network with its input, within its weights."),
}
DESCRIPTION = """Blind face restoration with a GAN prior.

`gpen COMMAND --help` lists the options of a command.
`gpen --version` prints the version."""


def main(argv: list[str] | None = None) -> None:
    """Parse `argv` (default: sys.argv), run the command, exit with status 2 after a user error."""
    args = sys.argv[1:] if argv is None else argv
    if status := exit_status(lambda: _run(args)):
        sys.exit(status)


def _run(args: list[str]) -> None:
    if args == ["--version"]:
        print(f"gpen {__version__}")
    elif args and args[0] in COMMANDS:
        module, _ = COMMANDS[args[0]]
        import_module(f"gpen.cli.{module}").main(args[1:])
    else:  # --help, or a usage error
        print_overview({name: text for name, (_, text) in COMMANDS.items()}, args, "gpen", DESCRIPTION)
