"""Methods: names, weights, inputs and results."""

import csv

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen
from eval.__main__ import main
from eval.data.lq_sets import Sample, mask_for
from eval.methods import classical, inversion, registry, unet
from eval.methods.external import FaceNetwork
from eval.methods.inversion import MultiCodeSettings, PulseSettings
from eval.methods.registry import METHODS, load_method, method_label
from eval.metrics.registry import compare
from eval.report.tables import method_labels
from gpen.degradation.degradation import Degradation
from gpen.images import to_image, to_tensor
from gpen.restoration import tasks

SIZE = 64
SMALL = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)
CLASSICAL = ["nlm", "tv", "nonblind-wiener", "nonblind-rl"]


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """(network, file) with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("prior") / "prior-32.safetensors"
    gpen.save(gpen.Generator(SMALL), path)
    return gpen.load_prior(path), path


def sample(face, name="face", **settings):
    degradation = Degradation(**settings)
    return Sample(name, degradation(face), face, degradation)


def psnr(image, truth):
    return compare(image, truth, ["psnr"])["psnr"]


def restore_one(method, one):
    (image,) = load_method(method).restore([one], SIZE)
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    return image


# --- without learning


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("scale", [1, 7.3, SIZE, 0.8])
def test_size_of_the_result(face, method, scale):
    restore_one(method, sample(face, scale=scale, blur_sigma=2, noise_sigma=5, jpeg_quality=60))


@pytest.mark.parametrize("method", ["nlm", "tv"])
def test_denoisers_on_noisy_and_clean_faces(face, method):
    noisy = sample(face, noise_sigma=25)
    assert psnr(restore_one(method, noisy), face) > psnr(noisy.lq, face) + 2
    clean = sample(cv2.GaussianBlur(face, (0, 0), 2))
    assert psnr(restore_one(method, clean), clean.truth) > 38


@pytest.mark.parametrize("method", ["nonblind-wiener", "nonblind-rl"])
@pytest.mark.parametrize(
    "blur", [{}, {"blur_kind": "anisotropic", "blur_sigma_y": 0.5, "blur_angle": 30}, {"blur_kind": "motion", "blur_angle": 60}]
)
def test_non_blind_deconvolution_removes_blur(face, method, blur):
    blurred = sample(face, blur_sigma=2, noise_sigma=0.5, **blur)
    assert psnr(restore_one(method, blurred), face) > psnr(blurred.lq, face) + 0.3


@pytest.mark.parametrize("method", ["nonblind-wiener", "nonblind-rl"])
def test_non_blind_deconvolution_without_blur_is_bicubic(face, method):
    small = sample(face, scale=4)
    difference = cv2.absdiff(restore_one(method, small), restore_one("bicubic", small))
    assert difference.max() <= 1


@pytest.mark.parametrize(
    "blur",
    [
        {},
        {"kernel_size": 21},
        {"blur_kind": "motion", "blur_angle": -20},
        {"blur_kind": "anisotropic", "blur_sigma_y": 1.0, "blur_angle": 70},
    ],
)
def test_blur_kernel_agrees_with_the_degradation(face, blur):
    degradation = Degradation(blur_sigma=2.5, **blur)
    by_hand = cv2.filter2D(face.astype(np.float32), -1, classical.blur_kernel(degradation))
    assert abs(by_hand - degradation(face)).max() <= 0.51
    assert classical.blur_kernel(Degradation(scale=4)) is None


@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(2, 40), seed=st.integers(0, 100))
@pytest.mark.slow
def test_noise_estimate_of_a_smooth_image(sigma, seed):
    ramp = np.repeat(np.linspace(90, 160, 96, dtype=np.float32)[None, :, None], 96, axis=0).repeat(3, axis=2)
    noise = np.random.default_rng(seed).normal(0, sigma, ramp.shape)
    found = classical.noise_sigma(np.clip(np.rint(ramp + noise), 0, 255).astype(np.uint8))
    assert abs(found / np.hypot(sigma, classical.ROUNDING) - 1) < 0.1


# --- GAN inversion: the searches themselves are in test_inversion.py


def test_default_prior(prior, face, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.registry.ASSETS", tmp_path)
    with pytest.raises(gpen.GPENError, match="pulse:prior.safetensors"):
        load_method("pulse")
    for size in (128, 32):
        (tmp_path / f"prior-{size}.safetensors").write_bytes(prior[1].read_bytes())
    assert load_method("mganprior").weights == tmp_path / "prior-128.safetensors"


@pytest.mark.parametrize(("function", "how"), [("pulse", PulseSettings(steps=5)), ("mganprior", MultiCodeSettings(steps=5))])
@pytest.mark.slow
def test_result_of_a_prior_smaller_than_the_face_is_enlarged(prior, face, function, how, monkeypatch):
    monkeypatch.setattr(f"eval.methods.inversion.{type(how).__name__}", lambda: how)
    small = sample(face, scale=4)
    (found,) = getattr(inversion, function)(prior[0], [small], SIZE, how)
    expected = cv2.resize(found, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(restore_one(f"{function}:{prior[1]}", small), expected)


def test_tables_name_the_prior_of_an_inversion(prior, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.registry._prior_label", registry._prior_label.__wrapped__)  # without its cache
    monkeypatch.setattr("eval.methods.registry.ASSETS", tmp_path)
    assert method_label("pulse") == "PULSE-like, own prior"
    (tmp_path / "prior-32.safetensors").write_bytes(prior[1].read_bytes())
    assert method_label("pulse") == "PULSE-like, own prior of 32 px"
    assert method_label(f"mganprior:{prior[1]}") == "mGANprior-like, own prior of 32 px"
    assert method_label("pulse:folder/GPEN-BFR-512.pth") == "PULSE-like, prior GPEN-BFR-512"
    assert method_labels(["pulse", f"pulse:{prior[1]}", "gpen:runs/a/net.pth", "bilinear"]) == {
        "pulse": "pulse", f"pulse:{prior[1]}": f"pulse:{prior[1]}",  # equal labels
        "gpen:runs/a/net.pth": "gpen:net", "bilinear": "bilinear (the input)",
    }  # fmt: skip


# --- external methods


def test_input_range_of_face_networks(spandrel, face):
    """GFPGAN with random weights: input in [-1, 1], as in its training, not the [0, 1] of the descriptor."""
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    net = GFPGAN(out_size=SIZE, num_style_feat=32, channel_multiplier=1, narrow=0.25).eval()
    wrapped = FaceNetwork(net, {"randomize_noise": False}, SIZE)
    with torch.no_grad():
        right = to_image(net(to_tensor(face)[None], randomize_noise=False)[0][0])
        wrong = net(to_tensor(face)[None] / 2 + 0.5, randomize_noise=False)[0][0]
    np.testing.assert_array_equal(wrapped([face])[0], right)
    np.testing.assert_array_equal(wrapped([face])[0], wrapped([face])[0])
    assert cv2.absdiff(right, to_image(wrong * 2 - 1)).max() > 10


@pytest.mark.slow
def test_gfpgan_file(spandrel, face, tmp_path):
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    path = tmp_path / "GFPGANv1.4.pth"
    torch.save({"params_ema": GFPGAN().state_dict()}, path)
    method = load_method(f"spandrel:{path}")
    assert method.weights == path
    (image,) = method.restore([sample(face, scale=4)], SIZE)
    assert image.shape == (SIZE, SIZE, 3)


def test_file_of_another_network(spandrel, tmp_path):
    path = tmp_path / "unet.safetensors"
    unet.save(unet.UNet(32), path)
    with pytest.raises(gpen.GPENError, match="not supported by spandrel"):
        load_method(f"spandrel:{path}")
    path.write_bytes(b"nothing")
    with pytest.raises(gpen.GPENError, match="cannot be read"):
        load_method(f"spandrel:{path}")


@pytest.fixture
def results(tmp_path, face):
    folder = tmp_path / "results"
    (folder / "part2").mkdir(parents=True)
    for name in ("a.png", "part2/b.png"):
        cv2.imwrite(str(folder / name), face[..., ::-1])
    return folder


def test_result_folder(results, face):
    for name in ("a", "a.jpg", "part2/b"):
        np.testing.assert_array_equal(restore_one(f"folder:{results}", sample(face, name=name, scale=4)), face)


def test_missing_result(results, face):
    with pytest.raises(gpen.GPENError, match="no result for b; add b.png"):
        restore_one(f"folder:{results}", sample(face, name="b", scale=4))


# --- by name


@pytest.mark.parametrize(("name", "words"), [
    ("lancsoz", "choose from bilinear, nearest"), ("bilinear:x", "choose from"), ("unet:/no/file", "not a U-Net"),
    ("spandrel", "write spandrel:PATH"), ("folder", "write folder:DIR"), ("onnx", "write onnx:FILE"),
    ("a=none", "Unknown method"),
    ("spandrel:/no/file", "is not a file"), ("folder:/no/folder", "is not a folder"), ("pulse:/no/file.pth", "/no/file.pth"),
])  # fmt: skip
def test_invalid_names(name, words):
    with pytest.raises(gpen.GPENError, match=words) as error:
        load_method(name)
    assert "\n" not in str(error.value)


def test_error_lists_all_methods():
    with pytest.raises(gpen.GPENError) as error:
        load_method("")
    assert all(kind in str(error.value) for kind in METHODS) and "gpen[:PATH[?strength=S]]" in str(error.value)


@pytest.mark.slow
def test_methods_with_paths(prior, results, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.inversion.PulseSettings", lambda: PulseSettings(steps=2))
    truths, net = tmp_path / "truths", unet.save(unet.UNet(32), tmp_path / "unet.safetensors")
    truths.mkdir()
    for path in list(results.rglob("*.png")):
        (truths / path.name).write_bytes(path.read_bytes())
        if path.parent != results:
            path.rename(results / path.name)
    methods = [f"unet:{net}", f"pulse:{prior[1]}", f"folder:{results}", "nonblind-rl"]
    out = tmp_path / "run"
    command = ["run", "fsr", "--data", str(truths), "--out", str(out), "--size", str(SIZE), "--metrics", "psnr"]
    assert main([*command, "--methods", ",".join(methods)]) == 0
    with open(out / "per_image.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {*methods, "bilinear", "ground-truth"}
    assert all(row["psnr"] == "inf" for row in rows if row["method"] == f"folder:{results}")


# --- the other tasks


@pytest.mark.parametrize("family", ["colorize", "inpaint"])
@pytest.mark.slow
def test_colorize_and_inpaint_with_their_models(family, faces_folder, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "models"
    folder.mkdir()
    gpen.save(gpen.GPEN(SMALL), folder / f"gpen-{family}.safetensors")
    monkeypatch.setattr("gpen.models.checkpoints.ASSETS", folder)
    monkeypatch.setenv("GPEN_MODELS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "run"
    data = ["--data", str(faces_folder), "--size", "64", "--limit", "2"]
    assert main(["run", family, *data, "--metrics", "psnr", "--out", str(out), "--keep"]) == 0
    assert f"gpen-{family}" in capsys.readouterr().out
    lq = cv2.imread(str(out / "lq" / family / "face0.png"))[..., ::-1]
    result = cv2.imread(str(out / "restored" / family / f"gpen-{family}" / "face0.png"))[..., ::-1]
    if family == "colorize":
        assert np.abs(tasks.luma(result) - lq[..., 0]).max() <= 1
    else:
        mask = mask_for("face0", 64, 0)
        assert np.array_equal(result[~mask], lq[~mask])


def test_telea_on_a_constant_face():
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:30, 20:40] = True
    filled = restore_one("telea", Sample("flat", tasks.apply_mask(flat, mask), flat, None, mask))
    assert np.abs(filled.astype(int) - flat).max() <= 3 and np.array_equal(filled[~mask], flat[~mask])


def test_methods_that_need_a_mask_or_a_degradation(faces_folder, tmp_path, capsys):
    run = ["run", "--data", str(faces_folder), "--size", "64", "--out", str(tmp_path / "run"), "--methods"]
    assert main([run[0], "bfr", *run[1:], "telea"]) == 2 and "only the task inpaint" in capsys.readouterr().err
    assert (
        main([run[0], "colorize", *run[1:], "nonblind-rl"]) == 2 and "the task colorize does not have" in capsys.readouterr().err
    )
