"""app.py: a page at module level for `gradio app.py`, which importing the file does not build."""

import asyncio
import subprocess
import sys
import types

import pytest

import app
from demo import images
from demo.server.limits.admission import AdmitRequests
from demo.server.limits.files import TempFiles
from demo.server.limits.headers import AddSecurityHeaders
from demo.server.limits.identity import IdentifyVisitors
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


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """serve(launch): the app with a page whose launch(**settings) is called, without a model and without a study."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name in ("use_upload_folder", "delete_failed_uploads"):  # both change gradio for the whole process
        monkeypatch.setattr(app.gradio_patches, name, lambda *_: None)
    monkeypatch.setattr(app.rate, "open_survey", lambda: None)
    monkeypatch.setattr(app.rate, "routes", lambda *_: [])
    monkeypatch.delenv("GPEN_ARENA", raising=False)

    def served(launch):
        monkeypatch.setattr(app, "build", lambda *_, **parts: types.SimpleNamespace(launch=launch))
        app.serve()

    yield served
    vars(app).pop("demo", None)


def test_lifespan_starts_the_deletion_of_files_behind_all_limits(serve, monkeypatch):
    """Each limit has its own tests; this one fails if the page that is served has none of them."""
    started = []
    monkeypatch.setattr(app.gradio_patches, "name_mcp_requests", lambda page, headers: started.append(sorted(headers)))
    monkeypatch.setattr(TempFiles, "start", lambda files, kept, also: started.append(files.folder.is_dir()))

    def launch(**settings):
        assert settings["enable_monitoring"] is False and settings["run_history"] is False
        assert settings["max_file_size"] == images.MAX_BYTES and settings["blocked_paths"] == [str(ROOT)]
        own = [one.cls for one in settings["app_kwargs"]["middleware"]]
        assert own[:3] == [AddSecurityHeaders, IdentifyVisitors, AdmitRequests]

        async def live():
            async with settings["app_kwargs"]["lifespan"](None):
                assert started == [["x-gpen-server"], True]

        asyncio.run(live())

    serve(launch)
    assert len(started) == 2


def test_served_page_is_at_module_level_for_the_reloader(serve, monkeypatch):
    def launch(**settings):
        assert vars(app)["demo"].launch is launch and settings["ssr_mode"] is False

    class Survey:
        def __init__(self):
            self.store = self

        def stop_mirror(self):
            ended.append("mirror")

        def close(self):
            ended.append("store")

    mirrored, ended, survey = [], [], Survey()
    monkeypatch.setattr(app.rate, "open_survey", lambda: survey)
    monkeypatch.setattr(app.rate, "start_mirror", mirrored.append)
    for reloads in (False, True):
        monkeypatch.setattr(app.gradio_patches, "is_reload", lambda reloads=reloads: reloads)
        serve(launch)
        vars(app).pop("demo")
    assert mirrored == [survey] and ended == ["mirror", "store"]  # a reload does not start another mirror
