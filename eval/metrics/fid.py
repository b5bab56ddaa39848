"""FID and KID on the features of one network, Inception-v3 as ported by pytorch-fid.

    FID   M. Heusel et al., NeurIPS 2017, eq. 6          network, moments and distance of pytorch-fid
    KID   M. Binkowski et al., ICLR 2018, section 4      the same features, unbiased MMD^2 of a cubic kernel

FID is identical to `python -m pytorch_fid` on the same PNG files, on one machine with one number of threads. On CPUs the features
of an image do not depend on the batch; on a GPU they may: set --batch-size of pytorch-fid to --batch of the run.
"""

import functools
import importlib
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from eval.metrics.cache import VectorCache
from eval.metrics.weights import MetricSettings, MissingMetric, cached_path, require_checkpoint
from gpen.compat import patch_torchvision

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"


class Inception:
    """Features of images: uint8 RGB [h, w, 3] each, of one size -> float32 [n, dims].

    dims is 2048 for FID; 64, 192 and 768 are the other layers of pytorch-fid. Raises MissingMetric if the weights are missing.
    """

    def __init__(self, settings: MetricSettings, dims: int = 2048):
        require_checkpoint(URL, "FID", settings.verify)
        inception = _import_pytorch_fid("inception").InceptionV3
        try:
            net = inception([inception.BLOCK_INDEX_BY_DIM[dims]])
        except RuntimeError as error:
            raise MissingMetric(
                f"FID: The weights {cached_path(URL)} do not fit the network; delete the file and download {URL}."
            ) from error
        self._net, self._device = net.to(settings.device).eval(), settings.device
        self._cache = VectorCache()

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        return self._cache.get(images, self._features)

    @torch.no_grad()
    def _features(self, images: list[np.ndarray]) -> np.ndarray:
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # [n, 3, h, w]
        y = self._net(x.to(self._device).float().div(255))[0]  # [0, 1] -> [n, dims, h', w']
        y = torch.nn.functional.adaptive_avg_pool2d(y, 1)  # no change for dims 2048
        return y.flatten(1).cpu().numpy()


@functools.lru_cache(maxsize=1)
def load_inception(settings: MetricSettings) -> Inception:
    """Load the network once for all metrics that use it. Raises MissingMetric."""
    return Inception(settings)


def fid_weights(settings: MetricSettings) -> list[Path]:
    """The weight file of Inception."""
    return [cached_path(URL)]


def load_with_statistics(settings: MetricSettings) -> Inception:
    """Load the network for a FID to given statistics.

    Raises MissingMetric if these or the network are missing.
    """
    load_statistics(settings)
    return load_inception(settings)


def load_statistics(settings: MetricSettings) -> tuple[np.ndarray, np.ndarray]:
    """(mu [d], sigma [d, d]) from the file in the settings. Raises MissingMetric."""
    if not settings.fid_statistics:
        raise MissingMetric(
            "FID to given statistics needs an .npz with mu and sigma; create one with python -m pytorch_fid "
            "--save-stats FOLDER FILE.npz and give it with --fid-statistics FILE.npz or GPEN_FID_STATISTICS=FILE."
        )
    try:
        with np.load(settings.fid_statistics, allow_pickle=False) as archive:
            mu, sigma = archive["mu"], archive["sigma"]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise MissingMetric(
            f"{settings.fid_statistics} has no mu and sigma ({error}); create it with python -m pytorch_fid --save-stats."
        ) from error
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise MissingMetric(
            f"{settings.fid_statistics} has mu of shape {list(mu.shape)} and sigma of shape {list(sigma.shape)}, not [d] and "
            "[d, d]; create it with python -m pytorch_fid --save-stats."
        )
    return mu, sigma


def fid(features: np.ndarray, reference: np.ndarray | tuple[np.ndarray, np.ndarray]) -> float:
    """FID between features [n, d] and features [m, d] or statistics (mu [d], sigma [d, d]).

    Raises ValueError for fewer than two images, for different dimensions, and if pytorch-fid finds no real matrix square root.
    """
    moments = [*_moments(features), *(reference if isinstance(reference, tuple) else _moments(reference))]
    if moments[0].shape != moments[2].shape:
        raise ValueError(f"The statistics have {len(moments[2])} dimensions, not {len(moments[0])}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation of sqrtm(disp=) in scipy
        return float(_import_pytorch_fid("fid_score").calculate_frechet_distance(*moments))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(features) < 2:
        raise ValueError("FID needs at least two images.")
    features = np.asarray(features, np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def kid(
    a: np.ndarray,  # [n, d]
    b: np.ndarray,  # [m, d]
) -> float:
    """Unbiased MMD^2 with k(x, y) = (x . y / d + 1)^3 over all pairs of images.

    The expected value for two sets of one distribution is 0 for any n and m; single values can be negative. Raises ValueError for
    fewer than two images in a set.
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError("KID needs at least two images in each set.")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    within = [(_kernel(x, x).sum() - _kernel_diagonal(x).sum()) / (k * (k - 1)) for x, k in ((a, n), (b, m))]
    return float(sum(within) - 2 * _kernel(a, b).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3  # [n, m]


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    return ((x * x).sum(axis=1) / x.shape[1] + 1) ** 3  # [n]


def _import_pytorch_fid(module: str) -> ModuleType:
    """Import a module of pytorch_fid. Raises MissingMetric if the package is missing."""
    patch_torchvision()
    try:
        return importlib.import_module(f"pytorch_fid.{module}")
    except ImportError as error:
        raise MissingMetric(f"FID needs the package pytorch-fid ({error}); run pip install pytorch-fid.") from error
