"""The allocator accepts the setting, and results do not depend on it."""

import subprocess
import sys

import pytest

from gpen.training.runtime.memory import keep_freed
from tests import ROOT

STEP = """
import sys
import torch
from gpen.training.runtime.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3))
optimizer = torch.optim.Adam(net.parameters())
for _ in range(3):
    loss = net(torch.rand(2, 3, 64, 64)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item(), sum(p.double().sum().item() for p in net.parameters()))
"""


def run_steps(setting: str) -> str:
    command = [sys.executable, "-c", STEP, setting]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt exists in glibc only")
def test_training_steps_are_equal_with_and_without_the_setting():
    assert run_steps("keep") == run_steps("plain") != ""


def test_other_platforms_are_unchanged(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
