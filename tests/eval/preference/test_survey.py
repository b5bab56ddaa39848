"""Sessions of raters and the view of the owner, with the calls of the page."""

import json
from collections import Counter
from contextlib import closing

import pytest

from eval.__main__ import main
from eval.preference import exports
from eval.preference.storage.store import VoteStore
from eval.preference.survey import Survey, new_code
from gpen.errors import GPENError
from tests.eval.preference.simulated import METHODS, rate

BEST = {name: i for i, name in enumerate(["gold:worse", "d", "c", "b", "a", "gold:better"])}


def choose_better(shown):
    """Answer of a rater who always chooses the better method."""
    return "left" if BEST[shown[0]] > BEST[shown[1]] else "right"


def votes(survey):
    return [json.loads(line) for line in survey.export("jsonl")]


def test_session(survey):
    code = new_code()
    assert not survey.consented(code) and survey.progress(code)["done"] == 0
    with pytest.raises(GPENError, match="Your consent to the current text is not stored"):
        survey.next(code)
    survey.consent(code)
    trial, held = survey.next(code)
    assert survey.next(code, holding=[held["trial"]])[0]["trial"] != held["trial"]
    progress = survey.answer(code, id="answer-1", trial=trial["trial"], choice="tie", ms=1234)
    assert progress == {"done": 1, "total": 30, "finished": False, "pause": False}
    assert survey.undo(code) == trial and survey.undo(code) is None  # in the same order
    survey.answer(code, id="answer-2", trial=trial["trial"], choice="both_bad", ms=99)
    (line,) = votes(survey)
    asked, order = survey.tickets.redeem(trial["trial"], survey.rater(code))
    assert list(line) == ["study", "rater", "trial", "item", "left", "right", "choice", "ms", "gold", "time"]
    assert (line["left"], line["right"], line["choice"], line["ms"]) == (*order, "both_bad", 99)
    assert line["trial"] == asked.id and line["gold"] is (asked.kind == "gold")


def test_progress_and_pauses(survey):
    code = new_code()
    survey.consent(code)
    steps = []
    for k in range(30):
        (trial,) = survey.next(code, 1)
        steps.append(survey.answer(code, id=f"answer-{k}", trial=trial["trial"], choice="tie", ms=500))
    assert [step["done"] for step in steps if step["pause"]] == [20] and steps[-1]["finished"] and survey.next(code) == []


@pytest.mark.slow
def test_agreement_of_a_rater(survey):
    first, second = rate(survey, choose_better), rate(survey, choose_better)
    own = survey.agreement(second)
    assert own["answers"] == 30 and own["golds"] == own["passed"] == 10 and own["repeats"] == own["consistent"] > 0
    assert own["others"] == 1 and own["compared"] >= 2
    assert survey.agreement(rate(survey, lambda shown: "right" if choose_better(shown) == "left" else "left"))["others"] < 0.5
    assert survey.agreement(new_code())["others"] is None and survey.agreement(first)["passed"] == 10


@pytest.mark.parametrize(
    "change, message",
    [
        ({"choice": "best"}, "not a valid answer to this trial"),
        ({"choice": 3}, "not a valid answer"),
        ({"choice": ["left"]}, "not a valid answer"),
        ({"id": "x"}, "id of an answer must have 8"),
        ({"id": None}, "id of an answer must have"),
        ({"ms": -1}, "response time"),
        ({"ms": 1.5}, "response"),
        ({"trial": "0" * 16}, "was not given to this rater"),
        ({"code": "short"}, "rater code is not valid"),
        ({"code": None}, "not valid"),
    ],
)
def test_invalid_answers_are_not_stored(survey, change, message):
    code = new_code()
    survey.consent(code)
    request = {"code": code, "id": "answer-1", "trial": survey.next(code, 1)[0]["trial"], "choice": "left", "ms": 500} | change
    with pytest.raises(GPENError, match=message):
        survey.answer(request.pop("code"), **request)
    assert votes(survey) == []


def test_votes_do_not_contain_the_code(survey):
    code = rate(survey, choose_better, 3)
    text = "".join(survey.export("csv"))
    assert code not in text and survey.rater(code) in text
    with pytest.raises(GPENError):
        survey.delete(survey.rater(code))
    assert survey.delete(code) == 3 and votes(survey) == []


