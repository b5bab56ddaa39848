"""GPEN files in spandrel: detection, settings, value range, tasks."""

import numpy as np
import pytest
import torch

import gpen
from gpen.compat import patch_torchvision
from gpen.restoration import tasks

patch_torchvision()  # spandrel imports torchvision
spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")
from gpen.integrations.spandrel import install  # noqa: E402

NETWORK = gpen.GPENConfig(size=64, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)


def network(**settings) -> gpen.GPEN:
    torch.manual_seed(0)
    return gpen.GPEN(gpen.GPENConfig(**{**vars(NETWORK), **settings})).requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> gpen.GPEN:
    return network()


def loader(task: str = "restore") -> "spandrel.ModelLoader":
    return spandrel.ModelLoader(registry=install(task, spandrel.MAIN_REGISTRY.copy()))


@pytest.fixture(params=["published", "g_ema", "own", "safetensors", "float16"])
def file(request, net, tmp_path):
    if request.param in ("safetensors", "float16"):
        return gpen.save(net, tmp_path / f"{request.param}.safetensors", torch.float16 if request.param == "float16" else None)
    published = gpen.to_published(net)
    content = {"published": published, "g_ema": {"g_ema": published, "d": {}}, "own": net.state_dict()}[request.param]
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_all_file_formats_match_the_network(net, file):
    model = loader().load_from_file(file)
    assert isinstance(model, spandrel.ImageModelDescriptor) and model.architecture.id == "GPEN"
    assert (model.purpose, model.scale, model.input_channels, model.tags[0]) == ("FaceSR", 1, 3, "64px")
    x = torch.rand(1, 3, 64, 64)
    expected = ((net(x * 2 - 1) + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=5e-3 if file.stem == "float16" else 1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"noise_mode": "add"}, {"in_size": 16}, {"mapping_layers": 5}, {"size": 128, "in_size": 128, "narrow": 0.125}],
)
def test_settings_are_inferred_from_the_tensors(settings):
    net = network(**settings)
    model = loader().load_from_state_dict(gpen.to_published(net))
    assert model.model.config == net.config and model.scale == net.size // net.in_size
    x = torch.rand(1, 3, net.in_size, net.in_size)
    assert model(x).shape == (1, 3, net.size, net.size)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 40), (150, 150), (50, 70)])
@pytest.mark.parametrize("in_size", [64, 16])
def test_input_of_any_size(height, width, in_size):
    model = loader().load_from_state_dict(gpen.to_published(network(in_size=in_size)))
    face = torch.rand(1, 3, height, width)
    restored = model(face)
    assert restored.shape == (1, 3, height * model.scale, width * model.scale)
    assert 0 <= restored.min() and restored.max() <= 1


def test_bfloat16_is_supported_and_float16_is_not(net):
    model = loader().load_from_state_dict(gpen.to_published(net))
    x = torch.rand(1, 3, 100, 100)
    expected = model(x)
    with pytest.raises(spandrel.UnsupportedDtypeError):
        model.half()
    restored = model.bfloat16()(x.bfloat16())
    assert restored.dtype == torch.bfloat16
    torch.testing.assert_close(restored.float(), expected, rtol=0, atol=0.05)


def test_registries_for_other_tasks(net):
    state = gpen.to_published(net)
    image = torch.randint(0, 256, (1, 3, 64, 64)).float() / 255
    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    mask = (torch.rand(1, 1, 64, 64) > 0.8).float()
    inpainter = loader("inpaint").load_from_state_dict(state)
    assert isinstance(inpainter, spandrel.MaskedImageModelDescriptor) and inpainter.purpose == "Inpainting"
    filled = inpainter(image, mask)
    assert torch.equal(filled[~mask.bool().expand_as(filled)], image[~mask.bool().expand_as(image)])
    expected = tasks.run(gpen.Restorer(net), "inpaint", pixels, mask[0, 0].numpy())
    assert np.abs((filled[0] * 255).permute(1, 2, 0).numpy() - expected).max() <= 1
    coloured = loader("colorize").load_from_state_dict(state)(image)
    assert np.abs((coloured[0] * 255).permute(1, 2, 0).numpy() - tasks.run(gpen.Restorer(net), "colorize", pixels)).max() <= 1
    labels = np.random.default_rng(0).integers(0, 19, (64, 64), dtype=np.uint8)
    map_ = torch.from_numpy(tasks.to_palette(labels)).permute(2, 0, 1)[None].float() / 255
    face = loader("seg2face").load_from_state_dict(state)(map_)
    assert np.abs((face[0] * 255).permute(1, 2, 0).numpy() - tasks.run(gpen.Restorer(net), "seg2face", labels)).max() <= 1


def test_install_is_idempotent_and_does_not_affect_other_models(net):
    before = len(spandrel.MAIN_REGISTRY)
    assert install() is install() is spandrel.MAIN_REGISTRY
    assert len(spandrel.MAIN_REGISTRY) <= before + 1 and "GPEN" in spandrel.MAIN_REGISTRY
    assert spandrel.ModelLoader().load_from_state_dict(gpen.to_published(net)).architecture.id == "GPEN"
    states = [gpen.to_published(gpen.Discriminator(NETWORK)), {"conv.weight": torch.zeros(1)}]
    gpen_alone = spandrel.ModelLoader(registry=install(registry=spandrel.ArchRegistry()))
    for state in states:
        with pytest.raises(spandrel.UnsupportedModelError):
            gpen_alone.load_from_state_dict(state)
    with pytest.raises(gpen.GPENError, match="give another registry for 'inpaint'"):
        install("inpaint")
    with pytest.raises(gpen.GPENError, match="no task 'paint'"):
        install("paint")


def test_incomplete_network_raises_an_error(net):
    state = {name: value for name, value in gpen.to_published(net).items() if "final_linear" not in name}
    with pytest.raises(gpen.GPENError, match="encoder.to_z.weight is missing"):
        loader().load_from_state_dict(state)
