"""The commands export, import and score: where they read votes, what they print, their exit status."""

import json
from contextlib import closing

import pytest

from eval.__main__ import main
from eval.preference.storage.store import VoteStore
from eval.preference.study import BETTER
from eval.preference.survey import Survey
from tests.eval.preference.simulated import lines, rate, vote


def careful(shown):
    """Answer gold trials correctly, so that the rater counts, and the others always with left."""
    return "right" if shown[1] == BETTER else "left"


@pytest.fixture
def page(studies, tmp_path, monkeypatch):
    """The votes of a page that was started in tmp_path with GPEN_VOTES=votes.sqlite, and the folder of its study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("GPEN_VOTES", "votes.sqlite")
    with closing(Survey(studies(), VoteStore.open())) as survey:
        rate(survey, careful, 9)
        yield survey.study


def test_commands_read_the_votes_of_the_page(page, tmp_path, capsys):
    """Failure sequence: the page took 9 votes with GPEN_VOTES=votes.sqlite, and export wrote 0 lines from another store."""
    assert main(["study", "export", "--study", str(page.folder)]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 9
    assert printed.err == f"9 votes of the study {page.name} in {tmp_path / 'votes.sqlite'} (GPEN_VOTES).\n"
    assert main(["study", "score", "--study", str(page.folder)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["study"] == page.name and "9 votes" in printed.err
    assert main(["study", "score", "--votes", "votes.sqlite"]) == 0


def test_no_votes_are_a_warning_and_status_1(page, studies, tmp_path, capsys):
    other = studies(title="Another study").folder
    for command in (["export", "--study", str(other)], ["score", "--study", str(other)]):
        assert main(["study", *command]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("warning: 0 votes of the study ")
        assert f"it has votes of {page.name} (9)." in printed.err
        assert main(["study", *command, "--votes", str(tmp_path / "typo.sqlite")]) == 1
        assert f"0 votes: There is no store of votes in {tmp_path / 'typo.sqlite'} (--votes)" in capsys.readouterr().err
    assert main(["study", "export", "--study", str(other), "--out", "none.csv"]) == 1 and not (tmp_path / "none.csv").exists()
    assert not (tmp_path / "typo.sqlite").exists()
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["study", "import", "empty.jsonl", "--study", str(other), "--votes", "new.sqlite"]) == 1
    assert not (tmp_path / "new.sqlite").exists()


def test_export_converts_a_file_of_votes(page, tmp_path, capsys):
    (tmp_path / "votes.jsonl").write_text(lines([vote(study=page.name, item=f"i{k}") for k in range(3)] + [vote(study="other")]))
    assert main(["study", "export", "--study", str(page.folder), "--votes", "votes.jsonl", "--out", "votes.csv"]) == 0
    assert (tmp_path / "votes.csv").read_text().count("\n") == 4
    assert capsys.readouterr().err == f"3 votes of the study {page.name} in votes.jsonl.\n"


def test_battles_and_table_of_strengths(page, tmp_path, capsys):
    export = ["study", "export", "--format", "arena", "--out", "battles.csv"]
    for named in (["--study", str(page.folder)], ["--study-name", page.name]):
        assert main([*export, *named]) == 0
        header, *battles = (tmp_path / "battles.csv").read_text().splitlines()
        assert header.startswith("model_a,model_b,winner,rater,item,date,blur_sigma") and 0 < len(battles) < 9  # no gold trials
    assert main(["study", "score", "--study", str(page.folder), "--out", "scores.csv"]) == 0
    assert (tmp_path / "scores.csv").read_text().startswith("parameter,from,to,method,group,strength,")
    capsys.readouterr()
    assert main(["study", "export"]) == 2
    assert "name it with --study or --study-name." in capsys.readouterr().err
