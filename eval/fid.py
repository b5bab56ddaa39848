"""FID and KID on the features of one network: Inception-v3 as pytorch-fid ports it from the original FID.

    FID   M. Heusel et al., NeurIPS 2017, eq. 6          pytorch-fid's own network, moments and distance
    KID   M. Binkowski et al., ICLR 2018, section 4      the same features, unbiased MMD^2 of a cubic kernel

FID is that of `python -m pytorch_fid` on the same PNG files to the last digit, on one machine with one number of threads.
On CPUs an image's features do not depend on the batch; on a GPU they may: give its --batch-size the run's --batch.
"""

import functools
import importlib
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from eval.cache import VectorCache
from eval.weights import MetricSettings, MissingMetric, cached, checkpoint
from gpen.compat import patch_torchvision

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"


class Inception:
    """Features of images: uint8 RGB [h, w, 3] each, of one size -> float32 [n, dims].

    dims is 2048 for FID; 64, 192 and 768 are pytorch-fid's other choices. Raises MissingMetric where the weights are absent.
    """

    def __init__(self, settings: MetricSettings, dims: int = 2048):
        checkpoint(URL, "FID", settings.verify)
        inception = _library("inception").InceptionV3
        try:
            net = inception([inception.BLOCK_INDEX_BY_DIM[dims]])
        except RuntimeError as error:
            raise MissingMetric(f"FID: {cached(URL)} does not fit the network; delete it and fetch {URL} again") from error
        self._net, self._device = net.to(settings.device).eval(), settings.device
        self._cache = VectorCache()

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        return self._cache.get(images, self._features)

    @torch.no_grad()
    def _features(self, images: list[np.ndarray]) -> np.ndarray:
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # [n, 3, h, w]
        y = self._net(x.to(self._device).float().div(255))[0]  # [n, dims, h', w'], [0, 1] in
        y = torch.nn.functional.adaptive_avg_pool2d(y, 1)  # as it is where dims is 2048
        return y.flatten(1).cpu().numpy()


@functools.lru_cache(maxsize=1)
def load_inception(settings: MetricSettings) -> Inception:
    """One network for every metric that needs it. Raises MissingMetric."""
    return Inception(settings)


def fid_weights(settings: MetricSettings) -> list[Path]:
    return [cached(URL)]


def load_with_statistics(settings: MetricSettings) -> Inception:
    """The features for an FID against given statistics. Raises MissingMetric where those or the network are absent."""
    statistics(settings)
    return load_inception(settings)


def statistics(settings: MetricSettings) -> tuple[np.ndarray, np.ndarray]:
    """(mu [d], sigma [d, d]) of the file that the settings name. Raises MissingMetric."""
    if not settings.fid_statistics:
        raise MissingMetric(
            "FID against given statistics needs an .npz with mu and sigma; make one with python -m pytorch_fid "
            "--save-stats FOLDER FILE.npz and name it with --fid-statistics FILE.npz or GPEN_FID_STATISTICS=FILE"
        )
    try:
        with np.load(settings.fid_statistics, allow_pickle=False) as archive:
            mu, sigma = archive["mu"], archive["sigma"]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise MissingMetric(
            f"{settings.fid_statistics} is not an .npz of mu and sigma ({error}); make it with python -m pytorch_fid --save-stats"
        ) from error
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise MissingMetric(
            f"{settings.fid_statistics} holds mu {list(mu.shape)} and sigma {list(sigma.shape)}, not [d] and "
            "[d, d]; make it with python -m pytorch_fid --save-stats"
        )
    return mu, sigma


def fid(features: np.ndarray, reference: np.ndarray | tuple[np.ndarray, np.ndarray]) -> float:
    """FID between features [n, d] and others [m, d], or their (mu [d], sigma [d, d]).

    Raises ValueError for fewer than two images, and where the library gives up on a root that is not real.
    """
    moments = [*_moments(features), *(reference if isinstance(reference, tuple) else _moments(reference))]
    if moments[0].shape != moments[2].shape:
        raise ValueError(f"the statistics are of {len(moments[2])} dimensions, not {len(moments[0])}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's note that sqrtm(disp=) will go
        return float(_library("fid_score").calculate_frechet_distance(*moments))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(features) < 2:
        raise ValueError("FID needs at least two images")
    features = np.asarray(features, np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def kid(
    a: np.ndarray,  # [n, d]
    b: np.ndarray,  # [m, d]
) -> float:
    """Unbiased MMD^2 with k(x, y) = (x . y / d + 1)^3, over all pairs: the mean that subsets only estimate.

    Around zero, negative values included, for sets of one distribution, whatever n and m. Raises ValueError for fewer than
    two images in a set.
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError("KID needs at least two images in each set")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    within = [(_kernel(x, x).sum() - _kernel_diagonal(x).sum()) / (k * (k - 1)) for x, k in ((a, n), (b, m))]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3  # [n, m]


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    return ((x * x).sum(axis=1) / x.shape[1] + 1) ** 3  # [n]


def _library(module: str) -> ModuleType:
    """pytorch_fid's module of that name. Raises MissingMetric where the package is absent."""
    patch_torchvision()
    try:
        return importlib.import_module(f"pytorch_fid.{module}")
    except ImportError as error:
        raise MissingMetric(f"FID needs its package ({error}); pip install pytorch-fid") from error
