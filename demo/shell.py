"""The shell of the page: header, tabs, footer, and the arguments of launch()."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.routing import Route

from demo import languages, theme
from demo.server import head

TABS = ("playground", "photo", "variations", "rate", "leaderboard", "results")  # in order; the addresses are /?tab=NAME
FOOTER_PARAGRAPHS = ("what", "not", "photos", "ratings", "licence")


def header() -> None:
    """Add the headline of the page to the current gr.Blocks."""
    headline = languages.html("page.headline", tag="h1")
    gr.HTML(f"{headline}{languages.html('page.honesty', tag='p')}", elem_id="header")


def tab_bar() -> gr.Tabs:
    """Return the container of the tabs, to be used with `with`.

    With "menu", gradio would move tabs that do not fit into a menu; base.css makes the bar scroll instead of wrapping.
    """
    return gr.Tabs(elem_id="tabs", overflow_behavior="wrap")


@contextmanager
def tab(name: str) -> Iterator[None]:
    """Add a tab of TABS to the current bar: with shell.tab("photo"): ..."""
    with gr.Tab(languages.text(f"page.tabs.{name}"), id=name, elem_id=f"tab-{name}"):
        yield


def footer() -> None:
    """Add one line of limits and privacy with the details below it."""
    summary = f"{languages.html('page.footer.line')} {languages.html('page.footer.more', tag='u')}"
    paragraphs = "".join(languages.html(f"page.footer.{name}_html", tag="p") for name in FOOTER_PARAGRAPHS)
    label = languages.attributes(aria_label="page.footer.label")
    gr.HTML(f"<section {label}><details><summary>{summary}</summary>{paragraphs}</details></section>", elem_id="about")


def launch_settings(routes: list[Route]) -> dict[str, Any]:
    """Return the arguments of gr.Blocks.launch that determine how the page looks; `routes` are additional ones."""
    return {
        "theme": theme.THEME,
        "css_paths": theme.CSS,
        "favicon_path": head.ICON,
        "i18n": languages.i18n(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {"routes": [*head.routes(), *routes], "middleware": head.middleware()},
    }
