"""The U-Net baseline: restoration, training, weight files."""

import cv2
import numpy as np
import pytest
import torch

import gpen
from eval.__main__ import main
from eval.data.lq_sets import Sample
from eval.methods import unet
from eval.methods.registry import load_method
from gpen.degradation.degradation import Degradation
from gpen.models.checkpoints import read_metadata
from gpen.training.data.dataset import list_images
from gpen.training.data.fingerprints import TRAINED_ON, fingerprint, split_fingerprints

SIZE = 64


def sample(face, **settings):
    degradation = Degradation(**settings)
    return Sample("face", degradation(face), face, degradation)


def restore_one(method, one):
    (image,) = load_method(method).restore([one], SIZE)
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    return image


def test_untrained_unet_is_the_identity(face, tmp_path):
    path = unet.save(unet.UNet(SIZE), tmp_path / "unet.safetensors")
    small = sample(face, scale=4)
    np.testing.assert_array_equal(restore_one(f"unet:{path}", small), restore_one("bilinear", small))
    assert load_method(f"unet:{path}").weights == path


def test_unet_of_another_size(face, tmp_path):
    path = unet.save(unet.UNet(32), tmp_path / "unet.safetensors")
    restore_one(f"unet:{path}", sample(face, scale=4))


@pytest.mark.parametrize("adversarial", [[], ["--adversarial"]])
@pytest.mark.slow
def test_training_of_a_unet(face, faces_folder, tmp_path, capsys, adversarial):
    command = ["--data", str(faces_folder), "--out", str(tmp_path / "run"), "--size", "32", "--images", "32", "--device", "cpu"]
    assert main(["train-unet", *command, *adversarial]) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(tmp_path / "run" / "unet.safetensors")
    small = sample(face, scale=4)
    assert (restore_one(f"unet:{path}", small) != restore_one("bilinear", small)).any()
    assert (tmp_path / "run" / "log.jsonl").read_text().count("adversarial") == len(adversarial)
    assert split_fingerprints(read_metadata(path)[TRAINED_ON]) == set(map(fingerprint, list_images(faces_folder)))


@pytest.mark.slow
def test_training_starts_from_a_file(face, faces_folder, tmp_path, capsys):
    torch.manual_seed(0)
    net = unet.UNet(32)
    torch.nn.init.normal_(net.last.weight, std=0.5)  # far from the identity, which is the start without a file
    start = unet.save(net, tmp_path / "start.safetensors")
    command = ["train-unet", "--data", str(faces_folder), "--start", str(start), "--images", "8", "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "twin"), "--size", "32", "--adversarial"]) == 0
    (made,) = unet.restore(unet.load(tmp_path / "twin" / "unet.safetensors"), [face])
    (started,) = unet.restore(unet.load(start), [face])
    assert cv2.absdiff(made, started).mean() < 2 < 5 < cv2.absdiff(made, face).mean()
    assert main([*command, str(tmp_path / "other"), "--size", "64", "--allow-upscaled"]) == 2
    assert "was trained at 32 px: give a U-Net of 64 px, or --size 32." in capsys.readouterr().err


def test_training_faces_of_a_unet_that_are_too_small(faces_folder, tmp_path, capsys):
    command = ["train-unet", "--data", str(faces_folder), "--out", str(tmp_path / "run"), "--size", "128"]
    assert main(command) == 2 and "7 of 7 images" in capsys.readouterr().err


def test_default_unet(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.registry.ASSETS", tmp_path)
    with pytest.raises(gpen.GPENError, match="python -m eval train-unet"):
        load_method("unet")
    path = unet.save(unet.UNet(32), tmp_path / "unet-32.safetensors")
    assert load_method("unet").weights == path


def test_unet_file_in_half_precision(face, tmp_path):
    torch.manual_seed(0)
    net = unet.UNet(SIZE)
    torch.nn.init.normal_(net.last.weight, std=0.5)
    (result,) = unet.restore(net, [face])
    (stored,) = unet.restore(unet.load(unet.save(net, tmp_path / "unet.safetensors")), [face])
    assert cv2.absdiff(result, face).max() > 20 and cv2.absdiff(result, stored).max() <= 1


def test_invalid_training_arguments(tmp_path, capsys):
    assert main(["train-unet", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 2
    assert main(["train-unet", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--size", "100"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
