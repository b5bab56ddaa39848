"""The owner's page of a study: live counts, the leaderboard with its intervals, the raters, files out and in.

It opens from the rate tab with the token in GPEN_OWNER_TOKEN and is closed where none is set. The token travels in
a header of its own, since Spaces use Authorization themselves. The page is HTML made here and put up by leaderboard.js;
every number is eval.preference's (scores.json, the quality rule), nothing is computed twice.
"""

from __future__ import annotations

import asyncio
import html
import itertools
import math
import os
import secrets

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from demo import web
from eval.preference.exports import FORMATS
from eval.preference.survey import Survey
from gpen.errors import GPENError

TOKEN = "GPEN_OWNER_TOKEN"
WRONG_TOKEN_SECONDS = 0.5  # before a wrong token is answered
LARGEST_IMPORT = 64 * 2**20  # bytes
ENDINGS = {"jsonl": "jsonl", "csv": "csv", "choix": "json"}
TICK_STEPS = (1, 2, 5, 10)
NOTHING = {  # of a method that the votes say too little of
    "strength": None, "low": None, "high": None, "win_rate": None, "wins": 0, "ties": 0, "n": 0,
    "mos": None, "mos_low": None, "mos_high": None, "dmos": None,
}  # fmt: skip


def is_open() -> bool:
    """Whether a token is set, so that there is an owner's page at all."""
    return bool(os.environ.get(TOKEN))


def routes(survey: Survey) -> list[Route]:
    """The owner's calls, each with the token in the header X-Owner-Token."""

    def show(request: Request, body: bytes) -> dict:
        return {"html": report(survey), "formats": list(FORMATS)}

    def export(request: Request, body: bytes) -> StreamingResponse:
        form = request.path_params["form"]
        pieces = iter(survey.export(form))
        first = next(pieces, "")  # a mistake shows here, while it can still be said
        name = f"votes-{form}.{ENDINGS.get(form, 'txt')}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingResponse(itertools.chain([first], pieces), media_type="text/plain", headers=headers)

    def take(request: Request, body: bytes) -> dict:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise web.Refused("This file is not text in UTF-8: please choose one that was exported here.", 400) from None
        return {"new": survey.import_votes(text, request.path_params["form"])}

    return [
        Route("/study/owner/report", web.endpoint(show, guard=_guard), methods=["POST"]),
        Route("/study/owner/export/{form}", web.endpoint(export, guard=_guard), methods=["POST"]),
        Route("/study/owner/import/{form}", web.endpoint(take, LARGEST_IMPORT, _guard), methods=["POST"]),
    ]


async def _guard(request: Request) -> None:
    token = os.environ.get(TOKEN)
    if not token:
        raise web.Refused(f"The owner's page is closed: set {TOKEN} and start the server again.", 403)
    given = request.headers.get("X-Owner-Token", "").encode("latin-1")  # a header's bytes; UTF-8 as leaderboard.js sends it
    if not secrets.compare_digest(given, token.encode()):
        await asyncio.sleep(WRONG_TOKEN_SECONDS)
        raise web.Refused("This is not the owner's token.", 401)


def report(survey: Survey) -> str:
    """The whole page as HTML; names and sentences of the study are escaped."""
    counts = survey.counts()
    try:
        if not counts["answers"]:
            raise GPENError("There are no answers yet.")
        scores = survey.leaderboard()
    except GPENError as error:  # too few to score
        return _tiles(counts, None) + _warnings([web.sentence(error)]) + _raters(survey.quality(), survey.rules.describe())
    parts = [
        _tiles(counts, scores["alpha"]),
        _warnings(scores["warnings"]),
        _leaderboard(scores),
        _pairs(scores["pairs"]),
        _levels(scores["levels"], list(scores["methods"])),
        _raters(survey.quality(), scores["rule"]),
    ]
    return "\n".join(filter(None, parts))


def _warnings(sentences: list[str]) -> str:
    return "".join(f'<p class="warning">{html.escape(sentence)}</p>' for sentence in sentences)


def _tiles(counts: dict, alpha: float | None) -> str:
    needed = counts["trials"]
    figures = [
        (counts["answers"], "answers"),
        (counts["raters"], "raters"),
        (counts["needed"], f"still needed of {needed}"),
        (f"{counts['items']['done']} of {counts['items']['total']}", "items complete"),
        (_number(alpha), "Krippendorff's alpha"),
        (counts["undone"], "taken back"),
    ]
    tiles = "".join(f"<div><dt>{figure}</dt><dd>{html.escape(what)}</dd></div>" for figure, what in figures)
    last = f'<p class="quiet">Last answer {html.escape(counts["last"][:19].replace("T", " "))} UTC</p>' if counts["last"] else ""
    return f'<dl>{tiles}</dl><progress max="{needed or 1}" value="{needed - counts["needed"]}"></progress>{last}'


