"""gpen.models.families: files of other networks are named, GPEN files are not."""

import pytest
import torch

import gpen
from gpen.models.families import FAMILIES, PREFIXES, WRAPPERS, recognise
from gpen.models.network import GPEN, Discriminator, Generator

SMALL = gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.network)
def test_file_of_another_network_is_named(family, tmp_path):
    state = {name: torch.zeros(1) for name in family.tensors}
    assert recognise(state) is family and recognise(dict(list(state.items())[1:])) is not family
    for wrapper in WRAPPERS:
        assert recognise({wrapper: state, "iteration": 3}) is family
    for prefix in PREFIXES:
        assert recognise({prefix + name: tensor for name, tensor in state.items()}) is family
    torch.save({"params_ema": state}, tmp_path / "file.pth")
    with pytest.raises(gpen.GPENError) as error:
        gpen.load(tmp_path / "file.pth")
    message = str(error.value)
    assert f"file.pth holds a {family.network} network, not GPEN" in message and message.endswith(".") and "{" not in message


def test_gpen_files_belong_to_no_family():
    torch.manual_seed(0)
    for net in (GPEN(SMALL), Generator(SMALL), Discriminator(SMALL)):
        assert recognise(net.state_dict()) is None and recognise({"g_ema": net.state_dict()}) is None
        if not isinstance(net, Generator):
            assert recognise(gpen.to_published(net)) is None
    assert recognise(None) is None and recognise({}) is None
