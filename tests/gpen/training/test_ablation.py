"""Training of variants: settings match names, priors are shared, interrupted calls continue."""

from dataclasses import replace
from shutil import copyfile

import pytest
import torch

import gpen
from gpen.models.checkpoints import load_prior
from gpen.models.network import GPENConfig
from gpen.training import ablation
from gpen.training.ablation import VARIANTS, VariantsConfig, train_variants
from gpen.training.smoke import draw_faces

TINY = {"total_images": 8, "batch_size": 4, "save_interval": 8, "grid_interval": 8, "r1_interval": 0}


@pytest.fixture(scope="module")
def config() -> VariantsConfig:
    plain = VariantsConfig()
    network = GPENConfig(size=16, narrow=0.03125, style_dim=16, mapping_layers=1)
    prior = replace(plain.prior, path_length_interval=0, **TINY)
    return replace(plain, network=network, prior=prior, finetune=replace(plain.finetune, **TINY), seeds=(3,))


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("variants")
    faces = draw_faces(out / "heads", count=8, size=16)
    return train_variants(faces, out / "run", config, device="cpu"), faces


def test_variants_have_the_settings_of_their_names(trained):
    models, _ = trained
    assert {path.name for path in models.iterdir()} == {f"{name}-3.safetensors" for name in VARIANTS}
    for name, variant in VARIANTS.items():
        found = gpen.load(models / f"{name}-3.safetensors").config
        assert found.block == variant.network.get("block", "stylegan2")
        assert found.noise_mode == variant.network.get("noise_mode", "concat")


def test_frozen_variant_keeps_the_prior(trained):
    models, _ = trained
    prior = load_prior(models.parent / "prior-stylegan2-concat-3" / "prior.safetensors").state_dict()
    frozen = gpen.load(models / "gpen-wo-ft-3.safetensors").generator.state_dict()
    whole = gpen.load(models / "gpen-3.safetensors").generator.state_dict()
    assert all(frozen[name].equal(value) for name, value in prior.items())
    assert not all(whole[name].equal(value) for name, value in prior.items())


def test_variants_of_one_kind_share_their_prior(trained):
    models, _ = trained
    priors = [path.name for path in models.parent.glob("prior-*")]
    kinds = {str((v.network, v.prior)) for v in VARIANTS.values() if v.prior is not None}
    assert len(priors) == len(kinds)


def test_variant_without_noise_has_the_architecture_of_gpen_and_a_prior_that_noise_never_reached(trained):
    models, _ = trained
    names = {name: "prior-stylegan2-concat" + name for name in ("-3", "-of-zeros-3")}
    with_noise, without = (load_prior(models.parent / folder / "prior.safetensors") for folder in names.values())
    assert without.config == with_noise.config and without.config.noise_mode == "concat"
    scales = [
        {name: p.abs().item() for name, p in net.named_parameters() if name.endswith("noise_scale")}
        for net in (with_noise, without, gpen.load(models / "gpen-wo-noise-3.safetensors").generator)
    ]
    assert any(scales[0].values()) and not any(scales[1].values())
    assert all(scales[2].values()), "fine-tuning is unchanged: features enter"


def test_z_alone_reaches_the_variant_of_that_name(trained):
    models, _ = trained
    net = gpen.load(models / "gpen-z-only-3.safetensors")
    z, features = net.encoder(torch.rand(1, 3, 16, 16))
    expected = net.generator(net.generator.mapping(z), net.noise_inputs(features))
    zeros = [torch.zeros_like(x) for x in features]
    assert torch.equal(net.generator(net.generator.mapping(z), net.noise_inputs(zeros)), expected)


def test_a_file_with_other_settings_is_not_taken_for_a_variant(trained, config, tmp_path):
    """Such as one of an earlier version, in which gpen-wo-noise had no feature inputs."""
    models, faces = trained
    (tmp_path / "models").mkdir()
    copyfile(models / "gpen-3.safetensors", tmp_path / "models" / "gpen-3.safetensors")
    copyfile(models / "gpen-noise-add-3.safetensors", tmp_path / "models" / "gpen-wo-ft-3.safetensors")
    with pytest.raises(gpen.GPENError, match="gpen-wo-ft-3.safetensors has other settings than the variant gpen-wo-ft"):
        train_variants(faces, tmp_path, config, device="cpu")


def test_a_second_call_trains_only_what_is_missing(trained, config, monkeypatch):
    models, faces = trained
    (models / "gpen-l1-3.safetensors").unlink()
    calls = []
    monkeypatch.setattr(ablation, "finetune", lambda *a, **k: calls.append(a))
    monkeypatch.setattr(ablation, "train_prior", lambda *a, **k: calls.append(a))
    train_variants(faces, models.parent, config, device="cpu")
    assert (models / "gpen-l1-3.safetensors").exists() and not calls  # its training had finished; only the copy was missing
