"""The rate tab: people judge restorations without knowing the method. This is its server side; rate.js is the page.

A rater is a random code that only the rater's browser keeps; there is no name, no cookie and no stored address.
The routes under /study are thin: they check the shape of a request and hand it to eval.preference.survey.Survey.
Of the study's folder only the pictures that its manifest lists are served; their names are hashes of their content.
"""

from __future__ import annotations

import html
import os
import tempfile
from pathlib import Path
from typing import Annotated

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from demo import leaderboard, web
from eval.preference.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from gpen.checkpoints import ASSETS
from gpen.errors import GPENError

SAMPLE = ASSETS / "study"
SCRIPTS = ("rate_panes.js", "rate_outbox.js", "rate_trial.js", "leaderboard.js", "rate.js")  # each uses those before it
NO_STUDY = (
    "There is no study here yet: build one with <code>python -m eval study build</code> "
    "and name its folder in <code>GPEN_STUDY</code>."
)
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
Text = Annotated[str, Field(max_length=64)]


class Call(BaseModel):
    """What every request is: these fields, of these types, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Rater(Call):
    code: Text


class Next(Rater):
    n: Annotated[int, Field(ge=1, le=8)] = 2
    holding: Annotated[list[Text], Field(max_length=200)] = []


class Answer(Rater):
    id: Text
    trial: Text
    choice: Text | int | Annotated[list[int], Field(max_length=16)]
    ms: int


class Undo(Rater):
    id: Text


def open_survey() -> Survey | None:
    """The study in GPEN_STUDY (default: the sample in assets/) with its store; None where there is no study.

    GPEN_VOTES is an SQLite file or a database's address; without it eval.preference.store decides. GPENError where
    GPEN_STUDY names no study, or the store cannot be opened.
    """
    named = os.environ.get("GPEN_STUDY")
    if not named and not SAMPLE.is_dir():
        return None
    votes = os.environ.get("GPEN_VOTES")
    if votes and "://" not in votes:
        votes = f"sqlite:///{Path(votes).resolve()}"
    return Survey(Study.open(named or SAMPLE), VoteStore.open(votes or None))


def mirrored(survey: Survey | None):
    """What keeps the votes in the dataset that GPEN_VOTES_REPO names (eval.preference.mirror); None where it names none."""
    repo = os.environ.get("GPEN_VOTES_REPO")
    if survey is None or not repo:
        return None
    from eval.preference.mirror import mirror  # late: huggingface_hub

    return mirror(survey, repo, tempfile.mkdtemp(prefix="gpen-votes-"))


def tab(survey: Survey | None) -> None:
    """Build the tab inside the current gr.Blocks; its routes must be served too."""
    if survey is None:
        gr.HTML(f"<p>{NO_STUDY}</p>", elem_id="no-study")
        return
    title = html.escape(survey.study.title)
    scripts = "\n".join(Path(__file__).with_name(name).read_text() for name in SCRIPTS)
    gr.HTML(
        f'<div class="rate"><h2>{title}</h2></div>',
        js_on_load=f"{scripts}\nrate(element.querySelector('.rate'));",
        apply_default_css=False,
        elem_id="rate",
    )


def routes(survey: Survey | None) -> list[Route]:
    """The tab's routes and the owner's, for launch(app_kwargs={"routes": ...}); none without a survey."""
    if survey is None:
        return []

    def rater_call(request: Request, body: bytes) -> object:
        shape, function = CALLS.get(request.path_params["call"], (None, None))
        if function is None:
            raise web.Refused("There is no such call.", 404)
        return function(survey, _parsed(shape, body))

    def picture(request: Request, body: bytes) -> FileResponse:
        try:
            path = survey.study.image(f"images/{request.path_params['name']}")
        except GPENError as error:
            raise web.Refused(str(error), 404) from None
        return FileResponse(path, media_type="image/png", headers=_FOR_EVER)

    return [
        Route("/study/images/{name}", web.endpoint(picture), methods=["GET"]),
        Route("/study/{call}", web.endpoint(rater_call), methods=["POST"]),
        *leaderboard.routes(survey),
    ]


def _parsed(shape: type[Call], body: bytes) -> Call:
    try:
        return shape.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise GPENError(f"This request is wrong at {place!r}: {first['msg']}.") from None


def _about(survey: Survey, _) -> dict:
    """What the page shows before anyone agrees; nothing of the methods."""
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
        "owner": leaderboard.is_open(),
    }


def _consent(survey: Survey, ask: Rater) -> dict:
    survey.consent(ask.code)
    return {"progress": survey.progress(ask.code)}


def _resume(survey: Survey, ask: Rater) -> dict:
    if not survey.consented(ask.code):
        return {"consented": False}
    return {"consented": True, "progress": survey.progress(ask.code)}


def _answer(survey: Survey, ask: Answer) -> dict:
    return {"progress": survey.answer(ask.code, id=ask.id, trial=ask.trial, choice=ask.choice, ms=ask.ms)}


def _undo(survey: Survey, ask: Undo) -> dict:
    survey.undo(ask.code, id=ask.id)
    return {"progress": survey.progress(ask.code)}


CALLS = {  # the page's call: (shape of the request, what answers it)
    "about": (Call, _about),
    "consent": (Rater, _consent),
    "resume": (Rater, _resume),
    "training": (Call, lambda survey, _: survey.training()),
    "next": (Next, lambda survey, ask: survey.next(ask.code, ask.n, ask.holding)),
    "answer": (Answer, _answer),
    "undo": (Undo, _undo),
    "agreement": (Rater, lambda survey, ask: survey.agreement(ask.code)),
    "delete": (Rater, lambda survey, ask: {"deleted": survey.delete(ask.code)}),
}
