"""Entry point of the page, also on a Hugging Face Space: `python app.py` serves it.

Environment variables (all are listed in docs/deployment.md):
    GPEN_MODEL          name or file of the model (default: the default model)
    GPEN_ENGINE         engine that runs it, one of gpen.engines.ENGINES (default: torch)
    GRADIO_SERVER_NAME  address to listen on
    GRADIO_SERVER_PORT  port to listen on
    GPEN_STUDY          folder of the study in the Rate tab (default: assets/study)
    GPEN_VOTES          SQLite file or database address for the answers; also DATABASE_URL
    GPEN_VOTES_REPO     private dataset on the Hub (OWNER/NAME) to which the answers are copied
    GPEN_OWNER_TOKEN    token of the owner page of the study; without it the page is disabled
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it at import; no requests to other servers

import gradio as gr  # noqa: E402

import gpen  # noqa: E402
from demo import api, images, theme  # noqa: E402
from demo.server import gradio_patches, rate_limit, zerogpu  # noqa: E402
from demo.tabs import photo, playground, rate, results, variations_and_color  # noqa: E402
from gpen.errors import exit_status  # noqa: E402

ROOT = Path(__file__).resolve().parent
MAX_QUEUE_SIZE = 64  # requests of all visitors in the queue; further ones are rejected with status 429
CACHE_CLEANUP_INTERVAL, CACHE_MAX_AGE = 120, 900  # seconds: interval of the cache cleanup, and maximum age of a cached file
MAX_SESSIONS = 500  # in memory, about 2 MB each; the least recently used is dropped first


def build(restorer: gpen.Restorer | None = None, survey: rate.Survey | None = None) -> gr.Blocks:
    """Build the page with all its tabs.

    Args:
        restorer: defaults to a restorer of the model in GPEN_MODEL or of the default model.
        survey: the study of the Rate tab, or None. The server must also serve rate.routes(survey).
    """
    restorer = restorer or zerogpu.make_restorer(gpen.load(os.environ.get("GPEN_MODEL")))
    with gr.Blocks(title="GPEN", analytics_enabled=False, delete_cache=(CACHE_CLEANUP_INTERVAL, CACHE_MAX_AGE)) as page:
        gr.HTML(theme.HEADER, elem_id="header")
        with gr.Tab("Playground", id="playground"):
            playground.tab(restorer)
        with gr.Tab("Photo", id="photo"):
            photo.tab(restorer)
        with gr.Tab("More tasks", id="tasks"):
            variations_and_color.tab(restorer)
        with gr.Tab("Rate", id="rate"):
            rate.tab(survey)
        with gr.Tab("Results", id="results"):
            results.tab()
        gr.HTML(theme.ABOUT, elem_id="about")
        api.endpoints(restorer)
        api.guard(page)

        def forget_visitor(request: gr.Request) -> None:
            """Delete the images of a visitor who leaves; gradio would keep them for an hour or longer."""
            gradio_patches.forget_session(page, request.session_hash)

        page.unload(forget_visitor)
    page.queue(max_size=MAX_QUEUE_SIZE, default_concurrency_limit=4, api_open=False)  # api_open=False: no call bypasses the queue
    return rate_limit.limit_requests(page)


def serve() -> None:
    """Build the page and serve it until interrupted.

    Raises gpen.GPENError for errors that a user can correct, such as a port in use.
    """
    host, port = server_address()
    survey = rate.open_survey()
    rate.start_mirror(survey)  # runs in a thread of its own
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
        raise gpen.GPENError(f"Port {port} is in use: stop the program that uses it, or set GRADIO_SERVER_PORT.") from None


def server_address() -> tuple[str, int]:
    """Return host and port: the local host by default, all addresses on a Space."""
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    port = os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise gpen.GPENError(f"GRADIO_SERVER_PORT is {port!r}: set it to a port from 1 to 65535.")
    return host, int(port)


def main() -> None:
    if status := exit_status(serve):
        sys.exit(status)


if __name__ == "__main__":
    main()
