"""eval.__main__, eval.commands and eval.options: help of every option, lists, exit statuses."""

import dataclasses
import os
import re
import subprocess
import sys
from typing import get_args

import pytest

from eval.__main__ import COMMANDS, main
from eval.commands import Run
from eval.methods.registry import DESCRIPTIONS, METHODS
from eval.metrics.registry import METRICS

STUDY = ("build", "export", "import", "score", "sample")
ALL = [*((name,) for name in COMMANDS if name != "study"), *(("study", name) for name in STUDY)]


def help_of(capsys, *command):
    """The help text without the frame, a line for each line of the terminal."""
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    return re.sub("[│╭╮╰╯─]", "", capsys.readouterr().out)


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_option_has_a_description_and_a_default(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")  # an option in a line, followed by its description
    text = help_of(capsys, *command)
    assert text.splitlines()[2].strip()  # what the command does
    options = re.split(r"\n *(?=--[a-z])", text.split(" options ")[-1].split("this help message and exit")[1])
    options = [" ".join(option.split()) for option in options if option.strip().startswith("--")]
    for option in options:
        described = re.fullmatch(r"(--[a-z-]+)( \S+)?( \[\S+ \.\.\.\])? (?P<text>.{8,}) \((required|default: .+)\)", option)
        assert described, option
        assert "STR" not in option.split()[1] or option.startswith(("--title", "--device")), option
    if command == ("run",):
        assert len(options) == 27


def test_help_of_run_lists_methods_and_metrics_in_a_line_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in help_of(capsys, "run").splitlines()]
    for method in METHODS:
        assert any(re.fullmatch(rf"{method}(\[?:\S+)? +{re.escape(DESCRIPTIONS[method])}( \(default:.*)?", x) for x in lines), (
            method
        )
    for name, metric in METRICS.items():
        (line,) = [x for x in lines if x.startswith(f"{name} ")]
        assert metric.title in line and ("†" in line) == metric.seen_in_training
        assert re.search(rf"[↑↓] {metric.mode}\b", line)
    assert {name for name, metric in METRICS.items() if metric.seen_in_training} == {"squeezenet", "squeezenet_fd"}


def test_help_lists_the_commands(capsys):
    text = help_of(capsys)
    for name, (_, _, description) in COMMANDS.items():
        assert re.search(rf"• {name} +{re.escape(description)}", text)
    assert all(f"• {name}" in help_of(capsys, "study") for name in STUDY)


@pytest.mark.slow
def test_help_in_an_encoding_without_arrows():
    command = [sys.executable, "-m", "eval", "run", "--help"]
    text = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True).stdout
    assert b"--metrics" in text


def test_help_does_not_import_torch():
    code = "import sys; from eval.__main__ import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def parse(monkeypatch, *arguments):
    """The parsed command, not called."""
    found = []
    monkeypatch.setattr(Run, "__call__", lambda command: found.append(command))
    assert main(["run", *arguments]) == 0
    return found[0]


def test_lists_and_defaults_of_run(monkeypatch):
    given = parse(
        monkeypatch, "fsr", "--data", "d", "--methods", "bilinear, gpen:a.pth,", "--tasks", "fsr4,fsr16", "--out", "r", "--keep"
    ).run_settings()
    assert given.methods == ("bilinear", "gpen:a.pth") and given.tasks == ("fsr4", "fsr16")
    assert (given.data, given.out, given.keep, given.size, given.limit) == ("d", "r", True, 256, None)
    assert "identity_fd" in given.metrics and "lpips_vgg" not in given.metrics
    for family, task, methods in (
        ("bfr", "bfr", ("bilinear", "gpen")),
        ("fsr", "fsr8", ("bilinear", "gpen")),
        ("wild", "wild", ("bilinear", "gpen")),
        ("colorize", "colorize", ("bilinear", "gpen-colorize")),
        ("inpaint", "inpaint", ("bilinear", "telea", "gpen-inpaint")),
    ):
        settings = parse(monkeypatch, family, "--out", "r").run_settings()
        assert settings.tasks == (task,) and settings.methods == methods and settings.data == "samples"
    assert parse(monkeypatch, "--out", "r", "bfr", "--preset", "gfpgan").run_settings().tasks == ("bfr-gfpgan",)
    families = get_args(next(field.type for field in dataclasses.fields(Run) if field.name == "family"))[0]
    assert "ablation" in get_args(families)


def test_files_of_the_metrics(monkeypatch):
    monkeypatch.setenv("GPEN_SQUEEZENET", "environment.npz")
    assert parse(monkeypatch, "fsr", "--out", "r").metric_settings.squeezenet == "environment.npz"
    given = parse(monkeypatch, "fsr", "--out", "r", "--squeezenet", "s.npz", "--identity-model", "e.onnx").metric_settings
    assert (given.squeezenet, given.identity_model) == ("s.npz", "e.onnx")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "run, protocol, report, archive"),
        (["restore"], "Unrecognized options: restore"),
        (["run"], "{fsr,bfr,wild,paired,colorize,inpaint,ablation}"),
        (["run", "fsr"], "--out RUN"),
        (["run", "sr", "--out", "r"], "invalid choice"),
        (["run", "fsr", "--out", "r", "--size", "large"], "--size"),
        (["run", "fsr", "--out", "r", "--bach", "2"], "--batch"),
        (["report", "r", "--format", "doc"], "--format"),
        (["study", "build", "r", "--out", "s", "--consent", "/none"], "/none cannot be read as text"),
        (["archive", "r"], "FILE"),
    ],
)
@pytest.mark.slow
def test_invalid_options_exit_with_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["report"], "There is nothing to report; give the folder of a run, RUN."),
        (["figures", "/none"], "/none is not a run"),
        (["study", "build", "--out", "s"], "A study is built from a RUN or from --results"),
    ],
)
def test_errors_of_the_user_are_a_sentence_and_status_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1


def test_interrupt(monkeypatch, capsys):
    def interrupted(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "__call__", interrupted)
    assert main(["run", "fsr", "--out", "r"]) == 130
    assert "run the same command to resume" in capsys.readouterr().err
