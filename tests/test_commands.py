"""The commands in README.md, docs, notebooks and model cards exist, with all their options."""

import json
import re
import shlex

import pytest
import tyro

import eval.__main__
import gpen.cli
from tests import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "assets/MODEL_CARD.md", "notebooks/README.md"]
PAGES += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
COMMAND = re.compile(r"(?:python -m )?\b(gpen|eval) (\w[\w-]*)((?:[^\n`\\#;]|\\\n|\\\\\n)*)")
WORDS = re.compile(r"(?:^ {4}|`|^)(?=(?:[A-Z_]+=\S+ )*(?:python -m (?:gpen|eval)|gpen) \w)", re.M)


def text_of(page):
    """The text of a page; of a notebook, that of its cells."""
    text = (ROOT / page).read_text()
    if not page.endswith(".ipynb"):
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def commands_of(page):
    """(program, arguments, complete) of each command in a block of code, or between backticks, where it may be abridged."""
    text, found = text_of(page), []
    for start in WORDS.finditer(text):
        match = COMMAND.search(text, start.end())
        line = f"{match[2]} {match[3]}".replace("\\\n", " ")
        found.append((match[1], tuple(shlex.split(line)), start[0] == "    "))
    return found


COMMANDS = sorted({command for page in [*PAGES, *NOTEBOOKS] for command in commands_of(page)})


class Parsed(Exception):
    """Raised when the options were accepted, so that the command does not run."""


@pytest.fixture
def only_parse(monkeypatch, tmp_path):
    """Stop all commands after their options were parsed. The files of settings that they name exist, empty."""
    parse = tyro.cli

    def stop(*args, **options):
        parse(*args, **options)
        raise Parsed

    monkeypatch.setattr(tyro, "cli", stop)
    monkeypatch.chdir(tmp_path)


def test_commands_are_found():
    names = {(program, arguments[0]) for program, arguments, _ in COMMANDS}
    assert {("gpen", "restore"), ("gpen", "train"), ("eval", "run"), ("eval", "study"), ("eval", "tables")} <= names
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("program, arguments, complete", COMMANDS, ids=[" ".join((name, *words)) for name, words, _ in COMMANDS])
def test_command_exists_with_its_options(program, arguments, complete, only_parse, tmp_path, capsys):
    for name in arguments:
        if name.endswith(".toml"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    main = {"gpen": gpen.cli.main, "eval": eval.__main__.main}[program]
    with pytest.raises((Parsed, SystemExit)) as stopped:
        main(list(arguments))
    if stopped.type is SystemExit and stopped.value.code:
        assert not complete and "Required options" in capsys.readouterr().err
