"""Tables of texts: every key that is used exists, all languages agree in keys and placeholders, values are escaped."""

import re

import pytest

from demo import languages
from eval.preference import build
from eval.preference.study import Study
from eval.preference.tickets import Tickets
from tests import ROOT

SOURCES = [*(ROOT / "demo").rglob("*.py"), ROOT / "app.py", *(ROOT / "demo" / "static").glob("*.js")]
OTHERS = [language for language in languages.LANGUAGES if language != "en"]
# literal keys: languages.text("a.b"), english("a.b"), attributes(alt="a.b"), gpen.text("a.b"), text("a.b")
KEY = re.compile(
    r"""\b(?:text|english|html|say)\(\s*["']([\w-]+(?:\.[\w-]+)+)["']|(?:alt|aria_label|placeholder|title)="(\w+(?:\.\w+)+)\""""
)


def used_keys() -> set[str]:
    return {first or second for path in SOURCES for first, second in KEY.findall(path.read_text())}


def test_every_key_in_the_sources_has_an_english_text():
    used = used_keys()
    assert "page.honesty" in used and "page.close" in used  # of a Python and of a JavaScript file
    assert used <= set(languages.table())


def test_default_texts_of_studies_are_those_of_the_package(study):
    texts = {key.removeprefix("rate.study."): text for key, text in languages.table().items() if "rate.study." in key}
    assert texts["title"] == build.StudySettings().title and texts["consent"] == build.CONSENT
    assert {name: texts[f"instructions_{name}"] for name in build.INSTRUCTIONS} == build.INSTRUCTIONS
    whys = {re.sub(r" \(.*?\)", "", entry["why"]) for entry in Tickets(Study.open(study), ["00"]).training_trials()}
    assert whys <= {languages.english("rate.trial.why_better"), languages.english("rate.trial.why_low")}


@pytest.mark.parametrize("language", OTHERS)
def test_translated_sections_are_complete_and_have_no_other_keys(language):
    english, other = languages.table(), languages.table(language)
    needed = {key for key in english if key.startswith(tuple(f"{section}." for section in languages.TRANSLATED))}
    if language == "zh":  # has no singular
        needed = {key for key in needed if not key.endswith("_one")}
    assert len(needed) > 80 and not needed - set(other)
    assert not set(other) - set(english)


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_placeholders_tags_and_apostrophes_agree(language):
    def parts(text: str, pattern: str) -> set[str]:
        return set(re.findall(pattern, text))

    for key, value in languages.table(language).items():
        english = languages.table()[key]
        assert value and value == value.strip(), key
        assert parts(value, r"\{.*?\}") == parts(english, r"\{.*?\}"), key
        assert parts(value, r"<.*?>") == parts(english, r"<.*?>"), key
        assert key.endswith("_html") or not parts(value, r"<\w"), key
        assert not parts(value, r"''|'[{}]"), key  # quotes of the message format that gradio uses


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_singular_has_a_plural(language):
    table = languages.table(language)
    assert all(key.removesuffix("_one") in languages.table() for key in table if key.endswith("_one"))


@pytest.fixture
def own_table(monkeypatch):
    texts = {
        "x.faces": "{n} faces in {name}",
        "x.faces_one": "{n} face in {name}",
        "x.bold_html": "<b>{name}</b>",
        "x.amp": "a & b",
    }
    monkeypatch.setattr(languages, "table", lambda language="en": texts)


def test_english_fills_placeholders_and_selects_the_singular(own_table):
    assert languages.english("x.faces", n=2, name="a{n}") == "2 faces in a{n}"
    assert languages.english("x.faces", n=1, name="a") == "1 face in a"
    with pytest.raises(KeyError):
        languages.english("x.faces", n=2)


def test_text_for_gradio_exists_and_has_no_placeholders(own_table):
    assert languages.text("x.amp").key == "x.amp"
    with pytest.raises(ValueError, match="placeholders"):
        languages.text("x.faces")
    with pytest.raises(KeyError):
        languages.text("x.none")


def test_html_escapes_text_and_values(own_table):
    evil = "<script>'\""
    assert languages.html("x.amp", tag="p") == '<p data-text="x.amp">a &amp; b</p>'
    made = languages.html("x.bold_html", name=evil)
    assert "<script" not in made and "<b>&lt;script&gt;" in made
    assert "&lt;script&gt;" in languages.html("x.faces", n=1, name=evil) and "1 face" in languages.html("x.faces", n=1, name="")
    attributes = languages.attributes({"n": 1, "name": evil}, alt="x.faces", aria_label="x.amp")
    assert "<" not in attributes and 'data-text-alt="x.faces"' in attributes and 'aria-label="a &amp; b"' in attributes
    with pytest.raises(ValueError, match="onclick"):
        languages.attributes(onclick="x.amp")
