"""The leaderboard and the arena in a browser."""

import csv
import io
from contextlib import closing
from types import SimpleNamespace

import gradio as gr
import pytest

from demo import shell
from demo.server.model_picker import ModelPicker
from demo.tabs import arena, leaderboard, rate
from eval.preference.arena.battles import NAME
from eval.preference.storage.store import VoteStore
from eval.preference.storage.votes import Vote
from eval.preference.study import BETTER, WORSE, Study, TrialKind
from eval.preference.survey import Survey
from tests.demo.accessibility import assert_accessible
from tests.demo.conftest import METHODS
from tests.demo.rater_steps import repeat

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(study, restorer, model_file, tmp_path_factory):
    """Serves the tabs Arena and Leaderboard, with votes in the study; yields the URL, the study and the arena."""
    folder = tmp_path_factory.mktemp("votes")
    with pytest.MonkeyPatch.context() as patch:
        variables = {arena.VARIABLE: "1", leaderboard.PUBLIC_VARIABLE: "1", "GPEN_MODELS": "", "DATABASE_URL": ""}
        for name, value in (variables | {"GPEN_MODEL": str(model_file), "GPEN_VOTES": str(folder / "v.sqlite")}).items():
            patch.setenv(name, value)
        for name in ("COUNTS_AGE", "LEADERBOARD_AGE"):
            patch.setattr(f"eval.preference.survey.{name}", 0)
        with closing(Survey(with_degradations(Study.open(study)), VoteStore.open(folder / "v.sqlite"))) as survey:
            survey.import_votes(simulated(survey.study))
            live = arena.open_page(ModelPicker(restorer), survey.store)
            with gr.Blocks(analytics_enabled=False) as page:
                shell.header()
                with shell.tab_bar():
                    with shell.tab("arena"):
                        arena.tab()
                    with shell.tab("leaderboard"):
                        leaderboard.tab(survey)
            settings = shell.launch_settings([*arena.routes(live), *rate.routes(survey, live.survey)])
            _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **settings)
            yield url, survey, live
            page.close()


def with_degradations(study: Study) -> Study:
    for number, item in enumerate(study.items):
        object.__setattr__(item, "degradation", {"blur_sigma": 1.0 + number, "scale": 4.0})
    return study


def simulated(study: Study) -> list[Vote]:
    """Votes of six raters for every pair of every item; the better method wins two of three."""
    order = {name: i for i, name in enumerate(METHODS)}
    votes = []
    for rater in range(6):
        for number, trial in enumerate(trial for trial in study.trials.values() if trial.kind == TrialKind.ORDINARY):
            better = min(trial.methods, key=order.get)
            wins = (number + rater) % 3 > 0
            choice = "left" if (trial.methods[0] == better) == wins else "right"
            votes.append(Vote(study.name, f"r{rater}", trial.id, trial.item.id, list(trial.methods), choice, 900))
    return votes


def test_slices_and_files_of_the_leaderboard(visit, served):
    page = visit(f"{served[0]}?tab=leaderboard")
    page.wait_for_selector(".slices svg")
    assert page.inner_text(".slices h4") == "Blur (sigma, px)" and page.locator(".slices h4").count() == 1  # one scale
    assert page.locator(".slice").all_inner_texts() == ["1 to 2\n36 votes", "3 to 4\n36 votes"]
    for file, column in (("strengths", "strength"), ("battles", "winner")):
        with page.expect_download() as waiting:
            page.click(f"[data-file='study/{file}.csv']")
        rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
        assert waiting.value.suggested_filename == f"study-{file}.csv" and all(row[column] for row in rows)
    assert len(rows) == 72 and {row["scale"] for row in rows} == {"4.0"}


