"""Export and import of votes in the formats of other programs, and of scores as a table.

    jsonl    votes.jsonl, the complete data
    csv      the same columns; a text that starts with = + - @ has an apostrophe in front, for spreadsheets
    choix    JSON for lucasmaystre/choix: choix.opt_pairwise(len(methods), data)
    arena    CSV with a battle a line, for arena-rank and similar programs: model_a, model_b, winner ("model_a", "model_b", "tie",
             "both_bad"), and rater, item, date and the parameters of the degradation; these data may be published

choix has no ties, so that these are a separate list; data_of and ties_of give the rater and the item of each pair. Gold trials,
times and response times are not exported to choix, and "both_bad" is a tie there.

A battle is an answer that counts for the scores, without the raters that the rule excludes. Its rater is a number that is chosen
at random for each export, its date has no time, and the battles of a day are in random order: nobody can find a rater, not even
with the code of that rater.
"""

import csv
import io
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.preference.analysis.quality import ExclusionRules, kept_votes, rater_quality
from eval.preference.analysis.scoring import Scores
from eval.preference.analysis.slices import PARAMETERS
from eval.preference.storage.items import known_degradation
from eval.preference.storage.votes import Vote, columns, comparisons, first_answers, parse_lines, protocol_of
from eval.preference.study import Choice, Protocol
from gpen.errors import GPENError

WINNERS = {Choice.LEFT: "model_a", Choice.RIGHT: "model_b", Choice.TIE: "tie", Choice.BOTH_BAD: "both_bad"}
BATTLE = ("model_a", "model_b", "winner", "rater", "item", "date", *PARAMETERS)  # columns of a battle
SCORES = (  # columns of a table of scores
    "parameter", "from", "to", "method", "group", "strength", "low", "high", "wins", "ties", "comparisons", "votes", "raters",
)  # fmt: skip
_OTHER_NAMES = {"tie (bothbad)": Choice.BOTH_BAD}  # of a winner, in older files of arenas
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def write(votes: list[Vote], form: str, degradations: Mapping[str, dict] | None = None) -> Iterator[str]:
    """Yield the votes in a format of FORMATS, in pieces of text. Raises GPENError for an unknown format.

    degradations: the parameters of each item, for the format arena; by default, those in the names of the items.
    """
    return _format(form)[0](votes, degradations or {})


def write_scores(scores: Scores) -> str:
    """Scores as CSV, a line for each method: of all votes, then of each slice by a parameter of the degradation.

    A slice has the range of its parameter in "from" and "to"; an empty cell there is a step that is turned off. Strengths and
    bounds that the votes do not give are empty.
    """
    tables: list[tuple[Any, ...]] = [("all", None, None, scores["methods"], scores["votes"], scores["raters"])]
    for name, slices in scores["slices"].items():
        tables += [(name, part["low"], part["high"], part["methods"], part["votes"], part["raters"]) for part in slices]
    lines = [_csv_line(SCORES)]
    for name, low, high, methods, votes, raters in tables:
        for method, row in methods.items():
            values = [row.get(key) for key in ("group", "strength", "low", "high", "wins", "ties", "n")]
            cells = [name, _short(low), _short(high), method, *map(_short, values), votes, raters]
            lines.append(_csv_line(map(_neutral, cells)))
    return "".join(lines)


def _short(value: object) -> object:
    """A number with six digits; None stays empty."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


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


def _write_arena(votes: list[Vote], degradations: Mapping[str, dict]) -> Iterator[str]:
    """The battles; a rating or a ranking gives several."""
    yield _csv_line(BATTLE)
    kept = first_answers(kept_votes(votes, rater_quality(votes, ExclusionRules())))
    numbers = list(range(1, 1 + len({vote.rater for vote in kept})))
    secrets.SystemRandom().shuffle(numbers)
    rater_of = dict(zip(sorted({vote.rater for vote in kept}), numbers, strict=True))
    rows: list[list[Any]] = []
    for a, b, winner, vote in _battles(kept):
        known = known_degradation(vote.item, degradations) or {}
        parameters = [_short(known.get(name)) for name in PARAMETERS]
        rows.append([a, b, winner, f"rater-{rater_of[vote.rater]}", vote.item, vote.time[:10], *parameters])
    secrets.SystemRandom().shuffle(rows)
    for row in sorted(rows, key=lambda row: row[BATTLE.index("date")]):
        yield _csv_line(map(_neutral, row))


def _battles(votes: list[Vote]) -> Iterator[tuple[str, str, str, Vote]]:
    """(model_a, model_b, winner, vote); of several votes that make a battle, one of them."""
    if not votes:
        return
    if protocol_of(votes) == Protocol.PAIRWISE:
        for vote in votes:
            yield vote.shown[0], vote.shown[1], WINNERS[Choice(str(vote.choice))], vote
        return
    latest = {(vote.rater, vote.item): vote for vote in votes}
    pairs, outcomes = comparisons(votes), {1: WINNERS[Choice.LEFT], -1: WINNERS[Choice.RIGHT], 0: WINNERS[Choice.TIE]}
    for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        yield pairs.methods[a], pairs.methods[b], outcomes[int(outcome)], latest[pairs.raters[rater], pairs.items[item]]


def _read_arena(text: str, name: str) -> list[Vote]:
    choices = {winner: choice for choice, winner in WINNERS.items()} | _OTHER_NAMES
    votes: list[Vote] = []
    table = csv.DictReader(io.StringIO(text))
    if text.strip() and not {"model_a", "model_b", "winner"} <= set(table.fieldnames or ()):
        raise GPENError(f"{name} has no columns model_a, model_b and winner; the first line must hold the column names.")
    for row in table:
        source = f"{name}, line {len(votes) + 2}"
        cells = {key: _original(value) for key, value in row.items() if key and isinstance(value, str)}
        if cells.get("winner") not in choices:
            raise GPENError(f"{source}: winner must be one of {', '.join(choices)}, not {cells.get('winner')!r}.")
        values = {"rater": cells.get("rater") or "arena", "trial": f"import-{len(votes)}", "item": cells.get("item")}
        values |= {"left": cells.get("model_a"), "right": cells.get("model_b"), "choice": choices[cells["winner"]]}
        votes.append(Vote.from_dict(values | {"time": cells.get("date")}, source))
    return votes


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


FORMATS: dict[str, tuple[Callable[[list[Vote], Mapping[str, dict]], Iterator[str]], Callable[[str, str], list[Vote]]]] = {
    "jsonl": (lambda votes, _: _write_jsonl(votes), parse_lines),
    "csv": (lambda votes, _: _write_csv(votes), _read_csv),
    "choix": (lambda votes, _: _write_choix(votes), _read_choix),
    "arena": (_write_arena, _read_arena),
}
