"""Fixtures of gpen's tests."""

import cv2
import numpy as np
import pytest
import torch


@pytest.fixture
def faces(tmp_path):
    """Folder with six smooth colour images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "faces"
    folder.mkdir()
    for k in range(6):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(small, (24, 24), interpolation=cv2.INTER_CUBIC))
    return folder


def squeezenet_weights() -> dict[str, torch.Tensor]:
    """Random weights of SqueezeNet 1.1's convolutions under torchvision's names, scaled so that features keep their variance."""
    random = torch.Generator().manual_seed(0)
    shapes = {"features.0": (64, 3, 3, 3)}
    inputs = 64
    for number, outputs in {3: 128, 4: 128, 6: 256, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}.items():
        squeeze, name = outputs // 8, f"features.{number}"
        shapes[f"{name}.squeeze"] = (squeeze, inputs, 1, 1)
        shapes[f"{name}.expand1x1"] = (outputs // 2, squeeze, 1, 1)
        shapes[f"{name}.expand3x3"] = (outputs // 2, squeeze, 3, 3)
        inputs = outputs
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=random) * (2 / np.prod(shape[1:])) ** 0.5
        weights[f"{name}.bias"] = torch.randn(shape[0], generator=random) * 0.1
    return weights


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory):
    """A file of random SqueezeNet weights in torchvision's form."""
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet1_1.pth"
    torch.save(squeezenet_weights() | {"classifier.1.bias": torch.zeros(1000)}, path)
    return path
