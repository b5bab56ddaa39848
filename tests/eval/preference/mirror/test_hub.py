"""The copy of votes in a dataset, against a stand-in of the Hub: restarts, kills, two instances, deletion, undo, failures."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from huggingface_hub import HfApi

from eval.preference import exports
from eval.preference.mirror import hub as mirror
from eval.preference.mirror.hub import Mirror
from eval.preference.storage.events import identity
from eval.preference.storage.refusals import ConsentNeededError, DeletedError
from eval.preference.storage.store import VoteStore
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests import ROOT
from tests.eval.preference.mirror.fake_hub import REPO, Hub
from tests.eval.preference.simulated import rate


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def start(hub, studies, tmp_path, monkeypatch):
    """start(): an instance with an empty disk, as after a redeploy; start("name"): with the disk of that name."""
    monkeypatch.setattr(mirror, "PERIOD", 1e6)  # the tests synchronise themselves
    running = []

    def started(disk=None):
        file = tmp_path / f"{disk or len(running)}.sqlite"
        survey = Survey(studies(), VoteStore.open(file))
        api = HfApi(endpoint=hub.url, token="hf_test")
        survey.mirror = Mirror(survey.store, survey.study.name, REPO, survey.reload_keys, survey.import_votes, api)
        survey.mirror.start()
        running.append(survey)
        return survey

    yield started
    hub.failing = None
    for survey in running:
        survey.close()


def votes(survey):
    return list(survey.export("jsonl"))


def left(shown):
    return "left"


def answer_one(survey, code, id):
    (trial,) = survey.next(code, 1)
    survey.answer(code, id=id, trial=trial["trial"], choice="left", ms=900)
    return trial["trial"]


def kill(survey):
    """As kill -9 with a disk that is lost: nothing more is written."""
    survey.mirror._stopping.set()
    survey.mirror = None
    survey.store.close()


def test_redeploy_keeps_ids_undos_consents_and_tickets(start, hub):
    """Failure sequence: after a restart consents were lost, undo did nothing, and pending tickets were invalid."""
    before = start()
    code = rate(before, left, 4)
    pending = before.next(code, 1)[0]["trial"]
    before.undo(code, "answer-0003")
    expected = votes(before)
    before.close()
    after = start()
    assert votes(after) == expected and after.consented(code) and after.progress(code)["done"] == 3
    assert after.answer(code, id="answer-0004", trial=pending, choice="tie", ms=800)["done"] == 4
    after.undo(code, "answer-0000")
    assert after.progress(code)["done"] == 3 and "answer-0000" not in str(after.store.votes(after.study.name))
    late = rate_again(after, code, "answer-0003")  # a late retry of an undone answer stays undone
    assert late["done"] == 3


def rate_again(survey, code, id):
    vote = next(event for event in survey.store.events(survey.study.name) if event.get("id") == id and event["event"] == "answer")
    trial = survey.study.trials[vote["trial"]]
    ticket = survey.tickets.issue(trial, survey.rater(code), tuple(vote["shown"]))["trial"]
    return survey.answer(code, id=id, trial=ticket, choice="left", ms=900)


@pytest.mark.slow
def test_deletion_reaches_all_files_all_stores_and_the_history(start, hub):
    """Failure sequence: deleted answers came back after a restart."""
    first, second = start(), start()
    stays, goes = rate(first, left, 3), rate(first, left, 3)
    first.mirror.sync()
    second.mirror.sync()
    assert votes(second) == votes(first)
    rater, old_export = first.rater(goes), "".join(first.export("jsonl"))
    assert second.delete(goes) == 3
    second.mirror.sync()
    first.mirror.sync()  # the other instance learns of it, and does not push the answers again
    third = start()
    for survey in (first, second, third):
        assert {json.loads(line)["rater"] for line in votes(survey)} == {survey.rater(stays)}
        with pytest.raises(DeletedError):
            survey.consent(goes)
        assert survey.import_votes(exports.read(old_export, "jsonl")) == 0  # an old export does not revive them
    assert [line["event"] for line in hub.events() if line.get("rater") == rater] == ["delete"]
    assert all('"delete"' in line for line in hub.history.splitlines() if rater in line)


@pytest.mark.slow
def test_old_export_does_not_revive_undone_answers(start):
    survey = start()
    code = rate(survey, left, 2)
    old_export = "".join(survey.export("jsonl"))
    survey.undo(code, "answer-0001")
    survey.close()
    after = start()
    assert after.import_votes(exports.read(old_export, "jsonl")) == 0 and len(votes(after)) == 1


@pytest.mark.slow
def test_two_instances_do_not_overwrite_each_other(start, hub):
    """Failure sequence: both wrote one file, and the last one won."""
    first, second = start(), start()
    assert first.tickets is not None and second.tickets is not None  # each has made its own key
    one, two = rate(first, left, 3), rate(second, left, 3)
    ticket = second.next(two, 1)[0]["trial"]
    first.mirror.sync()
    hub.before_commit = lambda: hub.put(dict(hub.revisions[-1]))  # a conflict
    second.mirror.sync()
    first.mirror.sync()
    assert votes(first) != [] and sorted(votes(first)) == sorted(votes(second)) and len(votes(first)) == 6
    assert len([path for path in hub.files if "/events-" in path]) == 2
    assert first.progress(two)["done"] == 3 and second.progress(one)["done"] == 3
    assert first.answer(two, id="answer-0009", trial=ticket, choice="left", ms=700)["done"] == 4  # signed by the other key
    assert [key for key in map(identity, hub.events())] == list(dict.fromkeys(map(identity, hub.events())))


def test_deletion_does_not_overwrite_what_another_instance_adds_meanwhile(start, monkeypatch):
    """A deletion rewrites the files of all instances; the commit names its parent, so that it is repeated after a conflict."""
    first, second = start(), start()
    goes, api = rate(second, left, 1), first.mirror._api
    second.mirror.sync()
    first.mirror.sync()
    first.delete(goes)
    late, commit = rate(second, left, 2), api.create_commit

    def after_the_other(*arguments, **named):
        monkeypatch.setattr(api, "create_commit", commit)
        second.mirror.sync()
        return commit(*arguments, **named)

    monkeypatch.setattr(api, "create_commit", after_the_other)
    first.mirror.sync()
    kill(second)
    third = start()
    assert third.progress(late)["done"] == 2 and third.deleted(goes)


@pytest.mark.slow
def test_answer_counts_as_safe_when_it_is_copied(start, hub):
    survey = start()
    code = rate(survey, left, 2)
    ids = ["answer-0000", "answer-0001", "never-sent"]
    assert survey.unconfirmed(code, ids) == {"missing": ["never-sent"], "waiting": ids[:2]}
    survey.mirror.sync()
    assert survey.unconfirmed(code, ids) == {"missing": ["never-sent"], "waiting": []}
    survey.undo(code, "answer-0001")
    assert survey.unconfirmed(code, ["undo:answer-0001"])["waiting"] == ["undo:answer-0001"]
    survey.mirror.sync()
    assert survey.unconfirmed(code, ["undo:answer-0001", "undo:answer-0000"]) == {"missing": ["undo:answer-0000"], "waiting": []}
    answer_one(survey, code, "answer-0007")
    kill(survey)  # before the next copy
    after = start()
    assert after.unconfirmed(code, ["answer-0000", "answer-0007"]) == {"missing": ["answer-0007"], "waiting": []}
    after.delete(code)
    with pytest.raises(DeletedError):
        after.unconfirmed(code, ids)


def test_lost_consent_asks_again_and_loses_nothing(studies, tmp_path):
    """Failure sequence: after a restart without the mirror, the only way on cleared the code of the rater."""
    with closing(Survey(studies(), VoteStore.open(tmp_path / "new.sqlite"))) as survey:
        code = new_code()
        with pytest.raises(ConsentNeededError) as needed:
            survey.next(code)
        assert needed.value.status == 428
        survey.consent(code)
        answer_one(survey, code, "answer-0000")


def test_disk_that_stays_and_the_mirror_agree(start, hub):
    survey = start("disk")
    code = rate(survey, left, 3)
    kill(survey)  # nothing was copied, but the disk stays
    again = start("disk")
    assert again.progress(code)["done"] == 3 and again.unconfirmed(code, ["answer-0002"])["waiting"] == []
    assert len({identity(event) for event in hub.events() if event["event"] == "answer"}) == 3


def test_start_needs_a_private_dataset_and_a_push(start, hub):
    hub.private = False
    with pytest.raises(GPENError, match="me/votes is public"):
        start()
    hub.private, hub.failing = True, 403
    with pytest.raises(GPENError, match="cannot be copied to the dataset me/votes .*check its name and the write access"):
        start()
    hub.failing = None
    survey = start()
    assert json.loads(hub.files[f"{survey.study.name}/start.json"])["instance"] == survey.mirror.instance


def test_dataset_that_becomes_public_stops_the_copies(start, hub, capsys):
    survey = start()
    rate(survey, left, 1)
    hub.private, before = False, hub.commits
    survey.mirror._try()
    assert hub.commits == before and "is public" in survey.mirror.status().error and "is public" in capsys.readouterr().err


def test_error_between_two_files_leaves_neither_unread(start, monkeypatch, capsys):
    """Failure sequence: files that were read before the error counted as merged, so that their deletions never arrived."""
    reader, first, second = start(), start(), start()
    for survey in (first, second):
        rate(survey, left, 2)
        survey.mirror.sync()
    download, calls = reader.mirror._api.hf_hub_download, []

    def failing(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionError("the connection was closed")
        return download(*arguments, **named)

    monkeypatch.setattr(reader.mirror._api, "hf_hub_download", failing)
    reader.mirror._try()
    assert "the connection was closed" in capsys.readouterr().err and reader.mirror.status().error
    reader.mirror._try()
    assert len(votes(reader)) == 4 and reader.mirror.status().error is None


def test_owner_sees_the_age_of_the_last_push_and_errors(start, hub, capsys):
    """Failure sequence: errors of a push were silent."""
    survey = start()
    assert survey.mirror.status().age < 60 and survey.mirror.status().waiting == 0
    rate(survey, left, 2)
    hub.failing = 500
    survey.mirror._try()
    survey.mirror._try()
    status = survey.mirror.status()
    assert status.waiting >= 2 and "500" in status.error
    assert capsys.readouterr().err.count("the votes are not copied to me/votes") == 1  # not once a minute
    hub.failing = None
    survey.mirror._try()
    assert survey.mirror.status().waiting == 0 and survey.mirror.status().error is None


def test_answers_are_copied_without_an_end_of_the_process(start, hub, monkeypatch):
    monkeypatch.setattr(mirror, "PERIOD", 0.01)
    survey = start()
    rate(survey, left, 1)
    for _ in range(3000):
        if any(event["event"] == "answer" for event in hub.events()):
            break
        survey.mirror._stopping.wait(0.01)
    assert [event["id"] for event in hub.events() if event["event"] == "answer"] == ["answer-0000"]


@pytest.mark.slow
def test_many_files_are_joined_at_a_start(start, hub, monkeypatch):
    monkeypatch.setattr(mirror, "MAX_FILES", 3)
    monkeypatch.setattr(mirror, "SEGMENT", 4)
    expected = []
    for _ in range(3):
        survey = start()
        rate(survey, left, 3)
        expected = votes(survey)
        survey.close()
    assert len([path for path in hub.files if "/events-" in path]) > 3  # segments of at most four events
    assert max(text.count("\n") for path, text in hub.files.items() if "/events-" in path) == 4
    monkeypatch.setattr(mirror, "SEGMENT", 1000)
    assert votes(start()) == expected and len([path for path in hub.files if "/events-" in path]) == 1


def test_votes_of_version_1_are_taken_over(start, hub):
    survey = start()
    rate(survey, left, 3)
    exported, name = "".join(survey.export("jsonl")), survey.study.name
    kill(survey)
    hub.revisions = [{f"{name}/votes.jsonl": exported.encode()}]
    after = start()
    assert votes(after) == exported.splitlines(keepends=True)
    assert f"{name}/votes.jsonl" not in hub.files and len(hub.revisions) == 1  # nor in the history


def test_damaged_file_is_an_error_that_names_it(start, hub):
    name = start().study.name
    for text, message in (("{", "not JSON"), ('{"event": "vote"}', "is not an event")):
        hub.put(hub.revisions[-1] | {f"{name}/events-x-0000.jsonl": text.encode()})
        with pytest.raises(GPENError, match=message):
            start()


WORKER = """
import signal, sys, threading
from eval.preference.mirror.hub import Mirror
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from tests.eval.preference.simulated import rate
survey = Survey(Study.open(sys.argv[1]), VoteStore.open(sys.argv[2]))
survey.mirror = Mirror(survey.store, survey.study.name, "me/votes", survey.reload_keys, survey.import_votes)
survey.mirror.start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    code = rate(survey, lambda shown: "left", 3)
    print(code, flush=True)
    threading.Event().wait()
finally:
    survey.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_ended_process(hub, start, studies, tmp_path, ending):
    """SIGTERM copies the last answers; kill -9 loses them on a lost disk, and the page learns which."""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test"}
    command = [sys.executable, "-c", WORKER, str(studies().folder), str(tmp_path / "worker.sqlite")]
    worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    code = worker.stdout.readline().strip()
    worker.send_signal(ending)
    worker.communicate()
    after = start()
    ids = [f"answer-{k:04}" for k in range(3)]
    assert after.unconfirmed(code, ids)["missing"] == ([] if ending == signal.SIGTERM else ids)
    assert after.consented(code) == (ending == signal.SIGTERM)
