"""The Arena tab: a visitor degrades a face, and compares two restorations of it without their names; arena.js is the page.

GPEN_ARENA=1 adds the tab. The draw of the pairs and the votes are in eval.preference.arena; the board is in the Leaderboard tab.

An image of a visitor is only in the requests that need it and in the memory of the page: it is decoded in memory, and never
written to a file. The routes are below /study/arena.
"""

from __future__ import annotations

import base64
import functools
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import gradio as gr
import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.routing import Route

import gpen
from demo import experiment, images, languages
from demo.server import options, web, zerogpu
from demo.server.executor import BoundedExecutor
from demo.server.limits.buckets import TokenBuckets
from demo.server.limits.identity import address_of, network
from demo.server.limits.settings import Rate, read_limits
from demo.server.model_picker import ModelPicker
from demo.tabs.rate import RaterRequest, ShortText, StudyRequest, UnconfirmedRequest, code_of_account, parsed
from demo.theme import STATIC
from eval.data.lq_sets import Sample
from eval.methods.registry import default_weights, load_method
from eval.preference.arena.battles import Arena
from eval.preference.golds import damaged
from eval.preference.storage.items import OWN
from eval.preference.storage.location import locate
from eval.preference.storage.store import VoteStore
from eval.preference.study import BETTER, WORSE
from eval.preference.survey import Survey, new_code
from gpen.degradation.degradation import MAX_SEED, Degradation
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.images import resize_to
from gpen.models.checkpoints import find

VARIABLE = "GPEN_ARENA"
SCRIPTS = ("rate_panes.js", "rate_outbox.js", "rate_trial.js", "arena.js")  # in order of dependency
HALF = 0.5  # strength of the second method of the default model
MAX_MODELS = 4  # of the folders of GPEN_MODELS
PAIRS = Rate(120, 2.0)  # of one network, such as a class: at once, then a second
PREVIEWS = Rate(600, 20.0)
MAX_WAITING = 12  # pairs that wait for the thread that restores; the page waits for 20 s
MAX_FACE_BYTES = 4 * 2**20  # of a request with an aligned face
START = Degradation(blur_sigma=2.5, scale=3.0, noise_sigma=6.0, jpeg_quality=70)
Restore = Callable[[np.ndarray, int], np.ndarray]  # damaged image uint8 RGB [h, w, 3], size -> uint8 RGB [size, size, 3]


class Busy(GPENError):
    """Too many visitors wait for a pair."""

    retry = True


class TooMany(GPENError):
    """One network sends too many requests."""

    status = 429


class ConsentRequest(StudyRequest):
    code: ShortText | None = None  # None: the server issues one


class LookRequest(StudyRequest):
    look: Annotated[int, Field(ge=0, lt=len(experiment.LOOKS))]


class DamageRequest(StudyRequest):
    face: str  # name of a sample face, or an aligned face as a data URI
    degradation: dict[str, Any]


class BattleRequest(DamageRequest, RaterRequest):
    pass


class AnswerRequest(RaterRequest):
    id: ShortText
    ticket: Annotated[str, Field(max_length=4096)]
    choice: ShortText
    ms: int


@dataclass(frozen=True)
class Page:
    """The arena with the methods of this server: restore by name; size: px of the faces."""

    arena: Arena
    restore: dict[str, Restore]
    size: int
    detector: Callable[[np.ndarray], list]

    @property
    def survey(self) -> Survey:
        return self.arena.survey


def is_on() -> bool:
    """Return whether the owner has turned the arena on."""
    return os.environ.get(VARIABLE) == "1"


def open_page(picker: ModelPicker, store: VoteStore | None = None) -> Page | None:
    """Open the arena, and print its methods; None if it is turned off.

    picker: the models of the playground, so that both tabs have the same ones in memory. store: that of the Rate tab, since one
    process has one store; None: the arena opens it.
    """
    if not is_on():
        return None
    restorer = zerogpu.startup_restorer(picker.default)  # the routes are not events of gradio, for which a GPU is assigned
    restore = methods(restorer, picker)
    location = locate()
    arena = Arena(list(restore), store or VoteStore.open(location))
    print(f"Arena: {', '.join(restore)}; {arena.survey.counts()['answers']} votes in {location}.", flush=True)
    return Page(arena, restore, restorer.net.size, restorer.detector)


