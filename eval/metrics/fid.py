"""FID and KID on the features of one network, Inception-v3 as ported by pytorch-fid.

    FID   M. Heusel et al., NeurIPS 2017, eq. 6          network of pytorch-fid, gpen.training.monitoring.frechet
    statistics  mu and sigma in an .npz of pytorch-fid, or mean and cov in a .pth of BasicSR, GFPGAN and VQFR. Their networks and
          resizing are those of pytorch-fid; they scale to [-1, 1] before resizing, which is equal up to rounding
    KID   M. Binkowski et al., ICLR 2018, section 4      the same features, unbiased MMD^2 of a cubic kernel, for pairs

The features are identical to those of `python -m pytorch_fid` on the same PNG files, on one machine with one number of threads.
On CPUs the features of an image do not depend on the batch; on a GPU they may: set --batch-size of pytorch-fid to --batch of the
run. FID agrees within 1e-6 if there are more images than dimensions; with fewer, the matrix root of pytorch-fid has an error of
up to 0.2 %, or is imaginary, and pytorch-fid stops.
"""

import functools
import importlib
import pickle
import re
import types
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from eval.metrics.cache import VectorCache
from eval.metrics.weights import MetricSettings, MissingMetric, cached_path, require_checkpoint
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.training.monitoring.frechet import checked_features

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
            "FID to given statistics needs an .npz with mu and sigma, or a .pth with mean and cov (inception_FFHQ_512.pth); "
            "create one with python -m pytorch_fid --save-stats FOLDER FILE.npz and give it with --fid-statistics FILE or "
            "GPEN_FID_STATISTICS=FILE."
        )
    path = Path(settings.fid_statistics)
    try:
        mu, sigma = _read_pth(path) if path.suffix in (".pth", ".pt") else _read_npz(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, RuntimeError, zipfile.BadZipFile,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise MissingMetric(
            f"{settings.fid_statistics} has no mu and sigma, or mean and cov ({error}); create it with python -m pytorch_fid "
            "--save-stats."
        ) from error
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise MissingMetric(
            f"{settings.fid_statistics} has mu of shape {list(mu.shape)} and sigma of shape {list(sigma.shape)}, not [d] and "
            "[d, d]; create it with python -m pytorch_fid --save-stats."
        )
    return mu, sigma


def statistics_name(path: str | Path) -> str:
    """The name of a reference set in tables, from its file: "FFHQ" for inception_FFHQ_512-f7b384ab.pth."""
    stem = re.sub(r"-[0-9a-f]{8}$", "", Path(path).stem)
    return re.sub(r"_\d+$", "", stem.removeprefix("inception_")) or Path(path).stem


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return archive["mu"], archive["sigma"]


def _read_pth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a dict with arrays or tensors `mean` and `cov`, as torch.save writes it, without running code of the file."""
    reader = types.ModuleType("arrays")
    reader.Unpickler, reader.load = _ArrayUnpickler, lambda file, **kw: _ArrayUnpickler(file, **kw).load()  # type: ignore[attr-defined]
    content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    return np.asarray(content["mean"]), np.asarray(content["cov"])


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, tensors and plain values only."""

    ALLOWED = ("numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy.ndarray", "numpy.dtype",
               "_codecs.encode", "collections.OrderedDict", "torch._utils._rebuild_tensor_v2")  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}".replace("numpy._core", "numpy.core") not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not loaded for security reasons")
        return super().find_class(module, name)


def kid(
    features: np.ndarray,  # [n, d], n >= 2
    targets: np.ndarray,  # [n, d]: of the ground truth of the same images
) -> float:
    """Unbiased MMD^2 with k(x, y) = (x . y / d + 1)^3 between paired sets; 0 for equal sets.

    The mean of k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j) over all i != j (Gretton et al., JMLR 2012, lemma 6). A
    result depends on its own ground truth: k(a_i, b_i) in the mean would bias it downwards. The expected value for sets of one
    distribution is 0 for any n; single values can be negative. Raises GPENError for fewer than two images, for sets of different
    shapes, and for values that are not finite or whose sixth powers overflow.
    """
    a, b = checked_features(features), checked_features(targets)
    if a.shape != b.shape:
        raise GPENError(f"KID needs paired features, not {list(a.shape)} and {list(b.shape)}; use the same images and network.")
    with np.errstate(over="ignore", invalid="ignore"):
        value = float((_mean_of_others(a, a) - _mean_of_others(a, b)) + (_mean_of_others(b, b) - _mean_of_others(a, b)))
    if not np.isfinite(value):
        raise GPENError(
            f"KID of features up to {max(abs(a).max(), abs(b).max()):.0e} is too large for float64; scale the features."
        )
    return value


def _mean_of_others(x: np.ndarray, y: np.ndarray) -> float:
    """The mean of k(x_i, y_j) over i != j."""
    n, d = x.shape
    kernel = (x @ y.T / d + 1) ** 3  # [n, n]
    np.fill_diagonal(kernel, 0)
    return kernel.sum() / (n * (n - 1))


def _import_pytorch_fid(module: str) -> ModuleType:
    """Import a module of pytorch_fid. Raises MissingMetric if the package is missing."""
    patch_torchvision()
    try:
        return importlib.import_module(f"pytorch_fid.{module}")
    except ImportError as error:
        raise MissingMetric(f"FID needs the package pytorch-fid ({error}); run pip install pytorch-fid.") from error
