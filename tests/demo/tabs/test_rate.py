"""Routes of the Rate tab and of the owner page."""

import json
import re
import sqlite3
from pathlib import Path

import gradio as gr
import pytest

from demo import languages
from demo.server import owner_access
from demo.tabs import leaderboard, owner, plots, rate
from eval.preference import build
from eval.preference.exports import FORMATS
from eval.preference.storage.store import VoteStore
from eval.preference.study import BETTER, Study
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests.demo.conftest import ADDRESS, METHODS, client_of
from tests.eval.preference.simulated import shown_methods

OWNER = {"X-Owner-Token": "the owner's token, with ümlaut".encode()}


@pytest.fixture
def votes(tmp_path) -> Path:
    return tmp_path / "votes.sqlite"


@pytest.fixture
def survey(study, votes, monkeypatch) -> Survey:
    monkeypatch.setattr("eval.preference.survey.COUNTS_AGE", 0)
    monkeypatch.setattr("eval.preference.survey.LEADERBOARD_AGE", 0)
    return Survey(Study.open(study), VoteStore.open(f"sqlite:///{votes}", timeout=0.2))


@pytest.fixture
def client(survey):
    with client_of(rate.routes(survey)) as client:
        yield client


@pytest.fixture
def rater(client) -> str:
    code = new_code()
    assert client.post("/study/consent", json={"code": code}).status_code == 200
    return code


def answer(client, code: str, trial: str, **changes):
    body = {"code": code, "id": "answer-0000", "trial": trial, "choice": "left", "ms": 1200}
    return client.post("/study/answer", json=body | changes)


def answer_all(client, survey: Survey, code: str, choice: str = "left") -> int:
    """Complete the session, with correct answers to the gold trials, so that the rater counts; returns the number of answers."""
    number = 0
    while trials := client.post("/study/next", json={"code": code, "n": 4}).json():
        for trial in trials:
            shown = shown_methods(survey, code, trial)
            given = ("left", "right")[shown.index(BETTER)] if BETTER in shown else choice
            assert answer(client, code, trial["trial"], id=f"session-{number}", choice=given).status_code == 200
            number += 1
    return number


def test_session_from_consent_to_end(client, survey):
    about = client.post("/study/about").json()
    assert about["protocol"] == "pairwise" and about["consent"] and about["version"] and about["session"] == 5
    code = new_code()
    assert client.post("/study/resume", json={"code": code}).json() == {"consented": False, "deleted": False}
    assert client.post("/study/next", json={"code": code}).status_code == 428
    assert client.post("/study/consent", json={"code": code}).json()["progress"]["done"] == 0
    (practice,) = client.post("/study/training").json()
    assert practice["better"] in (0, 1) and practice["why"]
    first, second = client.post("/study/next", json={"code": code, "n": 2}).json()
    (third,) = client.post("/study/next", json={"code": code, "n": 1, "holding": [first["trial"], second["trial"]]}).json()
    assert len({first["trial"], second["trial"], third["trial"]}) == 3
    assert answer(client, code, first["trial"]).json()["progress"]["done"] == 1
    undone = client.post("/study/undo", json={"code": code, "id": "answer-0000"}).json()
    assert undone["progress"]["done"] == 0
    assert answer_all(client, survey, code) == 5
    resumed = client.post("/study/resume", json={"code": code}).json()
    assert resumed["consented"] and resumed["progress"]["finished"]
    assert client.post("/study/agreement", json={"code": code}).json()["answers"] == 5
    assert client.post("/study/delete", json={"code": code}).json() == {"deleted": 5}
    assert client.post("/study/consent", json={"code": code}).status_code == 410
    assert client.post("/study/resume", json={"code": code}).json() == {"consented": False, "deleted": True}


def test_responses_reveal_neither_methods_nor_gold_trials_nor_repeats(client, rater):
    texts = [client.post(f"/study/{call}").text for call in ("about", "training")]
    texts.append(client.post("/study/next", json={"code": rater, "n": 8}).text)
    for text in texts:
        assert not any(word in text for word in (*METHODS, "gold:", "repeat", "sharpest"))


def test_repeated_answer_is_stored_once(client, survey, rater):
    (trial,) = client.post("/study/next", json={"code": rater, "n": 1}).json()
    for changes in ({}, {}, {"id": "another-tab", "choice": "right"}):
        assert answer(client, rater, trial["trial"], **changes).json()["progress"]["done"] == 1
    (stored,) = survey.store.votes(survey.study.name)
    assert stored.choice == "left" and stored.ms == 1200


