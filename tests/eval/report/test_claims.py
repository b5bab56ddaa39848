"""eval.report.claims: one rule decides bold and italic cells and the sentences about methods."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmark.summary import SummaryEntry
from eval.metrics.registry import METRICS
from eval.metrics.statistics import bootstrap_interval
from eval.report.archive import ArchivedRun
from eval.report.claims import MIN_PAIRS, claim, claim_sentences, comparisons_note
from eval.report.compact import compact_blocks
from eval.report.document import Bold, Italic, Table, latex, markdown
from eval.report.plots import COLOURS, scatter_plot
from eval.report.report import report
from eval.report.tables import KNOWN_MARK, by_size, emphasised, format_difference, format_mean, in_order, table_notes

BETTER = SummaryEntry("fsr8", "gpen", "psnr", 25, 24, 26, 110, "bilinear", diff=1, diff_low=0.2, diff_high=1.8)
LIMITS = st.floats(-5, 5).map(lambda x: round(x, 3))


@given(LIMITS, LIMITS, st.sampled_from([name for name, metric in METRICS.items() if metric.mode != "set"]))
def test_claim_needs_an_interval_without_0(a, b, metric):
    low, high = sorted((a, b))
    entry = replace(BETTER, metric=metric, diff=(a + b) / 2, diff_low=low, diff_high=high)
    found = claim(entry)
    assert bool(found) == (low > 0 or high < 0)
    if found:
        assert found == ("better" if (high < 0) == METRICS[metric].lower_better else "worse")
    assert type(emphasised("x", entry)) is {"better": Bold, "worse": Italic, "": str}[found]


@pytest.mark.parametrize("change", [
    {"diff_low": None, "diff_high": None}, {"diff_low": 0.0}, {"n": MIN_PAIRS - 1}, {"diff_n": MIN_PAIRS - 1}, {"chosen": 1},
    {"method": "bilinear"}, {"method": "ground-truth"}, {"metric": "seconds"},
])  # fmt: skip
def test_nothing_is_claimed_without_evidence(change):
    assert claim(BETTER) == "better" and claim(None) == ""
    assert claim(replace(BETTER, **change)) == ""


def test_fewer_images_than_the_minimum_would_be_significant_by_chance():
    """The interval of MIN_PAIRS - 1 differences of one sign excludes 0, which happens in more than 5 % of cases by chance."""
    low, _ = bootstrap_interval(np.full(MIN_PAIRS - 1, 0.3) + np.arange(MIN_PAIRS - 1) / 10)
    assert low > 0 and 2 * 0.5 ** (MIN_PAIRS - 1) > 0.05 >= 2 * 0.5**MIN_PAIRS


def test_number_of_comparisons_is_that_of_the_intervals():
    entries = [replace(BETTER, metric=name) for name in ("psnr", "ssim", "identity")]
    entries += [replace(BETTER, method="bilinear"), replace(BETTER, metric="fid", diff_low=None, diff_high=None)]
    assert "3 comparisons with bilinear at 95% each" in comparisons_note(entries)
    assert "about 0.15 of the intervals" in comparisons_note(entries)
    assert comparisons_note(entries).startswith("Bold: better than bilinear; italic: worse")
    assert comparisons_note(entries, in_type=False).startswith("3 comparisons")
    assert comparisons_note(entries[3:]) == ""


def test_sentences_name_significant_metrics_only():
    entries = [BETTER, replace(BETTER, metric="identity", diff_low=-2, diff_high=-1), replace(BETTER, metric="ssim", diff_low=-1)]
    labels = {"gpen": "gpen", "tv": "tv"}
    assert claim_sentences(entries, labels) == ["gpen compared with bilinear: better in PSNR (RGB); worse in Identity (cosine)."]
    (none,) = claim_sentences([replace(BETTER, method="tv", diff_low=-1)], labels)
    assert none == "tv compared with bilinear: no difference whose paired 95% interval excludes 0."


def test_cells_of_differences():
    worse = replace(BETTER, metric="squeezenet")
    assert isinstance(format_difference(BETTER), Bold) and format_difference(BETTER) == "+1.00 [+0.20, +1.80]"
    assert isinstance(format_difference(worse), Italic)
    table = Table(["method", "a", "b"], [["m_1", format_difference(BETTER), Italic("-1|2")]])
    assert "| **+1.00 [+0.20, +1.80]** |" in markdown([table]) and "*-1\\|2*" in markdown([table])
    assert r"m\_1 & \textbf{+1.00 [+0.20, +1.80]} & \textit{$-$1|2}" in latex([table])


@pytest.mark.parametrize(("counts", "words"), [
    ({"chosen": 40}, "was chosen on up to 40 of these images (weights"),
    ({"trained": 7}, "was trained on up to 7 of these images."),
    ({"trained": 7, "chosen": 40}, "was trained on up to 7 and chosen on up to 40 of these images (weights"),
])  # fmt: skip
def test_values_on_known_images_are_marked_and_not_claimed(counts, words):
    chosen = replace(BETTER, **counts)
    assert SummaryEntry(**chosen.to_dict()) == chosen
    assert format_mean(chosen) == f"25.00 [24.00, 26.00] {KNOWN_MARK}" and type(format_difference(chosen)) is str
    (note,) = table_notes([chosen])
    assert note.startswith(f"{KNOWN_MARK} No test result") and words in note
    (table, below) = compact_blocks([ArchivedRun("r", {}, [chosen])])
    assert table.rows[0][2] == f"25.00 {KNOWN_MARK}" and KNOWN_MARK in below.text


def test_sets_of_different_size_stand_in_different_tables(tmp_path):
    small = replace(BETTER, method="tv", n=50)
    fid = [replace(entry, metric="fid", diff_low=None, diff_high=None) for entry in (BETTER, small)]
    entries = [BETTER, fid[0], small, fid[1]]
    assert list(by_size(entries)) == [110, 50]
    blocks = compact_blocks([ArchivedRun("r", {}, entries)])
    heads = [block.head[2] for block in blocks if isinstance(block, Table)]
    assert heads == ["FID (GT), n = 110 ↓", "FID (GT), n = 50 ↓"]

    settings = {"verify": True, "size": 256, "seed": 0}
    recipe = {"command": "c", "settings": settings, "metrics": {}, "missing": {}, "earlier": [], "tasks": {}}
    (tmp_path / "summary.json").write_text(json.dumps([entry.to_dict() for entry in entries]))
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    text = report([tmp_path])
    first, second = text.split("### fsr8 (bicubic, antialiased), n = 110")[1].split("### fsr8 (bicubic, antialiased), n = 50")
    assert "gpen" in first and "tv" not in first and "FID (GT), n = 50 ↓" in second and "n = 110" not in second
    assert "**+1.00 [+0.20, +1.80]**" in first and "1 comparison with bilinear" in first
    table = ArchivedRun("r", {}, entries).table("fsr8")
    assert list(table["n"]) == [110, 50] and "FID (GT) ↓" in table.columns


def test_niqe_names_the_number_of_patches():
    entries = [replace(BETTER, metric="niqe")]
    assert "NIQE is computed from 4 patches of 96 px for each image of 256 px" in " ".join(table_notes(entries, 256))
    assert "from 25 patches" in " ".join(table_notes(entries, 512))
    assert "patches" not in " ".join(table_notes([BETTER], 256)) and "four" in METRICS["niqe"].backbone


def test_rows_are_ordered_by_kind_of_method_and_the_input_is_first():
    expected = ["bilinear", "lanczos", "tv", "nonblind-rl", "A=spandrel:a.pth", "unet=unet:u.safetensors", "old=gpen:a.pth"]
    expected += ["gpen", "ground-truth", "a-method-of-another-version"]
    entries = [replace(BETTER, task=task, method=name) for task in ("fsr8", "bfr") for name in sorted(expected)]
    assert [(entry.task, entry.method) for entry in in_order(entries)] == [(t, m) for t in ("fsr8", "bfr") for m in expected]


def test_non_blind_methods_are_explained_below_the_table():
    assert "true blur kernel" in " ".join(table_notes([BETTER, replace(BETTER, method="X=nonblind-rl")]))
    assert "true blur kernel" not in " ".join(table_notes([BETTER]))


def test_methods_differ_in_colour_and_marker():
    names = [f"m{k}" for k in range(2 * len(COLOURS))]
    (axis,) = scatter_plot({name: ((k, k, k), (k, k, k)) for k, name in enumerate(names)}, "psnr", "ssim").axes
    points = [container.lines[0] for container in axis.containers]
    assert len({(point.get_color(), point.get_marker()) for point in points}) == len(names)
