"""Saving and loading of networks, inference of settings, invalid files."""

import dataclasses
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import gpen
from gpen.models.network import GPEN, Discriminator, GPENConfig
from gpen.models.published import read_config

SMALL = GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)


@pytest.fixture
def small() -> GPEN:
    torch.manual_seed(0)
    return GPEN(SMALL)


configs = st.builds(
    GPENConfig,
    size=st.sampled_from([64, 128, 256]),
    in_size=st.sampled_from([0, 16, 64]),
    channel_multiplier=st.sampled_from([1, 2]),
    narrow=st.sampled_from([0.0625, 0.125, 0.25]),
    style_dim=st.sampled_from([16, 64]),
    mapping_layers=st.integers(1, 8),
    noise_mode=st.sampled_from(["concat", "add", "none"]),
)


@settings(max_examples=25, deadline=None)
@given(configs)
@pytest.mark.slow
def test_settings_are_inferred_from_the_tensors(config):
    with torch.device("meta"):
        net = GPEN(config)
        discriminator = Discriminator(config)
    assert read_config(net.state_dict()) == config
    read = read_config(discriminator.state_dict())
    assert (read.size, read.narrow, read.channel_multiplier) == (config.size, config.narrow, config.channel_multiplier)


@pytest.mark.parametrize("key", [None, "g_ema"])
def test_both_layouts_and_formats_load_the_same_network(small, key, tmp_path):
    state, published = small.state_dict(), gpen.to_published(small)
    torch.save({key: state} if key else state, tmp_path / "own.pth")
    torch.save({key: published, "d": {}} if key else published, tmp_path / "published.pth")
    gpen.save(small, tmp_path / "own.safetensors")
    save_file(published, tmp_path / "published.safetensors")
    x = torch.rand(1, 3, 16, 16)
    for path in tmp_path.iterdir():
        net = gpen.load(path)
        assert net.size == net.in_size == 16
        torch.testing.assert_close(net(x), small(x), rtol=1e-5, atol=1e-5, msg=path.name)


def test_saved_file_holds_settings_and_float16_halves_its_size(small, tmp_path):
    gpen.save(small, tmp_path / "a.safetensors")
    gpen.save(small, tmp_path / "b.safetensors", torch.float16, note="trained")
    assert gpen.load(tmp_path / "b.safetensors").config == SMALL
    assert next(iter(load_file(tmp_path / "b.safetensors").values())).dtype == torch.float16
    assert (tmp_path / "b.safetensors").stat().st_size < 0.6 * (tmp_path / "a.safetensors").stat().st_size
    torch.testing.assert_close(gpen.load(tmp_path / "b.safetensors").state_dict(), small.state_dict(), rtol=1e-3, atol=1e-3)


def test_published_models_have_the_alignment_of_the_authors_program(small, tmp_path):
    """Recognised by the layout or the name of the file; `save` keeps the alignment of a network."""
    published = gpen.to_published(small)
    torch.save(published, tmp_path / "renamed.pth")
    save_file(published, tmp_path / "layout.safetensors")
    save_file(small.state_dict(), tmp_path / "GPEN-BFR-512.safetensors")
    save_file(small.state_dict(), tmp_path / "own.safetensors")
    found = {path.stem: gpen.load(path).alignment for path in tmp_path.iterdir()}
    assert found == {"renamed": "gpen", "layout": "gpen", "GPEN-BFR-512": "gpen", "own": "ffhq"}
    for path in [*tmp_path.iterdir()]:
        net = gpen.load(path)
        assert gpen.load(gpen.save(net, tmp_path / "converted.safetensors")).alignment == net.alignment
        (tmp_path / "converted.safetensors").unlink()
    gpen.save(small, tmp_path / "GPEN-BFR-256.safetensors")
    assert gpen.load(tmp_path / "GPEN-BFR-256.safetensors").alignment == "ffhq"  # the metadata has priority


def test_safetensors_metadata_keeps_settings_that_shapes_cannot_represent(tmp_path):
    config = dataclasses.replace(SMALL, narrow=0.07)
    gpen.save(GPEN(config), tmp_path / "net.safetensors")
    assert gpen.load(tmp_path / "net.safetensors").config == config


