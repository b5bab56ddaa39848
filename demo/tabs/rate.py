"""Server side of the Rate tab, a blind comparison by volunteers; rate.js is the page.

Raters are identified by a random code that only their browser stores; there are no names, cookies or stored addresses. With
GPEN_LOGIN=1, raters log in with an account of Hugging Face, and a keyed hash of the account replaces the code.
The routes under /study validate requests and pass them to eval.preference.survey.Survey, in threads of their own. Of the study
folder, only images listed in its manifest are served, under handles that reveal nothing (eval/preference/tickets.py).
"""

from __future__ import annotations

import html
import os
import time
import urllib.parse
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from demo import languages
from demo.server import options, owner_access, web
from demo.server.executor import BoundedExecutor
from demo.server.limits.identity import address_of
from demo.server.limits.settings import read_limits
from demo.tabs import leaderboard
from demo.theme import STATIC
from eval.preference.storage.location import locate
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS

SAMPLE_STUDY = ASSETS / "study"
SCRIPTS = (  # in order of dependency
    "rate_panes.js", "rate_outbox.js", "rate_trial.js", "rate_links.js", "rate_consent.js", "rate_frame.js", "rate.js",
)  # fmt: skip
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
ShortText = Annotated[str, Field(max_length=64)]
Ids = Annotated[list[ShortText], Field(max_length=200)]
Asked = TypeVar("Asked", bound="StudyRequest")


