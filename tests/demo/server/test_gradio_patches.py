"""Each use of gradio internals works with the installed version of gradio."""

import asyncio
import contextlib
import inspect
import types

import gradio as gr
import pytest
from gradio.queueing import Event
from gradio.server_messages import ProcessCompletedMessage, ProcessStartsMessage
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from demo.server import gradio_patches


@pytest.fixture
def page():
    with gr.Blocks(analytics_enabled=False) as page:
        box = gr.Textbox()
        gr.Button().click(lambda text: text, box, box)
    return page.queue(max_size=5)


def test_installed_version_is_the_checked_one():
    assert gr.__version__ == gradio_patches.CHECKED_VERSION


def test_upload_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert gradio_patches.upload_folder() == str(tmp_path)


def test_current_page_is_the_one_being_built():
    with gr.Blocks() as page:
        with gr.Column():
            assert gradio_patches.current_page() is page
    with pytest.raises(AssertionError):
        gradio_patches.current_page()


def test_preprocess_of_one_component_is_replaced():
    replaced, other = gr.Textbox(), gr.Textbox()
    gradio_patches.set_preprocess(replaced, lambda payload: f"{payload}!")
    assert replaced.preprocess("a") == "a!" and other.preprocess("a") == "a"


def test_editor_payload_is_read_from_its_parts_once():
    editor = gr.ImageEditor()
    direct = editor.data_model()
    assert gradio_patches.editor_payload(editor, direct) is direct
    assert gradio_patches.editor_payload(editor, None) is None
    stored = types.SimpleNamespace(background=b"png", layers=[])
    editor.blob_storage["part"] = stored
    payload = editor.data_model(id="part")
    assert gradio_patches.editor_payload(editor, payload) is stored
    assert gradio_patches.editor_payload(editor, payload) is None


def test_inputs_of_events_pass_through_the_wrapper(page):
    def wrap(convert):
        async def wrapped(block, inputs, *rest, **named):
            return await convert(block, [f"{inputs[0]}!"], *rest, **named)

        return wrapped

    gradio_patches.wrap_preprocess(page, wrap)
    result = asyncio.run(page.process_api(0, ["a"]))
    assert result["data"] == ["a!"]


def test_state_of_a_session_is_forgotten(page):
    page.state_holder.session_data["session"] = object()
    gradio_patches.forget_session(page, "session")
    gradio_patches.forget_session(page, "unknown")
    assert not page.state_holder.session_data


def test_check_runs_before_a_request_enters_the_queue(page, monkeypatch):
    pushed = []

    async def push(body, request, username):
        pushed.append(body.session_hash)
        return True, "event", "success"

    assert list(inspect.signature(page._queue.push).parameters) == ["body", "request", "username"]
    monkeypatch.setattr(page._queue, "push", push)

    def check(request):
        if request == "bad":
            raise ValueError("rejected")

    gradio_patches.before_enqueue(page, check)
    body = types.SimpleNamespace(session_hash="mine")
    assert asyncio.run(page._queue.push(body, "good", None)) == (True, "event", "success")
    with pytest.raises(ValueError, match="rejected"):
        asyncio.run(page._queue.push(body, "bad", None))
    assert pushed == ["mine"]


def test_waiting_and_running_requests_are_listed(page):
    queue = page._queue
    first, second = (types.SimpleNamespace(request=name) for name in ("first", "second"))
    queue.create_event_queue_for_fn(page.fns[0])
    (waiting,) = queue.event_queue_per_concurrency_id.values()
    waiting.queue.append(first)
    queue.active_jobs = [None, [second]]
    assert list(gradio_patches.queued_requests(page)) == ["first", "second"]
    assert gradio_patches.queue_size(page) == (1, 5)


def test_answered_events_are_not_listed(page):
    gradio_patches.mark_answered_events(page)
    queue = page._queue
    running, answered = (Event(name, page.fns[0], name, None) for name in ("running", "answered"))
    queue.active_jobs = [[running], [answered]]
    for event, message in ((running, ProcessStartsMessage()), (answered, ProcessCompletedMessage(output={}, success=False))):
        queue.pending_messages_per_session[event.session_hash] = asyncio.Queue()
        queue.send_message(event, message)
        assert queue.pending_messages_per_session[event.session_hash].get_nowait() is message
    assert list(gradio_patches.queued_requests(page)) == ["running"]


