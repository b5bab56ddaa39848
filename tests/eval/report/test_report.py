"""eval.report: formats, published results, comparison of runs, variants over seeds."""

import json
import re
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpen
from eval.__main__ import main
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.benchmark.summary import SummaryEntry
from eval.data.lq_sets import TASKS, task_description
from eval.metrics.statistics import bootstrap_interval
from eval.metrics.weights import MetricSettings
from eval.report import archive
from eval.report.ablation import seed_blocks
from eval.report.document import Bullets, Heading, Paragraph, Table, latex, markdown
from eval.report.published import TITLES, published_json, published_tables
from eval.report.report import report, write_reports
from eval.report.tables import method_labels, metric_heading, metric_label
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS


@pytest.fixture(scope="module")
def runs(faces_folder, tmp_path_factory):
    """Two runs of bfr with the same inputs, and a third with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    first = RunSettings(str(faces_folder), str(folder / "first"), ("bicubic",), ("bfr",), ("psnr",), size=64)
    run(first, MetricSettings(), quiet=True)
    run(
        replace(first, out=str(folder / "second"), methods=("bicubic", "lanczos"), metrics=("psnr", "ssim"), limit=5),
        MetricSettings(),
        quiet=True,
    )
    run(replace(first, out=str(folder / "third"), seed=1), MetricSettings(), quiet=True)
    return folder


def test_formats(runs, capsys):
    content = json.loads(report([runs / "first"], "json"))
    mean = next(
        entry["mean"] for entry in content["runs"][0]["summary"] if (entry["method"], entry["metric"]) == ("bicubic", "psnr")
    )
    assert main(["report", str(runs / "first"), "--format", "latex"]) == 0
    text = capsys.readouterr().out
    assert f"bicubic & {mean:.2f} [" in text and r"\begin{tabular}{lr}" in text and r"PSNR (RGB) $\uparrow$" in text
    assert text.count("{") == text.count("}") and text.count(r"\toprule") == text.count(r"\end{tabular}")
    assert re.search(rf"\| bicubic +\| +{mean:.2f} \[", report([runs / "first"]))
    write_reports(runs / "first")
    assert (runs / "first" / "summary.md").read_text() == report([runs / "first"]) + "\n"
    assert (runs / "first" / "summary.tex").read_text() == text
    with pytest.raises(GPENError, match="Unknown format 'doc'"):
        report([runs / "first"], "doc")


def test_published_results_are_printed_on_request(runs, capsys):
    assert "ublished" not in report([runs / "first"]) and json.loads(report([runs / "first"], "json"))["published"] == []
    assert main(["report", "--published"]) == 0
    text = capsys.readouterr().out
    for table in published_tables():
        assert f"### {table.name}\n" in text and table.source in text and table.protocol in text
    assert "25.44" in text and "∞" in text
    assert json.loads(report([], "json", published=True))["published"] == published_json()


def test_published_results_are_never_below_a_run_of_another_protocol(runs, tmp_path):
    text = report([runs / "first"], published=True)
    assert "No published table has the protocol of these runs" in text and "25.44" not in text
    shutil.copytree(runs / "first", tmp_path / "run")
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    recipe["settings"]["protocol"] = "celeba-test"
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
    measured, apart = report([tmp_path / "run"], published=True).split("## Published results")
    assert "25.44" in apart and "25.44" not in measured
    (name,) = [table.name for table in published_tables() if table.pack == "celeba-test"]
    assert [line[4:] for line in apart.splitlines() if line.startswith("### ")] == [name]
    for block in re.split(r"\| published +\|", apart)[1:]:  # a table of published results has no measured method
        assert "bicubic" not in block.split("\n\n")[0]


def test_published_figures_have_the_published_digits():
    gpen_paper, restoreformer, dmdp = published_tables()[:3]
    assert restoreformer.figures["GPEN"]["psnr"] == Decimal("25.44") and str(gpen_paper.figures["GPEN"]["psnr"]) == "20.80"
    assert str(dmdp.figures["RestoreFormer++"]["lpips"]) == "0.450" and str(dmdp.figures["CodeFormer"]["fid"]) == "63.621"
    methods = {method for table in published_tables() for method in table.figures}
    assert {"GPEN", "GFP-GAN", "CodeFormer", "VQFR", "DifFace", "DiffBIR", "PMRF (25 steps)", "OSDFace"} <= methods
    assert published_json()[1]["figures"]["ground truth"] == {
        "psnr": None, "ssim": 1, "lpips": 0, "fid": 41.66, "identity_angle": 0,
    }  # fmt: skip
    for table in published_tables():
        assert table.source and table.protocol and not table.protocol.endswith(".")
        assert set(table.lower_better) <= set(TITLES)
        assert all(row.keys() == table.lower_better.keys() for row in table.figures.values())
        higher = ("psnr", "ssim", "musiq", "ids")
        assert all(lower == (name.partition("_")[0] not in higher) for name, lower in table.lower_better.items())


def test_comparison_of_runs(runs):
    content = json.loads(report([runs / "first", runs / "second", runs / "third"], "json"))
    assert [entry["run"] for entry in content["runs"]] == ["first", "second", "third"]
    found = {(entry["method"], entry["metric"]): entry for entry in content["comparison"]}
    assert {method for method, _ in found} == {"bilinear", "bicubic", "ground-truth"}  # lanczos is in one run only
    assert {metric for _, metric in found} == {"psnr"}
    entry = found["bicubic", "psnr"]
    assert entry["differences"]["second"] == {"diff": 0, "diff_low": 0, "diff_high": 0, "n": 5}
    assert entry["differences"]["third"]["n"] == 0 and entry["differences"]["third"]["diff"] is None  # other inputs
    text = report([runs / "first", runs / "second", runs / "third"])
    row = next(line for line in text.split("## Comparison of runs")[1].splitlines() if line.startswith("| bicubic"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == f"{entry['runs']['first']:.2f}" and cells[-1] == "-" and cells[-2] == "+0.00 [+0.00, +0.00]"


def test_comparison_of_a_changed_method(runs, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("recipe.json", "summary.json"):
        (changed / name).write_bytes((runs / "first" / name).read_bytes())
    (changed / "lq").symlink_to(runs / "first" / "lq")
    gains = {f"face{i}": 0.1 * i for i in range(7)}
    lines = (runs / "first" / "per_image.csv").read_text().splitlines()
    better = [
        re.sub(r",bicubic,([^,]+),", lambda m, gain=gains[line[:5]]: f",bicubic,{float(m[1]) + gain!r},", line)
        for line in lines[1:]
    ]
    (changed / "per_image.csv").write_text("\n".join([lines[0], *better]) + "\n")
    content = json.loads(report([runs / "first", changed], "json"))
    entry = next(entry for entry in content["comparison"] if entry["method"] == "bicubic")["differences"]["changed"]
    assert entry["diff"] == pytest.approx(0.3)
    assert (entry["diff_low"], entry["diff_high"]) == pytest.approx(bootstrap_interval(np.array(list(gains.values()))))


def test_method_labels():
    assert method_labels(["bilinear", "gpen:a/one.pth", "gpen:b/two.pth", "gpen:c/two.pth"]) == {
        "bilinear": "bilinear (the input)",
        "gpen:a/one.pth": "gpen:one",
        "gpen:b/two.pth": "gpen:b/two.pth",
        "gpen:c/two.pth": "gpen:c/two.pth",
    }


def test_mean_over_seeds():
    def entry(method, mean):
        return SummaryEntry("fsr8", method, "psnr", mean, None, None, 1, "bilinear")

    summary = [
        entry("gpen:m/noise-add-0.safetensors", 20),
        entry("gpen:m/noise-add-1.safetensors", 22),
        entry("gpen:m/noise-add-7.safetensors", 24),
        entry("gpen:m/full-0.safetensors", 30),
        entry("bilinear", 1),
    ]
    heading, table, _ = seed_blocks(summary)
    assert heading.text == "fsr8 (bicubic, antialiased), over seeds, n = 1" and table.rows == [
        ["noise-add", "3", "22.00 ± 2.00"]
    ]  # a single seed is omitted
    assert seed_blocks(summary[3:]) == []


@pytest.mark.slow
def test_ablation(faces_folder, tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    config = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)
    for name, settings in (("full-0", config), ("full-1", config), ("add-0", replace(config, noise_mode="add"))):
        gpen.save(gpen.GPEN(settings), models / f"{name}.safetensors")
    out = tmp_path / "run"
    arguments = [
        "run",
        "ablation",
        "--models",
        str(models),
        "--data",
        str(faces_folder),
        "--limit",
        "2",
        "--metrics",
        "psnr",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for part in ("### bfr-gpen-release-scaled, over seeds", "### bfr-codeformer-2, over seeds", "| full | 2 |", "| gpen:add-0 |"):
        assert part in re.sub(" +", " ", text)
    assert json.loads((out / "recipe.json").read_text())["settings"]["size"] == 32  # that of the networks
    gpen.save(gpen.GPEN(replace(config, size=64)), models / "large.safetensors")
    assert main([*arguments[:-1], str(tmp_path / "other")]) == 2
    assert "several sizes" in capsys.readouterr().err
    assert main(["run", "ablation", "--out", str(out)]) == 2 and "--models" in capsys.readouterr().err
    assert main(["run", "ablation", "--models", str(tmp_path), "--out", str(out)]) == 2
    assert "contains no weights" in capsys.readouterr().err


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Z"]), min_size=1))
@pytest.mark.slow
def test_latex_escapes_special_characters(text):
    row = latex([Table(["name", "value"], [[text, "-1.5 ± 0.1"]])]).splitlines()[4]
    plain = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum)( |\{\})|\\[{}&%$#_]|\$[^$]*\$", "", row.removesuffix(r" \\")
    )
    assert plain.count("&") == 1 and not set(plain) & set("%$#_~^{}")


def test_document():
    blocks = [Heading(1, "A_B"), Paragraph("Run `x_y`, -3 %."), Bullets(["one"]), Table(["name", "a|b"], [["m", "1"]])]
    assert (
        markdown(blocks)
        == "## A_B\n\nRun `x_y`, -3 %.\n\n- one\n\n| name   |   a\\|b |\n|:-------|-------:|\n| m      |      1 |\n"
    )
    text = latex(blocks)
    assert text.startswith("% A_B") and r"a|b" in text and "m & 1 \\\\\n\\bottomrule" in text


def test_report_of_a_missing_run(tmp_path):
    with pytest.raises(GPENError, match="is not a finished run"):
        report([Path(tmp_path, "none")], "json")


def test_run_of_a_version_with_other_tasks_is_an_error(seen_run):
    recipe = json.loads((seen_run / "recipe.json").read_text())
    del recipe["tasks"]
    (seen_run / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(GPENError, match="whose fsr and bfr tasks differ from today's; run the command again"):
        report([seen_run])


@pytest.mark.parametrize("kept", [*archive.read_all(), *archive.read_all(ASSETS, "*-*.json")], ids=lambda kept: kept.title)
def test_archives_name_tasks_that_exist(kept):
    """The tasks of an archive are those of this version, or its description says how they differ."""
    assert set(kept.tasks) == set(kept.recipe["tasks"]) and set(kept.tasks) <= set(TASKS)
    for task in kept.tasks:
        begin = task_description(task).split(",")[0]
        assert kept.recipe["tasks"][task].startswith(begin)
    calls = [kept.recipe, *kept.recipe["earlier"]]
    assert {task for call in calls for task in call["settings"]["tasks"]} == set(kept.tasks)


@pytest.mark.slow
def test_tables_name_the_operator_of_super_resolution(faces_folder, tmp_path):
    tasks = ("fsr8", "fsr8-bilinear")
    for name in ("first", "second"):
        settings = RunSettings(str(faces_folder), str(tmp_path / name), ("bicubic",), tasks, ("psnr",), size=64, limit=2)
        run(settings, MetricSettings(), quiet=True)
    text = report([tmp_path / "first", tmp_path / "second"])
    for label in ("fsr8 (bicubic, antialiased)", "fsr8-bilinear (bilinear, not antialiased)"):
        assert text.count(f"### {label}, n = 2\n") == 2 and text.count(f"### {label}\n") == 1  # and that of the comparison
    assert "- fsr8: downsampled by 8: bicubic, antialiased." in text
    recipe = json.loads((tmp_path / "first" / "recipe.json").read_text())
    assert recipe["tasks"]["fsr8-bilinear"] == "downsampled by 8: bilinear, not antialiased"


@pytest.fixture
def seen_run(tmp_path):
    """A finished run with a metric seen in training and one that is not."""
    out = tmp_path / "seen"
    out.mkdir()
    entries = [
        SummaryEntry("fsr8", f"gpen:m/{name}.safetensors", metric, 1.5, None, None, 2, "bilinear").to_dict()
        for name in ("full-0", "full-1")
        for metric in ("squeezenet_fd", "identity_fd")
    ]
    settings = {"verify": True, "size": 64, "seed": 0}
    recipe = {"command": "c", "settings": settings, "tasks": {}, "metrics": {}, "missing": {}, "earlier": []}
    (out / "summary.json").write_text(json.dumps(entries))
    (out / "recipe.json").write_text(json.dumps(recipe))
    (out / "per_image.csv").write_text("image,task,method,seconds\n")
    return out


def test_distances_between_sets_name_n_in_comparisons(seen_run):
    shutil.copytree(seen_run, other := seen_run.with_name("other"))
    entries = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps([entry | {"n": 5} for entry in entries]))
    compared = report([seen_run, other]).split("Comparison of runs")[1]
    assert "1.5 (n = 2)" in compared and "1.5 (n = 5)" in compared


def test_metrics_seen_in_training_are_marked(seen_run):
    text, tables = report([seen_run]), report([seen_run], "latex")
    assert "SqueezeNet Fréchet distance, n = 2 ↓ † |" in text and "Identity Fréchet distance, n = 2 ↓ |" in text
    assert text.count("† Seen in training: ") == 2  # below the table of the task and that of the seeds
    assert r"$\downarrow$ $\dagger$" in tables and "% † Seen in training: " in tables
    assert json.loads(report([seen_run], "json"))["seen_in_training"] == ["squeezenet", "squeezenet_fd"]
    shutil.copytree(seen_run, other := seen_run.with_name("other"))
    assert report([seen_run, other]).split("Comparison of runs")[1].count("† Seen in training: ") == 1
    assert metric_label("squeezenet") == "SqueezeNet distance ↓ (seen in training)"
    assert metric_heading("psnr") == "PSNR (RGB) ↑" and metric_label("psnr") == "PSNR (RGB), dB ↑"  # the axis names the unit


def test_no_note_without_such_metrics(runs):
    assert "Seen in training" not in report([runs / "first"])
