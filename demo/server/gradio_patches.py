"""All uses of gradio internals, one function each. Checked with gradio 6.31.0.

Gradio has no public interface for these purposes. tests/demo/server/test_gradio_patches.py tests each function against the
installed version, so that an update of gradio that changes an internal is noticed.
"""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import mcp, route_utils
from gradio.context import LocalContext
from gradio.server_messages import ProcessCompletedMessage
from starlette.exceptions import HTTPException
from starlette.requests import Request

CHECKED_VERSION = "6.31.0"  # of gradio

_ANSWERED = "answered"  # attribute of an event whose answer was sent
_request: ContextVar[gr.Request | None] = ContextVar("request", default=None)  # of the event that is running
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


def convert_values(page: gr.Blocks, converters: dict[int, tuple[Callable[[Any], Any], Callable[[Any], Any]]]) -> None:
    """Convert the values of components in all events: by id, from and to the data that the page has.

    Gradio replaces a component of a session by a new one when it is updated, so that its own methods cannot be replaced.
    """
    preprocess, postprocess = page.preprocess_data, page.postprocess_data

    async def from_page(block_fn: Any, inputs: list, *rest: Any, **named: Any) -> list:
        values = await preprocess(block_fn, inputs, *rest, **named)
        pairs = zip(block_fn.inputs, values, strict=False)
        return [converters[block._id][0](value) if block._id in converters else value for block, value in pairs]

    def converted(block: Any, value: Any) -> Any:
        own = getattr(block, "_id", None) in converters and not gr.utils.is_prop_update(value)
        return converters[block._id][1](value) if own else value

    async def to_page(block_fn: Any, predictions: Any, *rest: Any, **named: Any) -> list:
        if isinstance(predictions, dict):
            predictions = {block: converted(block, value) for block, value in predictions.items()}
        elif len(block_fn.outputs) == 1:
            predictions = converted(block_fn.outputs[0], predictions)
        elif isinstance(predictions, (list, tuple)):
            predictions = [converted(*pair) for pair in zip(block_fn.outputs, predictions, strict=False)]
        return await postprocess(block_fn, predictions, *rest, **named)

    setattr(page, "preprocess_data", from_page)  # noqa: B010
    setattr(page, "postprocess_data", to_page)  # noqa: B010


def forget_session(page: gr.Blocks, session: str | None) -> None:
    """Delete the state of a session now; gradio would keep it for an hour after the visitor has left."""
    if session is not None:
        page.state_holder.session_data.pop(session, None)


def before_enqueue(page: gr.Blocks, check: Callable[[Request], None]) -> None:
    """Call `check(request)` before a request enters the queue.

    `check` rejects the request by raising an HTTPException.
    """
    queue = page._queue
    push = queue.push

    async def checked_push(body: Any, request: Request, username: str | None) -> Any:
        check(request)
        return await push(body=body, request=request, username=username)

    setattr(queue, "push", checked_push)  # noqa: B010


def queued_requests(page: gr.Blocks) -> Iterator[Request]:
    """Yield the HTTP requests of all waiting and running events, without those that `mark_answered_events` has marked."""
    for waiting in page._queue.event_queue_per_concurrency_id.values():
        yield from (event.request for event in waiting.queue)
    yield from (event.request for event in _running_events(page) if not getattr(event, _ANSWERED, False))


def mark_answered_events(page: gr.Blocks) -> None:
    """Mark each event whose answer is sent.

    After an error, gradio waits for another thread between the answer and the end of the event: a visitor who has the answer
    would be told that the event is running.
    """
    queue = page._queue
    send = queue.send_message

    def sending(event: Any, message: Any) -> None:
        send(event, message)
        if isinstance(message, ProcessCompletedMessage):
            setattr(event, _ANSWERED, True)

    setattr(queue, "send_message", sending)  # noqa: B010


def record_no_statistics(page: gr.Blocks) -> None:
    """Compute no statistics of past events; /monitoring, the only place that shows them, is switched off.

    Gradio computes them anew over up to 10,000 events whenever one ends.
    """
    queue = page._queue
    queue.ANALYTICS_MAX_EVENTS = 1
    setattr(queue, "compute_analytics_summary", lambda records: queue.cached_event_analytics_summary)  # noqa: B010


