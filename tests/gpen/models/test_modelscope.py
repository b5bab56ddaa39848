"""gpen.models.modelscope: names, addresses and the cache of ModelScope; downloads from a local server."""

import pytest
import torch

import gpen
from gpen.models import checkpoints, licences, modelscope
from gpen.models.modelscope import FILES, HIRES, PORTRAIT
from gpen.models.network import GPEN, GPENConfig
from tests.gpen.models.test_download import published, server  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def file():
    """A published file of 1024 px with few channels."""
    torch.manual_seed(0)
    return published(GPEN(GPENConfig(size=1024, narrow=0.0625, channel_multiplier=1, style_dim=8, mapping_layers=1)))


@pytest.mark.parametrize(
    ("model", "name", "path"),
    [
        (HIRES, "GPEN-BFR-1024", f"/{HIRES}/repo?Revision=master&FilePath=pytorch_model.pt"),
        (f"{HIRES}/pytorch_model-2048.pt", "GPEN-BFR-2048", f"/{HIRES}/repo?Revision=master&FilePath=pytorch_model-2048.pt"),
        ("GPEN-BFR-2048", "GPEN-BFR-2048", f"/{HIRES}/repo?Revision=master&FilePath=pytorch_model-2048.pt"),
        (PORTRAIT, "cv_gpen_image-portrait-enhancement", f"/{PORTRAIT}/repo?Revision=master&FilePath=pytorch_model.pt"),
    ],
)
def test_addresses(server, model, name, path, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.delenv("GPEN_DOWNLOAD_URL")
    monkeypatch.setattr(modelscope, "URL", server.url)
    with pytest.raises(gpen.GPENError, match="HTTP 404") as error:
        checkpoints.find(model)
    assert [asked for asked, _ in server.requests] == [path]
    assert f"{name}.pth" in str(error.value)


def test_download_from_modelscope_with_a_licence_notice(server, file, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.delenv("GPEN_DOWNLOAD_URL")
    monkeypatch.setattr(modelscope, "URL", server.url)
    server.files[f"/{HIRES}/repo?Revision=master&FilePath=pytorch_model.pt"] = file
    net = gpen.load(HIRES)
    assert net.size == 1024 and net.alignment == "gpen"
    notice = capsys.readouterr().err
    assert "(c) Alibaba, 2021. For academic and non-commercial use only." in notice and HIRES in notice
    assert (tmp_path / "cache" / "gpen" / "GPEN-BFR-1024.pth").is_file()
    assert gpen.load("GPEN-BFR-1024").size == 1024 and len(server.requests) == 1


def test_mirror_and_file_of_another_size(server, file):  # noqa: F811
    server.files["/GPEN-BFR-2048.pth"] = file
    with pytest.raises(gpen.GPENError, match="wrong file, which was deleted .The network has 1024 px"):
        gpen.load("GPEN-BFR-2048")


@pytest.mark.parametrize("folder", ["hub", "hub/models", "models"])
def test_cache_of_modelscope(server, file, folder, tmp_path, monkeypatch):  # noqa: F811
    place = tmp_path / "modelscope" / folder / HIRES / "pytorch_model.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(file)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    assert checkpoints.find("GPEN-BFR-1024") == place and not server.requests
    assert "(c) Alibaba, 2021" in checkpoints.licence(place, {})
    assert checkpoints.licence(tmp_path / "pytorch_model.pt", {}) == licences.UNKNOWN


@pytest.mark.parametrize("name", FILES)
def test_without_downloads_the_page_is_named(server, name, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "none"))
    with pytest.raises(gpen.GPENError, match=f"download it from {FILES[name].page} as .*{name}.pth"):
        checkpoints.find(name)


def test_folder_with_a_name_of_modelscope(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / PORTRAIT).mkdir(parents=True)
    assert checkpoints.find(PORTRAIT).as_posix() == PORTRAIT
