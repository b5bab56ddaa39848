"""The first screen of the playground in the language of the browser. Skipped without Chromium, except in CI."""

import re

import pytest

from demo import languages
from tests.demo.conftest import wait_until

LOCALES = {"de-DE": "de", "es-MX": "es", "zh-CN": "zh"}
NARROW = {"width": 390, "height": 844}
NAMES = {"Eileen Collins", "Grace Hopper", "GPEN", "CodeFormer"}
# texts and translated attributes of the comparison, the controls and the title of the section for teachers
SHOWN = """() => {
  const places = ["#bench", "#teachers > button"].map(selector => document.querySelector(selector));
  const elements = places.flatMap(place => [place, ...place.querySelectorAll("*")]).filter(e => !e.closest("[role=math], svg"));
  const own = element => [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data);
  const names = ["alt", "aria-label", "aria-valuetext", "placeholder", "title"];
  return elements.flatMap(e => [...own(e), ...names.map(name => e.getAttribute(name) ?? ""), e.type === "text" ? e.value : ""])
    .flatMap(text => String(text).split("\\n")).map(text => text.trim()).filter(text => text);
}"""

pytestmark = pytest.mark.browser


def shown(page) -> set[str]:
    page.wait_for_selector("#before-after figcaption[data-in]")
    return set(page.evaluate(SHOWN))


def unchanged(language: str) -> set[str]:
    """Lines of texts that are the same in English and in another language."""
    lines = (languages.table(name).values() for name in ("en", language))
    english, other = ({line for text in texts for line in text.splitlines()} for texts in lines)
    return english & other


@pytest.mark.parametrize(("locale", "language"), LOCALES.items())
def test_first_screen_has_no_english_text(open_app, locale, language):
    english, page = open_app(locale="en-GB"), open_app(locale=locale, viewport=NARROW)
    texts = languages.table(language)
    page.wait_for_selector(f"#copy-link:has-text('{texts['playground.first.copy_link']}')")
    page.wait_for_selector(f"#teachers:has-text('{texts['playground.first.teachers']}')")
    words = {text for text in shown(english) & shown(page) if re.search("[A-Za-z]{3}", text)}
    assert words <= NAMES | unchanged(language)
    assert page.input_value("#model input") == texts["playground.first.default_model"]
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_update_is_translated(open_app):
    page = open_app(locale="de-DE")
    old = page.inner_text("#score-line")
    page.click("#samples button >> nth=1")
    wait_until(page, lambda: page.inner_text("#score-line") != old)
    page.wait_for_selector("#face-note:has-text('US Navy, gemeinfrei')")
    page.wait_for_selector("#score-line:has-text('beschädigt')")
    assert page.locator("#before-after figcaption").all_inner_texts()[:2] == ["Beschädigt", "Restauriert"]
    page.click("#copy-link")
    page.wait_for_selector("#copied:text('Link')")
    assert page.inner_text("#copied") in {
        languages.table("de")[f"playground.first.link_{end}"] for end in ("copied", "in_address")
    }


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_texts_fit_in_buttons_and_beside_number_fields(open_app, locale):
    page = open_app(locale=locale)
    page.wait_for_selector(f"#look-3:has-text('{'Schäden' if locale == 'de-DE' else 'Severe'}')")
    for width in (390, 900, 1100, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.eval_on_selector_all(
            "#looks button, #files button, .compare-pairs button",
            "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)",
        )
        covered = page.eval_on_selector_all(
            "#terms .term-group",
            """all => all.map(e => [".prose small", ".heading label", "input[type=number]"].map(s => e.querySelector(s)))
            .filter(([name, box, field]) => (box ?? name).getBoundingClientRect().right > field.getBoundingClientRect().left)
            .map(([name]) => name.parentElement.innerText)""",
        )
        assert page.locator("#terms .term-group").count() == 4 and not wide + covered, (width, wide, covered)
