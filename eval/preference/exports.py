"""Votes in the formats of other programs, and back.

    jsonl    votes.jsonl, all there is
    csv      the same columns
    choix    JSON for lucasmaystre/choix: choix.opt_pairwise(len(methods), data); choix knows no ties, so they
             stand apart, and data_of and ties_of name each pair's rater and item
    sureal   a Python file for Netflix/sureal: ratings for its models of subjects, pairs for its models of
             paired comparison, os = {(rater, other asset): 1 won, 0.5 tied}; these take one answer of a rater to
             a pair, the first

The last two leave out gold trials, times and response times; in them "both bad" is a tie.
"""

import ast
import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from eval.preference.votes import ASKED, Vote, checked, columns, comparisons, parse_lines, protocol_of
from gpen.errors import GPENError


def write(votes: list[Vote], form: str) -> Iterator[str]:
    """The votes as pieces of text. Raises GPENError for an unknown format."""
    return _format(form)[0](votes)


def read(text: str, form: str, name: str = "the file") -> list[Vote]:
    """Votes of a text in one of the formats. Raises GPENError that says where it is wrong."""
    return _format(form)[1](text, name)


def _format(form: str) -> tuple[Callable, Callable]:
    if form not in FORMATS:
        raise GPENError(f"there is no format {form!r}; choose from {', '.join(FORMATS)}")
    return FORMATS[form]


def _write_jsonl(votes: list[Vote]) -> Iterator[str]:
    for vote in votes:
        yield json.dumps(vote, ensure_ascii=False) + "\n"


def _write_csv(votes: list[Vote]) -> Iterator[str]:
    protocol = protocol_of(votes) if votes else "pairwise"
    yield _csv_line(columns(protocol))
    for vote in votes:
        yield _csv_line(json.dumps(value) if isinstance(value, bool | list | None) else value for value in vote.values())


def _csv_line(values: Iterable) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _read_csv(text: str, name: str) -> list[Vote]:
    votes: list[Vote] = []
    table = csv.DictReader(io.StringIO(text))
    if text.strip() and "rater" not in (table.fieldnames or ()):
        raise GPENError(f"{name} has no column rater; its first line must name the columns, as an export does")
    for row in table:
        where = f"{name}, line {len(votes) + 2}"
        vote = {key: value for key, value in row.items() if key and value is not None}
        for key in {"ms", "rating", "order", "gold"} & vote.keys():
            try:
                vote[key] = json.loads(vote[key].lower() if key == "gold" else vote[key] or "null")
            except ValueError as error:
                if key != "gold":  # a gold column may name a method
                    raise GPENError(f"{where}: {key} is not {vote[key]!r}; write it as in JSON") from error
        votes.append(checked(vote, where))
    return votes


def _write_choix(votes: list[Vote]) -> Iterator[str]:
    pairs = comparisons(votes)
    text = {"study": votes[0]["study"], "methods": pairs.methods, "data": [], "ties": [], "data_of": [], "ties_of": []}
    for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
        kind = "data" if outcome else "ties"
        text[kind].append([int(a), int(b)] if outcome >= 0 else [int(b), int(a)])
        text[f"{kind}_of"].append([pairs.raters[rater], pairs.items[item]])
    yield json.dumps(text, ensure_ascii=False) + "\n"


def _read_choix(text: str, name: str) -> list[Vote]:
    try:
        content = json.loads(text)
        methods: list[str] = content["methods"]
        votes: list[Vote] = []
        for kind, choice in (("data", "left"), ("ties", "tie")):
            pairs = content.get(kind, [])
            whose = content.get(f"{kind}_of") or [["choix", ""]] * len(pairs)
            for (a, b), (rater, item) in zip(pairs, whose, strict=True):
                votes.append(_pair(content.get("study", ""), rater, item, methods[a], methods[b], choice, len(votes)))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise GPENError(f"{name} is no choix file; give JSON with methods and data, pairs of their numbers") from error
    return [checked(vote, f"{name}, pair {i}") for i, vote in enumerate(votes, 1)]


