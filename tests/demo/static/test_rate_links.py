"""The link of a study, /rate?study=ID: where it leads, what raters see there, and in which language."""

import re
from urllib.parse import urljoin

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo import languages
from demo.server import owner_access
from demo.tabs import rate
from eval.preference.sessions import TooManySessionsError
from eval.preference.storage.engines import Failure, StoreError
from eval.preference.storage.refusals import DeletedError
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests.demo.rater_steps import done, press, rater_of, wait_for_answers


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/rate?study=faces-12ab", "/?tab=rate&study=faces-12ab"),
        ("/rate", "/?tab=rate"),
        ("/rate/?study=a%26b%2F%2Fc", "/?tab=rate&study=a%26b%2F%2Fc"),
        ("/rate?tab=results&study=x&__theme=dark", "/?tab=rate&study=x&__theme=dark"),
        ("/rate?study=//evil.example", "/?tab=rate&study=%2F%2Fevil.example"),
    ],
)
@pytest.mark.parametrize("root", ["", "/tools/gpen"])
def test_link_leads_to_the_tab_below_any_root_path(root, address, leads_to):
    client = TestClient(Starlette(routes=rate.routes(None)), follow_redirects=False)
    location = client.get(address).headers["location"]
    public = f"https://host.example{root}"
    assert urljoin(public + address, location) == public + leads_to


def test_errors_that_raters_see_have_a_text_in_the_tables(study, tmp_path):
    """The browser translates a message of the server by its English text."""
    survey = Survey(Study.open(study), VoteStore.open(tmp_path / "votes.sqlite"))
    code = new_code()
    survey.consent(code)
    ticket = survey.next(code, 1)[0]["trial"]
    answer = {"id": "answer-0000", "trial": ticket, "choice": "left", "ms": 900}
    changes = [{"trial": "x"}, {"choice": "middle"}, {"id": "x"}, {"ms": -1}]
    messages = [*Failure, str(DeletedError()), str(TooManySessionsError())]
    for call in (
        lambda: survey.rater("x"),
        *(lambda change=change: survey.answer(code, **answer | change) for change in changes),
    ):
        with pytest.raises(GPENError) as refused:
            call()
        messages.append(str(refused.value))
    vote = survey.answer(code, **answer) and survey.store.votes(survey.study.name)[0]
    with pytest.raises(GPENError) as refused:
        survey.store.add(type(vote)(**{**vote.__dict__, "id": "answer-0001", "trial": "other"}), survey.study.consent_version, 1)
    messages.append(str(refused.value))
    english = {key: text for key, text in languages.table().items() if key.startswith("rate.errors.")}
    patterns = {key: re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(text)) for key, text in english.items()}
    found = [key for message in messages for key, pattern in patterns.items() if re.fullmatch(pattern, message)]
    assert len(found) == len(messages) and set(found) == set(english)


def visible_text(page) -> str:
    return page.evaluate("document.body.innerText")


@pytest.mark.browser
def test_link_opens_the_study_alone(visit, pairwise, monkeypatch):
    url, survey = pairwise
    monkeypatch.setenv(owner_access.TOKEN_VARIABLE, "a-long-secret-with-ü")
    page = visit(url + survey.study.link[1:])
    page.wait_for_selector("text=I agree")
    assert page.url == f"{url}?tab=rate&study={survey.study.name}"
    for hidden in (".tab-wrapper", "footer:not(.rate footer)", "text=Leaderboard"):
        assert page.locator(hidden).count() and not page.locator(hidden).first.is_visible()
    assert not re.search("owner|token|settings|api", visible_text(page), re.IGNORECASE)
    page.goto(f"{url}?tab=rate")
    page.wait_for_selector("text=I agree")
    assert page.is_visible(".tab-wrapper")


