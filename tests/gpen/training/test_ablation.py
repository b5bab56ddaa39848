"""Training of the paper's variants: settings match names, priors are shared, interrupted calls continue."""

from dataclasses import replace

import pytest

import gpen
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
    prior = gpen.models.checkpoints.load_prior(models.parent / "prior-stylegan2-concat-3" / "prior.safetensors").state_dict()
    frozen = gpen.load(models / "gpen-wo-ft-3.safetensors").generator.state_dict()
    whole = gpen.load(models / "gpen-3.safetensors").generator.state_dict()
    assert all(frozen[name].equal(value) for name, value in prior.items())
    assert not all(whole[name].equal(value) for name, value in prior.items())


def test_variants_of_one_kind_share_their_prior(trained):
    models, _ = trained
    priors = [path.name for path in models.parent.glob("prior-*")]
    kinds = {(v.network.get("block", "stylegan2"), v.network.get("noise_mode", "concat")) for v in VARIANTS.values() if v.prior}
    assert len(priors) == len(kinds)


def test_a_second_call_trains_only_what_is_missing(trained, config, monkeypatch):
    models, faces = trained
    (models / "gpen-l1-3.safetensors").unlink()
    calls = []
    monkeypatch.setattr(ablation, "finetune", lambda *a, **k: calls.append(a))
    monkeypatch.setattr(ablation, "train_prior", lambda *a, **k: calls.append(a))
    train_variants(faces, models.parent, config, device="cpu")
    assert (models / "gpen-l1-3.safetensors").exists() and not calls  # its training had finished; only the copy was missing
