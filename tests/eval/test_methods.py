"""Methods: by name, with and without a file behind them; what each is given and what it must not see."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

import gpen
from eval import classical, inversion, unet
from eval.__main__ import main
from eval.external import FaceNetwork
from eval.frozen import Sample, mask_for
from eval.inversion import MultiCodeSettings, PulseSettings, mganprior, pulse
from eval.methods import METHODS, load_method
from eval.metrics import compare
from gpen import tasks
from gpen.degradation import Degradation
from gpen.images import to_image, to_tensor
from gpen.network import resolutions

SIZE = 64
SMALL = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2)
CLASSICAL = ["nlm", "tv", "oracle-wiener", "oracle-rl"]


@pytest.fixture(scope="module")
def face():
    return cv2.resize(astronaut()[:220, 110:330], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """(network, file) of random weights; its faces span the grey levels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("prior") / "prior-32.safetensors"
    gpen.save(gpen.Generator(SMALL), path)
    return gpen.load_prior(path), path


def sample(face, name="face", **settings):
    degradation = Degradation(**settings)
    return Sample(name, degradation(face), face, degradation)


def psnr(image, truth):
    return compare(image, truth, ["psnr"])["psnr"]


def restored(method, one):
    (image,) = load_method(method).restore([one], SIZE)
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    return image


# --- without learning


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("scale", [1, 7.3, SIZE, 0.8])
def test_every_size_of_input_gives_a_face_of_full_size(face, method, scale):
    restored(method, sample(face, scale=scale, blur_sigma=2, noise_sigma=5, jpeg_quality=60))


@pytest.mark.parametrize("method", ["nlm", "tv"])
def test_a_denoiser_helps_a_noisy_face_and_spares_a_clean_one(face, method):
    noisy = sample(face, noise_sigma=25)
    assert psnr(restored(method, noisy), face) > psnr(noisy.lq, face) + 2
    clean = sample(cv2.GaussianBlur(face, (0, 0), 2))
    assert psnr(restored(method, clean), clean.truth) > 38


@pytest.mark.parametrize("method", ["oracle-wiener", "oracle-rl"])
@pytest.mark.parametrize(
    "blur", [{}, {"blur_kind": "anisotropic", "blur_sigma_y": 0.5, "blur_angle": 30}, {"blur_kind": "motion", "blur_angle": 60}]
)
def test_an_oracle_takes_back_some_of_the_blur_it_is_told(face, method, blur):
    blurred = sample(face, blur_sigma=2, noise_sigma=0.5, **blur)
    assert psnr(restored(method, blurred), face) > psnr(blurred.lq, face) + 0.3


@pytest.mark.parametrize("method", ["oracle-wiener", "oracle-rl"])
def test_an_oracle_told_of_no_blur_enlarges_bicubically(face, method):
    small = sample(face, scale=4)
    difference = cv2.absdiff(restored(method, small), restored("bicubic", small))
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
def test_the_kernel_told_is_the_kernel_used(face, blur):
    degradation = Degradation(blur_sigma=2.5, **blur)
    by_hand = cv2.filter2D(face.astype(np.float32), -1, classical.blur_kernel(degradation))
    assert abs(by_hand - degradation(face)).max() <= 0.51
    assert classical.blur_kernel(Degradation(scale=4)) is None


@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(2, 40), seed=st.integers(0, 100))
def test_the_noise_in_a_smooth_picture_is_found(sigma, seed):
    ramp = np.repeat(np.linspace(90, 160, 96, dtype=np.float32)[None, :, None], 96, axis=0).repeat(3, axis=2)
    noise = np.random.default_rng(seed).normal(0, sigma, ramp.shape)
    found = classical.noise_sigma(np.clip(np.rint(ramp + noise), 0, 255).astype(np.uint8))
    assert abs(found / np.hypot(sigma, classical.ROUNDING) - 1) < 0.1


# --- the U-Net


def test_an_untrained_unet_is_the_bilinear_input(face, tmp_path):
    path = unet.save(unet.UNet(SIZE), tmp_path / "unet.safetensors")
    small = sample(face, scale=4)
    np.testing.assert_array_equal(restored(f"unet:{path}", small), restored("bilinear", small))
    assert load_method(f"unet:{path}").weights == path


def test_a_unet_of_another_size_is_brought_to_the_truths(face, tmp_path):
    path = unet.save(unet.UNet(32), tmp_path / "unet.safetensors")
    restored(f"unet:{path}", sample(face, scale=4))


@pytest.mark.parametrize("adversarial", [[], ["--adversarial"]])
def test_training_a_unet_leaves_a_method(face, faces_folder, tmp_path, capsys, adversarial):
    command = ["--data", str(faces_folder), "--out", str(tmp_path / "run"), "--size", "32", "--images", "32", "--device", "cpu"]
    assert unet.main([*command, *adversarial]) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(tmp_path / "run" / "unet.safetensors")
    small = sample(face, scale=4)
    assert (restored(f"unet:{path}", small) != restored("bilinear", small)).any()
    assert (tmp_path / "run" / "log.jsonl").read_text().count("adversarial") == len(adversarial)


