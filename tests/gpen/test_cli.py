"""The command line: what it writes, and one sentence with exit code 2 for what a user does wrong."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import gpen
from gpen.cli import main
from gpen.version import __version__


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8), (48, 48))
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    gpen.save(gpen.GPEN(gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2)), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_degrade_is_the_degradation_with_these_numbers(face, tmp_path, capsys):
    arguments = "--blur-sigma 2 --scale 3.3 --noise-sigma 10 --jpeg-quality 40 --seed 5".split()
    main(["degrade", str(face), *arguments, "--out", str(tmp_path / "low.png")])
    degradation = gpen.Degradation(blur_sigma=2, scale=3.3, noise_sigma=10, jpeg_quality=40, seed=5)
    assert np.array_equal(read(tmp_path / "low.png"), degradation(read(face)))
    assert capsys.readouterr().out.strip() == degradation.formula()
    main(["degrade", str(face), "--preset", "gpen-release", "--seed", "5", "--resized", "--out", str(tmp_path / "b.png")])
    assert np.array_equal(read(tmp_path / "b.png"), gpen.Degradation.sample("gpen-release", 5, 48).resized(read(face)))


def test_restore_writes_what_the_restorer_gives(face, model, tmp_path):
    main(["restore", str(face), "--model", str(model), "--out", str(tmp_path / "out")])
    expected = gpen.Restorer(gpen.load(model)).face(read(face)).image
    assert np.array_equal(read(tmp_path / "out" / "face.png"), expected)


def test_info_names_the_settings(model, capsys):
    main(["info", str(model)])
    printed = capsys.readouterr().out
    assert "narrow               0.0625" in printed and str(model) in printed


def test_it_runs_as_a_module():
    printed = subprocess.run([sys.executable, "-m", "gpen", "--version"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"gpen {__version__}"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("degrade absent.png --out x.png", "no file absent.png"),
        ("degrade text.png --out x.png", "cannot be read as an image"),
        ("degrade empty.png --out x.png", "cannot be read as an image"),
        ("degrade face.png --out x.xyz", "format"),
        ("degrade face.png --jpeg-quality 400 --out x.png", "jpeg_quality"),
        ("restore face.png --model absent.pth --out out", "no file absent.pth"),
        ("restore face.png --model net.safetensors --strength 2 --out out", "strength"),
        ("restore wide.png --model net.safetensors --out out", "square"),
        ("restore face.png --model net.safetensors --out .", "already"),
        ("info text.png", "cannot be read"),
        ("train finetune --data nowhere --out run", "no images"),
        ("train --out run", "Name a stage"),
    ],
)
def test_a_user_s_mistake_is_one_sentence(command, words, face, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("not an image, words only, again and again and again\n")
    (tmp_path / "empty.png").write_bytes(b"")
    cv2.imwrite("wide.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in printed and printed.startswith("error: ") and printed.count("\n") == 1
