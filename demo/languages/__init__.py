"""Texts of the page in several languages: one table a language, one section a tab.

English is complete; the other languages have at least the sections in TRANSLATED. A missing text is shown in English. The
language is that of the browser, or the one chosen in the settings of gradio. demo/static/languages.js has the same functions
for the browser, and translates the elements that `html` returns.
"""

from __future__ import annotations

import functools
import html as html_module
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "de", "es", "zh")  # zh: simplified Chinese, also shown to readers of traditional Chinese
TRANSLATED = ("page", "playground.first", "photo", "rate", "arena")  # sections that every language has
PLACEHOLDER = re.compile(r"\{(\w+)\}")
ATTRIBUTES = ("alt", "aria-label", "placeholder", "title")  # that can be translated


@functools.cache
def table(language: str = "en") -> dict[str, str]:
    """Return the texts of a language as "section.name" -> text, HTML where the key ends with "_html"."""
    return _flat(tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8")))


def i18n() -> gr.I18n:
    """Return the tables of all languages for `launch(i18n=...)`."""
    return gr.I18n(**{language: table(language) for language in LANGUAGES})


def text(key: str) -> I18nData:
    """Return a text for a label, info, placeholder, title or value of a gradio component, which gradio translates.

    Raises KeyError if English has no such text, ValueError if the text has placeholders: gradio cannot fill them.
    """
    if PLACEHOLDER.search(table()[key]):
        raise ValueError(f"The text {key!r} has placeholders: use html() or english().")
    return I18nData(key)


def english(key: str, **values: object) -> str:
    """Return the English text with `values` instead of its placeholders, for messages that are not translated.

    If `n` is 1, the text `key + "_one"` is used if it exists. Raises KeyError for an unknown text or a missing value.
    """
    if values.get("n") == 1 and f"{key}_one" in table():
        key = f"{key}_one"
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), table()[key])


def html(key: str, tag: str = "span", **values: object) -> str:
    """Return an HTML element with the text in English, which the page translates.

    `values` replace the placeholders and are escaped; a number `n` of 1 selects the text `key + "_one"` if it exists.
    """
    return f"<{tag}{_data('text', key, values)}>{_english_html(key, values)}</{tag}>"


def attributes(values: dict[str, object] | None = None, /, **keys: str) -> str:
    """Return HTML attributes with texts in English, which the page translates: attributes(aria_label="page.close").

    Names are those in ATTRIBUTES with an underscore for the hyphen. `values` replace the placeholders of all of them.
    """
    values = values or {}
    parts = []
    for name, key in keys.items():
        name = name.replace("_", "-")
        if name not in ATTRIBUTES:
            raise ValueError(f"The attribute {name!r} cannot be translated: use one of {', '.join(ATTRIBUTES)}.")
        parts.append(f'{name}="{html_module.escape(english(key, **values))}" data-text-{name}="{key}"')
    return " ".join(parts) + (f' data-values="{html_module.escape(json.dumps(values))}"' if values else "")


def _data(name: str, key: str, values: dict[str, Any]) -> str:
    filled = f' data-values="{html_module.escape(json.dumps(values))}"' if values else ""
    return f' data-{name}="{key}"{filled}'


def _english_html(key: str, values: dict[str, Any]) -> str:
    """Return the English text as HTML: escaped, unless the key ends with "_html"."""
    escaped = {name: html_module.escape(str(value)) if name != "n" else value for name, value in values.items()}
    if key.endswith("_html"):
        return english(key, **escaped)
    return html_module.escape(english(key, **values), quote=False)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value.strip()}
    return found
