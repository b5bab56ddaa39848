"""Options and environment variables of `python app.py`."""

import os
import re

import pytest

from demo.server import options
from eval.preference.storage.location import locate
from gpen.errors import GPENError
from tests import ROOT

NAMES = {variable.name for variable in options.VARIABLES}


@pytest.fixture
def environment(monkeypatch):
    """An environment without the variables, restored afterwards."""
    for name in NAMES | {"SPACE_ID"}:
        monkeypatch.setenv(name, "")  # remembered by monkeypatch, also where an option sets it
        monkeypatch.delenv(name)
    return monkeypatch


def test_help_lists_all_options_and_environment_variables(capsys):
    with pytest.raises(SystemExit) as caught:
        options.read(["--help"])
    text = capsys.readouterr().out
    assert not caught.value.code
    assert all(name in text for name in NAMES)
    for option in ("host", "port", "model", "models", "engine", "study", "votes", "votes-repo"):
        assert f"--{option}" in text


def test_options_set_their_variables(environment):
    options.read(["--port", "7001", "--votes-repo", "me/votes", "--engine", "onnx"]).set_environment()
    assert {name: os.environ[name] for name in NAMES if name in os.environ} == {
        "GRADIO_SERVER_PORT": "7001", "GPEN_VOTES_REPO": "me/votes", "GPEN_ENGINE": "onnx",
    }  # fmt: skip


def test_option_votes_outweighs_both_variables(environment):
    environment.setenv("DATABASE_URL", "postgresql://me@host/db")
    environment.setenv("GPEN_VOTES", "other.sqlite")
    assert locate().file is None
    options.read(["--votes", "mine.sqlite"]).set_environment()
    assert locate().file.name == "mine.sqlite"


def test_variables_are_the_defaults_of_options(environment):
    environment.setenv("GPEN_MODEL", "a.pth")
    environment.setenv("GPEN_STUDY", "")
    found = options.read([])
    assert found.model == "a.pth" and found.study is None and found.port is None
    assert options.read(["--model", "b.pth"]).model == "b.pth"


def test_unknown_option_and_engine_are_usage_errors(environment, capsys):
    for wrong in (["--prot", "1"], ["--engine", "none"]):
        with pytest.raises(SystemExit) as caught:
            options.read(wrong)
        assert caught.value.code == 2


def test_address_is_local_except_on_a_space(environment):
    assert options.server_address() == ("127.0.0.1", 7860)
    environment.setenv("SPACE_ID", "me/faces")
    assert options.server_address()[0] == "0.0.0.0"
    for port in ("0", "70000", "http", "-1"):
        environment.setenv("GRADIO_SERVER_PORT", port)
        with pytest.raises(GPENError, match="from 1 to 65535"):
            options.server_address()


def test_deployment_page_has_the_table_of_variables():
    rows = [f"| `{variable.name}` | {variable.meaning} | {variable.default} |" for variable in options.VARIABLES]
    assert (
        "\n".join(["| variable | meaning | default |", "| --- | --- | --- |", *rows])
        in (ROOT / "docs" / "deployment.md").read_text()
    )


def test_table_has_every_variable_that_the_page_reads():
    sources = [ROOT / "app.py", *(path for path in (ROOT / "demo").rglob("*.py") if path.parent.name != "deploy")]
    read = {name for path in sources for name in re.findall(r'"((?:GPEN|GRADIO)_[A-Z_]+)"', path.read_text())}
    assert "GPEN_OWNER_TOKEN" in read and read - NAMES == {"GRADIO_ANALYTICS_ENABLED"}
