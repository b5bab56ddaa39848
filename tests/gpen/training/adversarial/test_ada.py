"""Adaptive augmentation: distributions of geometry and colour, the adaptation of p, derivatives, R1."""

import pytest
import torch
from torch import Tensor, nn

import gpen
from gpen.training.adversarial.ada import SHIFT, Augment, _Resampling, geometry, move, recolour
from gpen.training.adversarial.discriminator import DiscriminatorTrainer

SIZE = 64  # px
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def translations(p: float = 0.1, n: int = 20_000) -> Tensor:
    """Translations [m, 2] in px of the images that are translated only."""
    matrices = geometry(n, SIZE, p, CPU, seeded())
    plain = (matrices[:, :2, :2] - torch.eye(2)).abs().amax((1, 2)) < 1e-6
    shifts = matrices[plain, :2, 2] * SIZE / 2
    return shifts[shifts.abs().amax(1) > 1e-3]


def test_p_moves_every_four_batches_by_the_sign_of_their_mean():
    augment = Augment(target=0.6, images=1000)
    found = []
    for sign in (1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0):
        augment.observe(sign, images=50)
        found.append(round(augment.p, 6))
    assert found == [0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0, 0]  # means 0.75 and 0.5
    for _ in range(8):
        augment.observe(sign=1.0, images=5000)
    assert augment.p == 1


def test_a_resumed_run_adapts_p_as_an_uninterrupted_one():
    whole, parts = Augment(0.6, 1000), Augment(0.6, 1000)
    for k in range(6):
        for augment in (whole, parts):
            augment.observe(1.0 - 0.3 * (k % 2), images=50)
        resumed = Augment(0.6, 1000)
        resumed.load_state_dict(parts.state_dict())
        parts = resumed
    assert parts.state_dict() == whole.state_dict() and whole.p > 0


def test_augmentation_leaves_images_alone_at_p_0_and_is_differentiable():
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(move(x, 0.0, seeded()), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(recolour(x, 0.0, seeded()), x, atol=1e-5, rtol=0)
    x.requires_grad_(True)
    augment = Augment(0.6, 1)
    augment.p = 1.0
    y = augment(x, seeded())
    assert y.shape == x.shape and not torch.allclose(y, x)
    y.sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0


def test_one_random_number_decides_over_both_axes_of_a_translation():
    shifts = translations()
    assert len(shifts) > 1000
    assert (shifts.abs() > 1e-3).all(1).float().mean() > 0.9  # a translation by whole pixels may round to 0 on one axis


def test_translations_are_by_whole_pixels_or_normal():
    shifts = translations()
    whole = (shifts - shifts.round()).abs().amax(1) < 1e-4
    assert 0.4 < whole.float().mean() < 0.6
    assert shifts[whole].abs().max() == SHIFT * SIZE
    assert shifts[~whole].std().item() == pytest.approx(SHIFT * SIZE, rel=0.05)


def test_singular_values_are_those_of_scaling_and_stretching():
    """Whatever the rotations: scaling multiplies both singular values, stretching multiplies one and divides the other."""
    linear = geometry(5000, SIZE, 1.0, CPU, seeded())[:, :2, :2]
    first, second = torch.linalg.svdvals(linear).log2().unbind(1)
    assert ((first + second) / 2).std().item() == pytest.approx(0.2, rel=0.05)
    assert ((first - second) / 2).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.05)


def test_share_of_rotated_images():
    """Each of the two rotations has a smaller probability, so that an image is rotated with probability p."""
    linear = geometry(20_000, SIZE, 0.2, CPU, seeded())[:, :2, :2]
    u, _, v = torch.linalg.svd(linear)
    cosine = (u @ v)[:, 0, 0].abs()
    upright = (cosine < 1e-3) | (cosine > 1 - 1e-6)
    assert 1 - upright.float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_recolouring_keeps_grey_pixels_grey():
    grey = torch.rand(8, 1, 4, 4).expand(-1, 3, -1, -1)
    y = recolour(grey, 1.0, seeded(1))
    torch.testing.assert_close(y, y.mean(1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_brightness_comes_before_contrast_and_luma_flip():
    """Grey g becomes a (g + b): b has the standard deviation of the brightness, whatever the factor a."""
    zero = torch.zeros(4000, 3, 1, 1)
    at_0, at_1 = recolour(zero, 1.0, seeded())[:, 0, 0, 0], recolour(zero + 1, 1.0, seeded())[:, 0, 0, 0]
    factor = at_1 - at_0
    assert (at_0 / factor).std().item() == pytest.approx(0.2, rel=0.05)
    assert factor.abs().log2().std().item() == pytest.approx(0.5, rel=0.05)
    assert 0.45 < (factor < 0).float().mean() < 0.55


def test_precision_is_full_within_autocast():
    augment, x = Augment(0.6, 1), torch.rand(4, 3, 16, 16)
    augment.p = 1.0
    with torch.autocast("cpu", torch.bfloat16):
        half = augment(x, seeded())
    assert torch.equal(half, augment(x, seeded()))


def test_derivatives_of_the_resampling():
    matrices = geometry(2, 8, 1.0, CPU, seeded(3)).double()
    grid = nn.functional.affine_grid(matrices[:, :2], [2, 1, 8, 8], align_corners=False)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _Resampling.apply(x, grid), x)
    assert torch.autograd.gradgradcheck(lambda x: _Resampling.apply(x, grid).square(), x)


def test_r1_is_computed_on_the_image_before_its_augmentation():
    """Of the score a . A(x) with the linear augmentation A, the penalty is the squared norm of the adjoint of A at a."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1, bias=False))
    augment = Augment(0.6, 1)
    augment.p = 1.0
    trainer = DiscriminatorTrainer(net, 1e-3, 0.0, r1_weight=10.0, r1_interval=16, augment=augment)
    x = torch.rand(2, 3, 8, 8)
    penalty = trainer._regularize(x, seeded())
    moved = torch.stack([augment(one.expand(2, -1, -1, -1), seeded()) for one in torch.eye(192).view(192, 3, 8, 8)], 1)
    offset = augment(torch.zeros(2, 3, 8, 8), seeded())[:, None]
    jacobian = (moved - offset).flatten(2)  # [2, 192 inputs, 192 outputs]
    gradient = jacobian @ net[1].weight[0]  # [2, 192]
    assert penalty.item() == pytest.approx(gradient.square().sum(1).mean().item(), rel=1e-4)
    assert net[1].weight.grad.abs().sum() > 0


def test_a_discriminator_without_augmentation_keeps_its_state():
    config = gpen.GPENConfig(size=16, narrow=0.03125)
    trainers = [DiscriminatorTrainer(gpen.Discriminator(config), 1e-3, 0.0, 10.0, 16) for _ in range(2)]
    trainers[1].load_state_dict(trainers[0].state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(t.net.state_dict().values() for t in trainers), strict=True))
