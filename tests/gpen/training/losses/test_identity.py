"""Identity loss: a file in dlib's format is read and differentiated, other files are refused."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpen import GPENConfig
from gpen.errors import GPENError
from gpen.training.config import FinetuneConfig
from gpen.training.finetune import finetune
from gpen.training.losses.identity import CROP, STAGES, ColorJitter, FaceRecognitionNet, IdentityLoss, crop_faces, random_crops


def integer(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "little")


def tensor(values: np.ndarray) -> bytes:
    shape = (*values.shape, 1, 1, 1)[:4]
    return b"".join(map(integer, (2, *shape))) + values.astype("<f4").tobytes()


@pytest.fixture(scope="module")
def layers() -> list[dict]:
    """The 29 convolutions with their affine layers, as the network has them, at random."""
    rng = np.random.default_rng(0)
    shapes, inputs = [(32, 3, 7, 2, 0)], 32
    for channels, blocks, halves in STAGES:
        for block in range(blocks):
            stride = 2 if halves and block == 0 else 1
            shapes += [(channels, inputs, 3, stride, 0 if stride == 2 else 1), (channels, channels, 3, 1, 1)]
            inputs = channels
    return [
        {
            "weight": rng.normal(0, (2 / (i * k * k)) ** 0.5, (o, i, k, k)),
            "bias": rng.normal(0, 0.1, o),
            "stride": stride,
            "padding": padding,
            "gamma": rng.uniform(0.5, 1, o),
            "beta": rng.normal(0, 0.1, o),
        }  # fmt: skip
        for o, i, k, stride, padding in shapes
    ]


@pytest.fixture(scope="module")
def model(layers, tmp_path_factory):
    data = b"\x01\x01\x01\rloss_metric_2"
    for layer in layers:
        filters, _, k, _ = layer["weight"].shape
        values = np.concatenate([layer["weight"].ravel(), layer["bias"]])
        stride, padding = layer["stride"], layer["padding"]
        settings = map(integer, (filters, k, k, stride, stride, padding, padding))
        data += b"\x01\x05con_4" + tensor(values) + b"".join(settings)
        data += b"\x01\x07affine_" + tensor(np.concatenate([layer["gamma"], layer["beta"]]))
    last = np.random.default_rng(1).normal(0, 0.05, (256, 128))
    data += b"\x01\x04fc_2" + integer(128) + integer(256) + tensor(last)
    path = tmp_path_factory.mktemp("identity") / "dlib.dat"
    path.write_bytes(data)
    return path


def test_affine_layers_are_folded_into_convolutions(model, layers):
    x, first = torch.randn(1, 3, 31, 31), {name: torch.as_tensor(value) for name, value in layers[0].items()}
    plain = F.conv2d(x.double(), first["weight"], first["bias"], stride=2)
    expected = plain * first["gamma"][:, None, None] + first["beta"][:, None, None]
    assert torch.allclose(FaceRecognitionNet(model).stem(x), expected.float(), atol=1e-4)


def test_embedding_does_not_depend_on_the_batch(model):
    torch.manual_seed(0)
    faces, recognition_net = torch.rand(2, 3, 64, 64) * 2 - 1, FaceRecognitionNet(model)
    assert recognition_net(faces).shape == (2, 128)
    assert torch.allclose(recognition_net(faces)[:1], recognition_net(faces[:1]), atol=1e-5)


def test_loss_is_zero_for_equal_faces_and_positive_for_blurred_ones(model):
    torch.manual_seed(0)
    face = torch.rand(1, 3, 128, 128) * 2 - 1
    loss = IdentityLoss(FaceRecognitionNet(model))
    assert loss(face, face) < 1e-2
    assert loss(F.avg_pool2d(face, 9, 1, 4), face) > 0.1


def test_gradients_reach_the_restored_face_only(model):
    face, other = torch.rand(2, 1, 3, 64, 64)
    loss = IdentityLoss(FaceRecognitionNet(model))
    face.requires_grad_(True)
    loss(face, other).backward()
    assert face.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in loss.recognition_net.parameters())


def test_crops_hold_the_inner_face_at_any_size():
    ramp = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    small = F.avg_pool2d(ramp, 2)
    assert crop_faces(ramp).shape == (1, 3, 150, 150)
    assert torch.allclose(crop_faces(ramp), crop_faces(small), atol=0.02)
    assert crop_faces(ramp).min() > ramp[..., 40].max()


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x01\x05con_4" * 3])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "other.dat"
    path.write_bytes(content)
    with pytest.raises(GPENError, match="is not dlib_face_recognition"):
        FaceRecognitionNet(path)


def test_missing_file_and_missing_setting_are_errors(tmp_path):
    with pytest.raises(GPENError, match="identity_model"):
        FaceRecognitionNet(tmp_path / "none.dat")
    with pytest.raises(GPENError, match="identity_model"):
        FinetuneConfig(identity_weight=0.1)


@pytest.mark.slow
def test_random_crops_are_the_same_for_both_faces_of_a_pair(model):
    torch.manual_seed(0)
    faces = torch.rand(3, 3, 64, 64) * 2 - 1
    still, moved = IdentityLoss(FaceRecognitionNet(model)), IdentityLoss(FaceRecognitionNet(model), 0.1)
    random = torch.Generator().manual_seed(1)
    assert torch.equal(still(faces, faces.flip(3)), still(faces, faces.flip(3)))
    assert moved(faces, faces, random) < 1e-3  # equal faces stay equal under the same crop
    assert not torch.equal(moved(faces, -faces, random), moved(faces, -faces, random))
    frames = random_crops(2000, 0.1, torch.device("cpu"), random)
    plain = random_crops(1, 0.0, torch.device("cpu"))[0]
    assert 0.45 < (frames[:, 0] < 0).float().mean() < 0.55
    assert (frames[:, 0].abs() / plain[0] - 1).abs().max() <= 0.15 + 1e-6
    assert (frames[:, 2:] - plain[2:]).abs().max() <= 0.2 * plain[:2].max() * 1.15 + 1e-6


def test_bfloat16_images_are_cropped_as_float32_ones():
    faces = torch.rand(2, 3, 256, 256).mul(2).sub(1).bfloat16()
    assert torch.equal(crop_faces(faces), crop_faces(faces.float()))


def test_color_jitter_is_the_same_for_both_faces_of_a_pair(model):
    torch.manual_seed(0)
    faces, random = torch.rand(3, 3, 64, 64) * 2 - 1, torch.Generator().manual_seed(1)
    loss = IdentityLoss(FaceRecognitionNet(model), 0.1, color_jitter=True)
    assert loss(faces, faces, random) < 1e-3
    assert not torch.equal(loss(faces, -faces, random), loss(faces, -faces, random))
    looks = [ColorJitter.sample(8, torch.device("cpu"), random) for _ in range(200)]
    drawn = torch.cat([look.saturation.flatten() for look in looks])
    assert 0.14 < (drawn == 0).float().mean() < 0.24 and 0.14 < (drawn == 1).float().mean() < 0.24
    assert 0.2 < sum(look.side >= CROP for look in looks) / len(looks) < 0.43


def test_color_jitter_of_single_properties():
    x, one, none = torch.rand(2, 3, CROP, CROP) * 2 - 1, torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    assert torch.allclose(ColorJitter(one, one, none, CROP)(x), x, atol=1e-6)
    grey = ColorJitter(none, one, none, CROP)(x)
    assert torch.allclose(grey, x.mean(1, keepdim=True).expand_as(x), atol=1e-6)
    blurred = ColorJitter(one, one, none, 40)(x)
    assert blurred.shape == x.shape and blurred.std() < x.std() / 2
    assert torch.allclose(blurred.mean((2, 3)), x.mean((2, 3)), atol=0.02)


@pytest.mark.slow
def test_identity_loss_trains_the_network(model, faces, tmp_path):
    network = GPENConfig(size=64, channel_multiplier=1, narrow=0.0625)
    terms = {"adversarial_weight": 0, "feature_matching_weight": 0, "identity_weight": 1, "identity_model": str(model)}
    small = {"total_images": 16, "batch_size": 4, "workers": 0, "allow_upscaled": True}
    settings = FinetuneConfig(network=network, identity_interval=2, **small, **terms)
    finetune(faces, tmp_path / "run", settings, device="cpu")
    [record] = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert record["identity"] > 0
