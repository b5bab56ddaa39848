"""GAN inversion: operators, losses, schedules and results of the searches."""

import contextlib

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen
from eval.data.lq_sets import Sample
from eval.methods import inversion
from eval.methods.inversion import (
    MultiCodeSettings,
    PulseSettings,
    downsampling,
    geocross,
    mapping_statistics,
    mganprior,
    one_cycle,
    operator,
    pulse,
)
from gpen.degradation.degradation import Degradation
from gpen.images import to_image, to_tensor
from gpen.models.network import resolutions

SMALL = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)
SIZE = 64  # px, of the results after their enlargement


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return gpen.Generator(SMALL).eval().requires_grad_(False)


def low_quality(prior, scale: float, **more) -> Sample:
    """A face of the prior, enlarged and degraded."""
    random = torch.Generator().manual_seed(5)
    w = prior.mapping(torch.randn(1, SMALL.style_dim, generator=random))
    with torch.no_grad():
        face = to_image(prior(w, [prior.noise(s, random=random) for s in resolutions(SMALL.size)])[0])
    face = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    degradation = Degradation(scale=scale, **more)
    return Sample("face", degradation(face), face, degradation)


def error(prior, face: np.ndarray, sample: Sample) -> float:
    return inversion._Errors([sample], SIZE, prior)(to_tensor(face)[None]).item()


# --- the operator


@settings(max_examples=25, deadline=None)
@given(
    prior_size=st.sampled_from([16, 32, 64, 128]), scale=st.sampled_from([1, 2, 3.3, 4, 8, 16]), seed=st.integers(0, 9)
)  # fmt: skip
def test_bilinear_operator_is_the_degradation_of_the_enlarged_result(prior_size, scale, seed):
    face = np.random.default_rng(seed).integers(60, 196, (prior_size, prior_size, 3), dtype=np.uint8)
    enlarged = face
    if prior_size != SIZE:
        enlarged = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC if prior_size < SIZE else cv2.INTER_AREA)
    expected = Degradation(scale=scale)(enlarged)
    matrix = downsampling(prior_size, SIZE, len(expected), "bilinear")
    result = to_image(matrix @ to_tensor(face) @ matrix.T)
    assert np.abs(result.astype(int) - expected).max() <= 2  # rounding of the enlarged result and of the low-quality image


@settings(max_examples=25, deadline=None)
@given(
    prior_size=st.sampled_from([16, 32, 64, 128]), low=st.integers(2, 80), kind=st.sampled_from(["bilinear", "bicubic"])
)  # fmt: skip
def test_operators_keep_constant_images(prior_size, low, kind):
    matrix = downsampling(prior_size, SIZE, low, kind)
    assert matrix.shape == (low, prior_size)
    assert torch.allclose(matrix.sum(1), torch.ones(low), atol=1e-5)


def test_bicubic_operator_is_antialiased_and_bilinear_is_not():
    checks = (torch.arange(64) % 2).float()  # the highest frequency
    assert (downsampling(64, 64, 9, "bicubic") @ checks - 0.5).abs().max() < 0.05
    assert (downsampling(64, 64, 9, "bilinear") @ checks - 0.5).abs().max() > 0.3


def test_only_super_resolution_tells_its_operator():
    image = np.zeros((8, 8, 3), np.uint8)
    assert operator(Sample("a", image, image, Degradation(scale=8, seed=3))) == "bilinear"
    assert operator(Sample("a", image, image, Degradation(scale=8, jpeg_quality=60))) == "bicubic"
    assert operator(Sample("a", image, image, Degradation.sample("gpen-release", 0, 256))) == "bicubic"
    assert operator(Sample("a", image, None, None)) == "bicubic"  # wild


# --- PULSE


def test_weights_of_pulse_are_those_of_the_release_for_images_in_0_1(prior):
    """100 * max(L2, 1e-3) + 0.05 * GEOCROSS of images in [0, 1], divided by 25."""
    how, w = PulseSettings(), torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(0))
    for scale in (0.001, 0.5):
        difference = scale * torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))  # of images in [-1, 1]
        released = 100 * (difference / 2).square().mean().clamp(min=1e-3) + 0.05 * geocross(w)
        own = difference.square().mean().clamp(min=how.tolerance) + how.geodesic * geocross(w)
        torch.testing.assert_close(25 * own, released)


def test_geocross_is_zero_for_equal_codes_and_known_for_orthogonal_ones():
    same = torch.ones(1, 3, 8)
    assert geocross(same).item() == pytest.approx(0, abs=1e-6)
    orthogonal = torch.eye(8)[None, :2]  # two codes: the angle between them is pi / 2, to themselves 0
    assert geocross(orthogonal).item() == pytest.approx((np.pi / 2) ** 2 / 2 * 8 / 8)


