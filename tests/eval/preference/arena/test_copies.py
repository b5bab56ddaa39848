"""The copy of the votes of the arena: beside those of a study, from one store into one dataset."""

import json

import pytest
from huggingface_hub import HfApi

from eval.preference.arena.battles import NAME, Arena
from eval.preference.mirror import hub as mirror
from eval.preference.mirror.hub import Mirror
from eval.preference.storage.refusals import ConsentNeededError, DeletedError
from eval.preference.storage.store import VoteStore
from eval.preference.survey import Survey, new_code
from gpen.degradation.degradation import Degradation
from tests.eval.preference.mirror.fake_hub import REPO, Hub
from tests.eval.preference.simulated import rate

DAMAGE = Degradation(scale=4.0, seed=5)


class Page:
    """The surveys of a page with an empty disk: a study and the arena, which share a store and a dataset."""

    def __init__(self, study, file, hub):
        store = VoteStore.open(file)
        self.survey, self.arena = Survey(study, store), Arena(("bilinear", "nlm", "gpen"), store)
        self.surveys = self.survey, self.arena.survey
        for one in self.surveys:
            api = HfApi(endpoint=hub.url, token="hf_test")
            one.mirror = Mirror(store, one.study.name, REPO, one.reload_keys, one.import_votes, api)
            one.mirror.start()

    def vote(self, code, id="answer-0000"):
        battle = self.arena.draw(code, "astronaut", DAMAGE)
        return self.arena.answer(code, id=id, ticket=battle.ticket, choice="left", ms=900).votes

    def votes(self):
        return [list(one.export("jsonl")) for one in self.surveys]

    def close(self):
        for one in self.surveys:
            one.stop_mirror()
        self.survey.store.close()

    def kill(self):
        """As kill -9 with a disk that is lost: nothing more is written."""
        for one in self.surveys:
            one.mirror._stopping.set()
            one.mirror = None
        self.survey.store.close()


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def start(hub, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "PERIOD", 1e6)  # the tests synchronise themselves
    started = []

    def start():
        started.append(Page(studies(), tmp_path / f"{len(started)}.sqlite", hub))
        return started[-1]

    yield start
    for page in started:
        page.close()


def test_redeploy_keeps_votes_consents_and_pending_pairs(start, hub):
    before, code = start(), new_code()
    before.arena.survey.consent(code)
    rate(before.survey, lambda shown: "left", 2)
    assert [before.vote(code, f"answer-000{k}") for k in range(3)] == [1, 2, 3]
    pending, expected = before.arena.draw(code, "astronaut", DAMAGE), before.votes()
    before.close()
    after = start()
    assert after.votes() == expected and list(map(len, expected)) == [2, 3]
    outcome = after.arena.answer(code, id="answer-0003", ticket=pending.ticket, choice="tie", ms=900)
    assert outcome.votes == 4 and outcome.shown == pending.shown
    assert {path.split("/")[0] for path in hub.files} == {NAME, after.survey.study.name}


def test_killed_page_loses_what_was_not_copied_and_counts_no_pair_twice(start, hub):
    before, code = start(), new_code()
    before.arena.survey.consent(code)
    before.vote(code)
    before.arena.survey.mirror.sync()
    lost = before.arena.draw(code, "astronaut", DAMAGE)
    before.vote(code, "answer-0001")
    before.kill()
    after = start()
    assert len(after.arena.survey.store.votes(NAME)) == 1 and after.arena.survey.consented(code)
    assert after.arena.draw(code, "astronaut", DAMAGE).shown == lost.shown  # the same pair is given again
    for id in ("answer-0001", "answer-0002"):
        assert after.arena.answer(code, id=id, ticket=lost.ticket, choice="left", ms=900).votes == 2


def test_deletion_of_a_visitor_reaches_the_dataset_and_leaves_the_study(start, hub):
    page, code, stays = start(), new_code(), new_code()
    rate(page.survey, lambda shown: "left", 2)
    for one in (code, stays):
        page.arena.survey.consent(one)
        page.vote(one)
    for one in page.surveys:
        one.mirror.sync()
    rater = page.arena.survey.rater(code)
    assert rater in hub.history and page.arena.survey.delete(code) == 1
    page.arena.survey.mirror.sync()
    assert all('"delete"' in line for line in hub.history.splitlines() if rater in line)
    after = start()
    assert list(map(len, after.votes())) == [2, 1] and rater not in json.dumps(after.votes())
    with pytest.raises((ConsentNeededError, DeletedError)):
        after.vote(code)
