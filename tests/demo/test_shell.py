"""The shell of the page: tabs with addresses, languages, head, footer, no requests to other servers."""

import re

import pytest

from demo import languages, shell
from tests.demo.conftest import wait_until

NARROW = {"width": 390, "height": 844}
LOCALES = {"de-DE": "de", "es-MX": "es", "zh-CN": "zh", "fr-FR": "en"}  # of the browser -> language of the page

pytestmark = pytest.mark.browser


def selected(page) -> str:
    return page.get_attribute("#tabs > .tab-wrapper [role=tab][aria-selected=true]", "data-tab-id")


def wait_for_tab(page, name: str) -> None:
    page.wait_for_selector(f"#tab-{name}-button[aria-selected=true]")
    page.wait_for_function("name => new URLSearchParams(location.search).get('tab') === name", arg=name)


@pytest.mark.parametrize("tab", shell.TABS)
def test_tab_opens_by_address_without_requests_to_other_servers_and_after_reload(open_tab, server, tab):
    page = open_tab(tab, "&__theme=light&x=1")
    assert selected(page) == tab and page.locator(f"#tab-{tab}").is_visible()
    wait_until(page, lambda: page.evaluate("document.readyState") == "complete")
    foreign = [url for url in page.asked if not url.startswith((server, "data:", "blob:"))]
    assert not foreign, foreign
    assert page.get_by_role("button", name=re.compile("share", re.I)).count() == 0
    page.reload()
    page.wait_for_selector(f"#tab-{tab}")
    assert selected(page) == tab and "x=1" in page.url


def test_chosen_tab_is_in_address_and_back_button_returns(open_tab):
    page = open_tab("rate", "&scale=8")
    page.click("#tab-results-button")
    wait_for_tab(page, "results")
    assert "scale=8" in page.url
    page.click("#tab-leaderboard-button")
    wait_for_tab(page, "leaderboard")
    for name in ("results", "rate"):
        page.go_back()
        wait_for_tab(page, name)
        page.wait_for_selector(f"#tab-{name}")
    page.go_forward()
    wait_for_tab(page, "results")


@pytest.mark.parametrize(("query", "kept"), [("", ""), ("?tab=none", "?tab=playground")])
def test_first_tab_is_default(visit, server, query, kept):
    page = visit(f"{server}{query}", fresh=True)
    page.wait_for_selector("#tab-playground-button[aria-selected=true]")
    page.wait_for_selector("#tab-playground")
    wait_until(page, lambda: page.url == f"{server}{kept}")
    assert page.evaluate("history.length") == 2  # the empty page of the browser, and this one


def test_only_selected_tab_is_built_at_first(open_tab):
    page = open_tab("leaderboard")
    assert page.locator("#rate").count() == 0


def test_arrow_keys_move_between_tabs(open_tab):
    page = open_tab("playground")
    page.focus("#tab-playground-button")
    for key, name in (("ArrowRight", "photo"), ("ArrowLeft", "playground"), ("ArrowLeft", "results"), ("Home", "playground"),
                      ("End", "results")):  # fmt: skip
        page.keyboard.press(key)
        wait_for_tab(page, name)
        assert page.evaluate("document.activeElement.id") == f"tab-{name}-button"
    tabbable = page.eval_on_selector_all(
        "#tabs > .tab-wrapper [role=tab]", "tabs => tabs.filter(t => t.tabIndex === 0).map(t => t.id)"
    )
    assert tabbable == ["tab-results-button"]


def test_selected_tab_is_in_the_middle_of_the_bar_on_a_phone(open_tab):
    page = open_tab("variations", viewport=NARROW)

    def centre() -> float:
        box = page.locator("#tab-variations-button").bounding_box()
        return box["x"] + box["width"] / 2

    wait_until(page, lambda: abs(centre() - NARROW["width"] / 2) < 10)
    page.set_viewport_size({"width": 480, "height": 400})  # as when a phone is turned
    wait_until(page, lambda: abs(centre() - 240) < 10)


