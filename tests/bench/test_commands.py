"""The benchmarks as commands: help of every option, and a run of each with its smallest settings."""

import importlib
import json
import re

import pytest
import torch

from tests import ROOT
from tests.gpen.conftest import squeezenet_weights

SMALLEST = {  # command -> options
    "intervals": "--studies 1 --resamples 10 --designs 1",
    "page": "--moves 1 --visitors 1",
    "paste": "--photos 1",
    "preview": "",
    "raters": "--raters 2 --answers 1",
    "scale": "--sides 8 --batches 1 --faces 1",
    "screenshots": "",
    "speed": "--models default --batches 1 --engines torch --rounds 1 1",
    "training": "--modes eager --rounds 1 --batch-size 2",
    "visitors": "--visitors 4 --seconds 4 --restorations 20",
}
COMMANDS = [path.stem for path in sorted((ROOT / "bench").glob("*.py")) if "def main(" in path.read_text()]


def command(name):
    return importlib.import_module(f"bench.{name}").main


def run(name, out, capsys, *options):
    """Exit status of a command with its smallest settings, and the names of the files that it writes to `out`."""
    status = command(name)([*SMALLEST[name].split(), *options, "--out", str(out)])
    assert capsys.readouterr().out or name in ("screenshots", "preview")
    return status, sorted(path.name for path in out.iterdir())


def test_all_commands_have_smallest_settings():
    assert list(SMALLEST) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit) as stop:
        command(name)(["--help"])
    assert stop.value.code == 0
    text = re.sub("[│╭╮╰╯─]", "", capsys.readouterr().out)
    assert text.startswith(f"usage: python -m bench.{name} ") and len(text.splitlines()[2]) > 30
    options = re.split(r"\n *(?=--[a-z])", text.split("this help message and exit")[1])[1:]
    assert options
    for option in (" ".join(option.split()) for option in options):
        assert re.fullmatch(r"--[a-z-]+ .{8,} \(default: .*\)", option) and " STR" not in option, option


def test_intervals_writes_a_row_a_design(tmp_path, capsys):
    assert run("intervals", tmp_path, capsys) == (0, ["intervals.json"])
    (row,) = json.loads((tmp_path / "intervals.json").read_text())
    assert all(0 <= value <= 1 for value in row["coverage"].values())


@pytest.mark.slow
def test_paste_compares_five_methods(tmp_path, capsys):
    assert run("paste", tmp_path, capsys) == (0, ["paste.json"])
    figures = json.loads((tmp_path / "paste.json").read_text())["figures"]
    assert len(figures) == 5 and all(row.keys() == {"colour", "seam", "drift", "psnr"} for row in figures.values())


@pytest.mark.slow
def test_scale_writes_three_curves(tmp_path, capsys):
    assert run("scale", tmp_path, capsys) == (0, ["scale.json", "scale.png"])
    results = json.loads((tmp_path / "scale.json").read_text())
    assert [list(results[name][0]) for name in ("faces", "side", "batch")] == [
        ["faces", "seconds", "megabytes"], ["side", "seconds"], ["batch", "seconds"],
    ]  # fmt: skip


@pytest.mark.slow
def test_speed_check_writes_no_files(tmp_path, capsys):
    assert run("speed", tmp_path, capsys, "--check") == (0, [])


@pytest.mark.slow
def test_speed_measures_memory(tmp_path, capsys):
    assert run("speed", tmp_path, capsys) == (0, ["speed.json", "speed.png"])
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert {row["engine"] for row in rows if "memory" in row} == {"textbook", "torch"}


@pytest.mark.parametrize("stage", ["prior", "finetune"])
@pytest.mark.slow
def test_training_prints_the_shares_of_a_step(stage, tmp_path, capsys):
    file = tmp_path / "squeezenet1_1.pth"
    torch.save(squeezenet_weights(), file)
    options = [*SMALLEST["training"].split(), "--stages", stage, "--feature-network", str(file)]
    assert command("training")(options) == 0
    printed = capsys.readouterr().out
    shares = [float(share) for share in re.findall(r"([0-9.]+)% of an eager step", printed)]
    assert len(shares) == 5 and all(share > 0 for share in shares) and f"{stage}: eager " in printed


@pytest.mark.slow
def test_raters_lose_no_answers(tmp_path, capsys):
    assert run("raters", tmp_path, capsys) == (0, ["raters.json"])
    load, crash, *_ = json.loads((tmp_path / "raters.json").read_text())
    assert load["answers"] == 2 and load["rate"] > 0 and "rate" not in crash


@pytest.mark.slow
def test_page_measures_waits(tmp_path, capsys):
    status, files = run("page", tmp_path, capsys)
    figures = json.loads((tmp_path / "page.json").read_text())
    assert status in (0, 1) and files == ["page.json"] and min(figures.values()) > 0


@pytest.mark.slow
def test_visitors_have_no_errors_and_lose_no_answers(tmp_path, capsys):
    status, files = run("visitors", tmp_path, capsys)
    figures = json.loads((tmp_path / "visitors.json").read_text())
    assert status in (0, 1) and files == ["visitors.json"]  # in so few restorations the memory of the app still grows
    assert not set(figures["errors"]) - {"busy"}, figures["errors"]
    assert figures["restorations"] and figures["answers"]
    assert figures["acknowledged"] >= figures["answers"] and figures["lost"] == figures["doubled"] == 0


@pytest.mark.slow
@pytest.mark.browser
def test_screenshots_show_all_tabs(tmp_path, capsys):
    pytest.importorskip("playwright")
    status, files = run("screenshots", tmp_path, capsys)
    if status == 2:
        pytest.skip("Chromium was not found.")
    assert (status, files) == (0, ["photo.png", "playground.png", "rate.png", "results.png", "tasks.png"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("page", "--moves 0", "moves and visitors are at least 1; got 0 and 10."),
        ("paste", "--photos 0", "The number of photos is at least 1; got 0."),
        ("paste", "--model missing.pth", "missing.pth"),
        ("raters", "--answers 0", "raters and answers are at least 1; got 200 and 0."),
        ("scale", "--faces 201", "The photo has 1 to 200 faces; got 201."),
        ("training", "--rounds 0", "rounds is at least 1; got 0."),
        ("training", "--batch-size 1", "batch_size is at least 2"),
        ("visitors", "--restorations 3", "visitors is at least 1 and restorations at least 20; got 50 and 3."),
    ],
)
def test_invalid_options_are_one_sentence(name, options, message, capsys):
    assert command(name)(options.split()) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and error.endswith(".") and "\n" not in error