def test_board_is_updated_while_details_stay_open(visit, served):
    url, survey, _ = served
    page = visit(f"{url}?tab=leaderboard")
    page.click(".how summary")
    study = survey.study
    trial = next(iter(study.trials.values()))
    before = int(page.inner_text(".rate dt"))
    survey.import_votes([Vote(study.name, "late", trial.id, trial.item.id, list(trial.methods), "tie", 900)])
    page.wait_for_function(f"document.querySelector('.rate dt').textContent == {before + 1}")
    assert page.eval_on_selector(".how", "details => details.open")
    assert "How votes were screened" in page.inner_text(".how")


def agree_and_compare(page) -> None:
    page.click(".go")
    page.click("dialog button.primary")
    page.wait_for_selector(".pairwise .candidate img")


def choose_left(page, until: str = ".better figcaption b") -> None:
    repeat(page, lambda: page.evaluate("document.querySelector('#arena .controls .left')?.click()"), until)


@pytest.mark.parametrize("own", [False, True])
def test_degrade_choose_reveal_and_vote_on_the_board(visit, served, astronaut, own):
    url, _, live = served
    known = len(live.survey.store.votes(NAME))
    page = visit(f"{url}?tab=arena")
    page.wait_for_function("document.querySelector('.preview img')?.naturalWidth > 0")
    if own:
        page.set_input_files("#arena input[type=file]", str(astronaut))
        page.wait_for_selector(".preview figcaption:has-text('never stored')")
    page.focus(".sliders .blur input")
    page.keyboard.press("End")
    assert page.inner_text(".sliders .blur output") == "20"
    agree_and_compare(page)
    assert not any(name in page.inner_text("#arena") for name in (*live.restore, "copy"))
    choose_left(page)
    vote = live.survey.store.votes(NAME)[-1]
    names = {BETTER: "The face itself", WORSE: "Damaged copy"}
    assert page.locator(".candidate figcaption").all_inner_texts() == [names.get(name, name) for name in vote.shown]
    assert (
        vote.choice == "left" and "blur_sigma=20" in vote.item and vote.item.startswith(f"arena/{'own' if own else 'astronaut'}?")
    )
    assert len(live.survey.store.votes(NAME)) == known + 1
    assert not any("/upload" in url for url in page.asked)  # the upload of gradio writes files
    page.click("text=Delete my votes")
    page.click("text=Delete them")
    page.wait_for_selector(".notice:has-text('Your 1 vote is deleted')")
    assert len(live.survey.store.votes(NAME)) == known
    page.click("text=Leaderboard of the arena")
    page.wait_for_selector("#leaderboard h3:has-text('Live arena')")


def test_lost_consent_keeps_the_code_and_the_vote(visit, served):
    """Failure sequence: without the consent, the page cleared the code, so that earlier votes could not be deleted any more."""
    url, _, live = served
    page = visit(f"{url}?tab=arena")
    agree_and_compare(page)
    code = page.evaluate("localStorage.getItem('gpen.arena.code')")
    rater = live.survey.rater(code)
    with live.survey.store._database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE raters SET consent_version = 'older text' WHERE rater = ?", (rater,))
    choose_left(page, "dialog[open] button.primary")
    page.click("dialog button.primary")
    page.wait_for_selector(".better figcaption b")
    assert page.evaluate("localStorage.getItem('gpen.arena.code')") == code and live.survey.consented(code)
    assert [vote.choice for vote in live.survey.store.votes(NAME, rater)] == ["left"]
    page.reload()
    page.click("text=Delete my votes")
    page.click("text=Delete them")
    page.wait_for_selector(".notice:has-text('Your 1 vote is deleted')")


