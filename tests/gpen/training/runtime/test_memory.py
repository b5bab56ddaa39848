"""Freed memory is kept by the process, which avoids page faults."""

import subprocess
import sys

import pytest

from gpen.training.runtime.memory import keep_freed

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


def test_page_faults_decrease():
    if not sys.platform.startswith("linux"):
        pytest.skip("mallopt exists in glibc only")
    plain = faults("plain")
    assert plain > 100_000  # otherwise the workaround is no longer needed
    assert faults("keep") < plain / 4


def test_other_platforms_are_unchanged(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
