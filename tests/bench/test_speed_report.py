"""Rows of bench.speed: requirements, table, and merging with earlier runs."""

import json
from dataclasses import replace

import pytest
import torch

from bench.common.harness import RESULTS, write_results
from bench.speed_report import Row, accuracy_failures, merge_results, plot, speed_failures, table

ROW = Row("GPEN-BFR-256", 1, "torch", "float32", 3, 0.5, 100.0, 4.0, 0.5, error=1e-6, psnr=120.0, memory=500.0)
ROOF = Row("GPEN-BFR-256", 1, "roofline", "float32", 3, 0.25, 200.0, 8.0, 1.0)
HERE = {"processor": "A", "threads": 2}
MODELS = ("default", "GPEN-BFR-256")


def test_stored_results_are_rows():
    stored = json.loads((RESULTS / "speed.json").read_text())["rows"]
    assert accuracy_failures([Row(**row) for row in stored]) == [] and len(table([Row(**row) for row in stored])) > 1000


def test_difference_to_the_textbook_form():
    expected = torch.tensor([1.0, -2.0, 0.5, 0.0])
    row = ROOF.compared(expected + torch.tensor([0.0, 0.2, 0.0, 0.0]), expected)
    assert row.error == pytest.approx(0.1) and row.psnr == pytest.approx(20 * torch.tensor(4 / 0.1).log10().item(), abs=1e-4)


def test_results_of_other_cases_on_the_same_machine_are_kept(tmp_path):
    path, other = tmp_path / "speed.json", replace(ROW, model="default")
    assert merge_results([ROW, ROOF], HERE, path, MODELS) == [ROW, ROOF]
    assert merge_results([other], HERE, path, MODELS) == [other, ROW, ROOF]
    faster = replace(ROW, seconds=0.1)
    assert merge_results([faster], HERE, path, MODELS) == [other, faster]
    assert merge_results([ROOF], HERE | {"threads": 1}, path, MODELS) == [ROOF]
    assert json.loads(path.read_text())["rows"][0].keys() == vars(ROOF).keys() - {"error", "psnr", "memory"}


def test_requirements():
    assert speed_failures([ROW, ROOF]) == accuracy_failures([ROW, ROOF]) == []
    slow = replace(ROW, against_textbook=1.5, of_roofline=0.4)
    assert speed_failures([slow, ROOF]) == [
        "GPEN-BFR-256: the best engine in float32 against textbook reaches 1.50, below 2.0.",
        "GPEN-BFR-256: the best engine in float32 against roofline reaches 0.40, below 0.45.",
    ]
    assert speed_failures([replace(slow, model="default"), replace(slow, batch=8)]) == []
    (message,) = accuracy_failures([replace(ROW, error=1e-3)])
    assert message == "torch on GPEN-BFR-256, batch 1: the relative error is 1.0e-03, above 1e-04."
    bf16 = replace(ROW, model="default", precision="bfloat16", psnr=39.0)
    assert len(accuracy_failures([bf16])) == 1 and accuracy_failures([replace(bf16, model="GPEN-BFR-256")]) == []


def test_table_and_plot(tmp_path):
    assert table([ROW, ROOF]).splitlines()[2:] == [
        "| GPEN-BFR-256 | 1 | torch | 0.500 | 100 | 4.00 | 50% | 500 | 1e-06 |",
        "| GPEN-BFR-256 | 1 | roofline | 0.250 | 200 | 8.00 | 100% |  |  |",
    ]
    plot([ROW, ROOF], tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_results_without_none(tmp_path):
    write_results(tmp_path / "new" / "rows.json", [ROOF])
    assert json.loads((tmp_path / "new" / "rows.json").read_text()) == [
        {name: value for name, value in vars(ROOF).items() if value is not None}
    ]
