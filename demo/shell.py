"""The shell of the page: header, tabs, footer, and the arguments of launch()."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Route

from demo import languages, theme
from demo.server import head, options

# in order, and the arena before the leaderboard where it is on (demo/tabs/arena.py); the addresses are /?tab=NAME
TABS = ("playground", "photo", "variations", "rate", "leaderboard", "results")
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
    names = ("ratings_login" if name == "ratings" and options.needs_login() else name for name in FOOTER_PARAGRAPHS)
    paragraphs = "".join(languages.html(f"page.footer.{name}_html", tag="p") for name in names)
    if contact := _contact():
        paragraphs += languages.html("page.footer.contact", tag="p", contact=contact)
    label = languages.attributes(aria_label="page.footer.label")
    gr.HTML(f"<section {label}><details><summary>{summary}</summary>{paragraphs}</details></section>", elem_id="about")


def _contact() -> str:
    """Return the address for questions and deletions: GPEN_CONTACT, or the discussions of the Space."""
    space = os.environ.get("SPACE_ID")
    return os.environ.get("GPEN_CONTACT") or (f"https://huggingface.co/spaces/{space}/discussions" if space else "")


def launch_settings(routes: Sequence[Route] = (), middleware: Sequence[Middleware] = (), lifespan: Any = None) -> dict[str, Any]:
    """Return the arguments of gr.Blocks.launch that determine how the page looks; `routes` and `middleware` are additional ones.

    lifespan: context manager of the app that is entered when the server starts.
    """
    return {
        "theme": theme.THEME,
        "css_paths": theme.CSS,
        "favicon_path": head.ICON,
        "i18n": languages.i18n(),
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {
            "routes": [*head.routes(), *routes],
            "middleware": [*middleware, *head.middleware()],
            **({"lifespan": lifespan} if lifespan else {}),
        },
    }
