"""The Rate tab in a browser, with an unreliable connection and a failing store."""

import json

import pytest

from demo import languages
from demo.server import owner_access
from eval.preference.build import StudySettings, build, from_folders
from eval.preference.storage.engines import StoreError
from eval.preference.survey import Survey
from tests.demo.accessibility import SCHEMES, assert_accessible
from tests.demo.conftest import METHODS
from tests.demo.rater_steps import WAIT, begin, done, press, rater_of, repeat, wait_for_answers

REMEMBERS = "Object.keys(localStorage).some(key => key.startsWith('gpen.rate'))"  # whether the browser stores data

pytestmark = pytest.mark.browser


def image_urls(page) -> list[str]:
    return page.eval_on_selector_all(".candidate img", "images => images.map(image => image.src)")


def test_complete_session_by_keyboard(visit, pairwise):
    url, survey = pairwise
    page = visit(url)
    assert page.inner_text(".rate h2") == "Which is <i>better</i>?"
    assert not page.evaluate(REMEMBERS)  # nothing is stored before the consent
    begin(page)
    rater = rater_of(page, survey)
    assert not any(method in page.content() for method in METHODS)

    first = image_urls(page)
    press(page, "ArrowLeft", done(1))
    (answer,) = wait_for_answers(page, survey, 1, rater)
    assert answer.choice == "left" and answer.ms >= 250
    press(page, "z", done(0))
    page.wait_for_function("old => document.querySelector('.candidate img')?.src === old", arg=first[0])
    assert image_urls(page) == first
    press(page, "ArrowRight", done(1))
    page.keyboard.press("i")
    assert page.is_visible(".input img")

    page.wait_for_selector(".candidate img")
    page.context.set_offline(True)
    press(page, "t", done(2))  # the next trial is already loaded
    page.wait_for_selector(".notice:has-text('kept in this browser')")
    press(page, "b", done(3))
    page.wait_for_selector("text=short pause")
    page.context.set_offline(False)
    wait_for_answers(page, survey, 3, rater)
    page.wait_for_function("document.querySelector('.notice').textContent === ''")

    page.route("**/study/answer", lambda route: route.abort())
    page.keyboard.press("Enter")
    page.wait_for_selector(".candidate img")
    press(page, "ArrowLeft", done(4))
    page.reload()
    page.wait_for_selector(done(4))  # no consent and practice again; the unsent answer is kept
    assert len(wait_for_answers(page, survey, 3, rater)) == 3
    page.unroute("**/study/answer")
    wait_for_answers(page, survey, 4, rater)
    press(page, "ArrowRight", done(5))
    page.wait_for_selector(".thanks")
    assert "5\nanswers given" in page.inner_text(".thanks")
    stored = wait_for_answers(page, survey, 5, rater)
    assert [answer.choice for answer in stored] == ["right", "tie", "both_bad", "left", "right"]
    assert len({answer.trial for answer in stored}) == 5 and all(answer.ms >= 250 for answer in stored)


def test_double_click_lost_response_and_full_disk_keep_one_answer_per_trial(visit, pairwise, monkeypatch):
    url, survey = pairwise
    page = visit(url)
    begin(page)
    rater = rater_of(page, survey)
    repeat(page, lambda: page.dblclick("button.left"), done(1))
    wait_for_answers(page, survey, 1, rater)

    replies = []

    def lose_the_first_reply(route):
        reply = route.fetch()
        replies.append(reply.status)
        route.abort() if len(replies) == 1 else route.fulfill(response=reply)

    page.route("**/study/answer", lose_the_first_reply)
    press(page, "t", done(2))
    page.wait_for_function("document.querySelector('.notice').textContent !== ''")
    page.wait_for_function("document.querySelector('.notice').textContent === ''")
    assert replies == [200, 200] and len(wait_for_answers(page, survey, 2, rater)) == 2
    page.unroute("**/study/answer")

    def refuse(*_):
        raise StoreError("The disk is full; the answer is not stored yet.")

    with monkeypatch.context() as full:
        full.setattr(survey.store, "add", refuse)
        press(page, "b", done(3))
        page.wait_for_selector(".notice:has-text('The disk is full')")
    assert [answer.choice for answer in wait_for_answers(page, survey, 3, rater)] == ["left", "tie", "both_bad"]


def kept(page, kind: str) -> list[dict]:
    """The entries of the outbox: "op:" before they are sent, "ok:" until they are copied."""
    entries = page.evaluate("Object.entries(localStorage)")
    return [json.loads(entry) for key, entry in entries if f".{kind}" in key]


