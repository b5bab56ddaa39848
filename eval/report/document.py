"""A report as a list of blocks: written as Markdown, its tables also as LaTeX (booktabs); pandas writes the tables."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Heading:
    level: int  # 1 is the largest
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str  # Markdown


@dataclass(frozen=True)
class Note:
    """A note to the table before it, which is also written in LaTeX."""

    text: str  # Markdown


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]  # Markdown


class Bold(str):
    """A cell of a table in bold type."""


class Italic(str):
    """A cell of a table in italic type."""


@dataclass(frozen=True)
class Table:
    """A table of text cells (str, Bold or Italic); the first columns hold names, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1  # number of columns with names

    def frame(self) -> "pandas.DataFrame":
        import pandas  # imported here because it takes 0.3 s

        return pandas.DataFrame([list(row) for row in self.rows], columns=list(self.head), dtype=object)  # keeps Bold


Block = Heading | Paragraph | Note | Bullets | Table


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks with an empty line between them."""
    return "\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * (level + 1)} {text}\n"
        case Paragraph(text) | Note(text):
            return f"{text}\n"
        case Bullets(items):
            return "".join(f"- {item}\n" for item in items)
        case Table(head, _, names):
            frame = block.frame().map(_escaped).rename(columns=_escaped)
            align = ["left"] * names + ["right"] * (len(head) - names)
            return frame.to_markdown(index=False, colalign=align, disable_numparse=True) + "\n"


def _escaped(cell: str) -> str:
    mark = "**" if isinstance(cell, Bold) else "*" if isinstance(cell, Italic) else ""
    return mark + cell.replace("|", "\\|") + mark


_START, _ITALIC, _END = "\x01", "\x02", "\x03"  # around cells until pandas has escaped them
_SYMBOLS = str.maketrans({_START: r"\textbf{", _ITALIC: r"\textit{", _END: "}", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
                          "∞": r"$\infty$", "±": r"$\pm$", "†": r"$\dagger$", "‡": r"$\ddagger$"})  # fmt: skip


def _marked(cell: str) -> str:
    start = _START if isinstance(cell, Bold) else _ITALIC if isinstance(cell, Italic) else ""
    return f"{start}{cell}{_END}" if start else cell


def latex(blocks: Sequence[Block]) -> str:
    """The tables for a document with the package booktabs, each after its headings and notes as comments."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading | Note):
            parts.append(f"% {block.text}")
        elif isinstance(block, Table):
            columns = "l" * block.names + "r" * (len(block.head) - block.names)
            frame = block.frame().map(_marked)
            text = frame.to_latex(index=False, escape=True, column_format=columns).translate(_SYMBOLS)
            parts.append(re.sub(r"(?<![\w-])-(?=\d)", "$-$", text))
    return "\n".join(parts)
