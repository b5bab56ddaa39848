"""eval.metrics.vqfr.deg: the network of arcface-pytorch on random weights, its angle, and invalid files."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.metrics.registry import METRICS, load_metrics
from eval.metrics.vqfr.deg import ArcFaceResNet18
from eval.metrics.weights import MetricSettings


def randomised(net):
    """Random statistics of batch normalisation, which are 0 and 1 in a new network."""
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "squeeze and excitation"])
def file(request, tmp_path_factory):
    """A file as torch.nn.DataParallel writes it."""
    torch.manual_seed(0)
    state = randomised(ArcFaceResNet18(request.param)).state_dict()
    path = tmp_path_factory.mktemp("arcface") / "resnet18_110.pth"
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    return path


def by_hand(state, x):
    """The forward pass in functions: x [1, 1, 128, 128] in [-1, 1] -> [1, 512]."""
    s = {name.removeprefix("module."): tensor for name, tensor in state.items()}

    def bn(x, name):
        return F.batch_norm(x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"])

    def block(x, name, stride):
        y = F.conv2d(bn(x, f"{name}.bn0"), s[f"{name}.conv1.weight"], padding=1)
        y = F.prelu(bn(y, f"{name}.bn1"), s[f"{name}.prelu.weight"])
        y = bn(F.conv2d(y, s[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.bn2")
        if f"{name}.se.fc.0.weight" in s:
            gate = F.linear(y.mean((2, 3)), s[f"{name}.se.fc.0.weight"], s[f"{name}.se.fc.0.bias"])
            gate = F.linear(F.prelu(gate, s[f"{name}.se.fc.1.weight"]), s[f"{name}.se.fc.2.weight"], s[f"{name}.se.fc.2.bias"])
            y = y * gate.sigmoid()[:, :, None, None]
        if stride > 1:
            x = bn(F.conv2d(x, s[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
        return F.prelu(x + y, s[f"{name}.prelu.weight"])

    x = F.max_pool2d(F.prelu(bn(F.conv2d(x, s["conv1.weight"], padding=1), "bn1"), s["prelu.weight"]), 2)
    for layer in range(1, 5):
        x = block(block(x, f"layer{layer}.0", 1 if layer == 1 else 2), f"layer{layer}.1", 1)
    return bn(F.linear(bn(x, "bn4").flatten(1), s["fc5.weight"], s["fc5.bias"]), "bn5")


@pytest.mark.slow
def test_angle_equals_a_forward_pass_by_hand(file, face_pair):
    functions, missing = load_metrics(["deg"], MetricSettings(deg_weights=str(file)))
    assert not missing and METRICS["deg"].lower_better
    state = torch.load(file, weights_only=True)
    vectors = []
    for image in face_pair:
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (128, 128))
        vectors.append(by_hand(state, torch.from_numpy((grey.astype(np.float32) - 127.5) / 127.5)[None, None])[0].double())
    cosine = F.cosine_similarity(*vectors, dim=0).item()
    angle, none = functions["deg"]([face_pair[0], face_pair[1]], [face_pair[1]] * 2)
    assert (
        angle == pytest.approx(math.degrees(math.acos(cosine)), rel=1e-3) and angle > 0.1 and none == pytest.approx(0, abs=1e-6)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [({"conv1.weight": torch.zeros(1)}, "is not resnet18_110.pth"), ({"a": 1}, "cannot be read"), (None, "cannot be")],
)
def test_invalid_files(content, words, tmp_path):
    path = tmp_path / "weights.pth"
    if content:
        torch.save(content, path)
    _, missing = load_metrics(["deg"], MetricSettings(deg_weights=str(path)))
    assert words in missing["deg"] and str(path) in missing["deg"]
    _, missing = load_metrics(["deg"], MetricSettings(deg_weights=""))
    assert "--deg-weights FILE" in missing["deg"]
