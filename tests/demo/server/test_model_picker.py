"""The models offered by the playground."""

import threading

import pytest
import torch

import gpen
from demo.server import model_picker
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS


@pytest.fixture
def folder(tmp_path, monkeypatch, model_file):
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("b.safetensors", "a.safetensors"):
        (tmp_path / name).write_bytes(model_file.read_bytes())
    return tmp_path


def test_only_restoration_models_are_offered(folder, restorer):
    for name in ("GPEN-BFR-512.pth", "GPEN-BFR-512-D.pth", "GPEN-Colorization-1024.pth", "notes.txt", "broken.safetensors"):
        (folder / name).write_bytes(b"x")
    (folder / "prior.safetensors").write_bytes((ASSETS / "prior-64.safetensors").read_bytes())
    rrdb = {"conv_first.weight": torch.zeros(4, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.zeros(4, 4, 3, 3)}
    torch.save({"params_ema": rrdb}, folder / "realesrnet_x2.pth")  # for the background of photos
    torch.save(restorer.net.state_dict(), folder / "c.pth")
    gpen.save(restorer.net, folder / "colour.safetensors", task="colorize")
    picker = model_picker.ModelPicker(restorer)
    assert picker.names == ["GPEN-BFR-512", "a", "b", "c"]
    assert picker.restorer("") is restorer
    with pytest.raises(GPENError, match="cannot be read"):
        picker.restorer("GPEN-BFR-512")


def test_without_further_models_there_is_no_choice(tmp_path, monkeypatch, restorer):
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert model_picker.ModelPicker(restorer).names == []  # the models of assets/, such as gpen-64, are not offered


@pytest.mark.parametrize("name", ["c", "../a", "/etc/passwd", "x" * 1000])
def test_unknown_model_is_an_error(folder, restorer, name):
    with pytest.raises(GPENError, match="There is no model") as caught:
        model_picker.ModelPicker(restorer).restorer(name)
    assert len(str(caught.value)) < 200


def test_loading_is_one_at_a_time_and_bounded(folder, restorer, monkeypatch):
    picker, active, loads = model_picker.ModelPicker(restorer), [], []

    def load(path):
        active.append(path)
        assert len(active) == 1 and len(picker._loaded) < model_picker.MAX_LOADED
        loads.append(path.stem)
        net = gpen.GPEN(restorer.net.config)
        active.pop()
        return net

    monkeypatch.setattr(model_picker.gpen, "load", load)
    threads = [threading.Thread(target=picker.restorer, args=[name]) for name in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(picker._loaded) <= model_picker.MAX_LOADED and {"a", "b"} == set(loads)
    count = len(loads)
    assert picker.restorer(loads[-1]) is picker.restorer(loads[-1]) and len(loads) == count
