"""Names of methods: labels, and the method that is named for weight files of another network."""

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import gpen
from eval.__main__ import main
from eval.data.lq_sets import Sample
from eval.methods import registry
from eval.methods.registry import load_method, method_label
from eval.report.tables import method_labels

SIZE = 64
SMALL = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)


@pytest.mark.parametrize("installed", [False, True])
def test_spandrel_names_the_method_for_gpen_files(spandrel, tmp_path, monkeypatch, installed):
    """Also where spandrel has learned to read GPEN files."""
    from gpen.integrations.spandrel import install

    registry = spandrel.ArchRegistry()
    monkeypatch.setattr(spandrel, "MAIN_REGISTRY", install(registry=registry) if installed else registry)
    torch.manual_seed(0)
    path = tmp_path / "GPEN-BFR-512.pth"
    torch.save({"g_ema": gpen.to_published(gpen.GPEN(SMALL))}, path)
    with pytest.raises(gpen.GPENError, match=f"holds a GPEN network; write gpen:{path}.$"):
        load_method(f"spandrel:{path}")
    torch.save(
        {"inpfeat_extraction.weight": torch.zeros(1), "main_branch.align_func_dict.Level_1.dcn.weight": torch.zeros(1)}, path
    )
    with pytest.raises(gpen.GPENError, match="holds a VQFR network.*folder:DIR"):
        load_method(f"spandrel:{path}")


def test_gpen_names_the_method_for_gfpgan_files(spandrel, tmp_path):
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    path = tmp_path / "GFPGANv1.4.pth"
    torch.save({"params_ema": GFPGAN(out_size=SIZE, num_style_feat=32, channel_multiplier=1, narrow=0.25).state_dict()}, path)
    with pytest.raises(gpen.GPENError, match="holds a GFPGAN network, not GPEN: .* as spandrel:GFPGANv1.4.pth.$"):
        load_method(f"gpen:{path}")


def test_label_of_a_method():
    assert method_label("GFPGAN v1.4=spandrel:weights/v1.4.pth") == "GFPGAN v1.4"
    assert registry.parse_method("gpen:runs/a=b.pth") == ("", "gpen", "runs/a=b.pth")
    assert registry.parse_method("x=gpen") == ("x", "gpen", "")
    assert method_label("nonblind-rl") == "Richardson-Lucy (non-blind)"
    assert method_labels(["a=bicubic", "a=lanczos"]) == {"a=bicubic": "a=bicubic", "a=lanczos": "a=lanczos"}
    face = cv2.resize(astronaut()[:220, 110:330], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    sample = Sample("face", face[::4, ::4], face, None)
    labelled, plain = (load_method(name).restore([sample], SIZE)[0] for name in ("a=bicubic", "bicubic"))
    np.testing.assert_array_equal(labelled, plain)


def test_run_with_labels(faces_folder, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["run", "fsr", "--data", str(faces_folder), "--out", str(out), "--size", "64", "--metrics", "psnr"]
    assert main([*command, "--methods", "Cubic=bicubic,Sinc=lanczos", "--baseline", "Cubic"]) == 0
    text = capsys.readouterr().out
    assert "| Sinc " in text and "| difference to Cubic " in text and "comparisons with Cubic at 95%" in text
    summary = json.loads((out / "summary.json").read_text())
    assert {entry["baseline"] for entry in summary} == {"Cubic=bicubic"}
    with open(out / "per_image.csv") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"Cubic=bicubic", "Sinc=lanczos", "bilinear", "ground-truth"}


def test_strength_of_gpen_is_an_option_of_the_method(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    gpen.save(gpen.GPEN(SMALL), path)
    face = Sample("face", np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8), None, None)
    full, half, none = (
        load_method(f"gpen:{path}{options}").restore([face], 32)[0] for options in ("", "?strength=0.5", "?strength=0")
    )
    assert (none == face.lq).all() and np.abs(half.astype(float) - (full.astype(float) + face.lq) / 2).max() <= 1
    assert load_method(f"gpen:{path}?strength=0.5").settings == "strength=0.5"  # of the cache of restored images
    assert method_label(f"gpen:{path}?strength=0.5") == "gpen:net?strength=0.5" != method_label(f"gpen:{path}")


@pytest.mark.parametrize(
    "options, message", [("size=3", "Unknown option 'size=3'"), ("strength=x", "write for"), ("strength=2", "0 to 1")]
)
def test_invalid_option_of_gpen(options, message):
    with pytest.raises(gpen.GPENError, match=message):
        load_method(f"gpen:?{options}")
