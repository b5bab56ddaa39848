"""Export and import of votes in the formats of other programs.

    jsonl    votes.jsonl, the complete data
    csv      the same columns; a text that starts with = + - @ has an apostrophe in front, for spreadsheets
    choix    JSON for lucasmaystre/choix: choix.opt_pairwise(len(methods), data)

choix has no ties, so that these are a separate list; data_of and ties_of give the rater and the item of each pair. Gold trials,
times and response times are not exported to choix, and "both_bad" is a tie there.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from eval.preference.storage.votes import Vote, columns, comparisons, parse_lines, protocol_of
from eval.preference.study import Choice, Protocol
from gpen.errors import GPENError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write(votes: list[Vote], form: str) -> Iterator[str]:
    """Yield the votes in a format of FORMATS, in pieces of text. Raises GPENError for an unknown format."""
    return _format(form)[0](votes)


def read(text: str, form: str, name: str = "The file") -> list[Vote]:
    """Parse a text in a format of FORMATS.

    Raises GPENError that starts with `name` and gives the position.
    """
    return _format(form)[1](text, name)


def read_file(path: str | Path, form: str | None = None) -> list[Vote]:
    """Read a file of votes; form: default by its suffix. Raises GPENError for a file that is not such text."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GPENError(f"{path} cannot be read; give a text file of votes, in the format {', '.join(FORMATS)}.") from error
    return read(text, form or format_of(path), str(path))


def format_of(path: str | Path | None) -> str:
    """The format of a file by its suffix: csv, choix for .json, else jsonl."""
    return {".csv": "csv", ".json": "choix"}.get(Path(path or "").suffix.lower(), "jsonl")


def _format(form: str) -> tuple[Callable, Callable]:
    if form not in FORMATS:
        raise GPENError(f"Unknown format {form!r}; choose from {', '.join(FORMATS)}.")
    return FORMATS[form]


def _write_jsonl(votes: list[Vote]) -> Iterator[str]:
    for vote in votes:
        yield json.dumps(vote.to_dict(), ensure_ascii=False) + "\n"


def _write_csv(votes: list[Vote]) -> Iterator[str]:
    yield _csv_line(columns(protocol_of(votes) if votes else Protocol.PAIRWISE))
    for vote in votes:
        values = vote.to_dict().values()
        yield _csv_line(json.dumps(value) if isinstance(value, bool | list | None) else _neutral(value) for value in values)


def _neutral(value: object) -> object:
    """A text that spreadsheets would compute as a formula, with an apostrophe in front; `_original` removes it."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _original(value: str) -> str:
    return value[1:] if value.startswith("'") and _FORMULA.match(value) else value


def _csv_line(values: Iterable) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _read_csv(text: str, name: str) -> list[Vote]:
    votes: list[Vote] = []
    table = csv.DictReader(io.StringIO(text))
    if text.strip() and "rater" not in (table.fieldnames or ()):
        raise GPENError(f"{name} has no column rater; the first line must hold the column names, as in an export.")
    for row in table:
        source = f"{name}, line {len(votes) + 2}"
        values: dict[str, Any] = {key: _original(value) for key, value in row.items() if key and isinstance(value, str)}
        for key in {"ms", "rating", "order", "gold"} & values.keys():
            try:
                values[key] = json.loads(values[key].lower() if key == "gold" else values[key] or "null")
            except ValueError as error:
                if key != "gold":  # a gold column may hold the expected method
                    raise GPENError(f"{source}: {key} has the value {values[key]!r}; write it as in JSON.") from error
        votes.append(Vote.from_dict(values, source))
    return votes


def _write_choix(votes: list[Vote]) -> Iterator[str]:
    pairs = comparisons(votes)
    content: dict[str, Any] = {"study": votes[0].study, "methods": pairs.methods, "data": [], "ties": []}
    content |= {"data_of": [], "ties_of": []}
    for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        kind = "data" if outcome else "ties"
        content[kind].append([int(a), int(b)] if outcome >= 0 else [int(b), int(a)])
        content[f"{kind}_of"].append([pairs.raters[rater], pairs.items[item]])
    yield json.dumps(content, ensure_ascii=False) + "\n"


def _read_choix(text: str, name: str) -> list[Vote]:
    votes: list[Vote] = []
    try:
        content = json.loads(text)
        methods: list[str] = content["methods"]
        for kind, choice in (("data", Choice.LEFT), ("ties", Choice.TIE)):
            pairs = content.get(kind, [])
            origins = content.get(f"{kind}_of") or [["choix", ""]] * len(pairs)
            for (a, b), (rater, item) in zip(pairs, origins, strict=True):
                number = len(votes)
                values = {"study": content.get("study", ""), "rater": rater, "trial": f"import-{number}", "item": item}
                values |= {"left": methods[a], "right": methods[b], "choice": choice}
                votes.append(Vote.from_dict(values, f"{name}, pair {number + 1}"))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise GPENError(f"{name} is not a choix file; give JSON with methods and data, a list of pairs of indices.") from error
    return votes


FORMATS: dict[str, tuple[Callable[[list[Vote]], Iterator[str]], Callable[[str, str], list[Vote]]]] = {
    "jsonl": (_write_jsonl, parse_lines),
    "csv": (_write_csv, _read_csv),
    "choix": (_write_choix, _read_choix),
}
