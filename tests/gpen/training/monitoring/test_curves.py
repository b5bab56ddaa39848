"""Curves of several phases of training: joined in order, without cut-off lines; errors are one sentence."""

import json
import subprocess
import sys

import cv2
import pytest

from gpen.training.monitoring.curves import plot


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "gpen", "curves", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_phases_are_joined_in_order(tmp_path):
    for phase, losses in (("a", [0.3, 0.2]), ("b", [0.15, 0.1])):
        (tmp_path / phase).mkdir()
        lines = [
            json.dumps({"images_seen": 100 * k, "images_per_second": 5.0, "content": loss}) for k, loss in enumerate(losses, 1)
        ]
        (tmp_path / phase / "log.jsonl").write_text("\n".join(lines) + '\n{"images_seen": 300, "con')
    result = command(tmp_path / "a", tmp_path / "b", "--log", tmp_path / "all.jsonl", "--out", tmp_path / "curves.png")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    expected = [(1, 100, 0.3), (1, 200, 0.2), (2, 300, 0.15), (2, 400, 0.1)]
    assert [(record["phase"], record["images_seen"], record["content"]) for record in records] == expected
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 5


@pytest.mark.slow
def test_missing_and_empty_logs_are_errors(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    for runs, sentence in (
        ([tmp_path / "nothing"], "There is no log"),
        ([tmp_path], "nothing to draw"),
        ([], "name the folders"),
    ):
        result = command(*runs, "--out", tmp_path / "curves.png")
        assert result.returncode == 2 and sentence in result.stderr and "Traceback" not in result.stderr


def test_number_of_panels_in_a_row_can_be_chosen():
    records = [{"images_seen": k, "a": k, "b": k, "val/c": k, "other/c": k} for k in (1, 2)]
    for columns, rows in ((1, 3), (2, 2), (9, 1)):
        axes = plot(records, columns=columns).axes
        grids = {axis.get_subplotspec().get_gridspec().get_geometry() for axis in axes}
        assert grids == {(rows, min(columns, 3))} and [axis.get_title() for axis in axes] == ["a", "b", "validation: c"]
    assert all(axis.get_xlabel() == "images seen" for axis in axes)
