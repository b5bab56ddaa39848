"""The Results tab: tables, plots and commands of archived runs, and messages without them."""

import json
import re

import gradio as gr
import pytest

from demo.tabs import plots, results

COMMAND = "python -m eval run fsr --data samples"


def entry(task, method, metric, mean, n=7):
    return {"task": task, "method": method, "metric": metric, "mean": mean, "low": mean - 1, "high": mean + 1, "n": n}


def archived(folder, name, time, tasks, data="samples", n=7):
    summary = [
        entry(task, method, metric, mean, n)
        for task in tasks
        for method, mean in (("bilinear", 20.0), ("gpen", 22.0))
        for metric in ("psnr", "niqe_fitted")
    ]
    recipe = {"command": f"{COMMAND} --out runs/{name}", "time": time, "settings": {"size": 256, "seed": 0, "data": data}}
    recipe["tasks"] = {task: f"made as {task}" for task in tasks}
    (folder / f"{name}.json").write_text(json.dumps({"title": name, "recipe": recipe, "summary": summary}))


def build(folder):
    """Return the components of the tab by elem_id, and the functions of its events."""
    with gr.Blocks() as page:
        results.tab(folder)
    components = {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}
    return components, [function.fn for function in page.fns.values()]


@pytest.fixture
def runs(tmp_path):
    archived(tmp_path, "blind", "2026-01-01", ["bfr"], data="faces-ffhq", n=3)
    archived(tmp_path, "new", "2026-02-02T10:00:00", ["fsr4", "fsr8"])
    return tmp_path


@pytest.fixture
def new(runs):
    """The folder with one run only."""
    (runs / "blind.json").unlink()
    return runs


def test_tab_without_results_explains_how_to_create_them(tmp_path):
    components, _ = build(tmp_path)
    assert list(components) == ["no-results"] and "python -m eval archive" in components["no-results"].value


def test_damaged_archive_is_named_in_message(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    assert "broken.json is not an archived run" in build(tmp_path)[0]["no-results"].value


@pytest.mark.slow
def test_runs_are_named_by_their_content_blind_restoration_first(runs):
    components, _ = build(runs)
    choices = [("FFHQ, 3 faces: blind restoration", "blind"), ("samples, 7 faces: super-resolution", "new")]
    assert components["results-run"].choices == choices and components["results-run"].value == "blind"
    archived(runs, "again", "2026-03-03", ["bfr"], data="ffhq-test", n=3)
    headings = [heading for heading, _ in build(runs)[0]["results-run"].choices]
    assert headings[:2] == ["FFHQ, 3 faces: blind restoration (again)", "FFHQ, 3 faces: blind restoration (blind)"]


def test_run_is_shown_with_command(new):
    components, _ = build(new)
    assert components["results-task"].choices == [(f"fsr{s} (bicubic, antialiased)", f"fsr{s}") for s in (4, 8)]
    assert components["results-run"].value == "new" and components["results-task"].value == "fsr4"
    assert components["results-command"].value == f"{COMMAND} --out runs/new"
    table = components["results-table"].value
    assert table["headers"] == ["method", "PSNR (RGB) ↑", "NIQE (fitted on faces) ↓"]
    assert table["data"][1][:2] == ["gpen", 22.0]
    about = components["results-about"].value
    assert "7 images, made as fsr4, 256 px, seed 0, 2026-02-02" in re.sub("<[^>]+>", "", about)


def test_texts_are_translated(new):
    components, _ = build(new)
    labels = [components[f"results-{name}"].label for name in ("run", "task", "metric", "command")]
    assert [json.loads(str(label).partition("__i18n__")[2])["key"] for label in labels] == [
        f"results.{name}" for name in ("run", "task", "metric", "command")
    ]
    assert 'data-text="results.images" data-values="{&quot;n&quot;: 7}"' in components["results-about"].value
    assert 'data-text-aria-label="results.trade_off"' in components["results-trade-off"].value


@pytest.mark.slow
def test_claims_and_the_number_of_comparisons_are_stated(new):
    path = new / "new.json"
    content = json.loads(path.read_text())
    for entry in content["summary"]:
        better = entry["metric"] == "psnr" and entry["method"] == "gpen"
        entry |= {"baseline": "bilinear", "diff": 0.5, "diff_low": 0.1 if better else -0.1, "diff_high": 0.9}
    path.write_text(json.dumps(content))
    about = build(new)[0]["results-about"].value
    assert "gpen compared with bilinear: better in PSNR (RGB)." in about and "2 comparisons with bilinear at 95% each" in about


@pytest.mark.slow
def test_selecting_a_run_updates_tasks_table_and_command(runs):
    choose_run = build(runs)[1][0]
    tasks, metrics, table, about, _, trade_off, command = choose_run("blind")
    assert tasks["choices"] == [("bfr", "bfr")] and metrics["value"] == "psnr"
    assert list(table["method"]) == ["bilinear (the input)", "gpen"] and "2026-01-01" in about
    assert command.endswith("runs/blind") and trade_off["visible"]


@pytest.mark.slow
def test_plotted_metric_can_be_selected(runs):
    show = build(runs)[1][2]
    bars = show("new", "fsr8", "niqe_fitted")[2]
    assert 'aria-label="NIQE (fitted on faces) ↓ of each method' in bars and "fsr8 (bicubic, antialiased), n = 7" in bars
    assert "currentColor" in bars and plots.INK not in bars


def test_metrics_seen_in_training_are_marked_with_a_note(new):
    assert "Seen in training" not in build(new)[0]["results-about"].value
    path = new / "new.json"
    content = json.loads(path.read_text())
    content["summary"] += [entry("fsr4", method, "squeezenet_fd", 9.0) for method in ("bilinear", "gpen")]
    path.write_text(json.dumps(content))
    components, events = build(new)
    assert "SqueezeNet Fréchet distance, n = 7 ↓ †" in components["results-table"].value["headers"]
    assert "† Seen in training: " in components["results-about"].value
    assert ("SqueezeNet Fréchet distance ↓ (seen in training)", "squeezenet_fd") in components["results-metric"].choices
    assert "(seen in training)" in events[2]("new", "fsr4", "squeezenet_fd")[2]
