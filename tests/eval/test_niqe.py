"""eval.niqe: the features find the shape they are drawn with, the score rises with damage, models are read and fitted."""

from dataclasses import replace

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from skimage.data import astronaut

from eval import niqe
from eval.__main__ import main
from eval.metrics import METRICS, load_metrics
from eval.weights import MetricSettings


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.7, 1.0, 2.0, 4.0]), st.floats(0.5, 3), st.floats(0.5, 3), st.integers(0, 99))
def test_the_fit_finds_the_shape_and_the_scales_of_an_asymmetric_gaussian(shape, left, right, seed):
    rng = np.random.default_rng(seed)
    size = rng.gamma(1 / shape, size=200_000) ** (1 / shape)
    negative = rng.random(200_000) < left / (left + right)  # the density is one function: each side has its scale's share
    x = np.where(negative, -left * size, right * size)
    found = niqe._asymmetric_gaussian(x.reshape(2, -1, 100))
    for values, expected in zip(found, (shape, left, right), strict=True):
        np.testing.assert_allclose(values, expected, rtol=0.08)


def test_halving_keeps_ramps_and_constants_and_drops_what_the_half_cannot_show():
    y = np.mgrid[:32, :48][1] * 2.0
    np.testing.assert_allclose(niqe.downsample_2x(y)[4:-4, 4:-4], (y[::2, ::2] + 1)[4:-4, 4:-4])  # between pixels 2j and 2j + 1
    np.testing.assert_allclose(niqe.downsample_2x(np.full((16, 16), 7.0)), 7)
    stripes = np.tile([0.0, 255], (32, 16))
    np.testing.assert_allclose(niqe.downsample_2x(stripes)[2:-2, 2:-2], 127.5)


def test_damage_raises_the_score(face_pair):
    functions, missing = load_metrics(["niqe_fitted"], MetricSettings())
    assert not missing
    face = cv2.resize(astronaut()[:220, 110:330], (256, 256), interpolation=cv2.INTER_CUBIC)
    blurred = [cv2.GaussianBlur(face, (0, 0), sigma) for sigma in (2, 4)]
    noise = np.random.default_rng(0).normal(0, 25, face.shape)
    noisy = np.clip(face + noise, 0, 255).astype(np.uint8)
    judge = functions["niqe_fitted"]
    sharp, soft, softer, grainy = judge([face, *blurred, noisy])
    assert sharp < soft < softer and sharp < grainy
    assert judge([face]) == [sharp]  # a batch is nothing but its images


def test_a_picture_without_structure_has_no_score():
    judge = METRICS["niqe_fitted"].load(MetricSettings())
    assert np.isnan(judge([np.full((64, 64, 3), 128, np.uint8)])).all()


def test_the_published_model_is_asked_for_and_read_in_either_format(tmp_path):
    _, missing = load_metrics(["niqe"], MetricSettings(niqe_parameters=""))
    assert "--niqe-parameters" in missing["niqe"] and niqe.PUBLISHED in missing["niqe"]
    model = niqe.read_model(MetricSettings().niqe_faces)
    savemat(tmp_path / "model.mat", {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})
    niqe.save_model(model, tmp_path / "model.npz", "a test")
    face = [cv2.resize(astronaut()[:220, 110:330], (512, 512))]
    scores = [
        METRICS["niqe"].load(MetricSettings(niqe_parameters=str(tmp_path / name)))(face) for name in ("model.mat", "model.npz")
    ]
    # at 512 px the published patch is the fitted one: with one model the two metrics are one
    assert scores[0] == scores[1] == METRICS["niqe_fitted"].load(MetricSettings())(face)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    _, missing = load_metrics(["niqe"], replace(MetricSettings(), niqe_parameters=str(tmp_path / "broken.npz")))
    assert "holds no pristine model" in missing["niqe"]


def test_a_model_is_fitted_from_the_command_line(tmp_path, capsys):
    (tmp_path / "faces").mkdir()
    for i in range(20):
        crop = astronaut()[12 * i : 12 * i + 256, 8 * i : 8 * i + 256]
        cv2.imwrite(str(tmp_path / "faces" / f"{i}.png"), crop[..., ::-1])
    out = tmp_path / "own.npz"
    assert main(["fit-niqe", "--data", str(tmp_path / "faces"), "--out", str(out)]) == 0
    assert f"--niqe-faces {out}" in capsys.readouterr().out
    judge = METRICS["niqe_fitted"].load(MetricSettings(niqe_faces=str(out)))
    own = cv2.imread(str(tmp_path / "faces" / "3.png"))[..., ::-1]
    assert judge([own])[0] < judge([cv2.GaussianBlur(own, (0, 0), 3)])[0]
    assert main(["fit-niqe", "--data", str(tmp_path / "faces"), "--limit", "1", "--out", str(out)]) == 2
    assert "too few" in capsys.readouterr().err