class Hostile:
    def __reduce__(self):
        return (eval, ("open('executed', 'w')",))


def bad_files(folder, net):
    """Yield (path, part of the expected message) for each type of invalid file."""
    state = net.state_dict()
    whole = folder / "whole.safetensors"
    gpen.save(net, whole)
    torch.save(state, folder / "whole.pth")

    def file(name, content: bytes):
        (folder / name).write_bytes(content)
        return folder / name

    def pth(name, content):
        torch.save(content, folder / name)
        return folder / name

    yield folder / "absent.pth", "no file"
    yield file("empty.pth", b""), "empty"
    yield file("text.pth", b"not a model, just words, and a good many of them\n" * 9), "cannot be read"
    yield file("page.pth", b"<html><body>404 Not Found</body></html>"), "cannot be read"
    yield file("cut.safetensors", whole.read_bytes()[:-100]), "truncated"
    yield file("cut.pth", (folder / "whole.pth").read_bytes()[:-3000]), "truncated"
    yield file("garbled.safetensors", whole.read_bytes()[:9] + b"\xff" * 500), "cannot be read"
    yield file("hostile.pkl", pickle.dumps(Hostile())), "not loaded for security"
    yield pth("hostile.pth", {"generator.input.input": Hostile()}), "not loaded for security"
    yield pth("number.pth", 3), "no network"
    yield pth("list.pth", [torch.zeros(3)]), "no network"
    yield pth("nothing.pth", {}), "no network"
    yield pth("foreign.pth", torch.nn.Linear(3, 3).state_dict()), "not a GPEN"
    yield pth("foreign2.pth", gpen.to_published(net) | {"head.weight": torch.zeros(3)}), "head.weight"
    yield pth("extra.pth", state | {"head.weight": torch.zeros(3)}), "head.weight"
    yield pth("missing.pth", {k: v for k, v in state.items() if "to_z" not in k}), "encoder.to_z.weight is missing"
    yield pth("shape.pth", state | {"encoder.to_z.bias": torch.zeros(7)}), "encoder.to_z.bias has shape"
    yield pth("nan.pth", state | {"encoder.to_z.bias": torch.full((16,), torch.nan)}), "finite"
    kernel = {"ecd1.0.0.kernel": torch.ones(4, 4)}
    yield pth("filter.pth", gpen.to_published(net) | kernel), "FIR kernel"
    yield pth("discriminator.pth", Discriminator(SMALL).state_dict()), "the other network"
    save_file(dict(state), folder / "settings.safetensors", {"config": '{"size": 16, "wings": 2}'})
    yield folder / "settings.safetensors", "not a GPEN"
    save_file(dict(state), folder / "huge.safetensors", {"config": '{"size": 4096, "narrow": 64}'})
    yield folder / "huge.safetensors", "expected"


@pytest.mark.slow
def test_invalid_files_raise_an_error_and_execute_nothing(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, words in bad_files(tmp_path, small):
        with pytest.raises(gpen.GPENError, match=words) as caught:
            gpen.load(path)
        message = str(caught.value)
        assert path.name in message or words == "FIR kernel" or "head" in words, message
        assert "\n" not in message and len(message) < 400 and message.endswith("."), message
    assert not (tmp_path / "executed").exists()


def test_published_model_is_found_in_gpen_models(small, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")
    monkeypatch.delenv("GPEN_MODELS", raising=False)
    with pytest.raises(gpen.GPENError, match="GPEN_MODELS"):
        gpen.load("GPEN-BFR-512")
    with pytest.raises(gpen.GPENError, match="No model is called 'GPEN-BFR-513'"):
        gpen.load("GPEN-BFR-513")
    torch.save(gpen.to_published(small), tmp_path / "GPEN-BFR-512.pth")
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    assert gpen.load("GPEN-BFR-512").config == SMALL


def test_other_blocks_have_no_published_layout():
    with pytest.raises(gpen.GPENError, match="published layout"):
        gpen.to_published(GPEN(dataclasses.replace(SMALL, block="pggan")))