@pytest.mark.parametrize("call, body", [
    ("next", b""), ("next", b"{"), ("next", b"[]"), ("next", b"\xff"), ("next", b'{"code": 5}'), ("next", b'{"code": "short"}'),
    ("next", {"n": 0}), ("next", {"n": 10**9}), ("next", {"holding": ["no such trial"]}), ("next", {"holding": "x"}),
    ("consent", {"code": "../../etc/passwd"}), ("consent", {"name": "Ada"}),
    ("answer", {"choice": "middle"}), ("answer", {"choice": 1}), ("answer", {"choice": True}), ("answer", {"choice": [0, 1]}),
    ("answer", {"choice": None}), ("answer", {"ms": -1}), ("answer", {"ms": 1.5}), ("answer", {"ms": "1"}),
    ("answer", {"ms": 10**30}), ("answer", {"id": "x"}),
    ("answer", {"id": "'; drop table answers; --"}), ("answer", {"id": "y" * 65}),
    ("answer", {"trial": "0" * 16}), ("answer", {"trial": ["a"]}), ("undo", {"id": None}), ("undo", {}),
])  # fmt: skip
def test_invalid_request_returns_error_and_stores_nothing(client, survey, rater, call, body):
    if isinstance(body, dict):
        (trial,) = client.post("/study/next", json={"code": rater, "n": 1}).json()
        fitting = {"id": "answer-0000", "trial": trial["trial"], "choice": "left", "ms": 900} if call == "answer" else {}
        body = json.dumps({"code": rater} | fitting | body).encode()
    response = client.post(f"/study/{call}", content=body)
    assert response.status_code == 400
    message = response.json()["error"]
    assert not message[0].islower() and message.endswith((".", "!", "?")) and "\n" not in message
    assert not survey.store.votes(survey.study.name)


def test_unknown_endpoints_and_large_requests_are_rejected(client):
    assert client.post("/study/everything").status_code == 404
    assert client.get("/study/next").status_code in (404, 405)
    assert client.post("/study/next", content=b" " * 20_000).status_code == 413


