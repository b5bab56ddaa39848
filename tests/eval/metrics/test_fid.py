"""eval.metrics.fid: FID agrees with pytorch-fid, KID is the unbiased estimator for pairs."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmark.summary import SummaryEntry
from eval.metrics import fid
from eval.metrics.registry import METRICS, load_metrics
from eval.metrics.weights import MetricSettings, MissingMetric
from eval.report.tables import metric_headings
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.images import read_image
from tests import ROOT
from tests.eval.metrics.backbones import place_inception

PYTORCH_FID = (
    "import runpy; from gpen.compat import patch_torchvision; patch_torchvision(); "
    "runpy.run_module('pytorch_fid', run_name='__main__')"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """TORCH_HOME with random Inception weights, for all tests of this file."""
    folder = tmp_path_factory.mktemp("torch")
    place_inception(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def sets(faces_folder, tmp_path_factory):
    """Two folders of five PNG files each, blurred and sharp."""
    folders = [tmp_path_factory.mktemp(name) for name in ("blurred", "sharp")]
    for path in sorted(faces_folder.iterdir())[:5]:
        image = cv2.imread(str(path))
        cv2.imwrite(str(folders[0] / f"{path.stem}.png"), cv2.GaussianBlur(image, (0, 0), 2))
        cv2.imwrite(str(folders[1] / f"{path.stem}.png"), image)
    return folders


def images(folder):
    return [read_image(path) for path in sorted(folder.iterdir())]


def run_pytorch_fid(*arguments):
    """The last word printed by `python -m pytorch_fid`."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        PYTORCH_FID,
        *map(str, arguments),
        "--device",
        "cpu",
        "--num-workers",
        "0",
        "--dims",
        "64",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    return done.stdout.split()[-1]


@pytest.mark.slow
def test_fid_equals_pytorch_fid(home, sets, tmp_path):
    inception = fid.Inception(MetricSettings(verify=False), dims=64)  # the matrix root takes half a minute for 2048
    blurred, sharp = (inception(images(folder)) for folder in sets)
    distance = METRICS["fid"].distance
    ours = distance(blurred, sharp)
    assert ours > 0 and ours == pytest.approx(float(run_pytorch_fid(*sets)), rel=2e-3)  # few images: error of its matrix root
    moments = (sharp.astype(float).mean(axis=0), np.cov(sharp.astype(float), rowvar=False))
    np.savez(tmp_path / "sharp.npz", mu=moments[0], sigma=moments[1])
    stored = fid.load_statistics(MetricSettings(fid_statistics=str(tmp_path / "sharp.npz")))
    assert METRICS["fid_statistics"].distance(blurred, stored) == pytest.approx(ours, rel=1e-9)


@pytest.mark.slow
def test_features_equal_pytorch_fid(home, sets):
    patch_torchvision()
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    theirs = get_activations(sorted(sets[0].iterdir())[:3], InceptionV3([3]), batch_size=3, num_workers=0)
    functions, missing = load_metrics(["fid", "kid"], MetricSettings(verify=False))
    assert not missing and functions["fid"] is functions["kid"]  # one network, one forward pass
    ours = functions["fid"](images(sets[0])[:3])
    assert ours.shape == (3, 2048) and ours.std() > 0.01
    np.testing.assert_array_equal(ours, theirs)


def basicsr_features(folder):
    """Features in the order of operations of BasicSR and VQFR: [0, 1], to [-1, 1], then resized."""
    patch_torchvision()
    from pytorch_fid.inception import InceptionV3

    net = InceptionV3([0], resize_input=True, normalize_input=False).eval()
    x = torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images(folder)])
    with torch.no_grad():
        return torch.nn.functional.adaptive_avg_pool2d(net((x - 0.5) / 0.5)[0], 1).flatten(1).numpy()  # [n, 64]


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.slow
def test_statistics_of_basicsr(home, sets, tmp_path, as_tensors):
    """On random weights: the features, the moments in a .pth, and the distance by BasicSR's formula."""
    blurred, sharp = map(basicsr_features, sets)
    ours = fid.Inception(MetricSettings(verify=False), dims=64)(images(sets[0]))
    np.testing.assert_allclose(ours, blurred, rtol=1e-4, atol=1e-5 * abs(blurred).max())
    mean, cov = sharp.mean(axis=0), np.cov(sharp, rowvar=False)
    stored = {"mean": torch.from_numpy(mean), "cov": torch.from_numpy(cov)} if as_tensors else {"mean": mean, "cov": cov}
    path = tmp_path / "inception_FFHQ_512-f7b384ab.pth"
    torch.save({"name": "FFHQ", "size": 512, **stored}, path)
    mu, sigma = fid.load_statistics(MetricSettings(fid_statistics=str(path)))
    np.testing.assert_array_equal(mu, mean)
    np.testing.assert_array_equal(sigma, cov)
    own_cov = np.cov(blurred, rowvar=False)
    shift, root = blurred.mean(axis=0) - mean, scipy.linalg.sqrtm(own_cov @ cov)
    expected = shift @ shift + np.trace(own_cov) + np.trace(cov) - 2 * np.trace(root.real)
    assert METRICS["fid_statistics"].distance(ours, (mu, sigma)) == pytest.approx(
        expected, rel=5e-3
    )  # few images: its matrix root


