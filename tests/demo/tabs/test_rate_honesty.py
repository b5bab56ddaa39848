"""Votes of the Rate tab from scripts, other raters and old consents; login; copies. The routes, without a browser."""

import asyncio
import json
import signal
import threading
import time

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.server import options
from demo.tabs import owner, rate
from eval.preference.mirror.hub import MirrorStatus
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests.demo.conftest import TIMEOUT, client_of, serve_app
from tests.eval.preference.mirror.fake_hub import REPO, Hub

ACCOUNT = "account-4711"


@pytest.fixture
def survey(study, tmp_path) -> Survey:
    return Survey(Study.open(study), VoteStore.open(tmp_path / "votes.sqlite"))


@pytest.fixture
def client(survey):
    with client_of(rate.routes(survey)) as client:
        yield client


def ask(client, call, **body):
    return client.post(f"/study/{call}", json=body)


def consenting(client) -> str:
    code = new_code()
    assert ask(client, "consent", code=code).status_code == 200
    return code


def answer(client, code, ticket, id="answer-0000"):
    return ask(client, "answer", code=code, id=id, trial=ticket, choice="left", ms=1200)


def test_only_trials_given_to_this_rater_are_accepted(client, survey):
    """Failure sequence: any trial of the public manifest was accepted from anyone."""
    victim, script = consenting(client), consenting(client)
    (trial,) = ask(client, "next", code=victim, n=1).json()
    for forged in (trial["trial"], *list(survey.study.trials)[:3]):
        response = answer(client, script, forged)
        assert response.status_code == 400 and "was not given to this rater" in response.json()["error"]
    assert survey.store.votes(survey.study.name) == []
    assert answer(client, victim, trial["trial"]).status_code == 200


def test_rater_cannot_choose_among_trials_or_exceed_the_session(client, survey):
    """Failure sequence: a script requested trials without end and answered those that it liked."""
    code, given = consenting(client), {}
    for _ in range(20):
        given |= {trial["trial"]: trial for trial in ask(client, "next", code=code, n=8).json()}
    assert len(given) == survey.study.session == 5
    for number, ticket in enumerate(given):
        assert answer(client, code, ticket, f"answer-{number:04}").json()["progress"]["done"] == number + 1
    assert ask(client, "next", code=code, n=8).json() == []
    assert answer(client, code, next(iter(given)), "again-0000").json()["progress"]["done"] == 5  # a ticket counts once
    assert len(survey.store.votes(survey.study.name)) == 5


def test_images_have_other_names_for_every_rater(client):
    names = []
    for _ in range(3):
        code = consenting(client)
        for trial in ask(client, "next", code=code, n=5).json():
            names += [*trial["images"], trial["input"]]
            assert client.get(f"/study/{trial['images'][0]}").content.startswith(b"\x89PNG")
    assert len(set(names)) == len(names)


def test_one_network_starts_a_limited_number_of_sessions(client, monkeypatch):
    monkeypatch.setattr("eval.preference.sessions.MAX_SESSIONS", 2)
    codes = [consenting(client), consenting(client)]
    refused = ask(client, "consent", code=new_code())
    assert refused.status_code == 403 and "from your network today" in refused.json()["error"]
    assert ask(client, "consent", code=codes[0]).status_code == 200
    assert ask(client, "next", code=codes[1], n=1).status_code == 200


def test_changed_consent_text_asks_again_and_keeps_the_code(client, survey, monkeypatch):
    code = consenting(client)
    first, second = ask(client, "next", code=code, n=2).json()
    assert answer(client, code, first["trial"]).status_code == 200
    monkeypatch.setitem(vars(survey.study), "consent_version", "new text")
    for response in (answer(client, code, second["trial"], "answer-0001"), ask(client, "next", code=code)):
        assert response.status_code == 428 and "read it again" in response.json()["error"]
    assert ask(client, "resume", code=code).json() == {"consented": False, "deleted": False}
    assert ask(client, "consent", code=code).json()["progress"]["done"] == 1
    assert answer(client, code, second["trial"], "answer-0001").json()["progress"]["done"] == 2


def test_answers_that_wait_for_the_disk_take_no_thread_of_the_page(survey, monkeypatch):
    """Failure sequence: 40 answers that waited for a slow disk took all threads of gradio, and restorations stopped."""
    code, entered, disk = new_code(), threading.Event(), threading.Event()
    survey.consent(code)
    monkeypatch.setattr(survey, "consented", lambda code: entered.set() or disk.wait())

    async def scene():
        transport = httpx.ASGITransport(Starlette(routes=rate.routes(survey)))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as web:
            asking = asyncio.create_task(web.post("/study/resume", json={"code": code}))
            while not entered.is_set():
                await asyncio.sleep(0)
            threads = anyio.to_thread.current_default_thread_limiter().borrowed_tokens
            disk.set()
            assert threads == 0 and (await asking).json()["consented"]

    asyncio.run(scene())


