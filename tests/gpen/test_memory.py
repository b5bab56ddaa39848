"""Freed memory stays with the process: the system need not map and zero its pages again."""

import subprocess
import sys

import pytest

from gpen.training.memory import keep_freed

STEPS = """
import resource, sys
import torch
from gpen.training.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
def step():
    return [torch.ones(16 * 2**20).sum() for _ in range(4)]  # 64 MiB each
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, check=True, text=True).stdout)


def test_pages_are_mapped_once():
    if not sys.platform.startswith("linux"):
        pytest.skip("mallopt is glibc's")
    plain = faults("plain")
    assert plain > 100_000  # else there is nothing to mend, and the module can go
    assert faults("keep") < plain / 4


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