@pytest.mark.parametrize(
    ("file", "name"),
    [("inception_FFHQ_512-f7b384ab.pth", "FFHQ"), ("a/inception_FFHQ_512.pth", "FFHQ"), ("celeba-test.npz", "celeba-test"),
     ("ffhq256.npz", "ffhq256"), ("inception_.pth", "inception_")],
)  # fmt: skip
def test_name_of_the_statistics(file, name):
    assert fid.statistics_name(file) == name


def test_heading_names_the_statistics():
    entries = [SummaryEntry("fsr8", method, "fid_statistics", 9.0, None, None, 5, reference="FFHQ") for method in ("gpen", "tv")]
    assert metric_headings(entries, 5) == {"fid_statistics": "FID (FFHQ), n = 5 ↓"}
    assert entries[0].to_dict()["reference"] == "FFHQ" and SummaryEntry(**entries[0].to_dict()) == entries[0]
    assert metric_headings([SummaryEntry("fsr8", "gpen", "fid", 9.0, None, None, 5)]) == {"fid": "FID (GT) ↓"}


class Attack:
    def __reduce__(self):
        return os.system, ("echo attack",)


@pytest.mark.parametrize(("content", "words"), [
    ({"mean": Attack()}, "not loaded for security reasons"), ({"mean": np.zeros(3)}, "has no mu and sigma, or mean and cov"),
    ({"mean": np.zeros(3), "cov": np.zeros((2, 2))}, r"not \[d\] and"), (b"<html>", "has no mu and sigma"),
])  # fmt: skip
def test_invalid_statistics_of_basicsr(home, tmp_path, content, words, capfd):
    path = tmp_path / "statistics.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(MissingMetric, match=words):
        fid.load_statistics(MetricSettings(fid_statistics=str(path)))
    assert "attack" not in capfd.readouterr().out


def test_invalid_files_make_a_metric_missing(home, tmp_path):
    path = tmp_path / "statistics.npz"
    np.savez(path, mu=np.zeros(3), sigma=np.zeros((2, 2)))
    _, missing = load_metrics(["fid_statistics"], MetricSettings(verify=False, fid_statistics=str(path)))
    assert "not [d] and [d, d]" in missing["fid_statistics"]
    path.write_bytes(b"PK\x03\x04 cut off")
    _, missing = load_metrics(["fid_statistics"], MetricSettings(verify=False, fid_statistics=str(path)))
    assert "has no mu and sigma" in missing["fid_statistics"]
    _, missing = load_metrics(["fid", "kid"], MetricSettings(verify=True))
    assert all("sha256" in message and "download it" in message for message in missing.values())


def naive_kid(a, b):
    def kernel(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    n = len(a)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    terms = [kernel(a[i], a[j]) + kernel(b[i], b[j]) - kernel(a[i], b[j]) - kernel(b[i], a[j]) for i, j in pairs]
    return sum(terms) / len(pairs)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 999))
def test_kid_equals_the_sum_over_pairs(n, d, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, d)), rng.normal(0.5, 2, size=(n, d))
    assert fid.kid(a, b) == pytest.approx(naive_kid(a, b), rel=1e-9, abs=1e-9)
    order = rng.permutation(n)
    assert fid.kid(a, b) == pytest.approx(fid.kid(b[order], a[order]), rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 30), st.integers(0, 999), st.sampled_from([1e-3, 1, 1e3]))
def test_kid_of_equal_sets_is_0(n, d, seed, scale):
    x = scale * np.random.default_rng(seed).normal(0.5, 1, size=(n, d))
    largest = (abs(x).max() ** 2 + 1) ** 3
    assert fid.kid(x, x) == 0 and abs(fid.kid(x, x.copy())) <= 1e-12 * largest


def test_kid_of_pairs_is_unbiased():
    """Results with the features of their ground truth plus independent noise, and ground truth of the same distribution."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(400):
        face, noise_a, noise_b = rng.normal(size=(3, 20, 8))
        values.append(fid.kid(face + 0.3 * noise_a, face + 0.3 * noise_b))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(400) and min(values) < 0


def test_kid_is_unbiased_and_increases_with_the_shift():
    rng = np.random.default_rng(0)
    same = [fid.kid(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300) and min(same) < 0
    a = rng.normal(size=(200, 8))
    shifted = [fid.kid(a, rng.normal(shift, 1, size=(200, 8))) for shift in (0, 0.3, 0.6, 1.2)]
    assert shifted == sorted(shifted)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.mode == "set"])
def test_invalid_features_are_reported_by_every_distance(name):
    distance, x = METRICS[name].distance, np.ones((3, 4))
    for features, words in (
        (x[:1], "needs at least two images in each set, not 1"),
        (np.where(np.eye(3, 4), np.nan, x), "features of 3 of 3 images are not finite"),
        (np.ones((3, 5)), "same images and network|compute both with one network"),
        (np.eye(3, 4) * 1e160, "too large for float64"),
    ):
        with pytest.raises(GPENError, match=words) as error:
            distance(features, x)
        assert "\n" not in str(error.value) and str(error.value).endswith(".")
    assert distance(x, x) == 0  # constant features
