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


@dataclass(frozen=True)
class Table:
    """A table of text cells; the first column holds names, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def frame(self) -> "pandas.DataFrame":
        import pandas  # imported here because it takes 0.3 s

        return pandas.DataFrame([list(row) for row in self.rows], columns=list(self.head))


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
        case Table(head):
            frame = block.frame().map(_escaped).rename(columns=_escaped)
            align = ("left", *("right" for _ in head[1:]))
            return frame.to_markdown(index=False, colalign=align, disable_numparse=True) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


_SYMBOLS = str.maketrans({"↑": r"$\uparrow$", "↓": r"$\downarrow$", "∞": r"$\infty$", "±": r"$\pm$", "†": r"$\dagger$"})


def latex(blocks: Sequence[Block]) -> str:
    """The tables for a document with the package booktabs, each after its headings and notes as comments."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading | Note):
            parts.append(f"% {block.text}")
        elif isinstance(block, Table):
            columns = "l" + "r" * (len(block.head) - 1)
            text = block.frame().to_latex(index=False, escape=True, column_format=columns).translate(_SYMBOLS)
            parts.append(re.sub(r"(?<![\w-])-(?=\d)", "$-$", text))
    return "\n".join(parts)