def change(survey: Survey, query: str, rater: str) -> None:
    """Change the store as a loss of the disk would."""
    with survey.store._database.engine.begin() as connection:
        connection.exec_driver_sql(query, (rater,))


def test_lost_consent_keeps_the_code_and_all_answers(visit, pairwise):
    """Failure sequence: the only way on was "Start again", which cleared the code and the unsent answers."""
    url, survey = pairwise
    page = visit(url)
    begin(page)
    rater = rater_of(page, survey)
    press(page, "ArrowLeft", done(1))
    wait_for_answers(page, survey, 1, rater)
    change(survey, "UPDATE raters SET consent_version = 'older text' WHERE rater = ?", rater)
    press(page, "t", "text=Please read this again")
    assert rater_of(page, survey) == rater and [entry["name"] for entry in kept(page, "op:")] == ["answer"]
    page.reload()
    page.click("text=I agree")
    assert [one.choice for one in wait_for_answers(page, survey, 2, rater)] == ["left", "tie"] and rater_of(page, survey) == rater
    page.wait_for_selector(done(2))
    press(page, "ArrowRight", done(3))
    wait_for_answers(page, survey, 3, rater)


def test_answers_stay_in_the_browser_until_they_are_copied(visit, pairwise, monkeypatch):
    """Failure sequence: answers of the last minutes before the disk was lost were acknowledged, and gone."""

    class Copies:
        names: set[str] = set()

        def copied(self, rater, names):
            return self.names & set(names)

    url, survey = pairwise
    monkeypatch.setattr(survey, "mirror", Copies())
    page = visit(url)
    begin(page)
    rater = rater_of(page, survey)
    press(page, "ArrowLeft", done(1))
    press(page, "t", done(2))
    first, second = wait_for_answers(page, survey, 2, rater)
    page.wait_for_function("!Object.keys(localStorage).some(key => key.includes('.op:'))")
    assert {entry["body"]["id"] for entry in kept(page, "ok:")} == {first.id, second.id}
    change(survey, "DELETE FROM answers WHERE rater = ? AND choice LIKE '%tie%'", rater)  # lost with the disk
    Copies.names = {first.id}
    page.reload()
    again = wait_for_answers(page, survey, 2, rater)
    assert [(one.id, one.choice) for one in again] == [(first.id, "left"), (second.id, "tie")]
    page.wait_for_selector(done(2))
    Copies.names = {first.id, second.id}
    page.reload()
    page.wait_for_function("!Object.keys(localStorage).some(key => key.includes('.ok:'))")


def test_declining_stores_nothing_and_deleting_removes_everything(visit, pairwise):
    url, survey = pairwise
    page = visit(url)
    page.click("text=No, thank you")
    page.wait_for_selector("text=Nothing was stored")
    assert not page.evaluate(REMEMBERS)
    page.click("text=I have changed my mind")
    begin(page)
    rater = rater_of(page, survey)
    press(page, "ArrowLeft", done(1))
    wait_for_answers(page, survey, 1, rater)
    page.click("text=Delete my answers")
    page.keyboard.press("ArrowLeft")  # keys are ignored while the dialog is open
    page.click("text=Delete them")
    page.wait_for_selector("text=Your 1 answer is deleted")
    assert not wait_for_answers(page, survey, 0, rater)
    assert not page.evaluate(REMEMBERS)
    page.click("text=Start again")
    page.wait_for_selector("text=I agree")


