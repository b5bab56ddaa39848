"""The Space's entry: builds the tabs and serves them. `python app.py`, then http://127.0.0.1:7860.

Environment: GPEN_MODEL names another model (a name or a file), GPEN_ENGINE another engine (gpen.engines.ENGINES),
GRADIO_SERVER_NAME and GRADIO_SERVER_PORT another address; GPEN_STUDY another study for the rate tab, GPEN_VOTES or
DATABASE_URL where its answers are kept, GPEN_VOTES_REPO (OWNER/NAME) a private dataset on the Hub that mirrors them;
GPEN_OWNER_TOKEN opens its owner's page.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read by gradio's import: it asks no server anything

# a grammar that jsonschema builds where jupyter installed it: more than a second, for formats that no schema here has
sys.modules.setdefault("rfc3987_syntax", None)

import gradio as gr  # noqa: E402

import gpen  # noqa: E402
from demo import api, hardware, images, photo, playground, rate, results, tasks, theme, visitors  # noqa: E402
from gpen.errors import exit_status  # noqa: E402

ROOT = Path(__file__).resolve().parent
MAX_WAITING = 64  # requests in the queue, of all visitors; the next one is told to come back
CACHE_LOOK, CACHE_AGE = 120, 900  # seconds: how often, and how old a file in the cache must be to go
MAX_SESSIONS = 500  # in memory at once, about 2 MB each; the one unused for longest goes first


def build(restorer: gpen.Restorer | None = None, survey: rate.Survey | None = None) -> gr.Blocks:
    """The page with all its tabs. `restorer` defaults to one with GPEN_MODEL or the default model.

    `survey` is the rate tab's, None where there is no study; the server must have rate.routes(survey) too.
    """
    restorer = restorer or hardware.restorer(gpen.load(os.environ.get("GPEN_MODEL")))
    with gr.Blocks(title="GPEN", analytics_enabled=False, delete_cache=(CACHE_LOOK, CACHE_AGE)) as page:
        gr.HTML(theme.HEADER, elem_id="header")
        with gr.Tab("Playground", id="playground"):
            playground.tab(restorer)
        with gr.Tab("Photo", id="photo"):
            photo.tab(restorer)
        with gr.Tab("More tasks", id="tasks"):
            tasks.tab(restorer)
        with gr.Tab("Rate", id="rate"):
            rate.tab(survey)
        with gr.Tab("Results", id="results"):
            results.tab()
        gr.HTML(theme.ABOUT, elem_id="about")
        api.endpoints(restorer)
        api.guard(page)

        def forget(request: gr.Request) -> None:
            """A visitor's pictures leave with the visitor; gradio would keep them for an hour and longer."""
            page.state_holder.session_data.pop(request.session_hash, None)

        page.unload(forget)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=4, api_open=False)  # nothing that computes goes past the queue
    return visitors.bound(page)


def serve() -> None:
    """Build the page and answer until interrupted. Raises gpen.GPENError where a user can mend it."""
    host, port = address()
    survey = rate.open_survey()
    rate.mirrored(survey)  # a thread of its own from here on
    page = build(survey=survey)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            theme=theme.THEME,
            css_paths=theme.CSS,
            head=theme.HEAD,
            mcp_server=importlib.util.find_spec("mcp") is not None,
            max_file_size=images.MAX_BYTES,
            blocked_paths=[str(ROOT)],
            state_session_capacity=MAX_SESSIONS,
            footer_links=["api", "settings"],
            run_history=False,
            app_kwargs={"routes": rate.routes(survey)},
            ssr_mode=False,
        )
    except OSError as error:
        if "empty port" not in str(error):
            raise
        raise gpen.GPENError(f"Port {port} is in use: stop what answers there, or set GRADIO_SERVER_PORT to another.") from None


def address() -> tuple[str, int]:
    """Where to listen: to this machine alone, but on a Space to every address."""
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    port = os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise gpen.GPENError(f"GRADIO_SERVER_PORT is a port from 1 to 65535; got {port!r}.")
    return host, int(port)


def main() -> None:
    if status := exit_status(serve):
        sys.exit(status)


if __name__ == "__main__":
    main()
