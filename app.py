"""Entry point of the page, also on a Hugging Face Space: `python app.py` serves it, `python app.py --help` lists its options.

`gradio app.py` serves it too, and reloads it when a source file changes. `from app import demo` builds the page of the
environment variables; importing this file alone loads no model.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it at import; no requests to other servers
os.environ.setdefault("FORWARDED_ALLOW_IPS", "")  # uvicorn leaves addresses to demo.server.limits.identity

import gradio as gr  # noqa: E402

import gpen  # noqa: E402
from demo import api, images, shell  # noqa: E402
from demo.languages import english  # noqa: E402
from demo.server import gradio_patches, head, options, zerogpu  # noqa: E402
from demo.server.limits import stack  # noqa: E402
from demo.server.limits.files import TempFiles  # noqa: E402
from demo.server.limits.held import HeldValues  # noqa: E402
from demo.server.limits.identity import SERVER_HEADER, Signer  # noqa: E402
from demo.server.limits.queue_limits import limit_queue  # noqa: E402
from demo.server.limits.settings import Limits, read_limits  # noqa: E402
from demo.server.model_picker import ModelPicker  # noqa: E402
from demo.tabs import arena as arenas  # noqa: E402
from demo.tabs import leaderboard, photo, playground, rate, results, variations_and_color  # noqa: E402
from gpen.errors import exit_status  # noqa: E402

ROOT = Path(__file__).resolve().parent
MAX_QUEUE_SIZE = 64  # requests of all visitors in the queue; further ones are rejected with status 429
MAX_SESSIONS = 500  # of gradio in memory, about 2 MB each; images of visitors are in demo.server.limits.held


def build(
    restorer: gpen.Restorer | None = None,
    survey: rate.Survey | None = None,
    limits: Limits | None = None,
    has_room: Callable[[], bool] = lambda: True,
    held: HeldValues | None = None,
    has_arena: bool = False,
    picker: ModelPicker | None = None,
) -> gr.Blocks:
    """Build the page with all its tabs.

    Args:
        restorer: defaults to a restorer of the model in GPEN_MODEL or of the default model.
        survey: the study of the Rate tab, or None. The server must also serve rate.routes(survey).
        limits: of visitors; None: those of the environment variables.
        has_room: whether files of visitors may be written.
        held: memory for the images of visitors; None: a new one.
        has_arena: whether to add the Arena tab. The server must also serve arena.routes.
        picker: the models of the playground; None: those of `restorer` and of the folders of GPEN_MODELS.
    """
    limits = limits or read_limits()
    held = HeldValues(limits) if held is None else held
    restorer = restorer or default_restorer()
    with gr.Blocks(title=english("page.title"), analytics_enabled=False) as page:
        shell.header()
        with shell.tab_bar():
            with shell.tab("playground"):
                playground.tab(picker or ModelPicker(restorer), held)
            with shell.tab("photo"):
                photo.tab(restorer, held)
            with shell.tab("variations"):
                variations_and_color.tab(restorer, held)
            with shell.tab("rate"):
                rate.tab(survey)
            if has_arena:
                with shell.tab("arena"):
                    arenas.tab()
            with shell.tab("leaderboard"):
                leaderboard.tab(survey)
            with shell.tab("results"):
                results.tab()
        shell.footer()
        api.endpoints(restorer)
        held.attach(page)
        api.guard(page)

        def forget_visitor(request: gr.Request) -> None:
            """Delete the images of a visitor who leaves; gradio would keep them for an hour or longer."""
            gradio_patches.forget_session(page, request.session_hash)
            held.forget(request.session_hash)

        page.unload(forget_visitor)
    gradio_patches.keep_requests(page)
    page.queue(max_size=MAX_QUEUE_SIZE, default_concurrency_limit=4, api_open=False)  # api_open=False: no call bypasses the queue
    return limit_queue(page, limits, has_room)


def default_restorer() -> gpen.Restorer:
    """Return the restorer of the model in GPEN_MODEL or of the default model."""
    return zerogpu.make_restorer(gpen.load(os.environ.get("GPEN_MODEL") or None))


def serve() -> None:
    """Build the page and serve it until interrupted.

    Raises gpen.GPENError for errors that a user can correct, such as a port in use.
    """
    host, port = options.server_address()
    limits, survey = read_limits(), rate.open_survey()
    if gradio_patches.is_reload():
        globals()["demo"] = build(survey=survey, limits=limits)  # found by the reloader of `gradio app.py`
        return
    restorer = default_restorer()
    picker = ModelPicker(restorer)
    arena = arenas.open_page(picker, survey.store if survey else None)
    surveys = [votes for votes in (survey, arena and arena.survey) if votes is not None]
    for votes in surveys:
        rate.start_mirror(votes)  # runs in a thread of its own
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as when interrupted, with the steps below
    files, held, signer = TempFiles(limits), HeldValues(limits), Signer()
    gradio_patches.use_upload_folder(str(files.folder))
    gradio_patches.delete_failed_uploads()
    page = build(restorer, survey, limits, files.has_room, held, has_arena=arena is not None, picker=picker)
    globals()["demo"] = page

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        gradio_patches.name_mcp_requests(page, {SERVER_HEADER: signer.sign("server")})
        files.start(lambda: gradio_patches.kept_files(page), held.drop_old)
        yield

    routes = [*arenas.routes(arena), *rate.routes(survey, arena.survey if arena else None)]
    middleware = stack.middleware(limits, signer, [*head.routes(), *routes], files.has_room)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            mcp_server=importlib.util.find_spec("mcp") is not None,
            max_file_size=images.MAX_BYTES,
            blocked_paths=[str(ROOT)],
            state_session_capacity=MAX_SESSIONS,
            run_history=False,
            enable_monitoring=False,
            **shell.launch_settings(routes, middleware, lifespan),
        )
    except OSError as error:
        if "empty port" not in str(error):
            raise
        message = f"Port {port} is in use: stop the program that uses it, or set another one with --port or GRADIO_SERVER_PORT."
        raise gpen.GPENError(message) from None
    finally:
        files.close()
        for votes in surveys:
            votes.stop_mirror()  # copies the last votes
        for store in {votes.store for votes in surveys}:
            store.close()


def __getattr__(name: str) -> Any:
    """Build `demo`, the page of the environment variables, when it is first used."""
    if name != "demo":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["demo"] = build(survey=rate.open_survey())
    return globals()["demo"]


def main(arguments: list[str] | None = None) -> None:
    options.read(arguments).set_environment()
    if status := exit_status(serve):
        sys.exit(status)


if __name__ == "__main__":
    main()