def test_rate_tab_fits_phone_screen_and_images_zoom_together(visit, pairwise):
    page = visit(pairwise[0], viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    begin(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    lowest = max(box["y"] + box["height"] for box in map(lambda b: b.bounding_box(), page.locator(".controls button").all()))
    assert lowest <= 844  # all buttons are visible without scrolling
    page.click(".tools >> text=Input")
    page.hover(".candidate .pane >> nth=0", position={"x": 20, "y": 30})
    page.mouse.wheel(0, -500)
    zoom = "images => images.map(image => getComputedStyle(image).transform)"
    page.wait_for_function("getComputedStyle(document.querySelector('.candidate img')).transform !== 'matrix(1, 0, 0, 1, 0, 0)'")
    zoomed = page.eval_on_selector_all(".pane img", zoom)
    assert len(zoomed) == 3 and len(set(zoomed)) == 1
    page.mouse.down()
    page.mouse.move(5, 5, steps=3)
    page.mouse.up()
    moved = page.eval_on_selector_all(".candidate img", zoom)
    assert moved[0] != zoomed[0] and moved[0] == moved[1]
    page.click("text=Reset zoom")
    assert set(page.eval_on_selector_all(".candidate img", zoom)) == {"matrix(1, 0, 0, 1, 0, 0)"}


@pytest.mark.parametrize("protocol, keys, choice", [("rating", ["4"], 4), ("ranking", ["b", "a", "Enter"], None)])
def test_rating_and_ranking_protocols(visit, serve, study, tmp_path, protocol, keys, choice):
    sources = from_folders({name: study.parent / name for name in METHODS}, study.parent / "input")
    settings = StudySettings(protocol=protocol, session=2, gold_every=0, training=0, repeats=0)
    url, survey = serve(build(sources, tmp_path / protocol, settings).folder)
    page = visit(url)
    page.click("text=I agree")
    page.wait_for_selector(".candidate img")
    for key in keys[:-1]:
        page.keyboard.press(key)
    press(page, keys[-1], done(1, 2))
    (answer,) = wait_for_answers(page, survey, 1)
    assert answer.choice == (choice or [answer.shown[1], answer.shown[0], answer.shown[2]])


def test_owner_views_exports_and_imports_results(visit, pairwise, monkeypatch):
    url, survey = pairwise
    monkeypatch.setenv(owner_access.TOKEN_VARIABLE, "a-long-secret-with-ü")
    page = visit(f"{url}?tab=leaderboard")
    page.wait_for_selector("#leaderboard .report p")
    page.click("text=For the owner of the study")
    page.fill("input[type=password]", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector(".notice:has-text('not the token')")
    page.fill("input[type=password]", "a-long-secret-with-ü")
    page.keyboard.press("Enter")
    page.wait_for_selector("dl >> text=answers")
    with page.expect_download() as waiting:
        page.click("text=↓ jsonl")
    exported = waiting.value.path().read_bytes()
    assert waiting.value.suggested_filename == "votes-jsonl.jsonl" and exported == "".join(survey.export("jsonl")).encode()
    page.set_input_files("input[type=file]", {"name": "votes.jsonl", "mimeType": "text/plain", "buffer": exported})
    page.wait_for_selector(".notice:has-text('0 new answers')")
    page.click("text=Back to the leaderboard")
    page.wait_for_selector("#leaderboard .report p:has-text('not public')")


@pytest.mark.parametrize(("locale", "language"), [("de-DE", "de"), ("es-ES", "es"), ("zh-CN", "zh")])
def test_rate_tab_is_in_the_language_of_the_browser(visit, pairwise, locale, language):
    texts = languages.table(language)
    page = visit(pairwise[0], locale=locale)
    page.wait_for_selector(f"text={texts['rate.agree']}")
    assert page.inner_text(".consent .sheet").startswith(texts["rate.study.consent"])
    assert page.inner_text(".consent .text >> nth=0") == texts["rate.study.instructions_pairwise"]
    page.click(f"text={texts['rate.agree']}")
    page.wait_for_selector(".practice")
    assert page.inner_text(".question") == texts["rate.trial.better"]
    assert page.evaluate("document.activeElement.className") == "question"
    assert page.get_attribute(".candidate img", "alt") == texts["rate.trial.image_left"]
    assert page.get_attribute(".controls", "aria-label") == texts["rate.trial.better"]
    press(page, "ArrowLeft", ".why")
    assert page.inner_text(".why").split(maxsplit=1)[0] in texts["rate.trial.correct"] + texts["rate.trial.incorrect"]
    assert page.inner_text(".why").endswith(texts["rate.trial.why_better"])
    page.keyboard.press("Enter")
    page.click(f"text={texts['rate.start']}")
    page.wait_for_selector(f".controls .both_bad:has-text('{texts['rate.trial.both_bad']}')")
    page.evaluate("document.documentElement.lang = 'en'")
    page.wait_for_function("text => document.querySelector('.question').innerText === text", arg="Which image is better?")
    assert_accessible(page, SCHEMES[:1])


def test_keys_pressed_on_the_tabs_of_the_page_are_no_answers(visit, pairwise):
    url, survey = pairwise
    page = visit(url)
    begin(page)
    before = len(survey.store.votes(survey.study.name))
    page.focus("[role=tab]")
    for _ in range(2):  # to the other tab and back
        page.wait_for_timeout(WAIT)
        page.keyboard.press("ArrowLeft")
    assert page.inner_text(".progress span").startswith("0 of") and len(survey.store.votes(survey.study.name)) == before
    page.focus(".question")
    press(page, "ArrowLeft", done(1))
