"""All uses of gradio internals, one function each. Checked with gradio 6.31.0.

Gradio has no public interface for these purposes. tests/demo/server/test_gradio_patches.py tests each function against the
installed version, so that an update of gradio that changes an internal is noticed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import gradio as gr
from starlette.requests import Request

CHECKED_VERSION = "6.31.0"  # of gradio

Preprocess = Callable[..., Awaitable[list]]  # (event function, inputs, ...) -> inputs for the Python function


def upload_folder() -> str:
    """Return the folder of uploaded files and of cached results."""
    return gr.utils.get_upload_folder()


def current_page() -> gr.Blocks:
    """Return the gr.Blocks that is being built."""
    page = gr.context.Context.root_block
    assert page is not None, "call this inside gr.Blocks"
    return page


def set_preprocess(component: gr.components.Component, function: Callable[[Any], Any]) -> None:
    """Convert the payloads of `component` with `function` instead of its own `preprocess`.

    The method is replaced on the instance, because gradio writes a .pyi file for every subclass of a component. Do not send
    a gr.update to the component: it would create a new one.
    """
    setattr(component, "preprocess", function)  # noqa: B010 - mypy rejects assignments to methods


def editor_payload(editor: gr.ImageEditor, payload: Any) -> Any:
    """Return the data of an image editor; call it once per payload.

    Payloads that were uploaded in parts arrive as an id.
    """
    if payload is not None and payload.id:
        return editor.blob_storage.pop(payload.id, None)
    return payload


def wrap_preprocess(page: gr.Blocks, wrap: Callable[[Preprocess], Preprocess]) -> None:
    """Replace the conversion of the inputs of all events, private ones too, by `wrap(conversion)`."""
    setattr(page, "preprocess_data", wrap(page.preprocess_data))  # noqa: B010


def forget_session(page: gr.Blocks, session: str | None) -> None:
    """Delete the state of a session now; gradio would keep it for an hour after the visitor has left."""
    if session is not None:
        page.state_holder.session_data.pop(session, None)


def before_enqueue(page: gr.Blocks, check: Callable[[str | None, Request], None]) -> None:
    """Call `check(session, request)` before a request enters the queue.

    `check` rejects the request by raising an HTTPException.
    """
    queue = page._queue
    push = queue.push

    async def checked_push(body: Any, request: Request, username: str | None) -> Any:
        check(body.session_hash, request)
        return await push(body=body, request=request, username=username)

    setattr(queue, "push", checked_push)  # noqa: B010


def queued_requests(page: gr.Blocks) -> Iterator[tuple[str | None, Request]]:
    """Yield session and HTTP request of all waiting and running requests.

    The session is None for clients without one.
    """
    queue = page._queue
    events = [event for waiting in queue.event_queue_per_concurrency_id.values() for event in waiting.queue]
    events += [event for job in queue.active_jobs for event in job or ()]
    for event in events:
        # gradio uses the id of the event as its session if the client sent none
        yield None if event.session_hash == event._id else event.session_hash, event.request


def queue_size(page: gr.Blocks) -> tuple[int, int | None]:
    """Return the number of waiting requests, and the maximum given to page.queue()."""
    return len(page._queue), page._queue.max_size


def is_reload() -> bool:
    """Return whether this thread runs app.py again for `gradio app.py`, where launch() has no effect."""
    from gradio.cli.commands.reload import reload_thread  # imported late because of the command line of gradio

    return getattr(reload_thread, "running_reload", False)
