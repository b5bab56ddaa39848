"""A run over a folder laid out as CelebA-Test: all values equal direct calls of scikit-image, lpips and pytorch-fid."""

import csv
import functools
import json

import cv2
import numpy as np
import pytest
import skimage.io
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eval.__main__ import main
from eval.metrics import fid, registry
from gpen.compat import patch_torchvision
from tests.eval.metrics.backbones import place_inception, place_lpips

HQ, LQ, COUNT = 96, 48, 5  # px, px, images
DIMS = 64  # features of pytorch-fid's first block: the matrix root takes half a minute for 2048
pytestmark = pytest.mark.slow  # random weights of 96 MB are written, hashed and read
METHODS = ("bilinear", "nearest", "folder")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(folder of the data, RUN) after a run with the random weights of the test, in the files of torch.hub."""
    folder, home = tmp_path_factory.mktemp("celeba-test"), tmp_path_factory.mktemp("torch")
    for i in range(COUNT):
        truth = cv2.resize(astronaut()[10 * i : 10 * i + 200, 120 + 9 * i : 320 + 9 * i, ::-1], (HQ, HQ))
        images = {
            f"hq/{i:08d}.png": truth,
            f"lq/{i:08d}_00.jpg": cv2.resize(truth, (LQ, LQ)),
            f"results/{i:08d}.png": truth[::-1],
        }
        for name, image in images.items():
            (folder / name).parent.mkdir(exist_ok=True)
            assert cv2.imwrite(str(folder / name), image)
    place_lpips("alex", home)
    place_inception(home)
    caches = (fid.load_inception, registry._load)
    for cache in caches:
        cache.cache_clear()
    command = ["run", "paired", "--lq", str(folder / "lq"), "--gt", str(folder / "hq"), "--match", "{name}_00", "--keep"]
    command += ["--methods", f"nearest,folder:{folder / 'results'}", "--metrics", "psnr,ssim,lpips_alex,fid"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        patch.setenv("GPEN_UNVERIFIED_WEIGHTS", "1")
        patch.setattr(fid, "Inception", functools.partial(fid.Inception, dims=DIMS))
        assert main([*command, "--out", str(folder / "run")]) == 0
        yield folder, folder / "run"
    for cache in caches:
        cache.cache_clear()


def restored(run, method):
    """The kept results of a method, by the names of their ground truth."""
    (folder,) = (run / "restored" / "paired").glob(f"{method}*")
    paths = {path.stem: path for path in sorted(folder.iterdir())}
    assert list(paths) == [f"{i:08d}" for i in range(COUNT)]
    return paths


def rows(run, method):
    with open(run / "per_image.csv", newline="") as file:
        found = {row["image"]: row for row in csv.DictReader(file) if row["method"].partition(":")[0] == method}
    assert len(found) == COUNT
    return found


@pytest.mark.parametrize("method", METHODS)
def test_psnr_and_ssim_equal_scikit_image(measured, method):
    folder, run = measured
    for name, path in restored(run, method).items():
        truth, image = skimage.io.imread(folder / "hq" / f"{name}.png"), skimage.io.imread(path)
        row = rows(run, method)[name]
        assert float(row["psnr"]) == peak_signal_noise_ratio(truth, image, data_range=255)
        windows = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        assert float(row["ssim"]) == structural_similarity(truth, image, channel_axis=2, data_range=255, **windows)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_lpips_equals_the_package(measured, method):
    patch_torchvision()
    import lpips

    folder, run = measured
    net = lpips.LPIPS(net="alex", verbose=False)  # the random backbone of the test, the linear layers of the package
    for name, path in restored(run, method).items():
        truth, image = (lpips.im2tensor(lpips.load_image(str(one))) for one in (folder / "hq" / f"{name}.png", path))
        value = net(image, truth).item()
        assert value > 1e-3 and float(rows(run, method)[name]["lpips_alex"]) == value


@pytest.mark.parametrize("method", METHODS)
def test_fid_equals_pytorch_fid(measured, method):
    patch_torchvision()
    from pytorch_fid.fid_score import calculate_fid_given_paths

    folder, run = measured
    paths = [str(restored(run, method)["00000000"].parent), str(folder / "hq")]
    expected = calculate_fid_given_paths(paths, COUNT, "cpu", DIMS, num_workers=0)
    summary = json.loads((run / "summary.json").read_text())
    (entry,) = [entry for entry in summary if entry["metric"] == "fid" and entry["method"].partition(":")[0] == method]
    assert entry["n"] == COUNT and entry["mean"] > 1e-3
    assert entry["mean"] == pytest.approx(expected, rel=2e-3)  # fewer images than dimensions: error of its matrix root


def test_results_are_those_of_the_given_inputs(measured):
    folder, run = measured
    for name, path in restored(run, "bilinear").items():
        given = skimage.io.imread(folder / "lq" / f"{name}_00.jpg")
        assert given.shape == (LQ, LQ, 3)
        expected = cv2.resize(given, (HQ, HQ), interpolation=cv2.INTER_LINEAR)
        assert np.abs(skimage.io.imread(path).astype(int) - expected).max() <= 1  # two decoders of JPEG
    for name, path in restored(run, "folder").items():
        np.testing.assert_array_equal(skimage.io.imread(path), skimage.io.imread(folder / "hq" / f"{name}.png")[::-1])
