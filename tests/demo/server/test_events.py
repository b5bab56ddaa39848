"""No event of the page is lost, or processed with the data of another one, when events follow one another within a moment."""

import gradio as gr
import httpx
import pytest

from demo.server.events import EACH, LAST, take
from tests.demo.conftest import TIMEOUT

CHANGES = {"input", "upload", "change"}  # events of components with values


@pytest.mark.slow
def test_each_event_with_own_data_and_the_last_change_of_a_value_are_processed(server):
    events = [event for event in httpx.get(f"{server}config", timeout=TIMEOUT).json()["dependencies"] if event["backend_fn"]]
    with_data = [event for event in events if event["collects_event_data"]]
    assert len(with_data) >= 3 and all(event["trigger_mode"] == EACH["trigger_mode"] for event in with_data)
    changes = [event for event in events if CHANGES & {name for _, name in event["targets"]}]
    assert len(changes) > 10 and {event["trigger_mode"] for event in changes} == {LAST["trigger_mode"]}


def test_uploads_are_emptied_in_the_browser():
    with gr.Blocks() as page:
        upload, taken = gr.File(), gr.File(visible=False)
        take(upload.upload, upload, taken).then(lambda file: None, taken, None, **EACH)
    emptied, opened = page.config["dependencies"]
    assert not emptied["backend_fn"] and emptied["outputs"] == [taken._id, upload._id] and emptied["js"].endswith("[files, null]")
    assert opened["trigger_after"] == emptied["id"] and opened["inputs"] == [taken._id]
