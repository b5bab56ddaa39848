"""The identity and perceptual terms: a file in dlib's form is read, folded and differentiated; other files are refused."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpen import GPENConfig
from gpen.errors import GPENError
from gpen.training.config import FinetuneConfig
from gpen.training.finetune import finetune
from gpen.training.identity import CHIP, STAGES, IdentityLoss, Look, Recogniser, chips, jittered
from gpen.training.perceptual import PerceptualLoss


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


def test_first_convolution_is_the_files_with_its_affine_layer(model, layers):
    x, first = torch.randn(1, 3, 31, 31), {name: torch.as_tensor(value) for name, value in layers[0].items()}
    plain = F.conv2d(x.double(), first["weight"], first["bias"], stride=2)
    expected = plain * first["gamma"][:, None, None] + first["beta"][:, None, None]
    assert torch.allclose(Recogniser(model).stem(x), expected.float(), atol=1e-4)


def test_a_face_has_the_same_embedding_alone_and_in_a_batch(model):
    torch.manual_seed(0)
    faces, recogniser = torch.rand(2, 3, 64, 64) * 2 - 1, Recogniser(model)
    assert recogniser(faces).shape == (2, 128)
    assert torch.allclose(recogniser(faces)[:1], recogniser(faces[:1]), atol=1e-5)


def test_a_face_is_at_no_distance_from_itself_and_a_blurred_one_is(model):
    torch.manual_seed(0)
    face = torch.rand(1, 3, 128, 128) * 2 - 1
    loss = IdentityLoss(Recogniser(model))
    assert loss(face, face) < 1e-2
    assert loss(F.avg_pool2d(face, 9, 1, 4), face) > 0.1


def test_gradients_reach_the_restored_face_and_leave_the_recogniser_alone(model):
    face, other = torch.rand(2, 1, 3, 64, 64)
    loss = IdentityLoss(Recogniser(model))
    face.requires_grad_(True)
    loss(face, other).backward()
    assert face.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in loss.recogniser.parameters())


def test_chips_cut_the_inner_face_at_any_size():
    ramp = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    small = F.avg_pool2d(ramp, 2)
    assert chips(ramp).shape == (1, 3, 150, 150)
    assert torch.allclose(chips(ramp), chips(small), atol=0.02)
    assert chips(ramp).min() > ramp[..., 40].max()


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x01\x05con_4" * 3])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "other.dat"
    path.write_bytes(content)
    with pytest.raises(GPENError, match="is not dlib_face_recognition"):
        Recogniser(path)


def test_a_missing_file_and_a_missing_setting_are_said(tmp_path):
    with pytest.raises(GPENError, match="identity_model"):
        Recogniser(tmp_path / "none.dat")
    with pytest.raises(GPENError, match="identity_model"):
        FinetuneConfig(identity=0.1)


def test_without_jitter_the_frame_is_dlibs_and_with_it_pairs_move_together(model):
    torch.manual_seed(0)
    faces = torch.rand(3, 3, 64, 64) * 2 - 1
    still, moved = IdentityLoss(Recogniser(model)), IdentityLoss(Recogniser(model), 0.1)
    random = torch.Generator().manual_seed(1)
    assert torch.equal(still(faces, faces.flip(3)), still(faces, faces.flip(3)))
    assert moved(faces, faces, random) < 1e-3  # the same face, framed the same way, remains itself
    assert not torch.equal(moved(faces, -faces, random), moved(faces, -faces, random))
    frames = jittered(2000, 0.1, torch.device("cpu"), random)
    plain = jittered(1, 0.0, torch.device("cpu"))[0]
    assert 0.45 < (frames[:, 0] < 0).float().mean() < 0.55
    assert (frames[:, 0].abs() / plain[0] - 1).abs().max() <= 0.15 + 1e-6
    assert (frames[:, 2:] - plain[2:]).abs().max() <= 0.2 * plain[:2].max() * 1.15 + 1e-6


def test_bfloat16_images_are_framed_as_float32_ones_are():
    faces = torch.rand(2, 3, 256, 256).mul(2).sub(1).bfloat16()
    assert torch.equal(chips(faces), chips(faces.float()))


def test_a_look_is_the_same_for_both_of_a_pair_and_hides_colour_and_detail(model):
    torch.manual_seed(0)
    faces, random = torch.rand(3, 3, 64, 64) * 2 - 1, torch.Generator().manual_seed(1)
    loss = IdentityLoss(Recogniser(model), 0.1, looks=True)
    assert loss(faces, faces, random) < 1e-3
    assert not torch.equal(loss(faces, -faces, random), loss(faces, -faces, random))
    looks = [Look.draw(8, torch.device("cpu"), random) for _ in range(200)]
    drawn = torch.cat([look.saturation.flatten() for look in looks])
    assert 0.14 < (drawn == 0).float().mean() < 0.24 and 0.14 < (drawn == 1).float().mean() < 0.24
    assert 0.2 < sum(look.side >= CHIP for look in looks) / len(looks) < 0.43


def test_a_look_without_colour_detail_or_change():
    x, one, none = torch.rand(2, 3, CHIP, CHIP) * 2 - 1, torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    assert torch.allclose(Look(one, one, none, CHIP)(x), x, atol=1e-6)
    grey = Look(none, one, none, CHIP)(x)
    assert torch.allclose(grey, x.mean(1, keepdim=True).expand_as(x), atol=1e-6)
    blurred = Look(one, one, none, 40)(x)
    assert blurred.shape == x.shape and blurred.std() < x.std() / 2
    assert torch.allclose(blurred.mean((2, 3)), x.mean((2, 3)), atol=0.02)


def test_the_perceptual_distance_is_nothing_for_equal_images_and_grows_with_blur(model):
    torch.manual_seed(0)
    face = torch.rand(2, 3, 128, 128) * 2 - 1
    loss = PerceptualLoss(Recogniser(model))
    little, much = (loss(F.avg_pool2d(face, side, 1, side // 2), face) for side in (3, 9))
    assert loss(face, face) == 0 < little < much


def test_the_perceptual_distance_does_not_depend_on_the_strength_of_features(model):
    """As in LPIPS, features are compared at unit length: what has ten times the weight in one layer is no farther apart."""
    recogniser = Recogniser(model)
    face, other = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    plain = PerceptualLoss(recogniser, 1)(face, other, torch.Generator().manual_seed(0))
    recogniser.stem.weight.data *= 10
    recogniser.stem.bias.data *= 10
    assert torch.allclose(PerceptualLoss(recogniser, 1)(face, other, torch.Generator().manual_seed(0)), plain, rtol=1e-3)


def test_both_terms_train_the_network(model, faces, tmp_path):
    network = GPENConfig(size=64, channel_multiplier=1, narrow=0.0625)
    terms = {"adversarial": 0, "feature": 0, "identity": 1, "perceptual": 1, "identity_model": str(model)}
    settings = FinetuneConfig(network=network, images=16, batch=4, workers=0, **terms)
    finetune(faces, tmp_path / "run", settings, device="cpu")
    [record] = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert record["identity"] > 0
    assert record["perceptual"] > 0