def test_the_shipped_unet_is_found_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.ASSETS", tmp_path)
    with pytest.raises(gpen.GPENError, match="python -m eval.unet"):
        load_method("unet")
    path = unet.save(unet.UNet(32), tmp_path / "unet-32.safetensors")
    assert load_method("unet").weights == path


def test_a_unets_file_in_half_precision_gives_its_results(face, tmp_path):
    torch.manual_seed(0)
    net = unet.UNet(SIZE)
    torch.nn.init.normal_(net.last.weight, std=0.5)
    (result,) = unet.restore(net, [face])
    (stored,) = unet.restore(unet.load(unet.save(net, tmp_path / "unet.safetensors")), [face])
    assert cv2.absdiff(result, face).max() > 20 and cv2.absdiff(result, stored).max() <= 1


def test_mistakes_at_training_end_in_a_sentence(tmp_path, capsys):
    assert unet.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 2
    assert unet.main(["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--size", "100"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)


# --- search in a prior


def low_quality(prior, side):
    """A face of the prior, and the same shrunk."""
    random = torch.Generator().manual_seed(5)
    w = prior.mapping(torch.randn(1, SMALL.style_dim, generator=random))
    with torch.no_grad():
        face = to_image(prior(w, [prior.noise(s, random=random) for s in resolutions(prior.config.size)])[0])
    return face, cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("invert", "short", "long"), [
    (pulse, PulseSettings(steps=1), PulseSettings(steps=40)),
    (mganprior, MultiCodeSettings(steps=1, codes=4), MultiCodeSettings(steps=60, codes=4)),
])  # fmt: skip
def test_a_search_comes_closer_to_the_shrunk_face(prior, invert, short, long):
    _, small = low_quality(prior[0], 16)
    errors = []
    for how in (short, long):
        (found,) = invert(prior[0], [small], how)
        errors.append(np.square(cv2.resize(found, (16, 16), interpolation=cv2.INTER_AREA).astype(float) - small).mean())
    assert errors[1] < errors[0] / 4


def test_a_search_does_not_depend_on_the_batch(prior):
    smalls = [low_quality(prior[0], side)[1] for side in (16, 8, 48)]
    for invert, how in ((pulse, PulseSettings(steps=5)), (mganprior, MultiCodeSettings(steps=5, codes=2))):
        together = invert(prior[0], smalls, how)
        for face, small in zip(together, smalls, strict=True):
            assert cv2.absdiff(face, invert(prior[0], [small], how)[0]).max() <= 1


@pytest.mark.parametrize("block", ["stylegan2", "stylegan", "pggan", "biggan"])
@pytest.mark.parametrize("noise_mode", ["add", "none"])
def test_every_kind_of_prior_can_be_searched(face, block, noise_mode):
    torch.manual_seed(0)
    config = gpen.GPENConfig(**vars(SMALL) | {"block": block, "noise_mode": noise_mode})
    net = gpen.Generator(config).eval().requires_grad_(False)
    for found in (*pulse(net, [face], PulseSettings(steps=2)), *mganprior(net, [face], MultiCodeSettings(steps=2, codes=2))):
        assert found.shape == (32, 32, 3)


