"""Parsing of a command's options with tyro, and the types of options that several commands have."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

import tyro
from tyro.conf import FlagCreatePairsOff, arg, subcommand
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from gpen.engines.registry import ENGINES
from gpen.errors import GPENError
from gpen.faces.alignment import ALIGNMENTS
from gpen.restoration.tasks import TASKS

Options = TypeVar("Options")

if TYPE_CHECKING:
    AlignmentName = str
    EngineName = str
    TaskName = str
else:
    AlignmentName = Literal[tuple(ALIGNMENTS)]
    EngineName = Literal[tuple(ENGINES)]
    TaskName = Literal[tuple(TASKS)]

Flag = FlagCreatePairsOff[bool]  # --aligned, without --no-aligned
Model = Annotated[str | None, arg(metavar="MODEL")]
File = Annotated[Path, arg(metavar="FILE")]
OptionalFile = Annotated[Path | None, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="DIR")]


@dataclass(frozen=True)
class Nothing:
    """A command without options."""


def parse(
    kind: type[Options] | Callable[..., Options],
    args: Sequence[str] | None,
    prog: str,
    default: Any = None,
    description: str | None = None,
) -> Options:
    """Parse `args` (None: sys.argv) into the dataclass `kind`; `default` has the values of the options that are not given.

    Prints a usage error and exits with status 2. Raises GPENError where the dataclass refuses a value.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            options: Options = tyro.cli(
                kind,
                args=args,
                prog=prog,
                description=description,
                default=tyro.MISSING_NONPROP if default is None else default,
                registry=_registry,
            )
    except SystemExit as stop:
        error: BaseException | None = stop
        while error is not None and not isinstance(error, GPENError):  # tyro prints ValueErrors of dataclasses in a box
            error = error.__context__
        if error is not None:
            raise error from None
        sys.stderr.write(printed.getvalue())
        raise
    sys.stderr.write(printed.getvalue())  # warnings
    return options


def print_overview(commands: dict[str, str], args: Sequence[str], prog: str, description: str) -> None:
    """Print the help of a command line whose `args` name none of its commands (name -> help), or a usage error."""
    names = [Annotated[Nothing, subcommand(name, description=text)] for name, text in commands.items()]
    overview: Any = Union[tuple(names)]  # noqa: UP007  # made at run time
    parse(overview, args, prog, description=description)


_registry = ConstructorRegistry()


@_registry.primitive_rule
def _shares(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """dict[str, float] as one argument: NAME=NUMBER,NAME=NUMBER."""
    if info.type != dict[str, float]:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME=X,...",
        instance_from_str=lambda texts: _read_shares(texts[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda shares: [",".join(f"{name}={share:g}" for name, share in shares.items())],
    )


def _read_shares(text: str) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in (entry.split("=") for entry in text.split(","))}
    except ValueError:
        raise ValueError(f"expected NAME=NUMBER, several with commas between them; got {text!r}.") from None
