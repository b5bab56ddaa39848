"""Types of command-line options: comma-separated lists, text files, and what the help shows as a value and as the default."""

import re
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

CONFIG = (  # of tyro
    tyro.conf.FlagCreatePairsOff,  # --keep without --no-keep
    tyro.conf.OmitArgPrefixes,  # --data instead of --settings.data
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.DisallowNone,
)


def option(value: str | None = None, default: str | None = None, text: str | None = None) -> Any:
    """An annotation of a field: the placeholder of its value, its default, and its help in the words of a user.

    The defaults are the type, the default value, and the docstring or comment of the field.
    """
    return tyro.conf.arg(metavar=value, help_behavior_hint=default and f"(default: {default})", help=text)


def _split(arguments: list[str]) -> tuple[str, ...]:
    names = re.split(r",(?!\s*-?[\d.]+\s*(?:[,&]|$))", arguments[0])  # not before a number: onnx:FILE?range=-1,1
    return tuple(name.strip() for name in names if name.strip())


def _read_text(arguments: list[str]) -> str:
    try:
        return Path(arguments[0]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{arguments[0]} cannot be read as text; give a text file.") from error


Names = Annotated[  # a comma-separated list, such as "bilinear,gpen"
    tuple[str, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="A,B",
        instance_from_str=_split,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda names: [",".join(names)],
    ),
]
Text = Annotated[  # the content of a text file
    str,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="FILE",
        instance_from_str=_read_text,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda text: [text],
    ),
]