def test_vote_stays_in_the_browser_until_it_is_copied(visit, served, monkeypatch):
    """Failure sequence: votes of the last minute before kill -9 were lost with the disk, also if the visitor came back."""
    url, _, live = served
    copied = set()
    monkeypatch.setattr(live.survey, "mirror", SimpleNamespace(copied=lambda rater, ids: copied & set(ids)))
    page = visit(f"{url}?tab=arena")
    agree_and_compare(page)
    choose_left(page)
    rater = live.survey.rater(page.evaluate("localStorage.getItem('gpen.arena.code')"))
    (before,) = live.survey.store.votes(NAME, rater)
    with live.survey.store._database.engine.begin() as connection:  # as after the loss of the disk
        connection.exec_driver_sql("DELETE FROM answers WHERE rater = ?", (rater,))
    page.click("text=Next pair")  # sends the lost vote first, since the number of votes decides on the pair
    page.wait_for_selector(".controls .left")
    (again,) = live.survey.store.votes(NAME, rater)
    assert (again.id, again.trial, again.choice) == (before.id, before.trial, before.choice)
    kept = "Object.keys(localStorage).filter((key) => /^gpen.arena.(op|ok):/.test(key)).length"
    assert page.evaluate(kept) == 1
    copied.add(before.id)
    page.reload()
    page.wait_for_function(f"{kept} === 0")
    assert len(live.survey.store.votes(NAME, rater)) == 1 and page.inner_text("footer small").startswith("1 vote")


def test_vote_is_sent_after_a_return_to_the_page(visit, served):
    """Failure sequence: a vote whose request did not arrive was lost when the page was closed."""
    url, _, live = served
    known = len(live.survey.store.votes(NAME))
    page = visit(f"{url}?tab=arena")
    page.route("**/study/arena/answer", lambda route: route.abort())
    agree_and_compare(page)
    choose_left(page, ".notice:has-text('again')")
    assert len(live.survey.store.votes(NAME)) == known
    page.unroute("**/study/arena/answer")
    page.reload()
    page.wait_for_selector("footer:has-text('1 vote')")
    assert len(live.survey.store.votes(NAME)) == known + 1


def test_refused_vote_is_said_and_does_not_stop_the_next(visit, served):
    page = visit(f"{served[0]}?tab=arena")
    page.route("**/study/arena/answer", lambda route: route.fulfill(status=400, json={"error": "This pair was not given."}))
    agree_and_compare(page)
    choose_left(page, ".notice:has-text('This pair was not given.')")
    page.unroute("**/study/arena/answer")
    page.click(".go")
    page.wait_for_selector(".pairwise .candidate img")
    choose_left(page)


def test_upload_has_a_deadline_and_a_refusal_by_the_limits_is_shown(visit, served, astronaut):
    """Failure sequence: an upload whose connection was lost waited for ever, and a refused request was repeated for ever."""
    page = visit(f"{served[0]}?tab=arena")
    page.wait_for_function("document.querySelector('.preview img')?.naturalWidth > 0")
    page.evaluate("void (AbortSignal.timeout = (ms) => ((window.deadlines ??= []).push(ms), new AbortController().signal))")
    replies = []

    def lose_the_first_reply(route):
        replies.append(route.fetch())
        route.abort() if len(replies) == 1 else route.fulfill(response=replies[-1])

    page.route("**/study/arena/face", lose_the_first_reply)
    page.set_input_files("#arena input[type=file]", str(astronaut))
    page.wait_for_selector(".preview figcaption:has-text('never stored')")
    deadlines = [ms for ms in page.evaluate("deadlines") if ms != 20_000]
    assert len(replies) == len(deadlines) == 2 and 20_000 < deadlines[0] < 60_000
    too_large = {"detail": "The request is larger than 1 MB."}
    page.route("**/study/arena/look", lambda route: route.fulfill(status=413, json=too_large))
    page.click(".looks button")
    page.wait_for_selector(".notice:has-text('The request is larger than 1 MB.')")
    assert "again" not in page.inner_text(".notice") and sum("arena/look" in url for url in page.asked) == 1


def test_arena_and_boards_are_accessible(visit, served):
    page = visit(f"{served[0]}?tab=arena", reduced_motion="reduce")
    page.wait_for_function("document.querySelector('.preview img')?.naturalWidth > 0")
    assert_accessible(page)
    agree_and_compare(page)
    assert_accessible(page)
    page.click("text=Leaderboard of the arena")
    page.wait_for_selector(".slices svg")
    assert_accessible(page)
