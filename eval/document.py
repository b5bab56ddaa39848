"""A report as a list of blocks, written as Markdown or as LaTeX (booktabs)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    level: int  # 1 is the largest
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str  # `code` stands between backquotes


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The first column holds names, the others figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Heading | Paragraph | Bullets | Table


def markdown(blocks: Sequence[Block]) -> str:
    """Blocks with an empty line between them."""
    return "\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * (level + 1)} {text}\n"
        case Paragraph(text):
            return f"{text}\n"
        case Bullets(items):
            return "".join(f"- {item}\n" for item in items)
        case Table(head, rows):
            lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
            return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def latex(blocks: Sequence[Block]) -> str:
    """For a document that uses the packages booktabs and graphicx."""
    return "\n".join(_latex(block) for block in blocks)


def _latex(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"\\{('section', 'subsection', 'subsubsection')[min(level, 3) - 1]}*{{{escape(text)}}}\n"
        case Paragraph(text):
            return f"{escape(text)}\n"
        case Bullets(items):
            return "\\begin{itemize}\n" + "".join(f"  \\item {escape(item)}\n" for item in items) + "\\end{itemize}\n"
        case Table(head, rows):
            body = "".join(f"{_line(row)}\n" for row in rows)
            return (
                f"\\noindent\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n"
                f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule\n{_line(head)}\n\\midrule\n{body}"
                "\\bottomrule\n\\end{tabular}}\n"
            )


def _line(cells: Sequence[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"


_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "∞": r"$\infty$", "±": r"$\pm$", "−": "$-$",
} | {c: f"\\{c}" for c in "&%$#_"}  # fmt: skip


def escape(text: str) -> str:
    """Plain text as LaTeX; what stands between backquotes is typeset as code, a minus before a digit as one."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", text)
    text = "".join(_ESCAPES.get(c, c) for c in text)
    text = re.sub("-(?=-)", "-{}", text)  # two hyphens of an option, not a dash
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", text)
