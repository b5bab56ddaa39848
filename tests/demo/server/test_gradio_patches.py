"""Each use of gradio internals works with the installed version of gradio."""

import asyncio
import inspect
import types

import gradio as gr
import pytest

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


def test_reload_is_recognised_in_the_thread_of_the_reloader():
    from gradio.cli.commands.reload import reload_thread

    assert not gradio_patches.is_reload()
    reload_thread.running_reload = True
    try:
        assert gradio_patches.is_reload()
    finally:
        del reload_thread.running_reload
