"""eval.metrics.niqe: fit of the distribution, monotonicity with damage, reading and fitting of models."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from skimage.data import astronaut

from eval.__main__ import main
from eval.metrics import niqe
from eval.metrics.registry import METRICS, load_metrics
from eval.metrics.weights import MetricSettings


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.7, 1.0, 2.0, 4.0]), st.floats(0.5, 3), st.floats(0.5, 3), st.integers(0, 99))
def test_fit_of_an_asymmetric_gaussian(shape, left, right, seed):
    rng = np.random.default_rng(seed)
    size = rng.gamma(1 / shape, size=200_000) ** (1 / shape)
    negative = rng.random(200_000) < left / (left + right)  # the probability of each side is proportional to its scale
    x = np.where(negative, -left * size, right * size)
    found = niqe._asymmetric_gaussian(x.reshape(2, -1, 100))
    for values, expected in zip(found, (shape, left, right), strict=True):
        np.testing.assert_allclose(values, expected, rtol=0.08)


def test_downsampling():
    y = np.mgrid[:32, :48][1] * 2.0
    np.testing.assert_allclose(niqe.downsample_2x(y)[4:-4, 4:-4], (y[::2, ::2] + 1)[4:-4, 4:-4])  # between pixels 2j and 2j + 1
    np.testing.assert_allclose(niqe.downsample_2x(np.full((16, 16), 7.0)), 7)
    stripes = np.tile([0.0, 255], (32, 16))
    np.testing.assert_allclose(niqe.downsample_2x(stripes)[2:-2, 2:-2], 127.5)


def test_niqe_increases_with_damage(face_pair):
    functions, missing = load_metrics(["niqe_fitted"], MetricSettings())
    assert not missing
    face = cv2.resize(astronaut()[:220, 110:330], (256, 256), interpolation=cv2.INTER_CUBIC)
    blurred = [cv2.GaussianBlur(face, (0, 0), sigma) for sigma in (2, 4)]
    noise = np.random.default_rng(0).normal(0, 25, face.shape)
    noisy = np.clip(face + noise, 0, 255).astype(np.uint8)
    niqe_fitted = functions["niqe_fitted"]
    sharp, soft, softer, grainy = niqe_fitted([face, *blurred, noisy])
    assert sharp < soft < softer and sharp < grainy
    assert niqe_fitted([face]) == [sharp]  # independent of the batch


def test_constant_image():
    niqe_fitted = METRICS["niqe_fitted"].load(MetricSettings())
    assert np.isnan(niqe_fitted([np.full((64, 64, 3), 128, np.uint8)])).all()


def test_published_model_in_both_formats(tmp_path):
    _, missing = load_metrics(["niqe"], MetricSettings(niqe_parameters=""))
    assert "--niqe-parameters" in missing["niqe"] and niqe.PUBLISHED in missing["niqe"]
    model = niqe.read_model(MetricSettings().niqe_faces)
    savemat(tmp_path / "model.mat", {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})
    niqe.save_model(model, tmp_path / "model.npz", "a test")
    face = [cv2.resize(astronaut()[:220, 110:330], (512, 512))]
    scores = [
        METRICS["niqe"].load(MetricSettings(niqe_parameters=str(tmp_path / name)))(face) for name in ("model.mat", "model.npz")
    ]
    # at 512 px both metrics use patches of 96 px, so that they are equal for one model
    assert scores[0] == scores[1] == METRICS["niqe_fitted"].load(MetricSettings())(face)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    _, missing = load_metrics(["niqe"], replace(MetricSettings(), niqe_parameters=str(tmp_path / "broken.npz")))
    assert "is not a pristine model" in missing["niqe"]


@pytest.mark.slow
def test_fit_command(tmp_path, capsys):
    (tmp_path / "faces").mkdir()
    for i in range(20):
        crop = astronaut()[12 * i : 12 * i + 256, 8 * i : 8 * i + 256]
        cv2.imwrite(str(tmp_path / "faces" / f"{i}.png"), crop[..., ::-1])
    out = tmp_path / "own.npz"
    assert main(["fit-niqe", "--data", str(tmp_path / "faces"), "--out", str(out)]) == 0
    assert f"--niqe-faces {out}" in capsys.readouterr().out
    niqe_fitted = METRICS["niqe_fitted"].load(MetricSettings(niqe_faces=str(out)))
    own = cv2.imread(str(tmp_path / "faces" / "3.png"))[..., ::-1]
    assert niqe_fitted([own])[0] < niqe_fitted([cv2.GaussianBlur(own, (0, 0), 3)])[0]
    assert main(["fit-niqe", "--data", str(tmp_path / "faces"), "--limit", "1", "--out", str(out)]) == 2
    assert "too few" in capsys.readouterr().err
