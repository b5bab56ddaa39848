"""Identity initialisation of stage 2, and blending a network with its input."""

import pytest
import torch
from safetensors import safe_open

import gpen
from gpen.cli import main
from gpen.errors import GPENError
from gpen.models.checkpoints import read_metadata
from gpen.models.network import GPENConfig
from gpen.training.config import FinetuneConfig
from gpen.training.data.dataset import list_images
from gpen.training.data.fingerprints import fingerprint
from gpen.training.finetune import Finetune
from gpen.training.initialization import blend_with_input, start_as_identity
from gpen.training.runtime.parallel import Distributed

NETWORK = GPENConfig(size=32, channel_multiplier=1, narrow=0.03125, style_dim=16, mapping_layers=2)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.slow
def test_the_network_starts_as_the_identity(size):
    torch.manual_seed(size)
    net = start_as_identity(gpen.GPEN(GPENConfig(size=size, narrow=0.0625, style_dim=16, mapping_layers=2)))
    x = torch.rand(3, 3, size, size) * 2 - 1
    assert torch.allclose(net(x), x, atol=1e-5)


def test_all_weights_train_from_the_identity():
    config = FinetuneConfig(network=NETWORK, init="identity", adversarial_weight=0.0, feature_matching_weight=0.0, batch_size=2)
    trainer = Finetune(config, Distributed("cpu"))
    before = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
    torch.manual_seed(0)
    for _ in range(3):
        trainer.step((torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1))
    still = [name for name, p in trainer.net.named_parameters() if p.equal(before[name])]
    assert not still, still


@pytest.mark.parametrize("settings", [{"noise_mode": "add"}, {"block": "pggan"}, {"in_size": 16}])
def test_unsupported_settings_are_refused(settings):
    with pytest.raises(GPENError, match="identity"):
        start_as_identity(gpen.GPEN(GPENConfig(size=32, narrow=0.0625, style_dim=16, mapping_layers=2, **settings)))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.slow
def test_blend_with_input_is_a_weighted_mean(alpha):
    config = FinetuneConfig(network=NETWORK, init="identity", adversarial_weight=0.0, feature_matching_weight=0.0, batch_size=2)
    trainer = Finetune(config, Distributed("cpu"))
    torch.manual_seed(1)
    for _ in range(20):
        trainer.step((torch.rand(2, 3, 32, 32) * 1.8 - 0.9, torch.rand(2, 3, 32, 32) * 1.8 - 0.9))
    net, x = trainer.net, torch.rand(4, 3, 32, 32) * 1.8 - 0.9
    with torch.no_grad():
        expected = alpha * x + (1 - alpha) * net(x)
        assert (net(x) - x).abs().mean() > 0.02
        assert (blend_with_input(net, alpha, x)(x) - expected).abs().mean() < 2e-3


def test_blending_needs_the_identity_initialisation():
    torch.manual_seed(0)
    with pytest.raises(GPENError, match="not initialised as the identity"):
        blend_with_input(gpen.GPEN(NETWORK), 0.5, torch.rand(1, 3, 32, 32))


def test_blend_command_keeps_the_licence_and_stores_float16(tmp_path, faces, capsys):
    torch.manual_seed(0)
    net = start_as_identity(gpen.GPEN(GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)))
    gpen.save(net, tmp_path / "net.safetensors", licence="CC0", images_seen="8", chosen_on="0123456789abcdef")
    command = f"blend {tmp_path / 'net.safetensors'} --data {faces} --alpha 0.4 --out {tmp_path / 'blend.safetensors'}"
    main(command.split())
    assert capsys.readouterr().out.strip() == str(tmp_path / "blend.safetensors")
    with safe_open(tmp_path / "blend.safetensors", "pt") as file:
        notes = file.metadata()
        assert file.get_tensor("encoder.levels.0.weight").dtype == torch.float16
    assert {name: notes[name] for name in ("alpha", "licence", "images_seen")} == {
        "alpha": "0.4", "licence": "CC0", "images_seen": "8",
    }  # fmt: skip
    assert notes["chosen_on"] == "0123456789abcdef"
    assert set(notes["trained_on"].split()) == set(map(fingerprint, list_images(faces)))  # those of the mean style
    main([*command.split(), "--chosen-on", str(faces)])
    chosen_on = read_metadata(tmp_path / "blend.safetensors")["chosen_on"]
    assert set(chosen_on.split()) == {"0123456789abcdef", *map(fingerprint, list_images(faces))}
    x = torch.rand(2, 3, 16, 16) * 1.8 - 0.9  # the network is the identity, and so is any blend with the input
    assert (gpen.load(tmp_path / "blend.safetensors")(x) - x).abs().max() < 0.02
    with pytest.raises(SystemExit) as stop:
        main(command.replace("0.4", "1.4").split())
    assert stop.value.code == 2 and "--alpha" in capsys.readouterr().err
