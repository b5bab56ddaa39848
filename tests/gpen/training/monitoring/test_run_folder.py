"""The folder of a training run: its lock, and lines of the log that are marked with their environment."""

import json
from types import SimpleNamespace

import pytest

from gpen.environment import environment, environment_id
from gpen.errors import GPENError
from gpen.folder_lock import lock_folder
from gpen.training.loop import train
from gpen.training.monitoring.run_folder import TrainingRun
from gpen.training.runtime.parallel import Distributed


def test_second_training_of_a_folder_is_refused(tmp_path):
    trainer = SimpleNamespace(group=Distributed("cpu"))
    with lock_folder(tmp_path / "run"), pytest.raises(GPENError, match="Another process writes to .*run: wait"):
        train(trainer, [], tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_lines_after_a_change_of_the_environment_are_marked(tmp_path, capsys):
    found = [environment("cpu", [], [], batch=batch) for batch in (4, 4, 8)]
    run = TrainingRun(tmp_path, resume=False)
    for number, own in enumerate(found, 1):
        run.mark(own)
        run.log(images_seen=number, loss=0.5)
    first, _, second = map(environment_id, found)
    assert [line["environment"] for line in run.read_log()] == [first, first, second]
    assert json.loads((tmp_path / "environments.json").read_text()) == {first: found[0], second: found[2]}
    assert capsys.readouterr().err == f"{tmp_path} was trained in another environment (batch 4, now 8): its log is marked.\n"
    run.plot()
    assert (tmp_path / "curves.png").stat().st_size > 1000
