"""GPEN taken apart and put together again; one parameter of the degradation swept; runs archived."""

import json

import numpy as np
import pytest
import torch

import gpen
from eval import archive
from eval.anatomy import blend, encode, generate
from eval.drawing import line_plot
from eval.sweep import restore_with, sweep
from gpen.degradation import Degradation

SMALL = {"size": 32, "narrow": 0.0625, "channel_multiplier": 1, "style_dim": 64, "mapping_layers": 2}


@pytest.fixture(scope="module", params=[32, 16], ids=["same size", "super-resolution"])
def net(request):
    torch.manual_seed(0)
    net = gpen.GPEN(gpen.GPENConfig(in_size=request.param, **SMALL)).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):  # it starts at 0: the features would not be heard
            torch.nn.init.constant_(parameter, 0.5)
    return net


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(2)]


def test_what_is_put_together_untouched_is_the_restored_face(net, faces):
    parts = encode(net, faces[0])
    np.testing.assert_array_equal(generate(net, parts), gpen.Restorer(net).face(faces[0]).image)
    assert list(parts.rms) == ["z", "w", *parts.features]


def test_every_part_of_another_makes_the_other_face(net, faces):
    a, b = (encode(net, face) for face in faces)
    everything = ["z", "w", *a.features]
    np.testing.assert_array_equal(generate(net, blend(a, b, everything)), generate(net, b))
    np.testing.assert_array_equal(generate(net, blend(a, b, everything, share=0)), generate(net, a))
    assert all(value == 0 for value in blend(a, None, everything).rms.values())


def test_one_part_changes_the_face_and_leaves_the_others(net, faces):
    a, b = (encode(net, face) for face in faces)
    for what in ("w", 4, 8, 16):
        mixed = blend(a, b, [what])
        assert (generate(net, mixed) != generate(net, a)).any()
        assert [name for name in a.rms if mixed.rms[name] != a.rms[name]] == [what]
    with pytest.raises(gpen.GPENError, match="no part 'y'; choose from z, w, 4"):
        blend(a, b, ["y"])


def test_w_follows_z(net, faces):
    a, b = (encode(net, face) for face in faces)
    np.testing.assert_array_equal(generate(net, blend(a, b, ["z"])), generate(net, blend(a, b, ["w"])))
    halfway = blend(a, b, ["z"], share=0.5)
    torch.testing.assert_close(halfway.w, net.generator.mapping((a.z + b.z) / 2))
    assert not torch.allclose(halfway.w, blend(a, b, ["w"], share=0.5).w)  # the mapping network is not linear


# --- one parameter swept


def test_a_stronger_degradation_is_a_lower_line(face_pair):
    table = sweep([face_pair[1]], "scale", [2, 4, 8, 16], ["bilinear", "nearest"])
    for _, own in table.groupby("method"):
        assert own["psnr"].is_monotonic_decreasing
    (axis,) = line_plot(table, "psnr", "s").axes
    assert axis.get_xscale() == "log" and len(axis.lines) == 2


def test_a_sweep_keeps_what_is_fixed(face_pair):
    base = Degradation(blur_sigma=3.0)
    table = sweep([face_pair[1]], "noise_sigma", [0, 30], ["bilinear"], ["psnr", "ssim"], base)
    alone = restore_with(face_pair[1], base, ["bilinear"])["bilinear"]
    assert table["psnr"].iloc[0] == pytest.approx(10 * np.log10(255**2 / np.square(alone - face_pair[1].astype(float)).mean()))
    assert table["ssim"].iloc[1] < table["ssim"].iloc[0]


# --- runs archived

ENTRY = {"task": "fsr8", "low": 20.0, "high": 22.0, "n": 7, "baseline": "bilinear", "diff": None}
SUMMARY = [
    ENTRY | {"method": "bilinear", "metric": "psnr", "mean": 21.234},
    ENTRY | {"method": "gpen:/a/model.pth", "metric": "psnr", "mean": 23.456},
    ENTRY | {"method": "ground-truth", "metric": "psnr", "mean": None},
    ENTRY | {"method": "bilinear", "metric": "seconds", "mean": 0.1},
    ENTRY | {"method": "gpen:/a/model.pth", "metric": "squeezenet_fd", "mean": 123.4, "low": None, "high": None},
]
EARLIER = {"command": "python -m eval run bfr"}
RECIPE = {"command": "/home/me/.venv/bin/python -m eval run fsr", "time": "2026-01-02", "earlier": [EARLIER]}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text(json.dumps(SUMMARY))
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path / "run"


def test_a_run_is_archived_and_read_again(run, tmp_path, capsys):
    path = tmp_path / "results" / "faces.json"
    assert archive.main([str(run), str(path)]) == 0
    (kept,) = archive.read_all(tmp_path / "results")
    assert (kept.title, kept.tasks, kept.metrics("fsr8")) == ("faces", ["fsr8"], ["psnr", "squeezenet_fd"])
    assert kept.commands == ["python -m eval run bfr", "python -m eval run fsr"]
    table = kept.table("fsr8").set_index("method")
    assert table.loc["gpen:model", "PSNR (RGB) ↑"] == 23.46 and np.isnan(table.loc["ground-truth", "PSNR (RGB) ↑"])
    assert np.isnan(table.loc["bilinear (the input)"].iloc[1])


def test_the_best_method_is_the_topmost_bar(run, tmp_path):
    kept = archive.read(archive.write(run, tmp_path / "faces.json"))
    (axis,) = kept.interval_plot("fsr8", "psnr").axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["bilinear (the input)", "gpen:model"]
    assert "n = 7" in axis.get_xlabel()
    with pytest.raises(gpen.GPENError, match="no ssim of fsr8; choose from psnr"):
        kept.interval_plot("fsr8", "ssim")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": {}, "summary": [{}]}', '{"recipe": {}, "summary": 3}'])
def test_a_file_that_is_no_archived_run_says_so(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(gpen.GPENError, match="no archived run; make it again"):
        archive.read_all(tmp_path)


def test_where_nothing_is_archived_there_is_nothing(tmp_path):
    assert archive.read_all(tmp_path / "none") == []
    with pytest.raises(gpen.GPENError, match="make it with python -m eval.archive"):
        archive.read(tmp_path / "variants.json")
    assert archive.main([str(tmp_path), str(tmp_path / "out.json")]) == 2
