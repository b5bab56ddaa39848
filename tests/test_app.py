"""app.py: a page at module level for `gradio app.py`, which importing the file does not build."""

import subprocess
import sys

import pytest

import app
from tests import ROOT


@pytest.mark.slow
def test_import_builds_no_page():
    script = "import gradio, app; gradio.Blocks.__init__ = None; assert 'demo' not in vars(app)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_demo_is_built_once_when_it_is_used(monkeypatch):
    built = []
    vars(app).pop("demo", None)  # of a test that served the page
    monkeypatch.setattr(app.rate, "open_survey", lambda: "survey")
    monkeypatch.setattr(app, "build", lambda survey: built.append(survey) or f"page of {survey}")
    try:
        assert app.demo == "page of survey" and app.demo == "page of survey" and built == ["survey"]
    finally:
        vars(app).pop("demo", None)
    with pytest.raises(AttributeError, match="page"):
        app.page  # noqa: B018


def test_served_page_is_at_module_level_for_the_reloader(monkeypatch):
    class Page:
        def launch(self, **settings):
            assert vars(app)["demo"] is self and settings["ssr_mode"] is False

    class Survey:
        def __init__(self):
            self.store = self

        def stop_mirror(self):
            ended.append("mirror")

        def close(self):
            ended.append("store")

    mirrored, ended, survey = [], [], Survey()
    monkeypatch.setattr(app.rate, "open_survey", lambda: survey)
    monkeypatch.setattr(app.rate, "routes", lambda *_: [])
    monkeypatch.setattr(app.rate, "start_mirror", mirrored.append)
    monkeypatch.setattr(app, "build", lambda *_, **parts: Page())
    monkeypatch.setattr(app.gradio_patches, "use_upload_folder", lambda folder: None)  # both change gradio for the whole process
    monkeypatch.setattr(app.gradio_patches, "delete_failed_uploads", lambda: None)
    for reloads in (False, True):
        monkeypatch.setattr(app.gradio_patches, "is_reload", lambda reloads=reloads: reloads)
        app.serve()
        vars(app).pop("demo")
    assert mirrored == [survey] and ended == ["mirror", "store"]  # a reload does not start another mirror