def _leaderboard(scores: dict) -> str:
    methods = {name: NOTHING | row for name, row in scores["methods"].items()}
    rows = [
        [_name(name), _interval(row, "strength", "low", "high"), _share(row["win_rate"]), row["wins"], row["ties"], row["n"]]
        for name, row in methods.items()
    ]
    plots = forest("Strength, Bradley-Terry, natural log", _points(methods, "strength", "low", "high"), centre=0.0)
    heads = ["Method", "Strength", "Win rate", "Wins", "Ties", "Comparisons"]
    if scores["protocol"] == "rating":
        plots = forest("Mean opinion score, 1 to 5", _points(methods, "mos", "mos_low", "mos_high"), ends=(1, 5)) + plots
        heads += ["MOS", "DMOS"]
        for cells, row in zip(rows, methods.values(), strict=True):
            cells += [_interval(row, "mos", "mos_low", "mos_high"), _number(row["dmos"])]
    return f'<h3>Leaderboard</h3>{plots}{_table(heads, rows)}<p class="quiet">Intervals are at 95%, over raters.</p>'


def _pairs(pairs: list[dict]) -> str:
    rows = []
    for pair in pairs:
        if pair["significant"]:
            verdict = "parted"
        else:
            more = pair["answers_needed"]
            verdict = "not parted" if more is None else f"not parted: about {more} more answers"
        rows.append([
            f"{_name(pair['a'])} – {_name(pair['b'])}", pair["n"], f"{pair['wins_a']} : {pair['wins_b']}", pair["ties"],
            _interval(pair, "difference", "low", "high"), _p_value(pair["p_holm"]), verdict,
        ])  # fmt: skip
    heads = ["Pair", "Comparisons", "Wins", "Ties", "Difference", "p (Holm)", ""]
    return f"<h3>Pairs</h3>{_table(heads, rows)}" if rows else ""


def _levels(levels: dict, methods: list[str]) -> str:
    if not levels:
        return ""
    rows = [
        [html.escape(level), *(_interval(of.get(name, NOTHING), "strength", "low", "high") for name in methods)]
        for level, of in levels.items()
    ]
    return f"<h3>Strength by degradation</h3>{_table(['Level', *map(_name, methods)], rows)}"


def _raters(quality: list[dict], rule: str) -> str:
    rows = [
        [f"<code>{html.escape(row['rater'][:8])}</code>", row["answers"], f"{row['passed']} of {row['golds']}",
         f"{row['consistent']} of {row['repeats']}", _seconds(row["median_ms"]), row["fast"],
         html.escape(row["dropped"]) or "kept"]
        for row in quality
    ]  # fmt: skip
    heads = ["Rater", "Answers", "Known better", "Repeats agree", "Median time", "Too fast", ""]
    return f'<h3>Raters</h3>{_table(heads, rows)}<p class="quiet">{html.escape(rule)}</p>' if rows else ""


def forest(title: str, points: dict[str, tuple], ends: tuple[float, float] | None = None, centre: float | None = None) -> str:
    """Dots with whiskers on one axis, a line each; `points` is name -> (value, low, high), value None leaves it out.

    `ends` fixes the axis, else it spans all whiskers; `centre` draws a line there.
    """
    known = {name: point for name, point in points.items() if None not in point}
    if not known:
        return ""
    low, high = ends or (min(point[1] for point in known.values()), max(point[2] for point in known.values()))
    if centre is not None:
        low, high = min(low, centre), max(high, centre)
    margin = 0 if ends else 0.04 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def place(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    line = "" if centre is None else f'<i class="centre" style="left:{place(centre)}"></i>'
    rows = ""
    for name, (value, lower, upper) in known.items():
        ends_at = f"left:{place(lower)};right:calc(100% - {place(upper)})"
        rows += (
            f'<b>{_name(name)}</b><span class="track">{line}<i class="whisker" style="{ends_at}"></i>'
            f'<i class="dot" style="left:{place(value)}"></i></span>'
        )
    ticks = "".join(f'<i style="left:{place(tick)}">{f"{tick:g}".replace("-", "−")}</i>' for tick in _ticks(low, high))
    return (
        f'<figure class="forest" role="img" aria-label="{html.escape(title, quote=True)}; the table has the numbers">'
        f'{rows}<span></span><span class="ticks">{ticks}</span><figcaption>{html.escape(title)}</figcaption></figure>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """At most eight round numbers from low to high."""
    power = 10.0 ** math.floor(math.log10((high - low) / 8))
    step = next(power * k for k in TICK_STEPS if (high - low) / (power * k) <= 8)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _points(methods: dict, *keys: str) -> dict[str, tuple]:
    return {name: tuple(row[key] for key in keys) for name, row in methods.items()}


def _table(heads: list[str], rows: list[list]) -> str:
    """The cells are HTML; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _name(text: str) -> str:
    return html.escape(text, quote=True)


def _number(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _interval(row: dict, *keys: str) -> str:
    value, low, high = (row[key] for key in keys)
    if value is None:
        return "–"
    bounds = "" if low is None else f" <small>{_number(low)} to {_number(high)}</small>"
    return f"<b>{_number(value)}</b>{bounds}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.1f} s"


def _p_value(p: float | None) -> str:
    return "–" if p is None else "&lt; 0.001" if p < 0.001 else f"{p:.3f}"