@pytest.mark.browser
def test_reload_stays_in_the_study_during_and_after_the_session(visit, pairwise):
    url, survey = pairwise
    page = visit(url + survey.study.link[1:])
    address = page.url
    page.click("text=I agree")
    page.wait_for_selector(".practice")
    page.reload()
    page.wait_for_selector(".practice")  # the practice was not finished
    press(page, "ArrowLeft", ".why")
    page.keyboard.press("Enter")
    page.click("text=Start")
    page.wait_for_selector(".candidate img")
    for number in range(1, 6):
        press(page, "ArrowLeft", done(number))
        if number in (2, 3):  # in a trial, and in the pause
            page.reload()
            page.wait_for_selector(".candidate img")
            assert page.url == address and not page.is_visible(".tab-wrapper")
    assert len(wait_for_answers(page, survey, 5, rater_of(page, survey))) == 5
    for _ in range(2):
        page.wait_for_selector(".thanks")
        assert page.url == address and not page.is_visible(".tab-wrapper")
        page.reload()
    page.click("text=Open the whole page")
    page.wait_for_selector(".tab-wrapper")


@pytest.mark.browser
@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("de-DE", "de")])
def test_unknown_study_names_those_that_are_open(visit, pairwise, locale, language):
    url, survey = pairwise
    texts = languages.table(language)
    page = visit(f"{url}rate?study=<i>old</i>", locale=locale)
    page.wait_for_selector(".unknown p:visible")
    assert page.inner_text(".unknown p") == texts["rate.unknown"].replace("{study}", "<i>old</i>")
    assert not page.is_visible(".rate h2") and not page.is_visible(".tab-wrapper")
    (link,) = page.locator(".unknown li a").all()
    assert link.inner_text() == f"{survey.study.title} ({survey.study.name})"
    link.click()
    page.wait_for_selector(f"text={texts['rate.agree']}")
    assert page.url == f"{url}?tab=rate&study={survey.study.name}"


@pytest.mark.browser
def test_whole_session_by_link_is_in_the_language_of_the_browser(visit, pairwise, monkeypatch):
    url, survey = pairwise
    texts = languages.table("de")
    page = visit(url + survey.study.link[1:], locale="de-DE")
    page.click(f"text={texts['rate.agree']}")
    page.wait_for_selector(".practice")
    press(page, "ArrowLeft", ".why")
    page.keyboard.press("Enter")
    page.click(f"text={texts['rate.start']}")
    page.wait_for_selector(".candidate img")

    def refuse(*_):
        raise StoreError(Failure.FULL)

    with monkeypatch.context() as full:
        full.setattr(survey.store, "add", refuse)
        press(page, "t", "text=1 von 5")
        page.wait_for_selector(f".notice:has-text('{texts['rate.errors.full']}')")
        assert texts["rate.kept_one"].replace("{n}", "1") in page.inner_text(".notice")
    for number in range(2, 6):
        press(page, "ArrowLeft", f"text={number} von 5")
        if number == 3:
            assert texts["rate.rest"] in visible_text(page)
            page.click(f"text={texts['rate.continue']}")
    page.wait_for_selector(".thanks")
    shown = visible_text(page)
    wanted = ["thanks", "completed", "undo_last", "whole_page", "delete", "instructions", "own.answers"]
    assert all(texts[f"rate.{name}"] in shown for name in wanted)
    assert not set(shown.splitlines()) & set(languages.table().values()) - set(texts.values())  # no English text of the page


@pytest.mark.browser
def test_owner_copies_the_link(visit, pairwise, monkeypatch):
    url, survey = pairwise
    monkeypatch.setenv(owner_access.TOKEN_VARIABLE, "a-long-secret-with-ü")
    page = visit(f"{url}?tab=leaderboard&owner", permissions=["clipboard-read", "clipboard-write"])
    page.fill("input[type=password]", "a-long-secret-with-ü")
    page.keyboard.press("Enter")
    link = page.input_value("[aria-label='Link for raters']")
    assert link == f"{url}rate?study={survey.study.name}"
    page.click("button:text-is('Copy')")
    page.wait_for_selector("text=Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.goto(link)
    page.wait_for_selector("text=I agree")
