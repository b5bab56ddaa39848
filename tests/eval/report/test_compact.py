"""eval.report.compact: the tables of README.md and docs agree with the archived runs."""

import json
import re

import pytest

from eval.__main__ import main
from eval.report.compact import with_tables, write_tables
from gpen.errors import GPENError
from tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "docs" / "results.md"]
METHODS = {  # labels of the tables
    "bilinear (the input)": "bilinear",
    "PULSE-like, own prior of 64 px": "pulse",
    "mGANprior-like, own prior of 64 px": "mganprior",
    "Wiener (non-blind)": "nonblind-wiener",
    "Richardson-Lucy (non-blind)": "nonblind-rl",
}
COPY = re.compile(r"<!-- table (\S+)(?: \w+=\S+)* -->(.*?)<!-- /table -->", re.DOTALL)


def label(entry):
    """The label of LABEL=METHOD, or the method."""
    return entry["method"].partition("=")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_tables_equal_the_archived_runs(page):
    text = page.read_text()
    assert COPY.search(text) and with_tables(text, page.parent) == text, f"run python -m eval tables {page.relative_to(ROOT)}"


def test_archives_contain_no_paths_of_the_machine_that_measured():
    archives = [*(ROOT / "assets" / "results").glob("*.json"), ROOT / "assets" / "variants.json"]
    assert len(archives) > 5
    assert [path.name for path in archives if re.search(r"(?<![\w.])/(root|home|work|tmp|Users)/", path.read_text())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_bold_and_italic_cells_have_intervals_without_0(page):
    """Read from the archive without the code that writes the tables."""
    marked = 0
    for source, copy in COPY.findall(page.read_text()):
        archive = json.loads((page.parent / source).read_text())
        about = archive["recipe"]["metrics"]
        titles = {metric["title"]: name for name, metric in about.items()}
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in copy.splitlines() if "|" in line]
        for task, method, *cells in rows:
            for title, cell in zip(head[2:], cells, strict=True):
                metric = titles[re.sub(r"(, n = \d+)? [↑↓]( †)?$", "", title)]
                key = {"task": task.partition(" (")[0], "method": METHODS.get(method, method), "metric": metric}
                (entry,) = [entry for entry in archive["summary"] if key.items() <= (entry | {"method": label(entry)}).items()]
                assert float(cell.strip("*")) == pytest.approx(entry["mean"], rel=0.01, abs=0.006)
                low, high = entry["diff_low"], entry["diff_high"]
                excludes_0 = low is not None and (low > 0 or high < 0)
                better = excludes_0 and (high < 0) == about[metric]["lower_better"]
                assert cell.count("*") == (4 if better else 2 if excludes_0 else 0), (task, method, title)
                marked += excludes_0
        ns = {entry["n"] for entry in archive["summary"]}
        assert f"\n{max(ns)} images of " in copy
        shown = [cell[0] for cell in rows]
        fewer = {entry["task"] for entry in archive["summary"] if entry["n"] < max(ns)}
        assert ("has no value for up to" in copy) == any(name.partition(" (")[0] in fewer for name in shown)
        assert all(", n = " in title for title in head if "Fréchet" in title or "FID" in title or "KID" in title)
    assert marked


def test_command(tmp_path, capsys):
    archive = (ROOT / "assets" / "results" / "ffhq-fsr.json").read_text()
    (tmp_path / "a.json").write_text(archive)
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n<!-- table a.json -->\n| old cell |\n<!-- /table -->\n\nThe end.\n")
    assert main(["tables", str(page)]) == 0 and capsys.readouterr().out.strip() == str(page)
    text = page.read_text()
    assert text.startswith("# Title\n\n<!-- table a.json -->\n\n| task") and text.endswith("\n<!-- /table -->\n\nThe end.\n")
    assert "old cell" not in text and write_tables(page).read_text() == text
    page.write_text("No table.")
    assert main(["tables", str(page)]) == 2 and "contains no table" in capsys.readouterr().err
    assert main(["tables"]) == 2
    with pytest.raises(GPENError, match="cannot be read"):
        write_tables(tmp_path / "none.md")
    page.write_text("<!-- table none.json -->\n<!-- /table -->")
    with pytest.raises(GPENError, match="does not exist"):
        write_tables(page)


def test_a_table_is_reduced_to_named_rows_and_columns(tmp_path):
    (tmp_path / "a.json").write_text((ROOT / "assets" / "results" / "ffhq-fsr.json").read_text())
    page = tmp_path / "page.md"
    page.write_text("<!-- table a.json tasks=fsr8 methods=bilinear,gpen metrics=psnr -->\n<!-- /table -->\n")
    rows = [line for line in write_tables(page).read_text().splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in row.split("|")[2:3]] for row in rows[2:]] == [["bilinear (the input)"], ["gpen"]]
    assert all(row.startswith("| fsr8 (") for row in rows[2:]) and "PSNR" in rows[0] and "Identity" not in rows[0]
    for selection, message in (("methods=bilinaer", "no method bilinaer: choose among bicubic"), ("rows=1", "selected by tasks")):
        page.write_text(f"<!-- table a.json {selection} -->\n<!-- /table -->")
        with pytest.raises(GPENError, match=message):
            write_tables(page)
