"""Stage 1, and embedding its prior in stage 2."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gpen
from gpen.errors import GPENError
from gpen.training import smoke
from gpen.training.config import FinetuneConfig, PriorConfig
from gpen.training.finetune import Finetune, finetune
from gpen.training.prior import Prior, train_prior
from gpen.training.runtime.parallel import Distributed

NETWORK = gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)
TINY = PriorConfig(
    network=NETWORK, total_images=64, batch_size=8, workers=0, save_interval=16, grid_interval=64, ema_half_life=16,
    r1_interval=2, path_length_interval=2, ada_images=64,
)  # fmt: skip
TUNE = FinetuneConfig(
    network=NETWORK, total_images=48, batch_size=8, workers=0, save_interval=16, grid_interval=48, ema_half_life=16,
    r1_interval=2, lr_discriminator=1e-3, grad_clip=1.0,
)  # fmt: skip


def weights(path):
    return torch.load(path / "checkpoint.pt", weights_only=True)["net"]


@pytest.mark.slow
def test_a_resumed_prior_equals_an_uninterrupted_one_to_the_bit(faces, tmp_path, monkeypatch):
    train_prior(faces, tmp_path / "whole", TINY)
    real_step, seen = Prior.step, []

    def stopping(self, batch):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(1)
        return real_step(self, batch)

    monkeypatch.setattr(Prior, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_prior(faces, tmp_path / "parts", TINY)
    monkeypatch.undo()
    torch.manual_seed(99)
    train_prior(faces, tmp_path / "parts", TINY, resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("whole", "parts")]
    losses = [[{k: v for k, v in record.items() if k != "images_per_second"} for record in log] for log in logs]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_prior_without_noise_starts_from_one_with_noise_whose_scalars_are_set_to_zero(tmp_path):
    net = gpen.Generator(NETWORK)
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):
            torch.nn.init.ones_(parameter)
    gpen.save(net, tmp_path / "prior.safetensors")
    config = dataclasses.replace(TINY, init=str(tmp_path / "prior.safetensors"), sample_noise=False)
    trainer = Prior(config, Distributed("cpu"))
    for _ in range(2):
        trainer.step(torch.rand(8, 3, 16, 16) * 2 - 1)
        trainer.images_seen += 8
    w = trainer.net.mapping(torch.randn(2, 16))
    assert torch.equal(trainer.net(w, trainer.net.sample_noise(2)), trainer.net(w, trainer.net.sample_noise(2)))
    assert not torch.equal(net(w, net.sample_noise(2)), net(w, net.sample_noise(2)))


@pytest.mark.slow
def test_the_prior_embeds_into_stage_2_and_can_stay_frozen(faces, tmp_path):
    prior = train_prior(faces, tmp_path / "prior", TINY)
    discriminator = tmp_path / "prior" / "discriminator.safetensors"
    config = dataclasses.replace(TUNE, init_prior=str(prior), init_discriminator=str(discriminator))
    started = Finetune(config, Distributed("cpu"))
    expected = gpen.load_prior(prior)
    for name, tensor in started.net.generator.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name])
    frozen = finetune(faces, tmp_path / "frozen", dataclasses.replace(config, freeze_prior=True))
    tuned = finetune(faces, tmp_path / "tuned", config)
    for path, same in ((frozen, True), (tuned, False)):
        generator = gpen.load(path).generator.state_dict()
        assert all(torch.equal(t, expected.state_dict()[name]) for name, t in generator.items()) == same
    assert gpen.load_discriminator(tmp_path / "tuned" / "discriminator.safetensors").config.size == 16


def test_a_whole_network_s_file_serves_as_a_prior(tmp_path):
    net = gpen.GPEN(NETWORK)
    gpen.save(net, tmp_path / "net.safetensors")
    prior = gpen.load_prior(tmp_path / "net.safetensors")
    assert all(torch.equal(t, net.generator.state_dict()[n]) for n, t in prior.state_dict().items())
    gpen.save(prior, tmp_path / "prior.safetensors")
    with pytest.raises(gpen.GPENError, match="encoder"):
        gpen.load(tmp_path / "prior.safetensors")


def test_a_prior_of_other_settings_is_refused(faces, tmp_path):
    gpen.save(gpen.Generator(dataclasses.replace(NETWORK, narrow=0.125)), tmp_path / "prior.safetensors")
    with pytest.raises(gpen.GPENError, match="other settings"):
        finetune(faces, tmp_path / "run", dataclasses.replace(TUNE, init_prior=str(tmp_path / "prior.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prior", "finetune"])
def test_two_processes_give_the_losses_of_one_with_the_same_batch(stage, faces, tmp_path):
    pytest.importorskip("accelerate")
    text = (
        "total_images = 32\nbatch_size = 8\nworkers = 0\nsave_interval = 8\ngrid_interval = 32\n"
        "r1_interval = 2\nema_half_life = 16\n"
        + ("path_length_interval = 2\nada_images = 64\n" if stage == "prior" else "lr_discriminator = 0.001\ngrad_clip = 1.0\n")
        + "[network]\nsize = 16\nnarrow = 0.0625\nstyle_dim = 16\nmapping_layers = 2\n"
    )
    (tmp_path / "tiny.toml").write_text(text)
    rest = ["gpen", "train", stage, "--data", faces, "--config", tmp_path / "tiny.toml", "--device", "cpu", "--out"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]  # what accelerate calls too
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, starter in (("one", ["-m"]), ("two", [*launch, "-m"])):
        subprocess.run([sys.executable, *starter, *rest, tmp_path / name], check=True, env=environment, timeout=100)
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 4
    saved = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["processes"] for n in ("one", "two")]
    assert saved == [1, 2]
    for one, two in zip(*logs, strict=True):
        for name in ("images_per_second", "environment"):  # of another number of processes
            assert one.pop(name) != two.pop(name)
        assert one == pytest.approx(two, rel=2e-3, abs=2e-4)


@pytest.mark.slow
def test_smoke_run_trains_both_stages(tmp_path, monkeypatch):
    small = {"total_images": 480, "save_interval": 480, "grid_interval": 480}
    monkeypatch.setattr(smoke, "PRIOR", dataclasses.replace(smoke.PRIOR, **small))
    monkeypatch.setattr(smoke, "FINETUNE", dataclasses.replace(smoke.FINETUNE, **small))
    path = smoke.smoke(tmp_path / "run", device="cpu")
    assert gpen.load(path).size == 32
    log = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert log[-1]["content"] < log[0]["content"]
    for stage in ("prior", "gpen"):
        assert (tmp_path / "run" / stage / "curves.png").stat().st_size > 1000
    with pytest.raises(gpen.GPENError, match="not empty"):
        smoke.smoke(tmp_path / "run")


@given(st.floats(0.01, 0.99), st.integers(1, 16))
def test_every_step_of_the_prior_has_reconstructions_and_samples(share, batch):
    settings = {"discriminator": "projected", "reconstruction_share": share, "batch_size": batch}
    if 0 < round(share * batch) < batch:
        assert 0 < PriorConfig(**settings).reconstructions(batch) < batch
    else:
        with pytest.raises(GPENError, match=f"of {batch} images per step and process are reconstructions: choose"):
            PriorConfig(**settings)
