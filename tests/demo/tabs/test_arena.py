"""Routes of the Arena tab: own photos, tickets, consent, limits. Without a browser."""

import base64
import io
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from demo import languages
from demo.server import options
from demo.server.limits.settings import Rate
from demo.server.model_picker import ModelPicker
from demo.tabs import arena, leaderboard
from eval.preference.arena import battles
from eval.preference.arena.battles import CONSENT, NAME
from eval.preference.storage.items import degradation_of
from eval.preference.study import BETTER, WORSE
from eval.preference.survey import new_code
from gpen.errors import GPENError
from tests.demo.conftest import client_of

DAMAGE = {"blur_sigma": 2.5, "scale": 4.0, "noise_sigma": 8.0, "jpeg_quality": 60}


@pytest.fixture
def page(restorer, model_file, tmp_path, monkeypatch):
    monkeypatch.setenv(arena.VARIABLE, "1")
    monkeypatch.setenv("GPEN_MODEL", str(model_file))
    monkeypatch.setenv("GPEN_MODELS", "")
    monkeypatch.setenv("GPEN_VOTES", str(tmp_path / "votes.sqlite"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr("eval.preference.survey.COUNTS_AGE", 0)
    opened = arena.open_page(ModelPicker(restorer))
    yield opened
    opened.survey.close()


@pytest.fixture
def client(page):
    with client_of(arena.routes(page)) as client:
        yield client


def ask(client, call, **body):
    return client.post(f"/study/arena/{call}", json=body)


@pytest.fixture
def code(client) -> str:
    return ask(client, "consent").json()["code"]  # issued by the server


def decoded(uri: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def battle(client, code, face="astronaut", degradation=DAMAGE):
    return ask(client, "battle", code=code, face=face, degradation=degradation)


def answer(client, code, ticket, id="answer-0000", choice="left"):
    return ask(client, "answer", code=code, id=id, ticket=ticket, choice=choice, ms=900)


def test_arena_is_off_by_default(restorer, monkeypatch):
    monkeypatch.delenv(arena.VARIABLE, raising=False)
    assert arena.open_page(ModelPicker(restorer)) is None and arena.routes(None) == []


def test_arena_shares_the_store_and_the_models_of_the_page(page, restorer, model_file, monkeypatch):
    """Failure sequence: it opened a second store, with a second writer of SQLite, and loaded a second copy of a model."""
    monkeypatch.setenv("GPEN_MODELS", str(model_file.parent))
    monkeypatch.setenv("GPEN_MODEL", "gpen-64")
    monkeypatch.setattr(arena, "VoteStore", None)
    picker = ModelPicker(restorer)
    shared = arena.open_page(picker, page.survey.store)
    assert shared.survey.store is page.survey.store and {"gpen-64", model_file.stem} <= shared.restore.keys()
    face = np.zeros((32, 32, 3), np.uint8)
    assert not picker._loaded and shared.restore[model_file.stem](face, 64).shape == (64, 64, 3)
    assert list(picker._loaded) == [model_file.stem]


def test_pair_from_damage_to_reveal(client, page, code, size):
    about = ask(client, "about").json()
    assert about["consent"] == CONSENT == languages.english("arena.consent") and about["methods"] == 4
    preview = ask(client, "damage", face="astronaut", degradation=DAMAGE).json()["image"]
    trial = battle(client, code).json()
    images = [decoded(uri) for uri in (*trial["images"], trial["input"], preview)]
    assert {image.shape for image in images} == {(size, size, 3)} and not (images[0] == images[1]).all()
    assert trial.keys() == {"trial", "images", "input", "width", "height"}
    sealed = base64.urlsafe_b64decode(trial["trial"] + "==")
    assert not any(f'"{word}"'.encode() in sealed for word in (*page.restore, "gold", BETTER, WORSE))
    outcome = answer(client, code, trial["trial"]).json()
    assert set(outcome["shown"]) <= {*page.restore, "gold:better", "gold:worse"} and outcome["done"] == 1
    (vote,) = page.survey.store.votes(NAME)
    stored = degradation_of(vote.item)
    assert vote.item.startswith("arena/astronaut?") and {name: stored[name] for name in DAMAGE} == DAMAGE
    assert ask(client, "resume", code=code).json()["done"] == 1
    assert ask(client, "delete", code=code).json() == {"deleted": 1} and page.survey.store.votes(NAME) == []


def test_unconfirmed_votes(client, page, code):
    assert ask(client, "about").json()["copies"] is False
    answer(client, code, battle(client, code).json()["trial"])
    assert ask(client, "unconfirmed", code=code, ids=["answer-0000", "lost-0000"]).json() == {
        "missing": ["lost-0000"],
        "waiting": [],
    }
    page.survey.mirror = SimpleNamespace(copied=lambda rater, ids: set(), stop=lambda: None)
    assert ask(client, "about").json()["copies"] is True
    assert ask(client, "unconfirmed", code=code, ids=["answer-0000"]).json() == {"missing": [], "waiting": ["answer-0000"]}
    assert ask(client, "unconfirmed", code=code, ids=["x"] * 201).status_code == 400
    ask(client, "delete", code=code)
    assert ask(client, "unconfirmed", code=code, ids=[]).status_code == 410


def test_own_photo_is_only_in_memory(client, page, code, size, astronaut, tmp_path, monkeypatch):
    """An uploaded photo is aligned and used, and neither it nor its name is in any file or in the vote."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    found = client.post("/study/arena/face", content=astronaut.read_bytes()).json()
    assert found["faces"] == 1 and decoded(found["face"]).shape == (size, size, 3)
    trial = battle(client, code, found["face"]).json()
    answer(client, code, trial["trial"], choice="tie")
    (vote,) = page.survey.store.votes(NAME)
    assert vote.item.startswith("arena/own?") and set(vote.to_dict()) == {
        "study", "rater", "trial", "item", "left", "right", "choice", "ms", "gold", "time",
    }  # fmt: skip
    new = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert all(path.name.startswith("votes.sqlite") for path in new)
    data = base64.b64decode(found["face"].partition(",")[2])
    assert all(data[100:200] not in path.read_bytes() and b"\x89PNG" not in path.read_bytes() for path in tmp_path.glob("votes*"))


def test_ticket_cannot_be_used_twice_or_by_others(client, page, code):
    trial = battle(client, code).json()
    assert [answer(client, code, trial["trial"], id).json()["done"] for id in ("answer-0000", "answer-0001")] == [1, 1]
    assert len(page.survey.store.votes(NAME)) == 1
    other = ask(client, "consent").json()["code"]
    refused = answer(client, other, battle(client, code).json()["trial"])
    assert refused.status_code == 400 and "was not given to this visitor" in refused.json()["error"]


def test_consent_comes_before_the_first_pair(client):
    refused = battle(client, new_code())
    assert refused.status_code == 428 and ask(client, "resume", code=new_code()).json()["consented"] is False


def test_gold_pair_shows_the_face_beside_a_damaged_copy(client, code, monkeypatch):
    monkeypatch.setattr(battles, "GOLD_EVERY", 1)
    trial = battle(client, code).json()
    outcome = answer(client, code, trial["trial"]).json()
    assert outcome["gold"] and set(outcome["shown"]) == {"gold:better", "gold:worse"}
    sides = dict(zip(outcome["shown"], map(decoded, trial["images"]), strict=True))
    assert (sides["gold:better"] == arena._sample("astronaut", 128)).all() and not (
        sides["gold:worse"] == sides["gold:better"]
    ).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face": "nobody"}, "There is no such face"),
        ({"face": "data:image/png;base64,AAAA"}, "This image"),
        ({"face": "data:image/png;base64,?"}, "The image is damaged"),
        ({"degradation": {"scale": 0.1}}, "The scale is 0.1: choose a scale of at least"),
        ({"degradation": {"blur_sigma": "much"}}, "lur_sigma must be a number"),
        ({"degradation": {"unknown": 1}}, "unknown"),
        ({"code": "short"}, "rater code is not valid"),
        ({"more": 1}, "The field 'more' is invalid"),
    ],
)
def test_invalid_requests(client, code, change, message):
    response = ask(client, "battle", **{"code": code, "face": "astronaut", "degradation": DAMAGE} | change)
    assert response.status_code == 400 and message in response.json()["error"]


def test_looks_and_limits_of_a_network(page, monkeypatch):
    monkeypatch.setattr(arena, "PREVIEWS", Rate(2, 0.01))
    with client_of(arena.routes(page)) as client:
        looks = [ask(client, "look", look=i).json()["degradation"] for i in range(4)]
        assert looks[1]["grey"] and ask(client, "look", look=4).status_code == 400
        answers = [ask(client, "damage", face="astronaut", degradation=look) for look in looks]
        assert [response.status_code for response in answers] == [200, 200, 429, 429]
        assert "Your network has sent too many requests" in answers[2].json()["error"]
        assert client.post("/study/arena/face", content=b"no image").status_code == 400


def test_login_decides_who_votes(page, client, monkeypatch):
    monkeypatch.setenv(options.LOGIN_VARIABLE, "1")
    assert ask(client, "consent").status_code == 401 and battle(client, new_code()).status_code == 401


def test_board_of_the_arena_needs_votes(page):
    assert "0 so far" in leaderboard.arena_results(page.survey)


def test_arena_without_a_usable_store_stops_the_start(restorer, page, monkeypatch):
    monkeypatch.setenv("GPEN_VOTES", "mysql://host/votes")
    with pytest.raises(GPENError):
        arena.open_page(ModelPicker(restorer))