def test_locked_store_returns_503_and_answer_can_be_sent_again(client, survey, rater, votes):
    (trial,) = client.post("/study/next", json={"code": rater, "n": 1}).json()
    other = sqlite3.connect(votes, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused = answer(client, rater, trial["trial"])
    assert refused.status_code == 503 and refused.json()["error"][0].isupper()
    other.execute("ROLLBACK")
    other.close()
    assert answer(client, rater, trial["trial"]).status_code == 200
    assert len(survey.store.votes(survey.study.name)) == 1


def test_only_images_of_the_study_are_served(client, survey, rater, study):
    (trial,) = client.post("/study/next", json={"code": rater, "n": 1}).json()
    image = client.get(f"/study/{trial['images'][0]}")
    assert image.content.startswith(b"\x89PNG") and "immutable" in image.headers["cache-control"]
    assert not {"etag", "last-modified"} & image.headers.keys()  # equal for all displays of one image
    known = next((study / "images").iterdir()).name
    for name in (known, "study.json", "../study.json", "..%2Fstudy.json", "%2e%2e%2fstudy.json", "%00", "..%5cx"):
        assert client.get(f"/study/images/{name}").status_code in (404, 405), name


def test_neither_code_nor_address_is_stored(client, survey, rater, votes):
    answer_all(client, survey, rater)
    survey.store.close()
    for file in votes.parent.glob("votes.sqlite*"):
        data = file.read_bytes()
        assert rater.encode() not in data and ADDRESS.encode() not in data


def test_environment_selects_study_and_store(study, tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_STUDY", str(study))
    monkeypatch.setenv("GPEN_VOTES", str(tmp_path / "mine.sqlite"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert rate.open_survey().study.protocol == "pairwise" and (tmp_path / "mine.sqlite").exists()
    monkeypatch.setenv("GPEN_STUDY", str(tmp_path))
    with pytest.raises(GPENError, match="is not a study"):
        rate.open_survey()
    monkeypatch.delenv("GPEN_STUDY")
    monkeypatch.setattr(rate, "SAMPLE_STUDY", tmp_path / "none")
    assert rate.open_survey() is None and rate.routes(None) == rate.LINKS


def test_tab_without_study_explains_how_to_build_one():
    with gr.Blocks() as page:
        rate.tab(None)
    assert "python -m eval study build" in json.dumps(page.config) and "GPEN_STUDY" in json.dumps(page.config)


@pytest.mark.parametrize("call", ["report", "export/jsonl", "import/jsonl"])
def test_owner_page_requires_the_token(client, monkeypatch, call):
    monkeypatch.setattr(owner_access, "WRONG_TOKEN_SECONDS", 0)
    monkeypatch.delenv(owner_access.TOKEN_VARIABLE, raising=False)
    for headers in ({}, {"X-Owner-Token": ""}, OWNER):
        assert client.post(f"/study/owner/{call}", headers=headers).status_code == 403
    assert client.post("/study/leaderboard").json()["owner"] is False
    monkeypatch.setenv(owner_access.TOKEN_VARIABLE, OWNER["X-Owner-Token"].decode())
    for headers in ({}, {"X-Owner-Token": ""}, {"X-Owner-Token": "guess"}, {"X-Owner-Token": "gu\u00e9ss".encode()}):
        assert client.post(f"/study/owner/{call}", headers=headers).status_code == 401
    assert client.post("/study/leaderboard").json()["owner"] is True


@pytest.fixture
def ask_owner(client, monkeypatch):
    monkeypatch.setenv(owner_access.TOKEN_VARIABLE, OWNER["X-Owner-Token"].decode())
    return lambda call, **given: client.post(f"/study/owner/{call}", headers=OWNER, **given)


def test_report_shows_counts_and_raters(ask_owner, client, survey):
    assert "no answers yet" in ask_owner("report").json()["html"]
    codes = [new_code() for _ in range(3)]
    for code in codes:
        client.post("/study/consent", json={"code": code})
        answer_all(client, survey, code)
    report = owner.report(survey)
    assert "<dt>15</dt><dd>answers</dd>" in report and "<dt>3</dt><dd>raters</dd>" in report
    assert all(survey.rater(code)[:8] in report and code not in report for code in codes)
    assert ask_owner("report").json()["html"] == report


@pytest.mark.parametrize(
    ("low", "high", "bold"), [(0.1, None, True), (-0.1, None, False), (None, -0.1, True), (None, None, False)]
)
def test_interval_with_one_bound_says_at_least_or_at_most(low, high, bold):
    text = plots.interval({"strength": 0.5, "low": low, "high": high}, "strength", "low", "high")
    assert (
        ("<b>0.50</b>" in text) == bold
        and "0.50" in text
        and ("at least" in text) == (low is not None)
        and ("at most" in text) == (high is not None)
    )


def test_report_escapes_method_names(survey, monkeypatch):
    row = {"strength": 0.5, "low": 0.1, "high": 0.9, "wins": 7, "n": 10, "ties": 1, "win_rate": 0.75}
    unsaid = {"strength": None, "low": None, "high": None, "wins": 0, "n": 1, "ties": 1, "win_rate": 0.5}
    pair = {"a": "<b>evil</b>", "b": "plain", "wins_a": 3, "wins_b": 1, "ties": 0, "n": 4, "difference": 0.5, "low": None,
            "high": None, "p": None, "p_holm": None, "significant": False, "answers_needed": None}  # fmt: skip
    scores = {
        "study": "s", "protocol": "rating", "votes": 9, "raters": 2, "alpha": None, "dropped_raters": [], "rule": "a & b",
        "methods": {"<b>evil</b>": row, "plain": unsaid, "opinion": {"mos": 3.5, "mos_low": 3, "mos_high": 4, "dmos": None}},
        "pairs": [pair], "levels": {"mild": {"plain": unsaid}}, "metrics": {}, "warnings": ["<script>"],
        "intervals": "for <these> images.", "missing": 0, "groups": [["plain"]],
    }  # fmt: skip
    counts = survey.counts() | {"answers": 9}
    monkeypatch.setattr(survey, "leaderboard", lambda: scores)
    monkeypatch.setattr(survey, "counts", lambda: counts)
    report = owner.report(survey)
    assert "<b>evil</b>" not in report and "&lt;b&gt;evil&lt;/b&gt;" in report and "<script>" not in report
    assert "3.50" in report and "0.10 to 0.90" in report and "75%" in report and "None" not in report
    assert "for &lt;these&gt; images." in report and "same weight for every opponent" in report


def test_report_has_no_tests_before_the_planned_end(survey, client):
    """Intervals are live; p values and verdicts wait, against optional stopping."""
    for _ in range(3):
        code = new_code()
        client.post("/study/consent", json={"code": code})
        answer_all(client, survey, code)
    scores = survey.leaderboard()
    report = owner.report(survey)
    assert scores["missing"] > 0 and f"when the {scores['missing']} missing answers of the plan" in report
    assert "p (Holm)" not in report and "significant:" not in report and "Difference" in report
    tested = [pair | {"p": 0.2, "p_holm": 0.4, "significant": False, "answers_needed": 70} for pair in scores["pairs"]]
    complete = owner._pairs(tested, 0)
    assert "p (Holm)" in complete and "0.400" in complete and "not significant: about 70 more answers needed" in complete


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_round_trips(ask_owner, client, survey, rater, study, tmp_path, form):
    answer_all(client, survey, rater, "tie")
    exported = ask_owner(f"export/{form}")
    assert exported.status_code == 200 and "attachment" in exported.headers["content-disposition"] and exported.text.strip()
    empty = Survey(Study.open(study), VoteStore.open(f"sqlite:///{tmp_path / 'other.sqlite'}"))
    with client_of(rate.routes(empty)) as other:
        address = f"/study/owner/import/{form}"
        sent = [other.post(address, headers=OWNER, content=exported.content).json()["new"] for _ in range(2)]
    assert sent[0] > 0 and sent[1] == 0
    assert empty.counts()["answers"] == sent[0]


def test_invalid_import_returns_error_and_adds_nothing(ask_owner, survey):
    files = {"jsonl": b'{"study": 1}\n', "csv": b"a,b\n1,2\n", "xml": b"<x/>", "choix": b"[]"}
    for form, content in files.items():
        response = ask_owner(f"import/{form}", content=content)
        assert response.status_code == 400 and response.json()["error"], form
    assert ask_owner("export/xml").status_code == 400
    assert survey.counts()["answers"] == 0


def test_leaderboard_is_private_unless_published(client, survey, rater, monkeypatch):
    monkeypatch.delenv(leaderboard.PUBLIC_VARIABLE, raising=False)
    assert "not public" in client.post("/study/leaderboard").json()["html"]
    monkeypatch.setenv(leaderboard.PUBLIC_VARIABLE, "1")
    needed = survey.counts()["needed"]
    assert f"0 so far, {needed} more are needed" in client.post("/study/leaderboard").json()["html"]
    answer_all(client, survey, rater)
    text = client.post("/study/leaderboard").json()["html"]
    left = survey.counts()["needed"]
    assert left < needed and f"{survey.counts()['answers']} so far, {left} more are needed" in text
    assert not any(method in text for method in METHODS)


def test_published_leaderboard_has_strengths_votes_and_alpha_but_no_raters(survey, monkeypatch):
    monkeypatch.setenv(leaderboard.PUBLIC_VARIABLE, "1")
    row = {"group": 0, "strength": 0.5, "low": 0.1, "high": 0.9, "wins": 7, "n": 10, "ties": 1, "win_rate": 0.75}
    level = row | {"group": 1, "strength": -0.5, "low": -1.1, "high": 0.1}
    scores = {
        "protocol": "pairwise", "votes": 31, "planned": 40, "missing": 9, "raters": 4, "alpha": 0.61, "rule": "a & b",
        "intervals": "for these images.", "methods": {"<b>evil</b>": row, "plain": level}, "needed": [],
        "groups": [["<b>evil</b>"], ["plain"]], "dropped_raters": ["one"], "slices": {},
    }  # fmt: skip
    monkeypatch.setattr(survey, "leaderboard", lambda: scores)
    monkeypatch.setattr(survey, "counts", lambda: {"answers": 31, "needed": 9})
    text = leaderboard.public_results(survey)
    assert "&lt;b&gt;evil&lt;/b&gt;" in text and "<b>evil" not in text
    cells = re.sub("<small[^>]*>", "<small>", text)
    assert "<b>0.50</b> <small>0.10 to 0.90" in cells and "<td>−0.50 <small>" in cells  # bold: the interval excludes 0
    assert "<dt>31</dt>" in text and "<dt>0.61</dt>" in text and "9 of the 40 planned answers are missing" in text
    assert "Raters</h3>" not in text and "Wins" not in text
    assert "How votes were screened" in text and "1 of 5 raters was excluded" in text and "need no account" in text
    few = dict.fromkeys(("strength", "low", "high"))
    scores |= {
        "methods": {name: row | few for name in METHODS},
        "needed": [{"methods": ["a", "b"], "raters": 3, "comparisons": 0}],
    }
    assert "9 more are needed" in leaderboard.public_results(survey)
    assert "Still needed at least: raters 3, comparisons 0" in leaderboard.public_results(survey)

    def nothing():
        raise GPENError("No comparison is left.")

    monkeypatch.setattr(survey, "leaderboard", nothing)
    monkeypatch.setattr(survey, "counts", lambda: {"answers": 31, "needed": 0})
    assert "No answer counts" in leaderboard.public_results(survey)


def test_slices_have_a_plot_votes_and_what_is_missing(survey, monkeypatch):
    monkeypatch.setenv(leaderboard.PUBLIC_VARIABLE, "1")
    row = {"group": 0, "strength": 0.5, "low": 0.1, "high": None, "wins": 7, "n": 10, "ties": 1, "win_rate": 0.75}
    few = row | dict.fromkeys(("strength", "low", "high"))
    weak = {"low": None, "high": 2.25, "votes": 20, "items": 4, "raters": 6, "methods": {"<b>x": row, "y": row}, "needed": []}
    strong = weak | {"low": 3.0, "high": 4.0, "votes": 1, "methods": {"<b>x": few, "y": few}}
    strong["needed"] = [{"methods": ["<b>x", "y"], "raters": 4, "comparisons": 9}]
    scores = {
        "protocol": "pairwise", "votes": 21, "planned": 40, "missing": 19, "raters": 6, "alpha": 0.6, "rule": "a",
        "intervals": "b", "methods": {"<b>x": row, "y": row}, "needed": [], "groups": [["<b>x", "y"]],
        "dropped_raters": [],
        "slices": {"blur_sigma": [weak, strong], "scale": [strong, strong]},
    }  # fmt: skip
    monkeypatch.setattr(survey, "leaderboard", lambda: scores)
    monkeypatch.setattr(survey, "counts", lambda: {"answers": 21, "needed": 19})
    text = leaderboard.public_results(survey)
    shown = re.sub("<[^>]*>", "", text[text.index("By degradation") :])
    assert "off to 2.2" in shown and "20 votes" in shown and "1 vote" in shown and "3 to 4" in shown
    assert "Still needed at least: raters 4, comparisons 9" in shown
    assert text.count("<svg") == 2 and "<b>x" not in text  # the board, and the blur; no plot without any strength
    assert "var(--blur)" in text and "each half" in shown


def test_public_files_of_the_leaderboard(client, survey, rater, monkeypatch):
    answer_all(client, survey, rater)
    strengths, battles = "/study/leaderboard/study/strengths.csv", "/study/leaderboard/study/battles.csv"
    monkeypatch.delenv(leaderboard.PUBLIC_VARIABLE, raising=False)
    assert client.get(battles).status_code == 403
    monkeypatch.setenv(leaderboard.PUBLIC_VARIABLE, "1")
    got = client.get(battles)
    assert (
        got.headers["content-disposition"] == 'attachment; filename="study-battles.csv"' and survey.rater(rater) not in got.text
    )
    assert got.text.startswith("model_a,model_b,winner,rater,item,date,") and ",rater-1," in got.text
    assert client.get(strengths).text.startswith("parameter,from,to,method,")
    for unknown in ("/study/leaderboard/study/votes.csv", "/study/leaderboard/arena/battles.csv"):
        assert client.get(unknown).status_code == 404


def test_results_are_sent_when_they_have_changed(client, survey, rater):
    first = client.post("/study/leaderboard").json()
    again = client.post("/study/leaderboard", json={"version": first["version"]}).json()
    assert first["html"] and again == first | {"html": None}
    assert client.post("/study/leaderboard", json={"version": "another"}).json() == first
    assert client.post("/study/leaderboard", content=b"[").json() == first


def test_standard_texts_of_a_study_are_translated():
    texts = {name: languages.english(f"rate.study.{name}") for name in ("title", "consent")}
    assert texts == {"title": build.StudySettings().title, "consent": build.CONSENT}
    assert {key: languages.english(f"rate.study.instructions_{key}") for key in build.INSTRUCTIONS} == build.INSTRUCTIONS


def test_forest_plot_has_a_row_per_known_method_and_follows_the_text_colour():
    points = {"gpen": (0.5, 0.2, 0.9), "<b>$x$</b>": (-0.5, -0.9, -0.2), "unknown": (None, None, None)}
    points["unbeaten"] = (0.8, 0.3, None)
    plot = plots.forest_plot("leaderboard.strength_axis", "leaderboard.strength_plot", points, centre=0.0)
    assert "unbeaten" in plot
    assert plot.count("<svg") == 1 and "gpen" in plot and "unknown" not in plot
    assert "<b>" not in plot and "$x$" in plot
    assert "currentColor" in plot and plots.INK not in plot
    assert 'aria-label="Strength, Bradley-Terry' in plot and 'data-text-aria-label="leaderboard.strength_plot"' in plot
    unknown = {"unknown": {"strength": None, "low": None, "high": None}}
    assert plots.strength_plot(unknown) == ""


@pytest.mark.slow
def test_started_app_serves_the_study(server):
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(f"{server}study/about", method="POST")) as response:
        assert json.load(response)["title"] == "Which is <i>better</i>?"