def test_unconfirmed_answers(client, survey):
    code = consenting(client)
    (trial,) = ask(client, "next", code=code, n=1).json()
    answer(client, code, trial["trial"])
    asked = ask(client, "unconfirmed", code=code, ids=["answer-0000", "lost-0000", "undo:answer-0000"])
    assert asked.json() == {"missing": ["lost-0000", "undo:answer-0000"], "waiting": []}
    assert ask(client, "about").json()["copies"] is False
    assert ask(client, "unconfirmed", code=code, ids=["x"] * 201).status_code == 400
    ask(client, "delete", code=code)
    assert ask(client, "unconfirmed", code=code, ids=[]).status_code == 410


class Login:
    """Middleware that stands for the session cookie of gradio's login."""

    def __init__(self, app):
        self.app, self.session = app, {}

    async def __call__(self, scope, receive, send):
        await self.app(scope | {"session": self.session}, receive, send)


def test_login_gives_one_session_per_account(survey, monkeypatch):
    monkeypatch.setenv(options.LOGIN_VARIABLE, "1")
    app = Login(Starlette(routes=rate.routes(survey)))
    with TestClient(app) as client:
        assert ask(client, "about").json()["login"] is False
        assert ask(client, "consent", code=new_code()).status_code == 401
        app.session["oauth_info"] = {"expires_at": time.time() - 1, "userinfo": {"sub": ACCOUNT}}
        assert ask(client, "resume", code=new_code()).status_code == 401
        app.session["oauth_info"]["expires_at"] = time.time() + 99
        assert ask(client, "about").json()["login"] is True
        ask(client, "consent", code=new_code())
        (trial,) = ask(client, "next", code=new_code(), n=1).json()
        assert answer(client, new_code(), trial["trial"]).json()["progress"]["done"] == 1  # other codes, the same account
        assert ask(client, "resume", code=new_code()).json()["progress"]["done"] == 1
        app.session["oauth_info"]["userinfo"]["sub"] = "another-account"
        assert ask(client, "resume", code=new_code()).json()["consented"] is False
    assert ACCOUNT not in json.dumps(survey.store.events(survey.study.name))


def test_guessable_token_and_missing_login_stop_the_start(study, tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_STUDY", str(study))
    monkeypatch.setenv("GPEN_VOTES", str(tmp_path / "v.sqlite"))
    monkeypatch.setenv("GPEN_OWNER_TOKEN", "secret")
    with pytest.raises(GPENError, match="GPEN_OWNER_TOKEN can be guessed"):
        rate.open_survey()
    monkeypatch.setenv("GPEN_OWNER_TOKEN", "")
    monkeypatch.setenv(options.LOGIN_VARIABLE, "1")
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    with pytest.raises(GPENError, match="GPEN_LOGIN=1 needs a Hugging Face Space with `hf_oauth: true`"):
        rate.open_survey()


def test_start_prints_where_the_votes_are(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GPEN_STUDY", str(study))
    monkeypatch.setenv("GPEN_VOTES", str(tmp_path / "v.sqlite"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    rate.open_survey().close()
    assert capsys.readouterr().out.endswith(f": 0 answers in {tmp_path / 'v.sqlite'} (GPEN_VOTES).\n")


def test_owner_sees_copies_and_unusual_patterns(client, survey, monkeypatch):
    assert "Copy in the dataset" not in owner.report(survey) and "no unusual patterns" in owner.report(survey)

    class Copies:
        state = MirrorStatus("me/votes", 90.0, 3, None)

        def status(self):
            return self.state

    survey.mirror = Copies()
    assert "me/votes: last brought up to date 1.5 minutes ago, 3 events not copied yet." in owner.report(survey)
    monkeypatch.setattr("eval.preference.survey.COUNTS_AGE", 0)
    Copies.state = MirrorStatus("me/votes", None, 1, "<b>401</b>")
    shown = owner.report(survey)
    assert '<p class="warning">' in shown and "up to date never, 1 event not" in shown and "&lt;b&gt;401&lt;/b&gt;" in shown
    survey.mirror = None
    monkeypatch.setattr("eval.preference.survey.LEADERBOARD_AGE", 0)
    for _ in range(6):
        code = consenting(client)
        (trial,) = ask(client, "next", code=code, n=1).json()
        answer(client, code, trial["trial"])
    assert "6 raters with 6 answers share one network" in owner.report(survey)


@pytest.mark.slow
def test_terminated_app_copies_the_last_answers(model_file, study, tmp_path):
    """Failure sequence: a Space that was stopped lost the answers of up to five minutes."""
    with Hub() as hub:
        copies = {"GPEN_VOTES_REPO": REPO, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test"}
        with serve_app(model_file, study, tmp_path, **copies) as (url, process):
            with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
                code = consenting(client)
                (trial,) = ask(client, "next", code=code, n=1).json()
                assert answer(client, code, trial["trial"]).status_code == 200
            process.terminate()
            assert process.wait(TIMEOUT) == 128 + signal.SIGTERM
        assert {event["event"] for event in hub.events()} == {"key", "consent", "answer"}
