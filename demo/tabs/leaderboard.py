"""The Leaderboard tab: the strengths of the methods in the study, if its owner publishes them.

GPEN_PUBLIC_LEADERBOARD=1 publishes them. leaderboard.js requests the HTML when the tab is opened, and shows the page of the
owner (owner.py) instead at the address /?tab=leaderboard&owner.
"""

from __future__ import annotations

import html
import os
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.routing import Route

from demo import languages
from demo.server import owner_access, web
from demo.tabs import owner
from demo.tabs.plots import interval, number, strength_plot, table
from demo.theme import STATIC
from eval.preference.analysis.scoring import Scores
from eval.preference.sessions import MAX_SESSIONS
from eval.preference.survey import Survey
from gpen.errors import GPENError

PUBLIC_VARIABLE = "GPEN_PUBLIC_LEADERBOARD"
LOGIN_VARIABLE = "GPEN_LOGIN"  # "1": raters need an account of Hugging Face
SCRIPTS = ("rate_panes.js", "rate_outbox.js", "rate_trial.js", "owner.js", "leaderboard.js")  # in order of dependency


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


def routes(survey: Survey, run: Callable[..., Awaitable[object]]) -> list[Route]:
    """Return the public route of the tab, and those of the owner page. run: calls functions that use the store, in a thread."""

    def show(request: Request, body: bytes) -> dict:
        return {"html": public_results(survey), "owner": owner_access.token() is not None}

    return [Route("/study/leaderboard", web.json_endpoint(show, run=run), methods=["POST"]), *owner.routes(survey, run)]


def is_public() -> bool:
    """Return whether the owner publishes the results."""
    return os.environ.get(PUBLIC_VARIABLE) == "1"


def public_results(survey: Survey) -> str:
    """Return the results as HTML, or a sentence that says why there are none."""
    if not is_public():
        return languages.html("leaderboard.private", tag="p")
    counts = survey.counts()
    try:
        scores = survey.leaderboard() if counts["answers"] else None
    except GPENError:  # no comparison is left after the exclusion of raters
        scores = None
    if scores is None or all(row.get("strength") is None for row in scores["methods"].values()):
        if not counts["needed"] and scores is None:
            return languages.html("leaderboard.excluded", tag="p")
        few = languages.html("leaderboard.few", tag="p", n=counts["needed"], answers=counts["answers"])
        return few + (_needs(scores) if scores else "")
    return _results(scores, survey.study.session)


def _needs(scores: Scores) -> str:
    """What is missing for strengths, without the names of the methods, which raters should not know early."""
    needs = scores["needed"]
    if not needs:
        return ""
    missing = {"raters": max(need["raters"] for need in needs), "comparisons": sum(need["comparisons"] for need in needs)}
    return languages.html("leaderboard.needs", tag="p", **missing)


def _results(scores: Scores, session: int) -> str:
    methods: dict[str, dict[str, Any]] = {name: {**owner.EMPTY_ROW, **row} for name, row in scores["methods"].items()}
    tiles = [
        (scores["votes"], languages.html("leaderboard.answers")),
        (scores["raters"], languages.html("leaderboard.raters")),
        (number(scores["alpha"]), languages.html("leaderboard.alpha")),
    ]
    parts = ["<dl>", *(f"<div><dt>{figure}</dt><dd>{label}</dd></div>" for figure, label in tiles), "</dl>"]
    if scores["missing"] and scores["planned"]:
        parts.append(languages.html("leaderboard.preliminary", tag="p", n=scores["missing"], total=scores["planned"]))
    parts.append(_needs(scores))
    heads = [languages.html(f"leaderboard.{name}") for name in ("method", "strength", "comparisons")]
    rows = [[html.escape(name), interval(row, "strength", "low", "high"), row["n"]] for name, row in methods.items()]
    if len(scores["groups"]) > 1:
        parts.append(languages.html("leaderboard.groups", tag="p"))
        heads.append(languages.html("leaderboard.group"))
        for cells, row in zip(rows, methods.values(), strict=True):
            cells.append(row["group"] + 1)
    parts.append(strength_plot(methods))
    if scores["protocol"] == "rating":
        heads.append(languages.html("leaderboard.mos"))
        for cells, row in zip(rows, methods.values(), strict=True):
            cells.append(interval(row, "mos", "mos_low", "mos_high"))
    parts.append(table(heads, rows))
    how = languages.html("leaderboard.how", tag="summary")
    texts = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in (scores["intervals"], scores["rule"]))
    parts.append(
        f"<details>{how}{languages.html('leaderboard.how_strength', tag='p')}{texts}{_screening(scores, session)}</details>"
    )
    return "".join(parts)


def _screening(scores: Scores, session: int) -> str:
    """How the votes were screened."""
    excluded = len(scores["dropped_raters"])
    login = "login" if os.environ.get(LOGIN_VARIABLE) == "1" else "no_login"
    return languages.html(
        "leaderboard.screened", tag="p", answers=session, sessions=MAX_SESSIONS, n=excluded, raters=scores["raters"] + excluded
    ) + languages.html(f"leaderboard.{login}", tag="p")
