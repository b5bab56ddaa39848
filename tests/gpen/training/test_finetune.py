"""Stage 2: the loss falls, resumed runs equal uninterrupted ones to the bit, and user errors are reported in one sentence."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import gpen
import gpen.training
from gpen.errors import GPENError
from gpen.training.config import FinetuneConfig, PriorConfig, read_run_config
from gpen.training.data.dataset import FacePairs, batches, sample_degradation
from gpen.training.finetune import Finetune, finetune
from gpen.training.losses.terms import content, discriminator_logistic, feature_matching, generator_logistic, r1_penalty
from gpen.training.runtime.parallel import Distributed

TINY = FinetuneConfig(
    network=gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2),
    discriminator_narrow=0.0625,
    degradations={"gpen-release-scaled": 1.0},
    total_images=48, batch_size=4, workers=0, save_interval=16, grid_interval=48, ema_half_life=16,
    r1_interval=3, lr_warmup_images=8, lr_decay_fraction=0.5, grad_clip=1.0,
)  # fmt: skip


def weights(path):
    return gpen.load(path).state_dict()


def test_a_network_from_a_published_file_has_the_alignment_of_the_training_images(tmp_path):
    torch.save(gpen.to_published(gpen.GPEN(TINY.network)), tmp_path / "published.pth")
    assert gpen.load(tmp_path / "published.pth").alignment == "gpen"
    training = Finetune(dataclasses.replace(TINY, init=str(tmp_path / "published.pth")), Distributed("cpu"))
    assert gpen.load(training.export(tmp_path)).alignment == "ffhq"


@pytest.mark.slow
def test_loss_falls(faces, tmp_path):
    config = dataclasses.replace(
        TINY,
        total_images=800,
        adversarial_weight=0.0,
        feature_matching_weight=0.0,
        beta1=0.9,
        lr_encoder=3e-3,
        lr_decoder=3e-3,
        lr_scales=5.0,
        save_interval=800,
    )
    finetune(faces, tmp_path / "run", config)
    content = [json.loads(line)["content"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert content[-1] < 0.7 * content[0]


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(faces, tmp_path, monkeypatch):
    finetune(faces, tmp_path / "whole", TINY)
    real_step, seen = Finetune.step, []

    def stopping(self, *batch):
        if len(seen) == 7:  # after image 28; the last checkpoint holds 16
            raise KeyboardInterrupt
        seen.append(1)
        return real_step(self, *batch)

    monkeypatch.setattr(Finetune, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        finetune(faces, tmp_path / "parts", TINY)
    monkeypatch.undo()
    torch.manual_seed(99)  # results do not depend on the global random state
    finetune(faces, tmp_path / "parts", TINY, resume=True)
    whole, parts = weights(tmp_path / "whole" / "gpen.safetensors"), weights(tmp_path / "parts" / "gpen.safetensors")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def restorations_of_training(settings, images):
    """The restored images of a step whose network has noise scales of 0.5, so that its features have an effect."""
    training = Finetune(dataclasses.replace(TINY, **settings), Distributed("cpu"))
    for name, parameter in training.net.named_parameters():
        if name.endswith("noise_scale"):
            torch.nn.init.constant_(parameter, 0.5)
    with torch.no_grad():
        first, again = training._restore(images), training._restore(images)
        assert torch.equal(first, again)  # it depends on the step, not on the global random state
        return first, training.net(images), training.net(images, feature_mask=torch.zeros(len(images)))


def test_feature_dropout_replaces_all_features_of_some_images_by_zeros():
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    restored, whole, without = restorations_of_training({"feature_dropout": 0.25}, images)
    kept = (restored == whole).flatten(1).all(1)
    assert torch.equal(restored[~kept], without[~kept]) and not torch.equal(whole[0], without[0])
    assert 6 <= (~kept).sum() <= 26  # 16 are expected
    assert torch.equal(*restorations_of_training({}, images)[:2])
    restored, _, without = restorations_of_training({"feature_dropout": 1.0}, images)
    assert torch.equal(restored, without)


def test_feature_dropout_is_a_probability():
    with pytest.raises(GPENError, match="feature_dropout is a probability, 0 to 1; got 1.5"):
        dataclasses.replace(TINY, feature_dropout=1.5)


@pytest.mark.slow
def test_pairs_do_not_depend_on_the_number_of_workers(faces):
    alone = list(batches(FacePairs(faces, TINY), TINY, start=8))
    helped = list(batches(FacePairs(faces, TINY), dataclasses.replace(TINY, workers=2), start=8))
    assert len(alone) == len(helped) == 10
    assert all(torch.equal(a, b) for x, y in zip(alone, helped, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.slow
def test_a_killed_run_resumes(faces, tmp_path):
    config = tmp_path / "tiny.toml"
    config.write_text(
        "total_images = 100000\nbatch_size = 4\nworkers = 0\nsave_interval = 8\ngrid_interval = 100000\n"
        "[network]\nsize = 16\nnarrow = 0.0625\nstyle_dim = 16\nmapping_layers = 2\n"
    )
    run = tmp_path / "run"
    command = [sys.executable, "-m", "gpen", "train", "finetune", "--data", faces, "--config", config, "--out", run]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not (run / "gpen.safetensors").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    images_seen = torch.load(run / "checkpoint.pt", weights_only=True)["images_seen"]
    assert images_seen >= 8
    settings = dataclasses.replace(read_run_config(config, FinetuneConfig), total_images=images_seen + 8)
    finetune(faces, run, settings, resume=True)
    assert torch.load(run / "checkpoint.pt", weights_only=True)["images_seen"] == images_seen + 8
    assert gpen.load(run / "gpen.safetensors").size == 16


@pytest.mark.slow
def test_nan_loss_stops_the_run_and_keeps_the_last_checkpoint(faces, tmp_path, monkeypatch):
    real_step = Finetune.step

    def poisoned(self, batch):
        return real_step(self, [batch[0], batch[1] * (torch.nan if self.images_seen >= 20 else 1)])

    monkeypatch.setattr(Finetune, "step", poisoned)
    with pytest.raises(gpen.GPENError, match="stopped at image 32.*last checkpoint is intact"):
        finetune(faces, tmp_path / "run", TINY)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["images_seen"] == 16
    assert all(t.isfinite().all() for t in weights(tmp_path / "run" / "gpen.safetensors").values())


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(faces, tmp_path, monkeypatch):
    real_save = torch.save

    def full(state, file):
        if state["images_seen"] > 16:
            file.write(b"half a checkpoint")
            raise OSError(28, "No space left on device")
        real_save(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(gpen.GPENError, match="No space left on device.*--resume"):
        finetune(faces, tmp_path / "run", TINY)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["images_seen"] == 16
    assert not list((tmp_path / "run").glob("*.partial"))


@pytest.mark.slow
def test_existing_run_is_not_overwritten_and_other_settings_are_refused(faces, tmp_path):
    with pytest.raises(gpen.GPENError, match="no checkpoint to resume"):
        finetune(faces, tmp_path / "run", TINY, resume=True)
    finetune(faces, tmp_path / "run", TINY)
    with pytest.raises(gpen.GPENError, match="--resume, or choose another"):
        finetune(faces, tmp_path / "run", TINY)
    wider = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, narrow=0.125))
    with pytest.raises(gpen.GPENError, match="another network"):
        finetune(faces, tmp_path / "run", wider, resume=True)


def test_unusable_data_is_an_error(faces, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(gpen.GPENError, match="no images in"):
        finetune(tmp_path / "empty", tmp_path / "a", TINY)
    for file in faces.iterdir():
        file.write_text("not an image")
    with pytest.raises(gpen.GPENError, match="6 of 6 files are no complete images"):
        finetune(faces, tmp_path / "b", TINY)


@pytest.mark.parametrize(
    ("text", "words"),
    [("images = ", "not TOML"), ("pictures = 3", "pictures"), ("batch_size = 0", "at least 1"),
     ('precision = "float8"', "float8"), ('feature_matching_norm = "l1"', "l2 or rms; got 'l1'"),
     ("[network]\nsize = 100", "powers of two"), ("degradations = {}", "at least one preset")],
)  # fmt: skip
def test_bad_configuration_is_an_error(text, words, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(gpen.GPENError, match=words):
        read_run_config(path, FinetuneConfig)
    with pytest.raises(gpen.GPENError, match="no configuration"):
        read_run_config(tmp_path / "absent.toml", FinetuneConfig)


def test_every_configuration_of_the_repository_is_valid():
    files = sorted((Path(gpen.training.__file__).parent / "configs").glob("*.toml"))
    for path in files:
        if "prior" in path.stem:
            assert read_run_config(path, PriorConfig).network.size in (64, 256, 512, 1024)
            continue
        config = read_run_config(path, FinetuneConfig)
        for preset in config.degradations:
            assert sample_degradation(preset, np.random.default_rng(0), config.network.size).scale
        small = config.uses_discriminator and "gpen-bfr" not in path.stem
        assert config.feature_matching_norm == ("rms" if small and config.discriminator == "stylegan2" else "l2"), path.name
    for size in (256, 512, 1024):  # alpha, beta and the norm of L_F are the paper's; the degradation is the authors'
        config = read_run_config(files[0].with_name(f"gpen-bfr-{size}-finetune.toml"), FinetuneConfig)
        assert (config.content_weight, config.feature_matching_weight, config.feature_matching_norm) == (1.0, 0.02, "l2")
        assert config.degradations == {"gpen-release": 1.0}


def test_pairs_are_deterministic_and_in_range(faces):
    degraded, target = FacePairs(faces, TINY)[3]
    assert degraded.shape == target.shape == (3, 16, 16)
    assert -1 <= degraded.min() and target.max() <= 1
    again = FacePairs(faces, TINY)[3]
    assert torch.equal(again[0], degraded) and torch.equal(again[1], target)
    assert not torch.equal(FacePairs(faces, TINY)[4][0], degraded)


def test_losses_match_their_definitions():
    scores = torch.tensor([[0.0], [2.0]])
    assert generator_logistic(scores).item() == pytest.approx(np.log1p(np.exp([0.0, -2.0])).mean())
    expected = np.log1p(np.exp([0.0, -2.0])).mean() + np.log1p(np.exp([0.0, 2.0])).mean()
    assert discriminator_logistic(scores, scores).item() == pytest.approx(expected)
    a = [torch.ones(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    b = [torch.full((2, 3, 4, 4), 3.0), torch.full((2, 5, 2, 2), -1.0)]
    assert feature_matching(a, b, "rms").item() == pytest.approx(2 + 1)
    assert feature_matching(a, b).item() == pytest.approx(2 * 48**0.5 + 20**0.5)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    assert r1_penalty((x * 2).flatten(1).sum(1, keepdim=True), x).item() == pytest.approx(4 * 48)


def test_norm_of_the_feature_loss_follows_the_settings():
    losses = []
    for norm in ("l2", "rms"):
        stage = Finetune(dataclasses.replace(TINY, feature_matching_norm=norm), Distributed("cpu"))
        losses.append(stage.step((torch.zeros(4, 3, 16, 16), torch.ones(4, 3, 16, 16)))["feature_matching"].item())
    assert losses[0] > 10 * losses[1] > 0


@pytest.mark.slow
def test_the_run_is_the_same_in_another_process(faces, tmp_path):
    code = (
        "import sys; from tests.gpen.training.test_finetune import TINY; "
        "from gpen.training.finetune import finetune; finetune(sys.argv[1], sys.argv[2], TINY)"
    )
    for name in ("a", "b"):
        environment = os.environ | {"PYTHONHASHSEED": name == "a" and "1" or "2", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", code, faces, tmp_path / name], check=True, env=environment)
    a, b = weights(tmp_path / "a" / "gpen.safetensors"), weights(tmp_path / "b" / "gpen.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_content_loss_of_one_level_is_l1_and_coarse_levels_ignore_fine_texture():
    target = torch.zeros(1, 3, 16, 16)
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1  # texture of mean 0
    texture, shift = target + checks, target + 1.0
    assert content(texture, target) == content(shift, target) == 1
    assert content(texture, target, levels=3) == 1
    assert content(shift, target, levels=3) == 3
