"""bench.visitors: memory that grows, errors and lost answers are reported."""

from dataclasses import fields, replace

import numpy as np
import pytest

from bench import visitors


@pytest.fixture
def figures():
    """Results without a failure: memory is constant."""
    zeros = dict.fromkeys((field.name for field in fields(visitors.Figures)), 0)
    flat = vars(visitors.flatness(np.full(400, 700.0)))
    return visitors.Figures(**zeros | flat | {"errors": {"busy": 3}, "restorations": 1, "answers": 1})


def test_growing_memory_and_lost_answers_are_reported(figures):
    grows = visitors.flatness(700 + np.arange(400) / 10)
    assert figures.slope_mb == pytest.approx(0, abs=1e-6) and grows.slope_mb == pytest.approx(100)
    assert visitors.failures(figures) == []
    assert visitors.failures(replace(figures, **vars(grows))) == ["Memory grows by 100 MB per 1,000 restorations"]
    assert visitors.failures(replace(figures, lost=2, errors={"status 500": 1})) == [
        "1 errors of kind 'status 500'", "Answers lost: 2",
    ]  # fmt: skip
    assert visitors.failures(replace(figures, answers=0)) == ["There were no restorations or no answers"]


def test_table(figures):
    rows = [line.strip("| ").split(" | ") for line in visitors.table(replace(figures, slope_mb=0.5)).splitlines()]
    assert all(len(row) == 2 for row in rows[2:]) and rows[5] == ["errors", "busy: 3"]
    assert rows[6] == ["memory over 0 restorations", "700 to 700 MB, +0.5 MB per 1,000"]
