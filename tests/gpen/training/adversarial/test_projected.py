"""Projected discriminator: gradients, balance of the heads, frozen start, and training in both stages with resume to the bit."""

import dataclasses
import json
import shutil

import pytest
import torch
import torch.nn.functional as F

import gpen
from gpen.errors import GPENError
from gpen.models.ops import upsample2
from gpen.training.adversarial.diffaugment import DiffAugment
from gpen.training.adversarial.projected import GradientBalance, ProjectedTrainer, hinge_discriminator, hinge_generator
from gpen.training.auxiliary_encoder import kl_divergence
from gpen.training.config import DiffAugmentConfig, FinetuneConfig, PriorConfig, ProjectedConfig
from gpen.training.finetune import Finetune, finetune
from gpen.training.losses.squeezenet import SqueezeNet, enlarge, lpips, lpips_heads
from gpen.training.losses.terms import content, feature_matching, generator_logistic, range_penalty
from gpen.training.prior import Prior, train_prior
from gpen.training.runtime.parallel import Distributed

NETWORK = gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)
CPU = Distributed("cpu")


@pytest.fixture
def tune(squeezenet_file):
    """Settings of a tiny stage 2 whose adversarial term sets in after 8 images."""
    return FinetuneConfig(
        network=NETWORK,
        total_images=32,
        batch_size=4,
        workers=0,
        save_interval=16,
        grid_interval=32,
        ema_half_life=16,
        discriminator="projected",
        perceptual_weight=1.0,
        beta1=0.5,
        lr_decoder=2e-3,
        projected=ProjectedConfig(str(squeezenet_file), start_images=8, ramp_images=8, balance_interval=2),
    )


@pytest.fixture
def prior(squeezenet_file):
    """Settings of a tiny stage 1 with reconstructions."""
    heads = {"conv1": 0.1, "fire4": 1.0, "fire7": 1.0, "fire12": 1.0, "pixels": 0.25, "colors": 1.0}
    augmentation = DiffAugmentConfig(0.2, 0.15, 0.5, 0.4)
    projected = ProjectedConfig(str(squeezenet_file), 0.06, heads, 2, 8, 8, augmentation=augmentation)
    return PriorConfig(
        network=NETWORK,
        total_images=32,
        batch_size=4,
        workers=0,
        save_interval=16,
        grid_interval=32,
        ema_half_life=16,
        discriminator="projected",
        reconstruction_share=0.5,
        range_weight=10.0,
        path_length_weight=0.0,
        style_mixing_probability=0.0,
        projected=projected,
    )


