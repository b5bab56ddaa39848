"""The copy of votes in a mounted folder: restart with an empty disk, two instances, deletion, a folder that is not mounted."""

from pathlib import Path

import pytest

from eval.preference.mirror import hub
from eval.preference.mirror.hub import Mirror
from eval.preference.mirror.mounted import MountedFolder
from eval.preference.storage.store import VoteStore
from eval.preference.survey import Survey
from gpen.errors import GPENError
from tests.eval.preference.simulated import rate


@pytest.fixture
def start(studies, tmp_path, monkeypatch):
    """start(): an instance with an empty disk and the bucket at tmp_path/data."""
    monkeypatch.setattr(hub, "PERIOD", 1e6)  # the tests synchronise themselves
    running = []

    def started():
        survey = Survey(studies(), VoteStore.open(tmp_path / f"{len(running)}.sqlite"))
        bucket = str(tmp_path / "data")
        survey.mirror = Mirror(
            survey.store, survey.study.name, bucket, survey.reload_keys, survey.import_votes, MountedFolder(bucket)
        )
        survey.mirror.start()
        running.append(survey)
        return survey

    yield started
    for survey in running:
        survey.close()


def left(shown):
    return "left"


def votes(survey):
    return list(survey.export("jsonl"))


def test_restart_with_an_empty_disk_keeps_the_votes(start, tmp_path):
    (tmp_path / "data").mkdir()
    before = start()
    code = rate(before, left, 4)
    before.undo(code, "answer-0003")
    expected = votes(before)
    before.close()
    after = start()
    assert votes(after) == expected and len(expected) == 3 and after.consented(code)
    assert after.mirror.status().waiting == 0


def test_instances_do_not_overwrite_each_other_and_a_deletion_is_complete(start, tmp_path):
    (tmp_path / "data").mkdir()
    one, two = start(), start()
    first, _second = rate(one, left, 3), rate(two, left, 2)
    for survey in (one, two, one):
        survey.mirror.sync()
    assert len(votes(one)) == len(votes(two)) == 5
    gone = one.rater(first)
    one.delete(first)
    for survey in (one, two):
        survey.mirror.sync()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    lines = [line for path in files for line in path.read_text().splitlines() if gone in line]
    assert len(votes(two)) == 2 and all('"delete"' in line for line in lines)
    assert not [path.name for path in files if path.name.startswith(".")]


@pytest.mark.parametrize("reading", ["read_bytes", "read_text"])  # of the list, and of the events
def test_file_that_another_instance_joins_with_others_during_the_reading(start, tmp_path, monkeypatch, reading):
    """Failure sequence: an instance did not start while another one joined files: "check its name and the write access"."""
    (tmp_path / "data").mkdir()
    one = start()
    rate(one, left, 3)
    one.mirror.sync()
    (file,) = (tmp_path / "data").glob("*/events-*")
    read = getattr(Path, reading)

    def read_moved(path, *arguments, **named):
        if path == file and file.exists():
            file.rename(file.with_name("events-joined-0000.jsonl"))
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, reading, read_moved)
    assert votes(start()) == votes(one) and not file.exists()


def test_bucket_that_is_not_mounted_is_an_error(start):
    with pytest.raises(GPENError, match="There is no folder .*data: mount the bucket, or unset GPEN_VOTES_REPO."):
        start()