def queue_size(page: gr.Blocks) -> tuple[int, int | None]:
    """Return the number of waiting requests, and the maximum given to page.queue()."""
    return len(page._queue), page._queue.max_size


def keep_requests(page: gr.Blocks) -> None:
    """Let `current_request` and `current_session` work during all of an event; gradio forgets both before `postprocess`."""
    process = page.process_api

    @functools.wraps(process)
    async def keeping(*arguments: Any, **named: Any) -> Any:
        token = _request.set(named.get("request"))
        try:
            return await process(*arguments, **named)
        finally:
            _request.reset(token)

    setattr(page, "process_api", keeping)  # noqa: B010


def current_request() -> Request | None:
    """Return the HTTP request of the event that is running, None outside an event."""
    return getattr(_request.get(), "request", None)


def current_session() -> str | None:
    """Return the session of the event that is running, None outside an event."""
    return getattr(_request.get(), "session_hash", None)


def visitor_has_left() -> bool:
    """Return whether the client of the event that is running has closed its connection."""
    page, event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event is None:
        return False
    return any(running._id == event and not running.alive for running in _running_events(page))


def _running_events(page: gr.Blocks) -> Iterator[Any]:
    """Yield the events that gradio has started and not yet ended."""
    return (event for job in page._queue.active_jobs for event in job or ())


def kept_files(page: gr.Blocks) -> set[str]:
    """Return the files of the initial values of all components."""
    return set().union(*(getattr(block, "keep_in_cache", ()) for block in list(page.blocks.values())))


def use_upload_folder(folder: str) -> None:
    """Store uploads, results, files of MCP tools and parts of multipart requests in `folder`."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    mcp.DEFAULT_TEMP_DIR = folder  # gradio reads the variable when it is imported


def delete_failed_uploads() -> None:
    """Write the files of all multipart requests to the upload folder, and delete them if the request fails or is aborted."""
    parser = route_utils.GradioMultiPartParser
    parse = parser.parse
    if hasattr(parse, "__wrapped__"):
        return

    @functools.wraps(parse)
    async def parse_or_delete(self: Any) -> Any:
        self.upload_dir = self.upload_dir or upload_folder()
        try:
            return await parse(self)
        except BaseException:
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise

    setattr(parser, "parse", parse_or_delete)  # noqa: B010


def bound_editor_storage(editor: gr.ImageEditor, max_drawings: int) -> None:
    """Keep at most so many drawings that were uploaded in parts and not used yet, each of one layer; gradio bounds neither."""
    accept = editor.accept_blobs

    @functools.wraps(accept)
    def accept_one_layer(data: Any) -> None:
        if str(data.data.get("index")) not in ("None", "null", "", "0"):
            raise HTTPException(400, "A drawing has one layer.")
        accept(data)

    setattr(editor, "accept_blobs", accept_one_layer)  # noqa: B010
    setattr(editor, "blob_storage", _BoundedDict(max_drawings))  # noqa: B010


class _BoundedDict(OrderedDict):
    """A dict that drops its oldest entry above a number of entries."""

    def __init__(self, most: int):
        super().__init__()
        self._most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > self._most:
            self.popitem(last=False)


def name_mcp_requests(page: gr.Blocks, headers: dict[str, str]) -> None:
    """Send `headers` with all requests that the MCP server of the page sends to the page itself. Call it after launch()."""
    server = page.mcp_server_obj
    if server is None:
        return
    create = server._get_or_create_client

    def named() -> Any:
        client = create()
        client.headers.update(headers)
        return client

    setattr(server, "_get_or_create_client", named)  # noqa: B010


def is_reload() -> bool:
    """Return whether this thread runs app.py again for `gradio app.py`, where launch() has no effect."""
    from gradio.cli.commands.reload import reload_thread  # imported late because of the command line of gradio

    return getattr(reload_thread, "running_reload", False)
