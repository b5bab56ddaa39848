"""eval.report.compact: the tables of README.md and docs agree with the archived runs."""

import json
import re
import statistics

import pytest

from eval.__main__ import main
from eval.report.compact import with_tables, write_tables
from gpen.errors import GPENError
from gpen.training.ablation import VARIANTS
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


def images_of(archive):
    return max(entry["n"] for entry in archive["summary"])


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "training.md"], ids=lambda path: path.name)
def test_tables_equal_the_archived_runs(page):
    text = page.read_text()
    assert COPY.search(text) and with_tables(text, page.parent) == text, f"run python -m eval tables {page.relative_to(ROOT)}"


def test_archives_contain_no_paths_of_the_machine_that_measured():
    archives = [*(ROOT / "assets" / "results").glob("*.json"), *(ROOT / "assets").glob("*-*.json")]
    assert len(archives) > 5
    outside = r"(?<![\w.])/(root|home|work|tmp|Users)/|\.\./|\.venv"
    assert [path.name for path in archives if re.search(outside, path.read_text())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_bold_and_italic_cells_have_intervals_without_0(page):
    """Read from the archive without the code that writes the tables."""
    marked = 0
    for sources, copy in COPY.findall(page.read_text()):
        archives = [json.loads((page.parent / source).read_text()) for source in sources.split(",")]
        about = archives[0]["recipe"]["metrics"]
        titles = {metric["title"]: name for name, metric in about.items()}
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in copy.splitlines() if "|" in line]
        first = head.index("task")
        assert head[:first] == ["faces"] * (len(archives) > 1)
        for row in rows:
            (archive,) = [a for a in archives if not first or row[0].endswith(f", {images_of(a)} faces")]
            task, method = row[first : first + 2]
            for title, cell in zip(head[first + 2 :], row[first + 2 :], strict=True):
                metric = titles[re.sub(r"(, n = \d+)? [↑↓]( †)?$", "", title)]
                key = {"task": task.partition(" (")[0], "method": METHODS.get(method, method), "metric": metric}
                (entry,) = [entry for entry in archive["summary"] if key.items() <= (entry | {"method": label(entry)}).items()]
                assert float(cell.strip("*")) == pytest.approx(entry["mean"], rel=0.01, abs=0.006)
                low, high = entry["diff_low"], entry["diff_high"]
                excludes_0 = low is not None and (low > 0 or high < 0)
                better = excludes_0 and (high < 0) == about[metric]["lower_better"]
                assert cell.count("*") == (4 if better else 2 if excludes_0 else 0), (task, method, title)
                marked += excludes_0
        assert len(archives) > 1 or f"\n{images_of(archives[0])} images of " in copy
        shown = {row[first].partition(" (")[0] for row in rows}
        fewer = {entry["task"] for archive in archives for entry in archive["summary"] if entry["n"] < images_of(archive)}
        assert ("has no value for up to" in copy) == bool(shown & fewer)
        assert all(", n = " in title for title in head if "Fréchet" in title or "FID" in title or "KID" in title)
    assert marked


@pytest.mark.parametrize("faces", ["ffhq", "celeba"])
def test_table_over_seeds_has_their_mean_and_standard_deviation(faces):
    """Read from the archive without the code that writes the tables."""
    archive = json.loads((ROOT / "assets" / f"variants-{faces}.json").read_text())
    (copy,) = [
        copy for source, copy in COPY.findall((ROOT / "docs" / "training.md").read_text()) if f"variants-{faces}" in source
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in copy.splitlines() if line.startswith("| bfr")]
    variants = {name for _, name, *_ in rows}
    assert {"bilinear", *VARIANTS} == variants and len(rows) == 2 * len(variants)
    for task, name, *cells in rows:
        for metric, cell in zip(("psnr", "squeezenet", "squeezenet_fd"), cells, strict=True):
            found = [
                entry["mean"]
                for entry in archive["summary"]
                if (entry["task"], entry["metric"]) == (task, metric)
                and re.sub(r".*/|-\d\.safetensors$", "", entry["method"]) == name
            ]
            given, decimals = [float(number) for number in cell.split(" ± ")], len(cell.partition(" ")[0].partition(".")[2])
            expected = [statistics.mean(found), statistics.stdev(found)] if name in VARIANTS else found
            assert given == pytest.approx(expected, rel=0, abs=0.51 * 10**-decimals)


def test_runs_with_seeds_are_copied_one_by_one(tmp_path):
    page = tmp_path / "page.md"
    for name in ("ffhq", "celeba"):
        (tmp_path / f"{name}.json").write_text((ROOT / "assets" / f"variants-{name}.json").read_text())
    page.write_text("<!-- table ffhq.json,celeba.json seeds=merged -->\n<!-- /table -->")
    with pytest.raises(GPENError, match="2 archived runs have no common table over seeds"):
        write_tables(page)


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


def test_several_runs_have_one_table(tmp_path):
    for name in ("ffhq-fsr", "celeba-fsr"):
        (tmp_path / f"{name}.json").write_text((ROOT / "assets" / "results" / f"{name}.json").read_text())
    page = tmp_path / "page.md"
    start = "<!-- table ffhq-fsr.json,celeba-fsr.json tasks=fsr8"
    page.write_text(f"{start} methods=bilinear,gpen metrics=psnr,ssim -->\n<!-- /table -->")
    text = write_tables(page).read_text()
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert head.startswith("| faces ") and "4 comparisons with bilinear" in text and "no value" not in text
    assert [row.split("|")[1].strip() for row in rows] == ["FFHQ, 110 faces"] * 2 + ["CelebA-HQ, 200 faces"] * 2
    page.write_text(f"{start} metrics=identity_fd -->\n<!-- /table -->")
    with pytest.raises(GPENError, match="no common table: identity_fd depends on the number of images"):
        write_tables(page)