def test_the_shipped_prior_is_found_or_asked_for(prior, face, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.methods.ASSETS", tmp_path)
    with pytest.raises(gpen.GPENError, match="pulse:prior.safetensors"):
        load_method("pulse")
    for size in (128, 32):
        (tmp_path / f"prior-{size}.safetensors").write_bytes(prior[1].read_bytes())
    assert load_method("mganprior").weights == tmp_path / "prior-128.safetensors"


@pytest.mark.parametrize(("function", "how"), [
    ("pulse", PulseSettings(steps=40)), ("mganprior", MultiCodeSettings(steps=60, codes=4)),
])  # fmt: skip
def test_a_prior_smaller_than_the_face_is_compared_at_its_size_and_enlarged(prior, face, function, how, monkeypatch):
    """A low-quality image of the face's full 64 px, a prior of 32."""
    monkeypatch.setattr(f"eval.inversion.{type(how).__name__}", lambda: how)
    found, _ = low_quality(prior[0], 16)
    large = cv2.resize(found, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    answer = restored(f"{function}:{prior[1]}", sample(large))  # full size
    (small,) = getattr(inversion, function)(prior[0], [large], how)
    np.testing.assert_array_equal(answer, cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC))
    (worse,) = getattr(inversion, function)(prior[0], [large], replace(how, steps=1))
    errors = [np.square(image.astype(float) - found).mean() for image in (small, worse)]
    assert errors[0] < errors[1] / 2


# --- from elsewhere


@pytest.fixture(scope="module")
def spandrel():
    gpen.compat.patch_torchvision()
    return pytest.importorskip("spandrel")


def test_a_face_network_sees_the_range_it_was_trained_on(spandrel, face):
    """A GFPGAN of random weights: the descriptor's [0, 1] is another picture to it than the [-1, 1] of its training."""
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


def test_gfpgan_is_read_from_its_file(spandrel, face, tmp_path):
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    path = tmp_path / "GFPGANv1.4.pth"
    torch.save({"params_ema": GFPGAN().state_dict()}, path)
    method = load_method(f"spandrel:{path}")
    assert method.weights == path
    (image,) = method.restore([sample(face, scale=4)], SIZE)
    assert image.shape == (SIZE, SIZE, 3)


def test_a_file_of_another_network_is_refused(spandrel, tmp_path):
    path = tmp_path / "unet.safetensors"
    unet.save(unet.UNet(32), path)
    with pytest.raises(gpen.GPENError, match="no network that spandrel knows"):
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


def test_results_made_elsewhere_are_matched_by_name(results, face):
    for name in ("a", "a.jpg", "part2/b"):
        np.testing.assert_array_equal(restored(f"folder:{results}", sample(face, name=name, scale=4)), face)


@pytest.mark.parametrize(("name", "size", "words"), [("b", SIZE, "no result for b"), ("a", 128, "64 x 64 pixels where")])
def test_a_result_that_is_missing_or_of_another_size_is_named(results, face, name, size, words):
    with pytest.raises(gpen.GPENError, match=words):
        load_method(f"folder:{results}").restore([sample(face, name=name, scale=4)], size)


# --- by name


@pytest.mark.parametrize(("name", "words"), [
    ("lancsoz", "choose from input, nearest"), ("bilinear:x", "choose from"), ("unet:/no/file", "no U-Net of this project"),
    ("spandrel", "write spandrel:PATH"), ("folder", "write folder:DIR"),
    ("spandrel:/no/file", "names no file"), ("folder:/no/folder", "is not a folder"), ("pulse:/no/file.pth", "no file"),
])  # fmt: skip
def test_a_name_that_is_none_says_what_to_write(name, words):
    with pytest.raises(gpen.GPENError, match=words) as error:
        load_method(name)
    assert "\n" not in str(error.value)


def test_every_method_has_its_form_in_the_message():
    with pytest.raises(gpen.GPENError) as error:
        load_method("")
    assert all(kind in str(error.value) for kind in METHODS) and "gpen[:PATH]" in str(error.value)


def test_names_with_a_path_run_and_are_kept_apart(prior, results, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.inversion.PulseSettings", lambda: PulseSettings(steps=2))
    truths, net = tmp_path / "truths", unet.save(unet.UNet(32), tmp_path / "unet.safetensors")
    truths.mkdir()
    for path in list(results.rglob("*.png")):
        (truths / path.name).write_bytes(path.read_bytes())
        if path.parent != results:
            path.rename(results / path.name)
    methods = [f"unet:{net}", f"pulse:{prior[1]}", f"folder:{results}", "oracle-rl"]
    out = tmp_path / "run"
    command = ["run", "fsr", "--data", str(truths), "--out", str(out), "--size", str(SIZE), "--metrics", "psnr"]
    assert main([*command, "--methods", ",".join(methods)]) == 0
    with open(out / "per_image.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {*methods, "bilinear", "ground-truth"}
    assert all(row["psnr"] == "inf" for row in rows if row["method"] == f"folder:{results}")


# --- the other tasks


@pytest.mark.parametrize("family", ["colorize", "inpaint"])
def test_a_task_is_run_with_its_own_model_and_keeps_what_was_not_asked(family, faces_folder, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "models"
    folder.mkdir()
    gpen.save(gpen.GPEN(SMALL), folder / f"gpen-{family}.safetensors")
    monkeypatch.setattr("gpen.checkpoints.ASSETS", folder)
    monkeypatch.setenv("GPEN_MODELS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "run"
    data = ["--data", str(faces_folder), "--size", "64", "--limit", "2"]
    assert main(["run", family, *data, "--metrics", "psnr", "--out", str(out), "--keep"]) == 0
    assert f"gpen-{family}" in capsys.readouterr().out
    given_ = cv2.imread(str(out / "lq" / family / "face0.png"))[..., ::-1]
    result = cv2.imread(str(out / "restored" / family / f"gpen-{family}" / "face0.png"))[..., ::-1]
    if family == "colorize":
        assert np.abs(tasks.luma(result) - given_[..., 0]).max() <= 1
    else:
        mask = mask_for("face0", 64, 0)
        assert np.array_equal(result[~mask], given_[~mask])


def test_telea_fills_a_flat_face_without_a_trace():
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:30, 20:40] = True
    filled = restored("telea", Sample("flat", tasks.apply_mask(flat, mask), flat, None, mask))
    assert np.abs(filled.astype(int) - flat).max() <= 3 and np.array_equal(filled[~mask], flat[~mask])


def test_what_fills_in_and_what_is_told_need_a_task_that_has_it(faces_folder, tmp_path, capsys):
    run = ["run", "--data", str(faces_folder), "--size", "64", "--out", str(tmp_path / "run"), "--methods"]
    assert main([run[0], "bfr", *run[1:], "telea"]) == 2 and "no task but inpaint" in capsys.readouterr().err
    assert main([run[0], "colorize", *run[1:], "oracle-rl"]) == 2 and "colorize has none to tell" in capsys.readouterr().err
