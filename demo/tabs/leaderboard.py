"""The Leaderboard tab: the strengths of the methods in the study, if its owner publishes them.

GPEN_PUBLIC_LEADERBOARD=1 publishes them. leaderboard.js requests the HTML when the tab is opened, and shows the page of the
owner (owner.py) instead at the address /?tab=leaderboard&owner.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo import languages
from demo.server import options, owner_access, web
from demo.tabs import owner
from demo.tabs.plots import columns, interval, number, paired_plot, strength_plot, table
from demo.theme import STATIC
from eval.preference import survey as surveys
from eval.preference.analysis.scoring import Scores
from eval.preference.analysis.slices import Slice
from eval.preference.analysis.strengths import Need
from eval.preference.exports import write_scores
from eval.preference.sessions import MAX_SESSIONS, ReadCache
from eval.preference.survey import Survey
from gpen.errors import GPENError

PUBLIC_VARIABLE = "GPEN_PUBLIC_LEADERBOARD"
SCRIPTS = ("rate_panes.js", "rate_outbox.js", "rate_trial.js", "owner.js", "leaderboard.js")  # in order of dependency
DOWNLOADS: dict[str, Callable[[Survey], str]] = {  # public files by name
    "strengths.csv": lambda survey: write_scores(survey.leaderboard()),
    "battles.csv": lambda survey: "".join(survey.export("arena")),
}
PARAMETER_TEXTS = {  # parameter of a degradation -> CSS variable of its colour, key of its name
    "blur_sigma": ("blur", "playground.first.controls.blur_name"),
    "scale": ("scale", "playground.first.controls.scale_name"),
    "noise_sigma": ("noise", "playground.first.controls.noise_name"),
    "jpeg_quality": ("jpeg", "playground.first.controls.jpeg_name"),
}
STUDY, ARENA = "study", "arena"  # boards, in the addresses of their files
MAX_AXIS = 6.0  # largest strength on the axis of a slice


def tab(survey: Survey | None) -> None:
    """Build the tab inside the current gr.Blocks. The server must also serve `routes`."""
    heading = languages.html("leaderboard.heading", tag="h2")
    if survey is None:
        gr.HTML(heading + languages.html("leaderboard.none", tag="p"), elem_id="leaderboard")
        return
    scripts = "\n".join((STATIC / name).read_text() for name in SCRIPTS)
    gr.HTML(
        f'<div class="rate">{heading}</div>',
        js_on_load=f"{scripts}\nleaderboard(element.querySelector('.rate'));",
        apply_default_css=False,
        elem_id="leaderboard",
    )


def routes(survey: Survey, run: Callable[..., Awaitable[object]], arena: Survey | None = None) -> list[Route]:
    """Return the public routes of the tab, and those of the owner page.

    run: calls functions that use the store, in a thread. arena: the votes of the arena; its board is always public.
    """
    shown = ReadCache()

    def show(request: Request, body: bytes) -> dict:
        """The results; without the HTML if the page has it already."""
        content = shown.read("html", lambda: boards(survey, arena), surveys.COUNTS_AGE)
        version = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {
            "html": None if _known_version(body) == version else content,
            "version": version,
            "owner": owner_access.token() is not None,
        }

    def download(request: Request, body: bytes) -> Response:
        board, name = request.path_params["board"], request.path_params["name"]
        votes = {STUDY: survey, ARENA: arena}.get(board)
        if votes is None or name not in DOWNLOADS:
            raise web.RequestError(f"There is no file {board[:40]}/{name[:40]} of the leaderboard.", 404)
        if board == STUDY and not is_public():
            raise web.RequestError(languages.english("leaderboard.private"), 403)
        headers = {"Content-Disposition": f'attachment; filename="{board}-{name}"', "Cache-Control": "no-store"}
        return Response(DOWNLOADS[name](votes), media_type="text/csv; charset=utf-8", headers=headers)

    return [
        Route("/study/leaderboard", web.json_endpoint(show, run=run), methods=["POST"]),
        Route("/study/leaderboard/{board}/{name}", web.json_endpoint(download, run=run), methods=["GET"]),
        *owner.routes(survey, run),
    ]


def _known_version(body: bytes) -> object:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        return None
    return asked.get("version") if isinstance(asked, dict) else None


def is_public() -> bool:
    """Return whether the owner publishes the results."""
    return os.environ.get(PUBLIC_VARIABLE) == "1"


def boards(survey: Survey, arena: Survey | None) -> str:
    """Return the results of the study and, where it is on, of the arena, as HTML."""
    if arena is None:
        return public_results(survey)
    study = languages.html("leaderboard.study", tag="h3") if is_public() else ""
    about = languages.html("leaderboard.arena", tag="h3") + languages.html("leaderboard.arena_note", tag="p")
    return f"<section>{study}{public_results(survey)}</section><section>{about}{arena_results(arena)}</section>"


def public_results(survey: Survey) -> str:
    """Return the results of the study as HTML, or a sentence that says why there are none."""
    if not is_public():
        return languages.html("leaderboard.private", tag="p")
    counts, scores = survey.counts(), _scores(survey)
    if scores is None or not _has_strengths(scores):
        if not counts["needed"] and scores is None:
            return languages.html("leaderboard.excluded", tag="p")
        few = languages.html("leaderboard.few", tag="p", n=counts["needed"], answers=counts["answers"])
        return few + (_needs(scores["needed"]) if scores else "")
    return _results(scores, survey.study.session, STUDY)


def arena_results(survey: Survey) -> str:
    """Return the results of the arena as HTML, or a sentence that says why there are none."""
    scores = _scores(survey)
    if scores is None or not _has_strengths(scores):
        few = languages.html("leaderboard.arena_few", tag="p", n=survey.counts()["answers"])
        return few + (_needs(scores["needed"]) if scores else "")
    return _results(scores, survey.study.session, ARENA)


def _scores(survey: Survey) -> Scores | None:
    """The scores; None without votes, and if no comparison is left after the exclusion of raters."""
    try:
        return survey.leaderboard() if survey.counts()["answers"] else None
    except GPENError:
        return None


def _has_strengths(scores: Scores) -> bool:
    return any(row.get("strength") is not None for row in scores["methods"].values())


def _needs(needs: list[Need], key: str = "leaderboard.needs", tag: str = "p") -> str:
    """What is missing for strengths, without the names of the methods, which raters should not know early."""
    if not needs:
        return ""
    missing = {"raters": max(need["raters"] for need in needs), "comparisons": sum(need["comparisons"] for need in needs)}
    return languages.html(key, tag=tag, **missing)


def _results(scores: Scores, session: int, board: str) -> str:
    methods: dict[str, dict[str, Any]] = {name: {**owner.EMPTY_ROW, **row} for name, row in scores["methods"].items()}
    tiles: list[tuple[object, str]] = [
        (scores["votes"], languages.html("leaderboard.answers")),
        (scores["raters"], languages.html("leaderboard.raters")),
    ]
    if scores["alpha"] is not None:  # None in the arena, where no question has two answers
        tiles.append((number(scores["alpha"]), languages.html("leaderboard.alpha")))
    parts = ["<dl>", *(f"<div><dt>{figure}</dt><dd>{label}</dd></div>" for figure, label in tiles), "</dl>"]
    if scores["missing"] and scores["planned"]:
        parts.append(languages.html("leaderboard.preliminary", tag="p", n=scores["missing"], total=scores["planned"]))
    parts.append(_needs(scores["needed"]))
    heads = [languages.html(f"leaderboard.{name}") for name in ("method", "strength", "comparisons")]
    rows = [[html.escape(name), interval(row, "strength", "low", "high"), row["n"]] for name, row in methods.items()]
    if len(scores["groups"]) > 1:
        parts.append(languages.html("leaderboard.groups", tag="p"))
        heads.append(languages.html("leaderboard.group"))
        for cells, row in zip(rows, methods.values(), strict=True):
            cells.append(row["group"] + 1)
    if scores["protocol"] == "rating":
        heads.append(languages.html("leaderboard.mos"))
        for cells, row in zip(rows, methods.values(), strict=True):
            cells.append(interval(row, "mos", "mos_low", "mos_high"))
    parts.append(f'<div class="board">{strength_plot(methods)}{table(heads, rows)}</div>')
    parts.append(_slices(scores))
    how = languages.html("leaderboard.how", tag="summary")
    texts = [html.escape(sentence) for sentence in (scores["intervals"], scores["rule"])]
    sentences = [languages.html("leaderboard.how_strength"), *texts, *_screening(scores, session)]
    if scores["slices"]:
        sentences.insert(1, languages.html("leaderboard.how_slices"))
    parts.append(f'<details class="how">{how}<p>{" ".join(sentences)}</p></details>')
    files = [languages.html(f"leaderboard.download_{name.partition('.')[0]}") for name in DOWNLOADS]
    links = [
        f'<a class="file" data-file="{board}/{name}" download>{text}</a>' for name, text in zip(DOWNLOADS, files, strict=True)
    ]
    parts.append(f'<p class="row files">{"".join(links)}{languages.html("leaderboard.live", tag="small")}</p>')
    return "".join(parts)


def _slices(scores: Scores) -> str:
    """The strengths on weakly and on strongly degraded items, a plot for each parameter, on one scale."""
    if not scores["slices"]:
        return ""
    parts = [part for slices in scores["slices"].values() for part in slices]
    rows = [cast(dict[str, Any], row) for part in parts for row in part["methods"].values()]
    values = [abs(row[key]) for row in rows for key in ("strength", "low", "high") if row[key] is not None]
    reach = min(MAX_AXIS, 1.05 * max([1.0, *values]))
    figures = []
    for name, slices in scores["slices"].items():
        colour, label = PARAMETER_TEXTS[name]
        series = [columns(part["methods"], "strength", "low", "high") for part in slices]
        has_any = any(point[0] is not None for points in series for point in points.values())
        plot = paired_plot(label, colour, list(scores["methods"]), series, reach) if has_any else ""
        keys = "".join(_slice_key(part, kind) for part, kind in zip(slices, ("weak", "strong"), strict=True))
        figures.append(f'<section class="{colour}">{languages.html(label, tag="h4")}{plot}{keys}</section>')
    title = languages.html("leaderboard.slices", tag="h3") + languages.html("leaderboard.slices_note", tag="p")
    return f'{title}<div class="slices">{"".join(figures)}</div>'


def _slice_key(part: Slice, kind: str) -> str:
    """The range of the parameter, the number of votes, and what is missing for strengths."""
    votes = languages.html("leaderboard.slice_votes", tag="small", n=part["votes"])
    return f'<div class="slice {kind}">{_range(part)}{votes}</div>{_needs(part["needed"], "leaderboard.slice_needs", "small")}'


def _range(part: Slice) -> str:
    """The values of the parameter in a slice."""
    low, high = (None if value is None else f"{value:.1f}".removesuffix(".0") for value in (part["low"], part["high"]))
    if low is None or high is None:
        off = "slice_off" if low == high else "slice_from_off" if low is None else "slice_to_off"
        return languages.html(f"leaderboard.{off}", **{name: v for name, v in (("low", low), ("high", high)) if v is not None})
    return languages.html("leaderboard.range", low=low, high=high) if low != high else f"<span>{low}</span>"


def _screening(scores: Scores, session: int) -> list[str]:
    """How the votes were screened, as sentences."""
    excluded = len(scores["dropped_raters"])
    login = "login" if options.needs_login() else "no_login"
    raters = scores["raters"] + excluded
    screened = languages.html("leaderboard.screened", answers=session, sessions=MAX_SESSIONS, n=excluded, raters=raters)
    return [screened, languages.html(f"leaderboard.{login}")]