def methods(restorer: gpen.Restorer, picker: ModelPicker) -> dict[str, Restore]:
    """Return the methods of this server by name: classical ones, the U-Net if it has weights, the models of the playground."""
    default = find(os.environ.get("GPEN_MODEL") or None).stem
    found = {"bilinear": _method("bilinear"), "nlm": _method("nlm")}
    if default_weights("unet"):
        found["unet"] = _method("unet")
    found[default] = functools.partial(_face, lambda: restorer, 1.0)
    found[f"{default}, strength {HALF}"] = functools.partial(_face, lambda: restorer, HALF)
    for name in picker.names[:MAX_MODELS]:
        if name not in found:
            found[name] = functools.partial(_face, functools.partial(picker.restorer, name), 1.0)
    return found


def _method(name: str) -> Restore:
    load = functools.cache(lambda: load_method(name))
    return lambda lq, size: load().restore([Sample("", lq, None, None)], size)[0]


def _face(restorer: Callable[[], gpen.Restorer], strength: float, lq: np.ndarray, size: int) -> np.ndarray:
    own = restorer()
    return resize_to(own.face(resize_to(lq, own.net.size), strength).image, size)


def tab() -> None:
    """Build the tab inside the current gr.Blocks. The server must also serve `routes`."""
    scripts = "\n".join((STATIC / name).read_text() for name in SCRIPTS)
    heading = languages.html("arena.heading", tag="h2")
    gr.HTML(
        f'<div class="rate arena">{heading}</div>',
        js_on_load=f"{scripts}\narena(element.querySelector('.rate'));",
        apply_default_css=False,
        elem_id="arena",
    )