def directional_derivative(loss, x):
    """Derivative of loss along its normalised gradient: by autograd and by central differences."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x), x)
    norm = gradient.norm()
    step = 1e-6 * x.detach().norm() * gradient / norm
    with torch.no_grad():
        difference = (loss(x + step) - loss(x - step)) / (2 * step.norm())
    return norm.item(), difference.item()


@pytest.mark.parametrize(
    "name",
    [
        "content",
        "range",
        "adversarial",
        "feature_matching",
        "kl",
        "perceptual",
        "conv1",
        "fire4",
        "fire7",
        "fire12",
        "pixels",
        "colors",
    ],
)
def test_gradients_of_each_term_agree_with_finite_differences(name, squeezenet_file, prior):
    torch.manual_seed(0)
    x, y = torch.rand(2, 2, 3, 128, 128, dtype=torch.float64) * 2.4 - 1.2
    smooth = F.avg_pool2d(x, 5, 1, 2)
    net, heads = SqueezeNet(squeezenet_file).double(), [head.double() for head in lpips_heads()]
    config = dataclasses.replace(prior, network=dataclasses.replace(NETWORK, size=128, in_size=128))
    discriminator = ProjectedTrainer(config, True, CPU, torch.autocast("cpu", enabled=False)).net.double().eval()
    augment = DiffAugment.sample(2, 128, config.projected.augmentation, torch.device("cpu"), torch.Generator().manual_seed(0))
    with torch.no_grad():
        discriminator.measure(net(y), CPU)
        target = net(augment(y))
    losses = {
        "content": lambda x: content(x, y, 3),
        "range": range_penalty,
        "adversarial": lambda x: generator_logistic(x.flatten(1)),
        "feature_matching": lambda x: feature_matching([x, x * 2], [y, y]),
        "kl": lambda x: kl_divergence(x.flatten(1), y.flatten(1)),
        "perceptual": lambda x: lpips(net(augment(x)), target, heads).mean(),
    }
    loss = losses.get(name, lambda x: hinge_generator(discriminator(augment(x), net(augment(x))))[name])
    expected, found = directional_derivative(loss, smooth if name not in ("content", "range") else x)
    assert expected > 0
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_compiled_network_keeps_the_gradients_of_every_head(tune):
    """A compiled feature network once returned zero gradients for three taps when the graph was kept for a second pass."""
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler")
    trainer = Finetune(dataclasses.replace(tune, compile=True), CPU)
    adversary, x = trainer.adversary, torch.rand(2, 3, 16, 16) * 2 - 1
    restored = trainer.forward(x).float()
    adversary.net.eval()

    def heads(images):
        features = adversary.features(enlarge(images))
        adversary.net.measure(features, CPU)
        return hinge_generator(adversary.net(images, features))

    kept = heads(restored)
    for _ in range(2):  # the graph is kept for a second backward pass
        gradients = {name: torch.autograd.grad(loss, restored, retain_graph=True)[0] for name, loss in kept.items()}
    for name in kept:
        leaf = restored.detach().requires_grad_(True)
        (reference,) = torch.autograd.grad(heads(leaf)[name], leaf)
        assert reference.norm() > 0
        assert torch.allclose(gradients[name], reference, rtol=1e-4, atol=1e-7)
    sum(kept.values()).backward()
    eager = Finetune(tune, CPU)
    eager.net.load_state_dict(trainer.net.state_dict())
    other = eager.forward(x).float()
    assert torch.allclose(other, restored, atol=1e-4)
    sum(heads(other).values()).backward()
    for (name, a), b in zip(trainer.net.named_parameters(), eager.net.parameters(), strict=True):
        if b.grad is not None:
            assert torch.allclose(a.grad, b.grad, rtol=1e-2, atol=1e-4 * b.grad.abs().max().item() + 1e-7), name


def test_each_head_has_its_share_of_the_reconstructions_gradient_norm(tune):
    trainer = Finetune(tune, CPU)
    adversary, projected = trainer.adversary, tune.projected
    torch.manual_seed(0)
    fake, real = torch.rand(2, 4, 3, 16, 16) * 2 - 1
    fake.requires_grad_(True)
    augment = DiffAugmentConfig(0.0, 0.0, 0.0, 0.0)
    adversary.config = dataclasses.replace(projected, augmentation=augment)
    losses = adversary.losses(fake, real, 4, 10_000, 0, torch.Generator().manual_seed(0), None)
    reference = torch.autograd.grad(losses["perceptual"], fake, retain_graph=True)[0].norm().item()
    heads = hinge_generator(adversary.net(adversary._images[1], adversary._features[1]))
    for name, loss in heads.items():
        norm = torch.autograd.grad(loss, fake, retain_graph=True)[0].norm().item()
        assert adversary.balance.weights[name] * norm == pytest.approx(reference, rel=1e-3)
    weighted = torch.autograd.grad(losses["adversarial"], fake)[0].norm().item()
    assert weighted <= projected.share * sum(projected.head_weights.values()) * reference * 1.001


def test_balance_averages_geometrically_and_ignores_values_without_meaning():
    balance = GradientBalance()
    balance.update(1.0, {"a": 0.5, "b": 0.0})
    assert balance.weights == {"a": 2.0}
    balance.update(1.0, {"a": 1 / 64})
    assert balance.weights["a"] == pytest.approx(2**0.8 * 64**0.2)
    balance.update(float("nan"), {"a": 1.0})
    assert balance.weights["a"] == pytest.approx(2**0.8 * 64**0.2)


def test_hinge_losses():
    logits = {"a": torch.tensor([[2.0, 0.0]])}, {"a": torch.tensor([[-2.0, 1.0]])}
    assert hinge_discriminator(*logits).item() == pytest.approx(0.5 + 1.0)
    assert hinge_generator(logits[1])["a"].item() == pytest.approx(0.5)


def test_adversarial_term_ramps_up_after_its_start():
    config = ProjectedConfig(start_images=800, ramp_images=4000)
    assert [config.ramp(n) for n in (0, 800, 2800, 4800, 10_000)] == [0, 0, 0.5, 1, 1]


def test_both_images_of_a_pair_are_augmented_alike():
    torch.manual_seed(0)
    x, device = torch.rand(4, 3, 32, 32) * 2 - 1, torch.device("cpu")
    augment = DiffAugment.sample(4, 32, DiffAugmentConfig(0.2, 0.1, 0.5, 0.4), device, torch.Generator().manual_seed(1))
    assert torch.equal(augment(x), augment(x.clone()))
    assert all(not torch.equal(a, b) for a, b in zip(augment(x), x, strict=True))
    unchanged = DiffAugment.sample(4, 32, DiffAugmentConfig(0, 0, 0, 0), device, torch.Generator().manual_seed(1))
    assert torch.allclose(unchanged(x), x, atol=1e-5)
    hole = DiffAugment.sample(64, 32, DiffAugmentConfig(0, 0, 0, 0.4), device, torch.Generator().manual_seed(1))
    covered = (hole(torch.ones(64, 3, 32, 32)) == 0).float().mean().item()
    assert 0.08 < covered < 0.16  # 0.4 x 0.4, less what lies outside of the image


def test_frozen_start_trains_the_heads_alone(tune, tmp_path, faces):
    trainer = Finetune(dataclasses.replace(tune, frozen_images=8), CPU)
    batch = torch.rand(4, 3, 16, 16) * 2 - 1, torch.rand(4, 3, 16, 16) * 2 - 1
    network = {name: p.clone() for name, p in trainer.net.state_dict().items()}
    heads = {name: p.clone() for name, p in trainer.adversary.net.named_parameters()}
    for _ in range(2):
        trainer.step(batch)
        trainer.images_seen += 4
    assert all(torch.equal(p, network[name]) for name, p in trainer.net.state_dict().items())
    assert all(torch.equal(p, network[name]) for name, p in trainer.ema.state_dict().items())
    assert not any(
        torch.equal(p, heads[name]) for name, p in trainer.adversary.net.named_parameters() if name.endswith("original")
    )
    trainer.step(batch)
    assert not all(torch.equal(p, network[name]) for name, p in trainer.net.state_dict().items())


@pytest.mark.slow
def test_frozen_start_of_stage_1_trains_heads_and_encoder(prior):
    trainer = Prior(dataclasses.replace(prior, frozen_images=8), CPU)
    before = {part: {k: v.clone() for k, v in getattr(trainer, part).state_dict().items()} for part in ("net", "ema", "encoder")}
    for _ in range(2):
        trainer.step(torch.rand(4, 3, 16, 16) * 2 - 1)
        trainer.images_seen += 4
    same = {part: all(torch.equal(v, before[part][k]) for k, v in getattr(trainer, part).state_dict().items()) for part in before}
    assert same == {"net": True, "ema": True, "encoder": False}
    trainer.step(torch.rand(4, 3, 16, 16) * 2 - 1)
    assert not all(torch.equal(v, before["net"][k]) for k, v in trainer.net.state_dict().items())


def interrupted(stage, kind, run, steps, monkeypatch):
    """Stop the training of `stage` after so many steps."""
    real_step, seen = kind.step, []

    def stopping(self, batch):
        if len(seen) == steps:
            raise KeyboardInterrupt
        seen.append(1)
        return real_step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "step", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(stage)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prior", "finetune"])
def test_resumed_run_equals_an_uninterrupted_one_to_the_bit(stage, tune, prior, faces, tmp_path, monkeypatch):
    train, kind, config = (train_prior, Prior, prior) if stage == "prior" else (finetune, Finetune, tune)
    train(faces, tmp_path / "whole", config)
    interrupted(stage, kind, lambda _: train(faces, tmp_path / "parts", config), 6, monkeypatch)
    torch.manual_seed(99)
    train(faces, tmp_path / "parts", config, resume=True)
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")]
    assert states[0]["adversary"]["balance"] == states[1]["adversary"]["balance"] != {}
    for part in ("net", "ema"):
        assert all(torch.equal(t, states[1][part][name]) for name, t in states[0][part].items())
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()] for name in ("whole", "parts")
    ]
    losses = [[{k: v for k, v in record.items() if k != "images_per_second"} for record in log] for log in logs]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_restart_from_averaged_weights_alone(tune, faces, tmp_path):
    first = finetune(faces, tmp_path / "first", tune)
    again = dataclasses.replace(tune, init=str(first), frozen_images=16, total_images=16)
    second = finetune(faces, tmp_path / "second", again)
    a, b = gpen.load(first).state_dict(), gpen.load(second).state_dict()
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.slow
def test_larger_network_starts_from_a_smaller_prior(prior, tune, faces, tmp_path):
    path = train_prior(faces, tmp_path / "prior", prior)
    larger = dataclasses.replace(NETWORK, size=32, in_size=32)
    grown = Prior(dataclasses.replace(prior, network=larger, init=str(path)), CPU).net
    small = gpen.load_prior(path)
    z, random = torch.randn(2, 16), torch.Generator().manual_seed(0)
    noise = [small.noise(size, 2, random) for size in (4, 8, 16)]
    with torch.no_grad():
        image = small(small.mapping(z), noise)
        enlarged = grown(grown.mapping(z), [*noise, grown.noise(32, 2, random)])
    assert torch.allclose(enlarged, upsample2(image), atol=1e-5)  # the new block adds no colours of its own yet
    embedded = Finetune(dataclasses.replace(tune, network=larger, init_prior=str(path)), CPU).net.generator.state_dict()
    assert all(torch.equal(tensor, embedded[name]) for name, tensor in small.state_dict().items())
    with pytest.raises(GPENError, match="same or of a smaller size"):
        tiny = dataclasses.replace(NETWORK, size=8, in_size=8)
        Prior(dataclasses.replace(prior, network=tiny, init=str(path)), CPU)


def test_encoder_of_another_network_is_taken(tune, tmp_path):
    other = gpen.GPEN(NETWORK)
    gpen.save(other, tmp_path / "other.safetensors")
    trainer = Finetune(dataclasses.replace(tune, init_encoder=str(tmp_path / "other.safetensors")), CPU)
    assert all(torch.equal(t, trainer.net.encoder.state_dict()[name]) for name, t in other.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"perceptual_weight": 1.0}, 'needs discriminator = "projected"'),
        ({"discriminator": "vit"}, "stylegan2 or projected"),
        ({"init": "a", "init_prior": "b"}, "not from both"),
    ],
)
def test_settings_without_meaning_are_errors(settings, words):
    with pytest.raises(GPENError, match=words):
        FinetuneConfig(**settings)
    with pytest.raises(GPENError, match="no head 'fire5'"):
        ProjectedConfig(head_weights={"fire5": 1.0})
    with pytest.raises(GPENError, match="reconstruction_share needs"):
        PriorConfig(reconstruction_share=0.5)
