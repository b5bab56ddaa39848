"""Server side of the Rate tab, a blind comparison by volunteers; rate.js is the page.

Raters are identified by a random code that only their browser stores; there are no names, cookies or stored addresses.
The routes under /study validate requests and pass them to eval.preference.survey.Survey. Of the study folder, only images
listed in its manifest are served; their file names are hashes of their content.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from demo.server import web
from demo.tabs import leaderboard
from demo.theme import STATIC
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS

SAMPLE_STUDY = ASSETS / "study"
SCRIPTS = ("rate_panes.js", "rate_outbox.js", "rate_trial.js", "rate.js")  # in order of dependency
NO_STUDY = (
    "There is no study: build one with <code>python -m eval study build</code> and set <code>GPEN_STUDY</code> to its folder."
)
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
ShortText = Annotated[str, Field(max_length=64)]


class StudyRequest(BaseModel):
    """Base class of requests: strict types, and no additional fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RaterRequest(StudyRequest):
    code: ShortText


class NextRequest(RaterRequest):
    n: Annotated[int, Field(ge=1, le=8)] = 2
    holding: Annotated[list[ShortText], Field(max_length=200)] = []


class AnswerRequest(RaterRequest):
    id: ShortText
    trial: ShortText
    choice: ShortText | int | Annotated[list[int], Field(max_length=16)]
    ms: int


class UndoRequest(RaterRequest):
    id: ShortText


def open_survey() -> Survey | None:
    """Open the study in GPEN_STUDY with its store; None if there is no study.

    GPEN_VOTES is an SQLite file or a database address; eval.preference.storage.store defines the default. Raises GPENError if
    GPEN_STUDY is not a study or the store cannot be opened.
    """
    named = os.environ.get("GPEN_STUDY")
    if not named and not SAMPLE_STUDY.is_dir():
        return None
    votes = os.environ.get("GPEN_VOTES")
    if votes and "://" not in votes:
        votes = f"sqlite:///{Path(votes).resolve()}"
    return Survey(Study.open(named or SAMPLE_STUDY), VoteStore.open(votes or None))


def start_mirror(survey: Survey | None) -> object:
    """Start copying votes to the dataset in GPEN_VOTES_REPO; return None if it is not set.

    See eval.preference.mirror.
    """
    repo = os.environ.get("GPEN_VOTES_REPO")
    if survey is None or not repo:
        return None
    from eval.preference.mirror import mirror  # imported late because of huggingface_hub

    return mirror(survey, repo, tempfile.mkdtemp(prefix="gpen-votes-"))


def tab(survey: Survey | None) -> None:
    """Build the tab inside the current gr.Blocks. The server must also serve `routes`."""
    if survey is None:
        gr.HTML(f"<p>{NO_STUDY}</p>", elem_id="no-study")
        return
    title = html.escape(survey.study.title)
    scripts = "\n".join((STATIC / name).read_text() for name in SCRIPTS)
    gr.HTML(
        f'<div class="rate"><h2>{title}</h2></div>',
        js_on_load=f"{scripts}\nrate(element.querySelector('.rate'));",
        apply_default_css=False,
        elem_id="rate",
    )


def routes(survey: Survey | None) -> list[Route]:
    """Return the routes of the tab, of the Leaderboard tab and of the owner page; [] without a survey.

    Pass them to launch(app_kwargs={"routes": ...}).
    """
    if survey is None:
        return []

    def rater_call(request: Request, body: bytes) -> object:
        name = request.path_params["call"]
        if name not in ENDPOINTS:
            raise web.RequestError(f"There is no endpoint {name[:40]!r} in the study.", 404)
        request_type, function = ENDPOINTS[name]
        return function(survey, _parsed(request_type, body))

    def image(request: Request, body: bytes) -> FileResponse:
        try:
            path = survey.study.image(f"images/{request.path_params['name']}")
        except GPENError as error:
            raise web.RequestError(str(error), 404) from None
        return FileResponse(path, media_type="image/png", headers=_FOR_EVER)

    return [
        *leaderboard.routes(survey),  # before the endpoints of raters, whose route has a placeholder
        Route("/study/images/{name}", web.json_endpoint(image), methods=["GET"]),
        Route("/study/{call}", web.json_endpoint(rater_call), methods=["POST"]),
    ]


def _parsed(request_type: type[StudyRequest], body: bytes) -> StudyRequest:
    try:
        return request_type.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "request"
        raise GPENError(f"The field {place!r} is invalid: {first['msg']}.") from None


def _about(survey: Survey, _: StudyRequest) -> dict:
    """Return what the page shows before the consent; nothing about the methods."""
    study = survey.study
    return {
        "study": study.name,
        "title": study.title,
        "protocol": study.protocol,
        "instructions": study.instructions,
        "consent": study.consent,
        "version": study.consent_version,
        "session": study.session,
        "pause": study.pause,
    }


def _consent(survey: Survey, ask: RaterRequest) -> dict:
    survey.consent(ask.code)
    return {"progress": survey.progress(ask.code)}


def _resume(survey: Survey, ask: RaterRequest) -> dict:
    if not survey.consented(ask.code):
        return {"consented": False}
    return {"consented": True, "progress": survey.progress(ask.code)}


def _answer(survey: Survey, ask: AnswerRequest) -> dict:
    return {"progress": survey.answer(ask.code, id=ask.id, trial=ask.trial, choice=ask.choice, ms=ask.ms)}


def _undo(survey: Survey, ask: UndoRequest) -> dict:
    survey.undo(ask.code, id=ask.id)
    return {"progress": survey.progress(ask.code)}


ENDPOINTS: dict[str, tuple[type[StudyRequest], Callable[[Survey, Any], object]]] = {  # endpoint: (type of the request, handler)
    "about": (StudyRequest, _about),
    "consent": (RaterRequest, _consent),
    "resume": (RaterRequest, _resume),
    "training": (StudyRequest, lambda survey, _: survey.training()),
    "next": (NextRequest, lambda survey, ask: survey.next(ask.code, ask.n, ask.holding)),
    "answer": (AnswerRequest, _answer),
    "undo": (UndoRequest, _undo),
    "agreement": (RaterRequest, lambda survey, ask: survey.agreement(ask.code)),
    "delete": (RaterRequest, lambda survey, ask: {"deleted": survey.delete(ask.code)}),
}