def test_learning_rate_of_pulse():
    factors = [one_cycle(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == factors[45] == pytest.approx(1)
    assert factors[90] == pytest.approx(0.1) and factors[95] == pytest.approx((0.1 + 0.001) / 2)
    assert factors[:46] == sorted(factors[:46]) and factors[45:] == sorted(factors[45:], reverse=True)


def test_mapping_statistics_are_those_of_w_before_the_activation(prior):
    mean, std = mapping_statistics(prior, 4096)
    with torch.no_grad():
        w = prior.mapping(torch.randn(4096, 64, generator=torch.Generator().manual_seed(7)))
    before = torch.where(w > 0, w, 5 * w)  # the inverse of a leaky ReLU of slope 0.2
    assert torch.allclose(mean, before.mean(0), atol=0.1 * std.max().item())
    assert torch.allclose(std, before.std(0), rtol=0.1)
    torch.testing.assert_close(F.leaky_relu(before, 0.2), w)


def test_pulse_searches_on_spheres(prior, monkeypatch):
    """Every step leaves the norm of each code and of each noise map as it was."""
    seen, run = [], inversion._descend

    def spied(make, errors, optimizer, *rest):
        free = optimizer.param_groups[0]["params"]
        for result in run(make, errors, optimizer, *rest):
            seen.append([inversion._norm(x) for x in free])
            yield result

    monkeypatch.setattr(inversion, "_descend", spied)
    pulse(prior, [low_quality(prior, 4)], SIZE, PulseSettings(steps=8, samples=500))
    assert len(seen) == 8 and [x.shape[1] for x in seen[0]] == [4, *[SMALL.channels(s) for s in (4, 8, 8, 16, 16)]]
    for first, last in zip(seen[0], seen[-1], strict=True):
        torch.testing.assert_close(first, last, rtol=1e-4, atol=1e-4)


def test_pulse_returns_the_face_with_the_lowest_total_loss(prior, monkeypatch):
    faces = torch.linspace(-1, 1, 4).view(4, 1, 1, 1, 1).expand(4, 1, 3, 32, 32)
    losses = [torch.tensor([value]) for value in (3.0, 1.0, 2.0, 1.5)]
    monkeypatch.setattr(inversion, "_descend", lambda *arguments: zip(faces, losses, strict=True))
    (found,) = pulse(prior, [low_quality(prior, 4)], SIZE, PulseSettings(steps=4, samples=500))
    assert np.array_equal(found, to_image(faces[1, 0]))


def test_errors_below_the_tolerance_leave_only_the_penalty():
    x = torch.nn.Parameter(torch.tensor([0.5, 0.01]))
    optimizer = torch.optim.SGD([x], lr=0.1)
    (step,) = inversion._descend(lambda: (x, x.new_zeros(2)), lambda faces: faces.square(), optimizer, [0.1], 4e-3)
    assert step[1].tolist() == pytest.approx([0.25, 4e-3])
    assert x.tolist() == pytest.approx([0.4, 0.01])


# --- both


@pytest.mark.parametrize(("invert", "short", "long"), [
    (pulse, PulseSettings(steps=1, samples=500), PulseSettings(steps=40, samples=500)),
    (mganprior, MultiCodeSettings(steps=0, codes=4), MultiCodeSettings(steps=60, codes=4)),
])  # fmt: skip
@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.slow
def test_inversion_reduces_the_error(prior, invert, short, long, scale):
    sample = low_quality(prior, scale)
    (first,), (last,) = invert(prior, [sample], SIZE, short), invert(prior, [sample], SIZE, long)
    assert error(prior, last, sample) < error(prior, first, sample) / 2


@pytest.mark.slow
def test_inversion_does_not_depend_on_the_batch(prior):
    samples = [low_quality(prior, scale) for scale in (2, 8, 0.8)]
    for invert, how in ((pulse, PulseSettings(steps=5, samples=500)), (mganprior, MultiCodeSettings(steps=5, codes=2))):
        together = invert(prior, samples, SIZE, how)
        for face, sample in zip(together, samples, strict=True):
            assert cv2.absdiff(face, invert(prior, [sample], SIZE, how)[0]).max() <= 1


@pytest.mark.slow
def test_all_tensors_are_on_the_device_of_the_prior(monkeypatch):
    """On the meta device, which has shapes only: an operation with a tensor on the CPU raises an error, as on a GPU."""
    net = gpen.Generator(SMALL).eval().requires_grad_(False).to("meta")
    monkeypatch.setattr(inversion, "to_image", lambda face: face)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # does not support this device
    samples = [Sample("a", np.zeros((low, low, 3), np.uint8), None, None) for low in (16, 16, 8)]
    for invert, how in ((pulse, PulseSettings(steps=2, samples=500)), (mganprior, MultiCodeSettings(steps=2, codes=2))):
        assert [face.device.type for face in invert(net, samples, SIZE, how)] == ["meta"] * 3


@pytest.mark.parametrize("block", ["stylegan2", "stylegan", "pggan", "biggan"])
@pytest.mark.parametrize("noise_mode", ["add", "none"])
def test_inversion_with_every_block(block, noise_mode, prior):
    torch.manual_seed(0)
    config = gpen.GPENConfig(**vars(SMALL) | {"block": block, "noise_mode": noise_mode})
    net, samples = gpen.Generator(config).eval().requires_grad_(False), [low_quality(prior, 4)]
    for found in (
        *pulse(net, samples, SIZE, PulseSettings(steps=2, samples=500)),
        *mganprior(net, samples, SIZE, MultiCodeSettings(steps=2, codes=2)),
    ):
        assert found.shape == (32, 32, 3)