def routes(page: Page | None) -> list[Route]:
    """Return the routes of the tab; [] if the arena is turned off. Pass them to launch(app_kwargs={"routes": ...})."""
    if page is None:
        return []
    arena, survey, proxies = page.arena, page.survey, read_limits().trusted_proxies
    pairs, previews = TokenBuckets(PAIRS), TokenBuckets(PREVIEWS)

    def charge(request: Request, buckets: TokenBuckets) -> None:
        if wait := buckets.take(network(address_of(request.scope, proxies))):
            raise TooMany(f"Your network has sent too many requests: wait for {wait + 0.5:.0f} seconds.")

    def code_of(request: Request, asked: RaterRequest) -> str:
        return code_of_account(survey, request) if options.needs_login() else asked.code

    def about(request: Request, body: bytes) -> dict:
        return _about(page)

    def consent(request: Request, body: bytes) -> dict:
        code = parsed(ConsentRequest, body).code or new_code()
        if options.needs_login():
            code = code_of_account(survey, request)
        survey.consent(code, address_of(request.scope, proxies))
        return {"code": code} | survey.progress(code)

    def resume(request: Request, body: bytes) -> dict:
        code = code_of(request, parsed(RaterRequest, body))
        return {"consented": survey.consented(code), "deleted": survey.deleted(code)} | survey.progress(code)

    def look(request: Request, body: bytes) -> dict:
        chosen = experiment.LOOKS[parsed(LookRequest, body).look]
        return {"degradation": experiment.sample_look(chosen, secrets.randbelow(MAX_SEED), page.size).to_dict()}

    def face(request: Request, body: bytes) -> dict:
        charge(request, pairs)
        aligned, count = images.align_clearest(images.read_data(body).pixels, page.size, page.detector)
        return {"face": _data_uri(aligned), "faces": count}

    def damage(request: Request, body: bytes) -> dict:
        charge(request, previews)
        asked = parsed(DamageRequest, body)
        return {"image": _data_uri(_degradation(asked.degradation).resized(_face_of(asked.face, page.size)[1]))}

    def battle(request: Request, body: bytes) -> dict:
        asked = parsed(BattleRequest, body)
        charge(request, pairs)
        name, image = _face_of(asked.face, page.size)
        degradation = replace(_degradation(asked.degradation), seed=secrets.randbelow(2**32))
        drawn = arena.draw(code_of(request, asked), name, degradation)
        lq = degradation(image)
        if drawn.damage:
            sides = {BETTER: degradation.target(image), WORSE: damaged(degradation.target(image), drawn.damage)}
            shown = [sides[side] for side in drawn.shown]
        else:
            shown = [page.restore[method](lq, page.size) for method in drawn.shown]
        given = _data_uri(degradation.resized(image))
        return {"trial": drawn.ticket, "images": [_data_uri(one) for one in shown], "input": given, "width": 1, "height": 1}

    def answer(request: Request, body: bytes) -> dict:
        asked = parsed(AnswerRequest, body)
        outcome = arena.answer(code_of(request, asked), id=asked.id, ticket=asked.ticket, choice=asked.choice, ms=asked.ms)
        return {"shown": outcome.shown, "gold": outcome.is_gold, "done": outcome.votes}

    def unconfirmed(request: Request, body: bytes) -> dict:
        asked = parsed(UnconfirmedRequest, body)
        return survey.unconfirmed(code_of(request, asked), asked.ids)

    def delete(request: Request, body: bytes) -> dict:
        return {"deleted": survey.delete(code_of(request, parsed(RaterRequest, body)))}

    store_threads = BoundedExecutor()
    network_thread = BoundedExecutor(1, MAX_WAITING, lambda: Busy("Many visitors wait for a pair."))
    light = {function.__name__: function for function in (about, consent, resume, look, answer, unconfirmed, delete)}
    heavy = {"face": (face, images.MAX_BYTES), "damage": (damage, MAX_FACE_BYTES), "battle": (battle, MAX_FACE_BYTES)}
    found = {name: web.json_endpoint(function, run=store_threads) for name, function in light.items()}
    for name, (function, most) in heavy.items():
        found[name] = web.json_endpoint(function, most, run=store_threads if name == "damage" else network_thread)
    return [Route(f"/study/arena/{name}", endpoint, methods=["POST"]) for name, endpoint in found.items()]


def _about(page: Page) -> dict:
    """What the page shows before the consent; nothing about a pair."""
    return {
        "consent": page.survey.study.consent,
        "version": page.survey.study.consent_version,
        "copies": page.survey.mirror is not None,  # whether votes are safe only when they are copied
        "methods": len(page.restore),
        "faces": [
            {"name": name, "person": sample.person, "image": images.data_uri(_sample(name, page.size), 112)}
            for name, sample in SAMPLES.items()
        ],
        "start": START.to_dict(),
        "ranges": {name: experiment.SLIDER_RANGES[name] for name in ("blur_sigma", "scale", "noise_sigma", "jpeg_quality")},
        "looks": [look.name.replace(" ", "_") for look in experiment.LOOKS],
    }


@functools.cache
def _sample(name: str, size: int) -> np.ndarray:
    return SAMPLES[name].load(size)


def _face_of(face: str, size: int) -> tuple[str, np.ndarray]:
    """The name of the face in the vote, and its image, uint8 RGB [size, size, 3]."""
    if face in SAMPLES:
        return face, _sample(face, size)
    head, _, data = face.partition(";base64,")
    if not head.startswith("data:image/"):
        raise GPENError("There is no such face: choose a sample face or your photo.")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise GPENError("The image is damaged: choose it again.") from None
    return OWN, images.square_crop(images.read_data(content).pixels, size)


def _degradation(values: dict[str, Any]) -> Degradation:
    degradation = Degradation.from_dict(values)
    experiment.check_scale(degradation)
    return experiment.within_sliders(degradation)


def _data_uri(image: np.ndarray) -> str:
    return images.data_uri(image, max(image.shape))
