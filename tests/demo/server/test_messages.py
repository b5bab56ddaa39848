"""Messages of errors contain no path of the server."""

import inspect
import re
from pathlib import PurePosixPath

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import api, images
from demo.server.messages import show_user_errors, without_paths
from eval.metrics import registry
from gpen.errors import GPENError
from gpen.models import checkpoints, download

PARTS = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda part: part.strip("."))
TEMPLATES = (
    "There is no file {}: check the path.",
    "{} cannot be read (denied).",
    "cannot open '{}'.",
    "needs {}; get it",
    "({})",
)


@given(st.lists(PARTS, min_size=2, max_size=6), st.sampled_from(TEMPLATES))
def test_only_the_name_of_a_file_remains(parts, template):
    path = "/" + "/".join(parts)
    cleaned = without_paths(template.format(path))
    assert cleaned == template.format(PurePosixPath(path).name)


@given(st.text() | st.text("/ab.: '"))
def test_no_absolute_path_remains_in_any_text(text):
    assert not re.search(r"(?<![\w:/.\\])/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]", without_paths(text))


@pytest.mark.parametrize("text", ["https://a.org/b/c.zip", "See docs/api.md.", "0 / 255", "PSNR and/or SSIM", "./a/b"])
def test_other_text_is_unchanged(text):
    assert without_paths(text) == text


def test_shown_errors_have_no_paths():
    @show_user_errors
    def fail():
        raise GPENError("There is no file /tmp/gradio/0a1b/<face>.png: upload it.")

    with pytest.raises(gr.Error) as caught:
        fail()
    assert "/tmp" not in str(caught.value) and "gradio" not in str(caught.value)


@pytest.mark.parametrize(
    "raised",
    [
        lambda folder: images.decode(folder / "missing.png"),
        lambda folder: images.decode(_file(folder / "broken.png")),
        lambda folder: checkpoints.load(folder / "missing.pth"),
        lambda folder: checkpoints.load(_file(folder / "broken.pth")),
        lambda folder: download.fetch("http://127.0.0.1:9/x", folder / "x", progress=False),
    ],
)
def test_errors_of_the_package_are_shown_without_paths(raised, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 1)
    with pytest.raises(gr.Error) as caught:
        show_user_errors(raised)(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) not in message and str(download.cache_folder()) not in message and message


def test_score_names_missing_metrics_without_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in registry.METRICS:
        if registry.is_per_image(name):
            _, missing = registry.load_metrics([name], registry.MetricSettings())
            for text in missing.values():
                assert str(tmp_path) not in str(api._judged(name, text))


def _file(path):
    path.write_bytes(b"not an image")
    return path


def test_every_public_endpoint_shows_user_errors_as_messages():
    source = inspect.getsource(api.endpoints)
    assert source.count("@show_user_errors") == len(re.findall(r"^    def ", source, re.M))
