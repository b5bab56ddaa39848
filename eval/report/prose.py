"""Figures in the sentences of README.md, docs and model cards, computed from archived runs, benchmarks and files.

docs/figures.toml describes them, one table for each sentence:

    [[sentence]]
    page = "README.md"  # relative to the root of the repository
    text = "the SSIM is {} of the input's"  # {} stands for a figure; line breaks do not matter
    figures = [
        {runs = ["ffhq-bfr"], tasks = ["bfr"], metric = "ssim", methods = ["gpen", "bilinear"], of = "ratio", decimals = 2},
        {file = "bench/results/page.json", key = "start", decimals = 1},
        {file = "assets/gpen-256.safetensors", of = "megabytes", decimals = 1},
        {runs = ["ffhq-bfr"], of = "images"},
    ]

`of` is "mean" (the default), "ratio" or "difference" of the means of two methods, "images", "methods", "tasks" or "megabytes".
Several runs or tasks have several values, of which `take` = "min" or "max" is written. `scale` multiplies the value. `key` is
the path of a value in a JSON file, such as "rows.3.seconds". `python -m eval tables FILE` writes the figures anew; a test
compares them.
"""

import json
import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

from eval.benchmark.summary import GROUND_TRUTH
from eval.methods.registry import parse_method
from eval.report.archive import ArchivedRun, read
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS

ROOT = ASSETS.parent
FIGURES = ROOT / "docs" / "figures.toml"
NUMBER = r"([+-]?\d(?:[\d,]*\d)?(?:\.\d+)?)"
COUNTS = ("images", "methods", "tasks")


def sentences(page: str, path: Path = FIGURES) -> list[dict[str, Any]]:
    """The sentences of a page that are described in `path`; none without the file."""
    content = tomllib.loads(path.read_text()) if path.is_file() else {}
    return [sentence for sentence in content.get("sentence", []) if sentence["page"] == page]


def with_figures(text: str, described: list[dict[str, Any]], root: Path = ROOT) -> str:
    """The text of a page with the figures of the described sentences.

    Raises GPENError for a sentence that the text does not contain exactly once, and for a value that does not exist.
    """
    for sentence in described:
        found = list(re.finditer(_pattern(sentence["text"]), text))
        if len(found) != 1:
            message = f"{sentence['page']} contains this sentence {len(found)} times, not once: {sentence['text']!r}"
            raise GPENError(f"{message}; change docs/figures.toml.")
        values = [_written(figure, root) for figure in sentence["figures"]]
        if len(values) != found[0].re.groups:
            raise GPENError(f"The sentence {sentence['text']!r} has {found[0].re.groups} figures, not {len(values)}.")
        for place, value in reversed(list(enumerate(values, 1))):
            start, end = found[0].span(place)
            text = text[:start] + value + text[end:]
    return text


def covered(text: str, described: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """The positions of the described figures in a text, as (start, end)."""
    found = [match for sentence in described for match in re.finditer(_pattern(sentence["text"]), text)]
    return [match.span(place) for match in found for place in range(1, match.re.groups + 1)]


def _pattern(text: str) -> str:
    parts = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in text.split("{}")]
    return NUMBER.join(parts)


def _written(figure: dict[str, Any], root: Path) -> str:
    """The figure as text."""
    values = [value * figure.get("scale", 1) for value in _values(figure, root)]
    if len(values) > 1 and "take" not in figure:
        raise GPENError(f'A figure has {len(values)} values: add take = "min" or "max" to {figure}.')
    return f"{min(values) if figure.get('take', 'min') == 'min' else max(values):,.{figure.get('decimals', 0)}f}"


def _values(figure: dict[str, Any], root: Path) -> list[float]:
    of = figure.get("of", "mean")
    try:
        if of == "megabytes":
            return [(root / figure["file"]).stat().st_size / 1e6]
        if "file" in figure:
            return [_in_json(json.loads((root / figure["file"]).read_text()), figure["key"])]
        runs = [read(root / "assets" / "results" / f"{name}.json") for name in figure["runs"]]
        if of in COUNTS:
            return [float(_count(run, of)) for run in runs]
        means = [
            [_mean(run, task, figure["metric"], method) for method in figure["methods"]]
            for run, task in product(runs, figure["tasks"])
        ]
    except (OSError, KeyError, IndexError, TypeError) as error:
        raise GPENError(f"There is no value for the figure {figure}; change docs/figures.toml.") from error
    if of == "mean":
        return [mean for row in means for mean in row]
    return [a / b if of == "ratio" else a - b for a, b in means]


def _count(run: ArchivedRun, of: str) -> int:
    if of == "images":
        return run.images
    return len(run.tasks) if of == "tasks" else len({entry.method for entry in run.summary} - {GROUND_TRUTH})


def _mean(run: ArchivedRun, task: str, metric: str, method: str) -> float:
    """The mean of a method, which is named by its label if it has one."""
    for entry in run.summary:
        if (entry.task, entry.metric) == (task, metric) and method in (parse_method(entry.method).label, entry.method):
            if entry.mean is not None:
                return entry.mean
    raise KeyError(method)


def _in_json(content: Any, key: str) -> float:
    for part in key.split("."):
        content = content[int(part) if isinstance(content, list) else part]
    return float(content)
