"""Stage 2 from the identity: at first the network leaves its input alone, and then everything learns."""

import pytest
import torch

import gpen
from gpen.errors import GPENError
from gpen.network import GPENConfig
from gpen.training.config import FinetuneConfig
from gpen.training.finetune import Finetune
from gpen.training.parallel import Group
from gpen.training.start import lean_on_input, start_as_identity

NETWORK = GPENConfig(size=32, channel_multiplier=1, narrow=0.03125, style_dim=16, mapping_layers=2)


@pytest.mark.parametrize("size", [16, 64])
def test_the_network_starts_as_the_identity(size):
    torch.manual_seed(size)
    net = start_as_identity(gpen.GPEN(GPENConfig(size=size, narrow=0.0625, style_dim=16, mapping_layers=2)))
    x = torch.rand(3, 3, size, size) * 2 - 1
    assert torch.allclose(net(x), x, atol=1e-5)


def test_every_weight_that_counts_learns_from_there():
    config = FinetuneConfig(network=NETWORK, init="identity", adversarial=0.0, feature=0.0, batch=2)
    trainer = Finetune(config, Group("cpu"))
    before = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
    torch.manual_seed(0)
    for _ in range(3):
        trainer.step((torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1))
    still = [name for name, p in trainer.net.named_parameters() if p.equal(before[name])]
    assert not still, still


@pytest.mark.parametrize("settings", [{"noise_mode": "add"}, {"block": "pggan"}, {"in_size": 16}])
def test_networks_that_cannot_start_so_are_refused(settings):
    with pytest.raises(GPENError, match="identity"):
        start_as_identity(gpen.GPEN(GPENConfig(size=32, narrow=0.0625, style_dim=16, mapping_layers=2, **settings)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_network_leans_on_its_input_by_the_share_asked_for(share):
    config = FinetuneConfig(network=NETWORK, init="identity", adversarial=0.0, feature=0.0, batch=2)
    trainer = Finetune(config, Group("cpu"))
    torch.manual_seed(1)
    for _ in range(20):
        trainer.step((torch.rand(2, 3, 32, 32) * 1.8 - 0.9, torch.rand(2, 3, 32, 32) * 1.8 - 0.9))
    net, x = trainer.net, torch.rand(4, 3, 32, 32) * 1.8 - 0.9
    with torch.no_grad():
        expected = share * x + (1 - share) * net(x)
        assert (net(x) - x).abs().mean() > 0.02
        assert (lean_on_input(net, share, x)(x) - expected).abs().mean() < 2e-3


def test_a_network_that_did_not_start_as_the_identity_cannot_lean():
    torch.manual_seed(0)
    with pytest.raises(GPENError, match="did not start as the identity"):
        lean_on_input(gpen.GPEN(NETWORK), 0.5, torch.rand(1, 3, 32, 32))
