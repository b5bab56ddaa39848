"""The curves of several legs: one after the other, torn lines left out, a clear sentence where there is nothing."""

import json
import subprocess
import sys

import cv2


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "gpen.training.curves", *map(str, arguments)], capture_output=True, text=True)


def test_legs_follow_one_another(tmp_path):
    for leg, losses in (("a", [0.3, 0.2]), ("b", [0.15, 0.1])):
        (tmp_path / leg).mkdir()
        lines = [json.dumps({"shown": 100 * k, "rate": 5.0, "content": loss}) for k, loss in enumerate(losses, 1)]
        (tmp_path / leg / "log.jsonl").write_text("\n".join(lines) + '\n{"shown": 300, "con')
    result = command(tmp_path / "a", tmp_path / "b", "--log", tmp_path / "all.jsonl", "--out", tmp_path / "curves.png")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    expected = [(1, 100, 0.3), (1, 200, 0.2), (2, 300, 0.15), (2, 400, 0.1)]
    assert [(record["leg"], record["shown"], record["content"]) for record in records] == expected
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 5


def test_no_log_is_said_in_one_sentence(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    for run, sentence in ((tmp_path / "nothing", "There is no log"), (tmp_path, "nothing to draw")):
        result = command(run, "--out", tmp_path / "curves.png")
        assert result.returncode == 2 and sentence in result.stderr and "Traceback" not in result.stderr
