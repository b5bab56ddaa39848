"""Owner page of a study: counts, leaderboard with intervals, raters, unusual patterns, export and import.

It has the address /?tab=leaderboard&owner, and opens with the token in GPEN_OWNER_TOKEN; without that variable it is disabled
(demo/server/owner_access.py). The HTML is generated here and displayed by owner.js; all numbers come from eval.preference.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from demo.server import web
from demo.server.owner_access import OwnerAccess
from demo.tabs.plots import columns, forest_plot, interval, number, strength_plot, table
from eval.preference import exports
from eval.preference.analysis.anomalies import Anomaly
from eval.preference.analysis.quality import RaterQuality
from eval.preference.analysis.scoring import PairScore, Scores
from eval.preference.exports import FORMATS
from eval.preference.survey import Survey
from gpen.errors import GPENError

MAX_IMPORT_BYTES = 64 * 2**20  # bytes
FILE_EXTENSIONS = {"jsonl": "jsonl", "csv": "csv", "choix": "json", "arena": "csv"}
EMPTY_ROW = {  # row of a method with too few votes
    "group": 0, "strength": None, "low": None, "high": None, "win_rate": None, "wins": 0, "ties": 0, "n": 0,
    "mos": None, "mos_low": None, "mos_high": None, "dmos": None,
}  # fmt: skip


def routes(survey: Survey, run: Callable[..., Awaitable[object]]) -> list[Route]:
    """Return the routes of the owner page, each of which requires the token in the header X-Owner-Token."""

    def show(request: Request, body: bytes) -> dict:
        return {"html": report(survey), "formats": list(FORMATS), "link": survey.study.link}

    def export(request: Request, body: bytes) -> StreamingResponse:
        form = request.path_params["form"]
        pieces = iter(survey.export(form))
        first = next(pieces, "")  # errors are raised here, before the response has started
        name = f"votes-{form}.{FILE_EXTENSIONS.get(form, 'txt')}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingResponse(itertools.chain([first], pieces), media_type="text/plain", headers=headers)

    def import_votes(request: Request, body: bytes) -> dict:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise web.RequestError("The file is not UTF-8 text: choose a file that was exported from this page.", 400) from None
        return {"new": survey.import_votes(exports.read(text, request.path_params["form"]))}

    access = OwnerAccess()
    return [
        Route("/study/owner/report", web.json_endpoint(show, guard=access, run=run), methods=["POST"]),
        Route("/study/owner/export/{form}", web.json_endpoint(export, guard=access, run=run), methods=["POST"]),
        Route("/study/owner/import/{form}", web.json_endpoint(import_votes, MAX_IMPORT_BYTES, access, run), methods=["POST"]),
    ]


def report(survey: Survey) -> str:
    """Return the page as HTML; names and texts of the study are escaped."""
    counts, copies = survey.counts(), _copies(survey)
    try:
        if not counts["answers"]:
            raise GPENError("There are no answers yet.")
        scores = survey.leaderboard()
    except GPENError as error:  # too few answers for scores
        raters = _raters(survey.quality(), survey.rules.describe())
        return _tiles(counts, None) + copies + _warnings([web.error_message(error)]) + raters + _anomalies(survey.anomalies())
    parts = [
        _tiles(counts, scores["alpha"]),
        copies,
        _warnings(scores["warnings"]),
        _leaderboard(scores),
        _pairs(scores["pairs"], scores["missing"]),
        _levels(scores["levels"], list(scores["methods"])),
        _raters(survey.quality(), scores["rule"]),
        _anomalies(survey.anomalies()),
    ]
    return "\n".join(filter(None, parts))


def _copies(survey: Survey) -> str:
    """A sentence about the copy of the votes in a dataset; a warning if it is not up to date."""
    status = survey.copy_status()
    if status is None:
        return ""
    age = "never" if status.age is None else f"{status.age / 60:.1f} minutes ago"
    waiting = f"{status.waiting} event{'s' if status.waiting != 1 else ''} not copied yet"
    sentence = f"Copy in the dataset {status.repo}: last brought up to date {age}, {waiting}."
    if status.error:
        return _warnings([f"{sentence} The last attempt failed: {status.error}"])
    return f'<p class="quiet">{html.escape(sentence)}</p>'


def _anomalies(found: list[Anomaly]) -> str:
    rows = [
        [html.escape(anomaly.kind), " ".join(f"<code>{html.escape(rater[:8])}</code>" for rater in anomaly.raters),
         html.escape(anomaly.sentence)]
        for anomaly in found
    ]  # fmt: skip
    note = "Look at these raters; nobody is excluded because of a pattern. Networks are known since the start of the server only."
    shown = table(["Pattern", "Raters", "Finding"], rows) if rows else "<p>There are no unusual patterns.</p>"
    return f'<h3>Unusual patterns</h3>{shown}<p class="quiet">{note}</p>'


def _warnings(sentences: list[str]) -> str:
    return "".join(f'<p class="warning">{html.escape(sentence)}</p>' for sentence in sentences)


def _tiles(counts: dict, alpha: float | None) -> str:
    needed = counts["trials"]
    figures = [
        (counts["answers"], "answers"),
        (counts["raters"], "raters"),
        (counts["needed"], f"still needed of {needed}"),
        (f"{counts['items']['done']} of {counts['items']['total']}", "items complete"),
        (number(alpha), "Krippendorff's alpha"),
        (counts["undone"], "undone"),
    ]
    tiles = "".join(f"<div><dt>{figure}</dt><dd>{html.escape(what)}</dd></div>" for figure, what in figures)
    last = f'<p class="quiet">Last answer {html.escape(counts["last"][:19].replace("T", " "))} UTC</p>' if counts["last"] else ""
    return f'<dl>{tiles}</dl><progress max="{needed or 1}" value="{needed - counts["needed"]}"></progress>{last}'


def _leaderboard(scores: Scores) -> str:
    methods: dict[str, dict[str, Any]] = {name: {**EMPTY_ROW, **row} for name, row in scores["methods"].items()}
    rows = [
        [html.escape(name), interval(row, "strength", "low", "high"), _share(row["win_rate"]), row["wins"], row["ties"], row["n"]]
        for name, row in methods.items()
    ]
    plots = strength_plot(methods)
    heads = ["Method", "Strength", "Win rate, mean over opponents", "Wins", "Ties", "Comparisons"]
    if len(scores["groups"]) > 1:
        heads.append("Group")
        for cells, row in zip(rows, methods.values(), strict=True):
            cells.append(row["group"] + 1)
    if scores["protocol"] == "rating":
        plots = (
            forest_plot("leaderboard.mos_axis", "leaderboard.mos_plot", columns(methods, "mos", "mos_low", "mos_high"), (1, 5))
            + plots
        )
        heads += ["MOS", "DMOS"]
        for cells, row in zip(rows, methods.values(), strict=True):
            cells += [interval(row, "mos", "mos_low", "mos_high"), number(row["dmos"])]
    note = (
        f"Intervals: {html.escape(scores['intervals'])} The win rate has the same weight for every opponent; uncertain pairs are "
        "shown more often, so that wins and comparisons differ between methods by design: compare methods by their strength."
    )
    return f'<h3>Leaderboard</h3>{plots}{table(heads, rows)}<p class="quiet">{note}</p>'


def _pairs(pairs: list[PairScore], missing: int | None) -> str:
    """The table of all pairs; with tests only at the planned end of the study."""
    rows = []
    for pair in pairs:
        rows.append([
            f"{html.escape(pair['a'])} – {html.escape(pair['b'])}", pair["n"], f"{pair['wins_a']} : {pair['wins_b']}",
            pair["ties"], interval(pair, "difference", "low", "high"),
        ])  # fmt: skip
    heads = ["Pair", "Comparisons", "Wins", "Ties", "Difference"]
    if missing:
        note = (
            f"Tests follow when the {missing} missing answers of the plan have arrived. A study that ends as soon as a "
            "difference seems significant has a higher rate of false positives than its level."
        )
    else:
        note = "Tests: computed once, with the planned answers; p values are corrected for the number of pairs (Holm)."
        heads += ["p (Holm)", ""]
        for cells, pair in zip(rows, pairs, strict=True):
            cells += [_p_value(pair["p_holm"]), _verdict(pair)]
    return f'<h3>Pairs</h3>{table(heads, rows)}<p class="quiet">{note}</p>' if rows else ""


def _verdict(pair: PairScore) -> str:
    if pair["significant"] is None or pair["p"] is None:
        return "–"
    if pair["significant"]:
        return "significant"
    more = pair["answers_needed"]
    return "not significant" if more is None else f"not significant: about {more} more answers needed"


def _levels(levels: dict, methods: list[str]) -> str:
    if not levels:
        return ""
    rows = [
        [html.escape(level), *(interval(of.get(name, EMPTY_ROW), "strength", "low", "high") for name in methods)]
        for level, of in levels.items()
    ]
    return f"<h3>Strength by degradation</h3>{table(['Level', *map(html.escape, methods)], rows)}"


def _raters(quality: list[RaterQuality], rule: str) -> str:
    rows = [
        [f"<code>{html.escape(row.rater[:8])}</code>", row.answers, f"{row.passed} of {row.golds}",
         f"{row.consistent} of {row.repeats}", _seconds(row.median_ms), row.fast, html.escape(row.dropped) or "kept"]
        for row in quality
    ]  # fmt: skip
    heads = ["Rater", "Answers", "Gold questions passed", "Repeats agree", "Median time", "Too fast", ""]
    return f'<h3>Raters</h3>{table(heads, rows)}<p class="quiet">{html.escape(rule)}</p>' if rows else ""


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.1f} s"


def _p_value(p: float | None) -> str:
    return "–" if p is None else "&lt; 0.001" if p < 0.001 else f"{p:.3f}"