class StudyRequest(BaseModel):
    """Base class of requests: strict types, and no additional fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RaterRequest(StudyRequest):
    code: ShortText
    _address: str | None = PrivateAttr(None)  # of the client


class NextRequest(RaterRequest):
    n: Annotated[int, Field(ge=1, le=8)] = 2
    holding: Ids = []


class AnswerRequest(RaterRequest):
    id: ShortText
    trial: ShortText
    choice: ShortText | int | Annotated[list[int], Field(max_length=16)]
    ms: int


class UndoRequest(RaterRequest):
    id: ShortText


class UnconfirmedRequest(RaterRequest):
    ids: Ids


def open_survey() -> Survey | None:
    """Open the study in GPEN_STUDY with its store; None if there is no study.

    eval.preference.storage.location says where the store is. Prints how many votes it has. Raises GPENError if GPEN_STUDY is not
    a study, the store cannot be opened, the token of the owner can be guessed, or raters cannot log in here.
    """
    named = os.environ.get("GPEN_STUDY")
    if not named and not SAMPLE_STUDY.is_dir():
        return None
    owner_access.check_token()
    if options.needs_login() and not os.environ.get("OAUTH_CLIENT_ID"):
        raise GPENError(
            f"{options.LOGIN_VARIABLE}=1 needs a Hugging Face Space with `hf_oauth: true` in the front matter of README.md; "
            f"add it there, or unset {options.LOGIN_VARIABLE}."
        )
    location = locate()
    survey = Survey(Study.open(named or SAMPLE_STUDY), VoteStore.open(location))
    print(f"Study {survey.study.name}: {survey.counts()['answers']} answers in {location}.", flush=True)
    return survey


def start_mirror(survey: Survey | None) -> None:
    """Start copying votes to the dataset or mounted folder GPEN_VOTES_REPO, if it is set; see eval.preference.mirror."""
    repo = os.environ.get("GPEN_VOTES_REPO")
    if survey is None or not repo:
        return
    from eval.preference.mirror.hub import Mirror  # imported late because of huggingface_hub
    from eval.preference.mirror.mounted import MountedFolder

    api = MountedFolder(repo) if os.path.isabs(repo) else None
    mirror = Mirror(survey.store, survey.study.name, repo, survey.reload_keys, survey.import_votes, api)
    mirror.start()
    survey.mirror = mirror
    print(f"Study {survey.study.name}: {survey.counts()['answers']} answers, copied to {repo}.", flush=True)


def tab(survey: Survey | None) -> None:
    """Build the tab inside the current gr.Blocks. The server must also serve `routes`."""
    if survey is None:
        gr.HTML(languages.html("rate.no_study_html", tag="p"), elem_id="no-study")
        return
    if options.needs_login():
        gr.LoginButton(elem_id="rate-login")  # adds the routes and the session cookie of the login; rate_links.js has the link
    title = html.escape(survey.study.title)
    scripts = "\n".join((STATIC / name).read_text() for name in SCRIPTS)
    gr.HTML(
        f'<div class="rate"><h2>{title}</h2></div>',
        js_on_load=f"{scripts}\nrate(element.querySelector('.rate'));",
        apply_default_css=False,
        elem_id="rate",
    )


def routes(survey: Survey | None, arena: Survey | None = None) -> list[Route]:
    """Return the routes of the tab, of the Leaderboard tab and of the owner page; only LINKS without a survey.

    arena: the votes of the arena, for their board.

    Pass them to launch(app_kwargs={"routes": ...}).
    """
    if survey is None:
        return LINKS

    def rater_call(request: Request, body: bytes) -> object:
        name = request.path_params["call"]
        if name not in ENDPOINTS:
            raise web.RequestError(f"There is no endpoint {name[:40]!r} in the study.", 404)
        request_type, function = ENDPOINTS[name]
        ask = parsed(request_type, body)
        if isinstance(ask, RaterRequest):
            ask._address = address_of(request.scope, proxies)
            if options.needs_login():
                ask.code = code_of_account(survey, request)
        elif name == "about" and options.needs_login():
            return _about(survey, ask) | {"login": account(request) is not None}
        return function(survey, ask)

    def image(request: Request, body: bytes) -> Response:
        try:
            path = survey.tickets.image(request.path_params["handle"])
        except GPENError as error:
            raise web.RequestError(str(error), 404) from None
        return Response(path.read_bytes(), media_type="image/png", headers=_FOR_EVER)  # without the ETag and date of the file

    proxies, store_threads = read_limits().trusted_proxies, BoundedExecutor()
    return [
        *LINKS,
        *leaderboard.routes(survey, store_threads, arena),  # before the endpoints of raters, whose route has a placeholder
        Route("/study/images/{handle}", web.json_endpoint(image, run=store_threads), methods=["GET"]),
        Route("/study/{call}", web.json_endpoint(rater_call, run=store_threads), methods=["POST"]),
    ]


def _open_tab(request: Request) -> Response:
    """Redirect the link of a study, /rate?study=ID, to the tab. The target is relative, so that it holds below any root path."""
    query = [("tab", "rate"), *((name, value) for name, value in request.query_params.multi_items() if name != "tab")]
    above = ".." if request.url.path.endswith("/") else "."
    return RedirectResponse(f"{above}/?{urllib.parse.urlencode(query)}", headers={"Cache-Control": "no-store"})


LINKS = [Route(path, _open_tab, methods=["GET"]) for path in ("/rate", "/rate/")]


def account(request: Request) -> str | None:
    """Return the id of the account of Hugging Face with which the visitor is logged in, from gradio's session cookie."""
    login = (request.scope.get("session") or {}).get("oauth_info") or {}
    return login.get("userinfo", {}).get("sub") if login.get("expires_at", 0) > time.time() else None


def code_of_account(survey: Survey, request: Request) -> str:
    """Return the code of the rater who is logged in. Raises RequestError if nobody is."""
    visitor = account(request)
    if visitor is None:
        raise web.RequestError("Log in with your Hugging Face account to take part in this study.", 401)
    return survey.tickets.code(visitor)


def parsed(request_type: type[Asked], body: bytes) -> Asked:
    """Parse the JSON body of a request. Raises GPENError for another one."""
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
        "copies": survey.mirror is not None,  # whether answers are safe only when they are copied
    }


def _consent(survey: Survey, ask: RaterRequest) -> dict:
    survey.consent(ask.code, ask._address)
    return {"progress": survey.progress(ask.code)}


def _resume(survey: Survey, ask: RaterRequest) -> dict:
    if not survey.consented(ask.code):
        return {"consented": False, "deleted": survey.deleted(ask.code)}
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
    "unconfirmed": (UnconfirmedRequest, lambda survey, ask: survey.unconfirmed(ask.code, ask.ids)),
    "agreement": (RaterRequest, lambda survey, ask: survey.agreement(ask.code)),
    "delete": (RaterRequest, lambda survey, ask: {"deleted": survey.delete(ask.code)}),
}
