"""Command line: output files, user errors, exit status."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

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


def test_degrade_matches_degradation(face, tmp_path, capsys):
    arguments = "--blur-sigma 2 --scale 3.3 --noise-sigma 10 --jpeg-quality 40 --seed 5".split()
    main(["degrade", str(face), *arguments, "--out", str(tmp_path / "low.png")])
    degradation = gpen.Degradation(blur_sigma=2, scale=3.3, noise_sigma=10, jpeg_quality=40, seed=5)
    assert np.array_equal(read(tmp_path / "low.png"), degradation(read(face)))
    assert capsys.readouterr().out.strip() == degradation.formula()
    main(["degrade", str(face), "--preset", "gpen-release", "--seed", "5", "--resized", "--out", str(tmp_path / "b.png")])
    assert np.array_equal(read(tmp_path / "b.png"), gpen.Degradation.sample("gpen-release", 5, 48).resized(read(face)))


def test_restore_matches_restorer(face, model, tmp_path, capsys):
    main(["restore", str(face), "--aligned", "--model", str(model), "--out", str(tmp_path / "out")])
    expected = gpen.Restorer(gpen.load(model)).face(read(face)).image
    assert np.array_equal(read(tmp_path / "out" / "face.png"), expected)
    assert capsys.readouterr().out.strip() == "1 restored"


def test_restore_detects_faces_in_folders_and_writes_a_report(model, tmp_path, capsys):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    photo = np.pad(astronaut()[:256, 96:352], ((0, 0), (0, 100), (0, 0)), mode="reflect")
    cv2.imwrite(str(tmp_path / "in" / "deeper" / "a.png"), photo[..., ::-1])
    cv2.imwrite(str(tmp_path / "in" / "plain.png"), np.full((64, 64, 3), 90, np.uint8))
    command = f"restore {tmp_path / 'in'} --recursive --jobs 2 --only largest --model {model} --out {tmp_path / 'out'}"
    main([*command.split(), "--report", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["only"] == "largest" and [row["status"] for row in report["files"]] == ["no face", "restored"]
    x0, y0, x1, y1 = report["files"][1]["faces"][0]["box"]
    assert 70 < x0 < x1 < 190 and 40 < y0 < y1 < 190 and len(report["files"][1]["faces"]) == 1
    assert np.array_equal(read(tmp_path / "out" / "plain.png"), read(tmp_path / "in" / "plain.png"))
    assert not np.array_equal(read(tmp_path / "out" / "deeper" / "a.png"), photo)
    assert "1 restored" in capsys.readouterr().out


def test_damaged_file_is_reported_and_the_exit_status_is_1(face, model, tmp_path, capsys):
    (tmp_path / "cut.png").write_bytes(face.read_bytes()[:100])
    command = f"restore {tmp_path / 'cut.png'} {face} --aligned --model {model} --out {tmp_path / 'out'}".split()
    with pytest.raises(SystemExit) as stop:
        main(command)
    printed = capsys.readouterr()
    assert stop.value.code == 1 and (tmp_path / "out" / "face.png").exists()
    assert [line for line in printed.err.splitlines() if line.startswith("error: ") and "cut.png" in line]
    assert printed.out.strip() == "1 failed, 1 restored"


def test_read_only_output_folder_is_an_error(face, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root can write to any folder that is not on a read-only disk
    with pytest.raises(SystemExit) as stop:
        main(["restore", str(face), "--aligned", "--model", "absent.pth", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and "it is read-only" in capsys.readouterr().err


def test_info_prints_the_settings(model, capsys):
    main(["info", str(model)])
    printed = capsys.readouterr().out
    assert "narrow               0.0625" in printed and str(model) in printed


def test_runs_as_a_module():
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
        ("restore face.png --aligned --model net.safetensors --out .", "already"),
        ("restore face.png --aligned --model net.safetensors --out face.png/out", "--out face.png/out is not writable"),
        ("restore absent.png --model net.safetensors --out out", "no file or folder absent.png"),
        ("restore face.png --model net.safetensors --detector absent.onnx --out out", "absent.onnx"),
        ("restore face.png --model net.safetensors --detector eyes --out out", "no detector 'eyes'"),
        ("restore face.png --aligned --upscale 2 --model net.safetensors --out out", "leave out"),
        ("info text.png", "cannot be read"),
        ("train finetune --data nowhere --out run", "no images"),
        ("train --out run", "Name a stage"),
    ],
)
def test_user_errors_are_one_line_with_exit_status_2(command, words, face, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("not an image, words only, again and again and again\n")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert words in printed and printed.startswith("error: ") and printed.count("\n") == 1
