"""gpen.compat: torchvision imports with any build, and its non-maximum suppression is correct."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.compat import nms, patch_torchvision
from tests import ROOT


def run_python(code, *path):
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": ":".join(map(str, [*path, ROOT])), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_concurrent_calls():
    out = run_python("""
from concurrent.futures import ThreadPoolExecutor
from gpen.compat import patch_torchvision
with ThreadPoolExecutor(4) as pool:
    print(len(set(pool.map(lambda _: patch_torchvision(), range(8)))))
import torch, torchvision, lpips, pytorch_fid.inception
boxes = torch.tensor([[0, 0, 10, 10.0], [1, 1, 11, 11], [20, 20, 30, 30]])
print(torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist())
""")
    assert out.split("\n")[:2] == ["1", "[1, 2]"]


@pytest.mark.slow
def test_working_torchvision_is_unchanged(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("works = True\n")
    out = run_python(
        """
import torch
from gpen.compat import patch_torchvision
patched = patch_torchvision()
import torchvision
print(patched, torchvision.works, hasattr(torch.ops.torchvision, "nms"))
""",
        tmp_path,
    )
    assert out.split() == ["False", "True", "False"]


def test_second_call_keeps_the_module():
    first = patch_torchvision()
    import torchvision

    assert patch_torchvision() is first
    assert sys.modules["torchvision"] is torchvision


def overlap(a, b):
    w, h = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0)
    return w * h / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - w * h)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_nms(n, threshold, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (n, 2))
    boxes, scores = np.hstack([corner, corner + rng.uniform(1, 20, (n, 2))]), rng.permutation(n) / 20
    expected = []
    for i in np.argsort(-scores):
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in expected):
            expected.append(i)
    assert nms(torch.tensor(boxes).reshape(n, 4), torch.tensor(scores), threshold).tolist() == expected