def test_tab_bar_scrolls_on_a_phone(open_tab):
    page = open_tab("results", viewport=NARROW)
    bar = page.locator("#tabs > .tab-wrapper [role=tablist]")
    page.wait_for_function("document.querySelector('#tabs [role=tablist]').scrollLeft > 0")  # to the selected tab
    box = page.locator("#tab-results-button").bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= NARROW["width"]
    assert bar.evaluate("e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).overflowX]") == [True, "auto"]
    tops = {page.locator(f"#tab-{name}-button").bounding_box()["y"] for name in shell.TABS}
    assert len(tops) == 1 and page.locator(".overflow-menu").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.mark.parametrize(("locale", "language"), LOCALES.items())
def test_page_is_in_language_of_the_browser(open_tab, locale, language):
    page = open_tab("leaderboard", locale=locale)
    texts = languages.table(language)
    assert page.inner_text("#header h1") == texts["page.headline"]
    assert page.inner_text("#tab-rate-button") == texts["page.tabs.rate"]
    assert page.get_attribute("#about section", "aria-label") == texts["page.footer.label"]
    assert page.inner_text("#about summary").startswith(texts["page.footer.line"])
    assert page.get_attribute("gradio-app", "lang") == language and page.evaluate("gpen.language()") == language


def test_language_chosen_in_the_settings_is_used(open_tab):
    page = open_tab("leaderboard")
    page.click("footer .settings")
    page.click(".api-docs input[aria-label=Language]")
    page.click("[role=option]:has-text('Deutsch')")
    page.wait_for_function(
        "text => document.querySelector('#header h1').innerText === text", arg=languages.table("de")["page.headline"]
    )


def test_texts_of_scripts_have_values_and_plurals(open_tab):
    page = open_tab("leaderboard")
    page.evaluate("window.gradio_config.i18n_translations.en['x.faces'] = '{n} faces in {name}'")
    page.evaluate("window.gradio_config.i18n_translations.en['x.faces_one'] = '{n} face in {name}'")
    assert page.evaluate("[1, 2].map(n => gpen.text('x.faces', { n, name: '$&' }))") == ["1 face in $&", "2 faces in $&"]
    page.evaluate("window.gradio_config.i18n_translations.en['x.own'] = 'no {n}'")
    page.evaluate("document.documentElement.lang = 'zh-CN'")
    assert page.evaluate("[gpen.text('x.own', { n: 1 }), gpen.text('rate.deleted', { n: 1 })]") == [
        "no 1",
        languages.table("zh")["rate.deleted"].replace("{n}", "1"),  # Chinese has no singular
    ]
    page.evaluate("document.documentElement.lang = 'en'")
    made = """<b id="made" data-text="x.faces" data-values='{"n": 3, "name": "<i>"}'></b>"""
    page.evaluate("made => document.body.insertAdjacentHTML('beforeend', made)", made)
    page.wait_for_function("document.querySelector('#made').innerHTML === '3 faces in &lt;i&gt;'")


def test_api_and_settings_are_reachable_on_a_phone(open_tab):
    page = open_tab("leaderboard", viewport=NARROW)
    for name in ("show-api", "settings"):
        button = page.locator(f"footer .{name}")
        assert button.is_visible() and button.bounding_box()["height"] >= 24
    page.click("footer .show-api")
    page.wait_for_selector(".api-docs")


def test_footer_is_one_line_that_opens_the_details(open_tab):
    page = open_tab("leaderboard")
    assert page.locator("#about summary").bounding_box()["height"] < 30
    assert not page.locator("#about p").first.is_visible() and "answer times" in page.inner_text("#about summary")
    page.click("#about summary")
    assert page.locator("#about p").count() == len(shell.FOOTER_PARAGRAPHS) and page.locator("#about p").last.is_visible()
