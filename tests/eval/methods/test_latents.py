"""Latents of GPEN, sweeps of a degradation parameter, archived runs."""

import json

import numpy as np
import pytest
import torch

import gpen
from eval.__main__ import main
from eval.benchmark.sweep import restore_with, sweep
from eval.methods.latents import blend, encode, generate
from eval.report import archive
from eval.report.plots import line_plot
from gpen.degradation.degradation import Degradation

SMALL = {"size": 32, "narrow": 0.0625, "channel_multiplier": 1, "style_dim": 64, "mapping_layers": 2}


@pytest.fixture(scope="module", params=[32, 16], ids=["same size", "super-resolution"])
def net(request):
    torch.manual_seed(0)
    net = gpen.GPEN(gpen.GPENConfig(in_size=request.param, **SMALL)).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):  # initially 0, which disables the features
            torch.nn.init.constant_(parameter, 0.5)
    return net


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(2)]


def test_generate_from_unchanged_latents_is_the_restored_face(net, faces):
    latents = encode(net, faces[0])
    np.testing.assert_array_equal(generate(net, latents), gpen.Restorer(net).face(faces[0]).image)
    assert list(latents.rms) == ["z", "w", *latents.features]


def test_blend_of_all_latents_is_the_other_face(net, faces):
    a, b = (encode(net, face) for face in faces)
    everything = ["z", "w", *a.features]
    np.testing.assert_array_equal(generate(net, blend(a, b, everything)), generate(net, b))
    np.testing.assert_array_equal(generate(net, blend(a, b, everything, share=0)), generate(net, a))
    assert all(value == 0 for value in blend(a, None, everything).rms.values())


def test_blend_of_one_latent_keeps_the_others(net, faces):
    a, b = (encode(net, face) for face in faces)
    for what in ("w", 4, 8, 16):
        mixed = blend(a, b, [what])
        assert (generate(net, mixed) != generate(net, a)).any()
        assert [name for name in a.rms if mixed.rms[name] != a.rms[name]] == [what]
    with pytest.raises(gpen.GPENError, match="Unknown latent 'y'; choose from z, w, 4"):
        blend(a, b, ["y"])


def test_w_is_computed_from_the_new_z(net, faces):
    a, b = (encode(net, face) for face in faces)
    np.testing.assert_array_equal(generate(net, blend(a, b, ["z"])), generate(net, blend(a, b, ["w"])))
    halfway = blend(a, b, ["z"], share=0.5)
    torch.testing.assert_close(halfway.w, net.generator.mapping((a.z + b.z) / 2))
    assert not torch.allclose(halfway.w, blend(a, b, ["w"], share=0.5).w)  # the mapping network is not linear


# --- sweeps


def test_psnr_decreases_with_the_degradation(face_pair):
    table = sweep([face_pair[1]], "scale", [2, 4, 8, 16], ["bilinear", "nearest"])
    for _, own in table.groupby("method"):
        assert own["psnr"].is_monotonic_decreasing
    (axis,) = line_plot(table, "psnr", "s").axes
    assert axis.get_xscale() == "log" and len(axis.lines) == 2


def test_sweep_keeps_the_other_parameters(face_pair):
    base = Degradation(blur_sigma=3.0)
    table = sweep([face_pair[1]], "noise_sigma", [0, 30], ["bilinear"], ["psnr", "ssim"], base)
    alone = restore_with(face_pair[1], base, ["bilinear"])["bilinear"]
    assert table["psnr"].iloc[0] == pytest.approx(10 * np.log10(255**2 / np.square(alone - face_pair[1].astype(float)).mean()))
    assert table["ssim"].iloc[1] < table["ssim"].iloc[0]


# --- archived runs

ENTRY = {"task": "fsr8", "low": 20.0, "high": 22.0, "n": 7, "baseline": "bilinear", "diff": None}
SUMMARY = [
    ENTRY | {"method": "bilinear", "metric": "psnr", "mean": 21.234},
    ENTRY | {"method": "gpen:/a/model.pth", "metric": "psnr", "mean": 23.456},
    ENTRY | {"method": "ground-truth", "metric": "psnr", "mean": None},
    ENTRY | {"method": "bilinear", "metric": "seconds", "mean": 0.1},
    ENTRY | {"method": "gpen:/a/model.pth", "metric": "squeezenet_fd", "mean": 123.4, "low": None, "high": None},
]
EARLIER = {"command": "python -m eval run bfr"}
RECIPE = {"command": "/home/me/.venv/bin/python -m eval run fsr", "time": "2026-01-02", "tasks": {}, "earlier": [EARLIER]}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text(json.dumps(SUMMARY))
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path / "run"


def test_archive_round_trip(run, tmp_path, capsys):
    path = tmp_path / "results" / "faces.json"
    assert main(["archive", str(run), str(path)]) == 0
    (kept,) = archive.read_all(tmp_path / "results")
    assert (kept.title, kept.tasks, kept.metrics("fsr8")) == ("faces", ["fsr8"], ["psnr", "squeezenet_fd"])
    assert kept.commands == ["python -m eval run bfr", "python -m eval run fsr"]
    table = kept.table("fsr8").set_index("method")
    assert table.loc["gpen:model", "PSNR (RGB) ↑"] == 23.46 and np.isnan(table.loc["ground-truth", "PSNR (RGB) ↑"])
    assert np.isnan(table.loc["bilinear (the input)"].iloc[1])


def test_interval_plot_has_the_best_method_at_the_top(run, tmp_path):
    kept = archive.read(archive.write(run, tmp_path / "faces.json"))
    (axis,) = kept.interval_plot("fsr8", "psnr").axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["bilinear (the input)", "gpen:model"]
    assert "n = 7" in axis.get_xlabel()
    with pytest.raises(gpen.GPENError, match="no ssim for fsr8; choose from psnr"):
        kept.interval_plot("fsr8", "ssim")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": {}, "summary": [{}]}', '{"recipe": {}, "summary": 3}'])
def test_invalid_archive(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(gpen.GPENError, match="not an archived run; create it"):
        archive.read_all(tmp_path)


def test_missing_archive(tmp_path):
    assert archive.read_all(tmp_path / "none") == []
    with pytest.raises(gpen.GPENError, match="does not exist; create it with python -m eval archive"):
        archive.read(tmp_path / "variants.json")
    assert main(["archive", str(tmp_path), str(tmp_path / "out.json")]) == 2