@pytest.mark.parametrize(
    "protocol, choice, stored",
    [
        ("rating", 4, {"rating": 4}),
        ("ranking", [2, 0, 1, 3], None),
    ],
)
def test_ratings_and_rankings(studies, tmp_path, protocol, choice, stored):
    survey = Survey(studies(protocol=protocol, gold_every=0, session=4), VoteStore.open(f"sqlite:///{tmp_path / 'v.sqlite'}"))
    code = new_code()
    survey.consent(code)
    (trial,) = survey.next(code, 1)
    for wrong in ("left", [0, 0, 1, 2], [0, 1], 7, True, [0.0, 1.0, 2.0, 3.0]):
        with pytest.raises(GPENError, match="not a valid answer to this trial"):
            survey.answer(code, id="answer-1", trial=trial["trial"], choice=wrong, ms=500)
    survey.answer(code, id="answer-1", trial=trial["trial"], choice=choice, ms=500)
    (line,) = votes(survey)
    _, shown = survey.tickets.redeem(trial["trial"], survey.rater(code))
    expected = stored | {"method": shown[0]} if stored else {"order": [shown[i] for i in choice]}
    assert {key: line[key] for key in expected} == expected
    survey.close()


def test_counts_leaderboard_and_quality(survey):
    with pytest.raises(GPENError, match="no votes"):
        survey.leaderboard()
    rate(survey, lambda shown: "left", ms=50)
    rate(survey, choose_better)
    rate(survey, choose_better)
    counts = survey.counts()
    assert (counts["answers"], counts["raters"], counts["trials"], counts["items"]["total"]) == (90, 3, 90, 5)
    assert sum(pair["n"] for pair in counts["pairs"]) + counts["golds"] <= 90 and counts["last"]
    assert counts["needed"] > 0 and len(counts["pairs"]) == 6
    quality = {record.rater: record for record in survey.quality()}
    assert sum("faster than 300 ms" in record.dropped for record in quality.values()) == 1
    scores = survey.leaderboard()
    assert list(scores["methods"]) == list(METHODS) and scores["raters"] == 2 and len(scores["dropped_raters"]) == 1
    assert survey.leaderboard() is scores  # cached for half a minute


def test_export_and_import_commands(survey, studies, tmp_path, capsys):
    rate(survey, choose_better)
    study, new = str(studies().folder), f"sqlite:///{tmp_path / 'new.sqlite'}"
    old = str(survey.store._database.engine.url)
    export = ["study", "export", "--study", study, "--votes", old]
    assert main([*export, "--out", str(tmp_path / "votes.csv")]) == 0 and main(export) == 0
    assert capsys.readouterr().out == "".join(survey.export("jsonl"))
    load = ["study", "import", str(tmp_path / "votes.csv"), "--study", study, "--votes", new]
    file = tmp_path / "votes.csv"
    assert main(load) == 0 and main(load) == 0
    place = f"{tmp_path / 'new.sqlite'} (--votes)"
    assert capsys.readouterr().out == "".join(f"30 votes in {file}; {new} of them are new in {place}.\n" for new in (30, 0))
    assert main([*export[:-1], new]) == 0
    exported = capsys.readouterr()
    assert exported.out == "".join(survey.export("jsonl"))
    assert exported.err == f"30 votes of the study {studies().name} in {place}.\n"
    assert main(["study", "import", str(file), "--study", study, "--votes", old]) == 0
    assert "; 0 of them are new in " in capsys.readouterr().out  # existing votes are ignored


def test_imported_repeats_remain_repeats(survey, studies, tmp_path):
    code = rate(survey, choose_better)
    with closing(Survey(studies(), VoteStore.open(f"sqlite:///{tmp_path / 'copy.sqlite'}"))) as copy:
        copy.import_votes(exports.read("".join(survey.export("jsonl")), "jsonl"))
        kinds = [Counter(vote.kind for vote in each.store.votes(each.study.name)) for each in (survey, copy)]
        assert kinds[0] == kinds[1] and kinds[0]["repeat"] > 0 and copy.agreement(code) == survey.agreement(code)


def test_import_of_other_methods(survey):
    line = json.dumps({"rater": "r", "left": "a", "right": "other", "choice": "left"})
    with pytest.raises(GPENError, match="Vote 1 has the method 'other', which is not in this study"):
        survey.import_votes(exports.read(line, "jsonl"))
    gold = json.dumps({"rater": "r", "item": "i", "left": "a", "right": "b", "choice": "left", "gold": "a"})
    with pytest.raises(GPENError, match="The gold trial of the item 'i' with a, b has no ground truth"):
        survey.import_votes(exports.read(gold, "jsonl"))  # the store would not keep the expected answer
    with pytest.raises(GPENError, match="have the protocol ranking, the study pairwise"):
        survey.import_votes(exports.read(json.dumps({"rater": "r", "order": ["a", "b"]}), "jsonl"))
