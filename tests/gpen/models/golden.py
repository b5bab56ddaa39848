"""Deterministic weights and inputs of the golden tests, generated as described by their manifest."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from tests import SHARED

FOLDER = SHARED / "golden"  # outputs of the published code
DATA = Path(__file__).resolve().parent / "data"  # outputs of tests/gpen/models/reference.py
TINY = ["tiny", "tiny-add", "tiny-disc"]
CASES = ["bfr-256", "bfr-512", "noise-add-64", "tiny-64", "sr-64-to-256", "disc-256"]


def folder(name: str) -> Path:
    """Folder of a case; may not exist."""
    return DATA if name in TINY else FOLDER


def case(name: str) -> dict:
    """Specification of a case: kind, args, salt, zeroed tensors, shapes of the tensors."""
    return json.loads((folder(name) / "manifest.json").read_text())[name]


def weights(spec: dict) -> dict[str, torch.Tensor]:
    """Random weights in the published layout."""
    state = {}
    for key, shape in spec["keys"].items():
        if isinstance(shape, dict):
            kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * shape["fir_gain"]
            state[key] = torch.tensor(kernel, dtype=torch.float32)
            continue
        rng = np.random.default_rng([spec["salt"], zlib.crc32(key.encode())])
        x = rng.standard_normal(shape).astype(np.float32)
        if key in spec["zeroed"]:
            x = np.zeros_like(x)
        elif key.endswith("modulation.bias"):
            x = 1 + 0.1 * x
        elif key.endswith("noise.weight"):
            x = 0.5 + 0.1 * x
        elif key.endswith("bias"):
            x = 0.1 * x
        elif ".style." in "." + key and key.endswith("weight"):
            x = 100 * x
        state[key] = torch.from_numpy(x)
    return state


def images(spec: dict) -> torch.Tensor:
    """Random input images [n, 3, size, size] in [-1, 1], constant in blocks."""
    args = spec["args"]
    size = args.get("in_size", args.get("size"))
    batch = 4 if spec["kind"] == "disc" else 1
    rng = np.random.default_rng([spec["salt"], size])
    k = max(4, size // 16)
    x = rng.uniform(-1, 1, (batch, 3, k, k)).astype(np.float32)
    return torch.from_numpy(x.repeat(size // k, axis=2).repeat(size // k, axis=3))
