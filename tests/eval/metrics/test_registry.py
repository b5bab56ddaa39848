"""eval.metrics and eval.metrics.squeezenet: values agree with the libraries, missing weights are reported."""

import importlib.metadata
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from eval.metrics import fid
from eval.metrics.lpips import LPIPS_BACKBONES
from eval.metrics.registry import DEFAULT_METRICS, METRICS, compare, load_metrics
from eval.metrics.squeezenet import SqueezeNet
from eval.metrics.weights import MetricSettings
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.training.losses.squeezenet import CAFFE_MEAN
from tests.eval.metrics.backbones import place_lpips

NO_FILES = MetricSettings(squeezenet="", identity_model="", fid_statistics="", niqe_parameters="", deg_weights="", lmd_weights="")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("backbone", ["alex", "vgg", "squeeze"])
@pytest.mark.slow
def test_lpips_equals_the_package(backbone, face_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place_lpips(backbone, tmp_path)
    name = f"lpips_{backbone}"
    with_wrong_hash = compare(*face_pair, [name], replace(NO_FILES, verify=True))[name]
    assert "sha256" in with_wrong_hash and "download it" in with_wrong_hash

    import lpips

    theirs = lpips.LPIPS(net=backbone, verbose=False)
    for i, image in enumerate(face_pair):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image[..., ::-1])
    tensors = [lpips.im2tensor(lpips.load_image(str(tmp_path / f"{i}.png"))) for i in range(2)]
    with torch.no_grad():
        expected = theirs(*tensors).item()
    functions, _ = load_metrics([name], replace(NO_FILES, verify=False))
    image, truth = face_pair
    assert expected > 0 and functions[name]([image, truth], [truth, truth]) == [expected, 0]


def test_missing_weights(face_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("downloads"))
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    functions, missing = load_metrics(METRICS, NO_FILES)
    assert set(functions) - {"landmarks"} == {"psnr", "psnr_y", "ssim", "ssim_y", "ssim_uniform", "niqe_fitted"}
    assert set(functions) | set(missing) == set(METRICS)
    for name in ("fid", "kid"):
        assert fid.URL in missing[name] and str(tmp_path / "hub" / "checkpoints") in missing[name]
    assert "--fid-statistics" in missing["fid_statistics"] and "--niqe-parameters" in missing["niqe"]
    for backbone, file in LPIPS_BACKBONES.items():
        assert str(tmp_path / "hub" / "checkpoints" / file) in missing[f"lpips_{backbone}"]
        assert f"https://download.pytorch.org/models/{file}" in missing[f"lpips_{backbone}"]
    assert "--squeezenet" in missing["squeezenet"] and "GPEN_SQUEEZENET" in missing["squeezenet_fd"]
    assert "--identity-model" in missing["identity"] and "GPEN_IDENTITY_MODEL" in missing["identity_angle"]
    assert compare(*face_pair, ["lpips_alex"], NO_FILES) == {"lpips_alex": missing["lpips_alex"]}


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_invalid_weight_file(content, tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    broken = MetricSettings(squeezenet=str(path), identity_model=str(path))
    absent = MetricSettings(squeezenet=str(path) + "2", identity_model=str(path) + "2")
    for given_settings in (broken, absent):
        _, missing = load_metrics(["squeezenet", "squeezenet_fd", "identity"], given_settings)
        assert set(missing) == {"squeezenet", "squeezenet_fd", "identity"}
        assert all("weights.npz" in message for message in missing.values())


def test_invalid_arguments(face_pair):
    with pytest.raises(GPENError, match="Unknown metric 'pnsr'"):
        compare(*face_pair, ["pnsr"])
    for name in ("squeezenet_fd", "fid", "kid"):
        with pytest.raises(GPENError, match="sets of images"):
            compare(*face_pair, [name])
    with pytest.raises(GPENError, match="cannot be compared"):
        compare(face_pair[0][:64], face_pair[1], ["psnr"])


def test_registry():
    for name, metric in METRICS.items():
        assert metric.library and metric.colour and metric.needs
        assert ("LPIPS" in metric.title) == name.startswith("lpips_")
    assert METRICS["squeezenet"].title == "SqueezeNet distance"
    for metric in METRICS.values():
        assert metric.package in ("gpen", "pyiqa") or importlib.metadata.version(metric.package)
        assert (metric.package == "pyiqa") == ("non-commercial" in metric.licence)


def test_lpips_and_fid_are_the_first_columns():
    first = [METRICS[name].title for name in DEFAULT_METRICS][:5]
    assert first == ["LPIPS (alex)", "FID (GT)", "FID (given statistics)", "KID (GT)", "PSNR (RGB)"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_squeezenet_distance_equals_lpips_on_caffe_input(squeezenet_npz, face_pair):
    patch_torchvision()
    import lpips

    reference = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    with np.load(squeezenet_npz) as weights:
        own = {name.removeprefix("features."): torch.from_numpy(weights[name]) for name in weights}
    state = {name: own[name.split(".", 1)[1]] for name in reference.net.state_dict()}
    reference.net.load_state_dict(state)
    reference.scaling_layer = torch.nn.Identity()
    mean = torch.tensor(CAFFE_MEAN[::-1]).view(1, 3, 1, 1)
    bgr = [torch.from_numpy(x[..., ::-1].copy()).permute(2, 0, 1)[None].float() - mean for x in face_pair]
    with torch.no_grad():
        expected = reference(*bgr).item()
        pooled = reference.net(bgr[0]).relu7.mean(dim=(2, 3)).numpy()
    net = SqueezeNet(squeezenet_npz)
    assert net.distance([face_pair[0]], [face_pair[1]])[0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(net.features([face_pair[0]]), pooled, rtol=1e-4, atol=1e-5 * abs(pooled).max())


def test_squeezenet_distance_is_symmetric_and_independent_of_the_batch(squeezenet_npz, face_pair):
    net, (blurred, sharp) = SqueezeNet(squeezenet_npz), face_pair
    assert net.distance([sharp], [sharp]) == [0]
    there, back = net.distance([blurred, sharp], [sharp, blurred])
    assert there == pytest.approx(back, rel=1e-5) and there > 0
    many = net.distance([blurred] * 10, [sharp] * 10)  # several forward passes
    assert many == pytest.approx([there] * 10, rel=1e-5)


def test_squeezenet_distances_increase_with_blur(shared_weights, face_pair):
    path = shared_weights / "squeezenet1_1_caffe.npz"
    functions, _ = load_metrics(["squeezenet", "squeezenet_fd"], MetricSettings(squeezenet=str(path)))
    sharp = [np.roll(face_pair[1], 8 * i, axis=1) for i in range(4)]
    truth = functions["squeezenet_fd"](sharp)
    distances, frechets = [], []
    for sigma in (0.5, 1, 2, 4):
        blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for image in sharp]
        distances.append(np.mean(functions["squeezenet"](blurred, sharp)))
        frechets.append(METRICS["squeezenet_fd"].distance(functions["squeezenet_fd"](blurred), truth))
    assert distances == sorted(distances) and frechets == sorted(frechets)
    assert METRICS["squeezenet_fd"].distance(truth, truth) == pytest.approx(0, abs=1e-6 * frechets[0])