def _write_sureal(votes: list[Vote]) -> Iterator[str]:
    votes = [vote for vote in votes if not vote["gold"]]
    protocol = protocol_of(votes)
    scores: dict[tuple[str, str], dict] = defaultdict(dict)  # by (item, method)
    if protocol == "rating":
        for vote in votes:
            scores[vote["item"], vote["method"]].setdefault(vote["rater"], []).append(vote["rating"])
    else:
        pairs = comparisons(votes)
        for rater, item, a, b, outcome in zip(pairs.rater, pairs.item, pairs.a, pairs.b, pairs.outcome, strict=True):
            for own, other, value in ((a, b, (1 + int(outcome)) / 2), (b, a, (1 - int(outcome)) / 2)):
                of = scores[pairs.items[item], pairs.methods[own]]
                of.setdefault((pairs.raters[rater], (pairs.items[item], pairs.methods[other])), value)
    contents = {item: i for i, item in enumerate(sorted({item for item, _ in scores}))}
    assets = {asset: i for i, asset in enumerate(sorted(scores))}
    yield f"dataset_name = {votes[0]['study']!r}\nyuv_fmt = 'notyuv'\nref_score = 5.0\nref_videos = [\n"
    for item, i in contents.items():
        yield f"    { ({'content_id': i, 'content_name': item, 'path': item})!r},\n"
    yield "]\ndis_videos = [\n"
    for (item, method), i in assets.items():
        of = scores[item, method]
        if protocol != "rating":
            of = {(rater, assets[other]): value for (rater, other), value in of.items() if value}
        yield f"    { ({'asset_id': i, 'content_id': contents[item], 'os': of, 'path': f'{item}/{method}'})!r},\n"
    yield "]\n"


def _read_sureal(text: str, name: str) -> list[Vote]:
    """The assignments are read as literals; nothing in the file is run."""
    try:
        assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        values = {cast(ast.Name, node.targets[0]).id: ast.literal_eval(node.value) for node in assigned}
        items = {video["content_id"]: video.get("content_name", str(video["content_id"])) for video in values["ref_videos"]}
        assets = {video["asset_id"]: (items[video["content_id"]], _method(video, items)) for video in values["dis_videos"]}
        scores = {video["asset_id"]: video["os"] for video in values["dis_videos"]}
        study = values.get("dataset_name", "")
        of_pairs = any(isinstance(key, tuple) for of in scores.values() for key in _people(of))
        votes = list((_sureal_pairs if of_pairs else _sureal_ratings)(study, assets, scores))
    except (SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GPENError(f"{name} is no sureal dataset; give a Python file with ref_videos and dis_videos") from error
    return [checked(vote, f"{name}, score {i}") for i, vote in enumerate(votes, 1)]


def _method(video: dict, items: dict) -> str:
    return str(video["path"]).removeprefix(f"{items[video['content_id']]}/")


def _people(scores: dict | list) -> dict:
    """Scores by rater; a plain list of scores has raters by place."""
    return scores if isinstance(scores, dict) else {f"rater {i}": score for i, score in enumerate(scores)}


def _sureal_ratings(study: str, assets: dict, scores: dict) -> Iterator[Vote]:
    for asset, of in scores.items():
        item, method = assets[asset]
        for rater, given in _people(of).items():
            for i, rating in enumerate(given if isinstance(given, list) else [given]):
                trial = f"import-{asset}-{i}"
                yield {"study": study, "rater": rater, "trial": trial, "item": item, "method": method, "rating": rating}


def _sureal_pairs(study: str, assets: dict, scores: dict) -> Iterator[Vote]:
    """A score of 0 is a win of the other side, which may be written there too."""
    answers = {}
    for asset, of in scores.items():
        for (rater, other), value in of.items():
            low = min(asset, other)
            answers[rater, low, max(asset, other)] = value if asset == low else 1 - value
    for number, ((rater, low, high), value) in enumerate(answers.items()):
        (item, method), (_, against) = assets[low], assets[high]
        yield _pair(study, rater, item, method, against, {1: "left", 0: "right"}.get(value, "tie"), number)


def _pair(study: str, rater: str, item: str, left: str, right: str, choice: str, number: int) -> Vote:
    values = dict(zip(ASKED["pairwise"], (left, right, choice), strict=True))
    return {"study": study, "rater": rater, "trial": f"import-{number}", "item": item} | values


FORMATS: dict[str, tuple[Callable[[list[Vote]], Iterator[str]], Callable[[str, str], list[Vote]]]] = {
    "jsonl": (_write_jsonl, parse_lines),
    "csv": (_write_csv, _read_csv),
    "choix": (_write_choix, _read_choix),
    "sureal": (_write_sureal, _read_sureal),
}