def test_no_statistics_of_events_are_computed(page, monkeypatch):
    queue = page._queue
    assert list(inspect.signature(queue.compute_analytics_summary).parameters) == ["records"] and queue.ANALYTICS_MAX_EVENTS > 1
    gradio_patches.record_no_statistics(page)
    monkeypatch.setattr(queue, "_get_df", lambda records: pytest.fail("computed statistics"))
    queue.events_recorded = 5
    assert queue.compute_analytics_summary([{"function": "restore", "status": "failed"}]) == {"functions": {}}
    assert queue.ANALYTICS_MAX_EVENTS == 1


def test_reload_is_recognised_in_the_thread_of_the_reloader():
    from gradio.cli.commands.reload import reload_thread

    assert not gradio_patches.is_reload()
    reload_thread.running_reload = True
    try:
        assert gradio_patches.is_reload()
    finally:
        del reload_thread.running_reload


def test_values_are_converted_also_after_an_update(page):
    (box,) = (block for block in page.blocks.values() if isinstance(block, gr.Textbox))
    with page:
        gr.Button().click(gr.skip, None, box)
        gr.Button().click(lambda: {box: 5}, None, [box])
    gradio_patches.convert_values(page, {box._id: (int, lambda value: f"{value}!")})
    page.fns[0].fn = lambda number: number + 1
    state = gr.state_holder.SessionState(page)

    def run(event, *inputs):
        return asyncio.run(page.process_api(event, list(inputs), state=state))["data"]

    assert run(0, "41") == ["42!"]
    run(1)  # gradio replaces the component of this session
    assert run(0, "41") == ["42!"] and run(2) == ["5!"]


def test_request_of_an_event_is_known_until_its_result_is_converted(page):
    seen = []
    (box,) = (block for block in page.blocks.values() if isinstance(block, gr.Textbox))
    gradio_patches.convert_values(page, {box._id: (str, lambda value: seen.append(gradio_patches.current_session()) or value)})
    gradio_patches.keep_requests(page)
    request = gr.Request(request=types.SimpleNamespace(scope={}), session_hash="mine")
    asyncio.run(page.process_api(0, ["a"], request=request))
    assert seen == ["mine"] and gradio_patches.current_session() is None and gradio_patches.current_request() is None


def test_files_of_initial_values_are_kept(page, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with page:
        file = gr.File(str(tmp_path / "a.txt"))
    assert gradio_patches.kept_files(page) == file.keep_in_cache != set()


def test_drawings_that_are_not_used_are_bounded():
    editor = gr.ImageEditor()
    gradio_patches.bound_editor_storage(editor, 2)

    def send(number, index):
        data = {"type": "layer", "index": index, "id": str(number)}
        editor.accept_blobs(types.SimpleNamespace(data=data, files=[("layer.png", b"png")]))

    for number in range(5):
        send(number, "0")
    assert list(editor.blob_storage) == ["3", "4"] and editor.accept_blobs._is_server_fn
    with pytest.raises(HTTPException, match="400: A drawing has one layer"):
        send(6, "1000000000")


@pytest.mark.parametrize("ending", ["aborted", "too large", "complete"])
def test_files_of_failed_uploads_are_deleted(monkeypatch, tmp_path, ending):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    gradio_patches.delete_failed_uploads()
    gradio_patches.delete_failed_uploads()  # once is enough
    begin = b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx'

    async def stream():
        yield begin
        if ending == "aborted":
            raise ClientDisconnect
        yield (b"x" * 1000 if ending == "too large" else b"") + b"\r\n--limit--\r\n"

    headers = Headers({"content-type": "multipart/form-data; boundary=limit"})
    parser = gr.route_utils.GradioMultiPartParser(headers, stream(), max_file_size=100)
    with contextlib.nullcontext() if ending == "complete" else pytest.raises((ClientDisconnect, MultiPartException)):
        asyncio.run(parser.parse())
    assert len(list(tmp_path.iterdir())) == (ending == "complete")
