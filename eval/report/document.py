"""A report as a list of blocks: written as Markdown, its tables also as LaTeX (booktabs, by pandas)."""

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


Block = Heading | Paragraph | Bullets | Table


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks with an empty line between them."""
    return "\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * (level + 1)} {text}\n"
        case Paragraph(text):
            return f"{text}\n"
        case Bullets(items):
            return "".join(f"- {item}\n" for item in items)
        case Table(head, rows):  # DataFrame.to_markdown needs the package tabulate
            lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
            return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


_SYMBOLS = str.maketrans({"↑": r"$\uparrow$", "↓": r"$\downarrow$", "∞": r"$\infty$", "±": r"$\pm$"})


def latex(blocks: Sequence[Block]) -> str:
    """The tables for a document with the package booktabs, each after its headings as comments."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"% {block.text}")
        elif isinstance(block, Table):
            columns = "l" + "r" * (len(block.head) - 1)
            text = block.frame().to_latex(index=False, escape=True, column_format=columns).translate(_SYMBOLS)
            parts.append(re.sub(r"(?<![\w-])-(?=\d)", "$-$", text))
    return "\n".join(parts)
