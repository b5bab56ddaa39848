"""NIQE (A. Mittal, R. Soundararajan, A. Bovik, IEEE Signal Processing Letters 2013): how far the statistics of a picture's
local contrast lie from those of pristine pictures. It needs no true image, and knows nothing of faces or of identity.

Two scores share this code; they differ in the pristine model, and do not compare:

    niqe          the model that the authors published (125 natural photographs, patches of 96 px), which the user brings
    niqe_fitted   a model fitted on sharp faces, the project's own or one made with python -m eval fit-niqe

The luma is Y of BT.601 in 16..235, rounded, as the field's Python versions take it. The second scale is halved by an
antialiased bicubic filter, as in MATLAB.
"""

import functools
import io
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eval.files import write_atomically
from eval.pixels import luma
from eval.weights import MetricSettings, MissingMetric

PUBLISHED = "https://github.com/XPixelGroup/BasicSR/raw/master/basicsr/metrics/niqe_pris_params.npz"
PUBLISHED_PATCH = 96  # px
FITTED_PATCH = 3 / 16  # of the picture's side: 96 px at 512
SHARP = 0.75  # of the sharpest patch's contrast: what a fit takes as pristine
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # whose products are taken: along the axes and the diagonals
gamma = np.vectorize(math.gamma, otypes=[float])
_WINDOW = np.exp(-0.5 * np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2) / (7 / 6) ** 2)  # Gaussian of 7 x 7 px
_WINDOW /= _WINDOW.sum()
_SHAPES = np.arange(0.2, 10.001, 0.001)  # of a generalised Gaussian, the paper's grid
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # rises with the shape


@dataclass(frozen=True)
class Pristine:
    """A multivariate Gaussian of patch features."""

    mean: np.ndarray  # [36]
    covariance: np.ndarray  # [36, 36]


def niqe(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
    model: Pristine,
    patch: int,  # px, even
) -> float:
    """The distance of eq. 10; lower is better. NaN where fewer than two patches have any structure."""
    features = patch_features(image, patch)[0]
    features = features[np.isfinite(features).all(axis=1)]  # a flat patch has none
    if len(features) < 2:
        return math.nan
    difference = model.mean - features.mean(axis=0)  # [36]
    pooled = (model.covariance + np.cov(features, rowvar=False)) / 2  # [36, 36]
    return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


def fit(images: Iterable[np.ndarray]) -> Pristine:
    """The pristine model of sharp pictures, uint8 RGB [h, w, 3] each: of their patches that are sharp. Raises ValueError
    where there are too few for a covariance."""
    rows = []
    for image in images:
        features, sharpness = patch_features(image, fitted_patch(image))
        rows.append(features[(sharpness > SHARP * sharpness.max()) & np.isfinite(features).all(axis=1)])
    features = np.concatenate(rows) if rows else np.empty((0, 36))
    if len(features) <= 36:
        raise ValueError(f"{len(features)} sharp patches are too few for 36 features; give more images")
    return Pristine(features.mean(axis=0), np.cov(features, rowvar=False))


def fitted_patch(image: np.ndarray) -> int:
    """The side of a patch for `niqe_fitted`, px, even."""
    return 2 * max(2, round(min(image.shape[:2]) * FITTED_PATCH / 2))


def patch_features(image: np.ndarray, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """(features [p, 36], sharpness [p]) of the whole patches: 18 numbers at the picture's size, 18 at half of it."""
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    y = np.rint(luma(image))[: rows * patch, : columns * patch]  # [h, w]
    contrast, deviation = _local_contrast(y)
    features = [_scale_features(_patches(contrast, patch))]
    features.append(_scale_features(_patches(_local_contrast(halved(y))[0], patch // 2)))
    return np.concatenate(features, axis=1), _patches(deviation, patch).mean(axis=(1, 2))


def halved(y: np.ndarray) -> np.ndarray:
    """[h, w] -> [h / 2, w / 2]: bicubic (a = -1/2), widened to the coarser grid, mirrored at the borders."""
    t = np.abs(np.arange(8) - 3.5) / 2  # distances of 8 px from the new one's centre, in its own unit
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    taps = np.where(t <= 1, inner, outer)  # [8]
    taps /= taps.sum()
    # 3 px before a new pixel's first and 4 after it
    return cv2.sepFilter2D(y, cv2.CV_64F, taps, taps, anchor=(3, 3), borderType=cv2.BORDER_REFLECT)[::2, ::2]


def _local_contrast(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean-subtracted, contrast-normalised values of eq. 1, local standard deviation), both [h, w]."""
    mean, square = _smooth(y), _smooth(y * y)
    deviation = np.sqrt(np.abs(square - mean * mean))
    return (y - mean) / (deviation + 1), deviation


def _smooth(y: np.ndarray) -> np.ndarray:
    return cv2.filter2D(y, cv2.CV_64F, _WINDOW, borderType=cv2.BORDER_REPLICATE)


def _patches(y: np.ndarray, side: int) -> np.ndarray:
    """[h, w] -> [p, side, side]."""
    rows, columns = y.shape[0] // side, y.shape[1] // side
    return y.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows * columns, side, side)


def _scale_features(x: np.ndarray) -> np.ndarray:
    """Patches [p, s, s] -> [p, 18]: the shape and spread of the values, and of the products with four neighbours."""
    shape, left, right = _asymmetric_gaussian(x)
    columns = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        shape, left, right = _asymmetric_gaussian(x * np.roll(x, shift, axis=(1, 2)))
        columns += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(columns, axis=1)


def _asymmetric_gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(shape, left scale, right scale), each [p], of the asymmetric generalised Gaussian fitted to x [p, s, s] by moments.

    N. Lasmar, Y. Stitou, Y. Berthoumieu, ICIP 2009. NaN where a patch has no value on one side.
    """
    x = x.reshape(len(x), -1)  # [p, s * s]
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(np.square(np.minimum(x, 0)).sum(axis=1) / (x < 0).sum(axis=1))
        right = np.sqrt(np.square(np.maximum(x, 0)).sum(axis=1) / (x > 0).sum(axis=1))
        ratio = left / right
        r = np.abs(x).mean(axis=1) ** 2 / np.square(x).mean(axis=1)
        r = r * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = np.where(np.isfinite(r), _SHAPES[_nearest(_RATIOS, np.nan_to_num(r))], np.nan)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def _nearest(rising: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices of the entries nearest to the values."""
    after = np.clip(np.searchsorted(rising, values), 1, len(rising) - 1)
    return np.where(values - rising[after - 1] <= rising[after] - values, after - 1, after)


def load_published(settings: MetricSettings) -> Callable[[list[np.ndarray]], list[float]]:
    """judge(images) -> NIQE of each. Raises MissingMetric."""
    if not settings.niqe_parameters:
        raise MissingMetric(
            f"NIQE needs the pristine model that its authors published; fetch {PUBLISHED} (or MATLAB's .mat) "
            "and name it with --niqe-parameters FILE or GPEN_NIQE_PARAMETERS=FILE"
        )
    model = read(settings.niqe_parameters)
    return lambda images: [niqe(image, model, PUBLISHED_PATCH) for image in images]


def load_fitted(settings: MetricSettings) -> Callable[[list[np.ndarray]], list[float]]:
    """judge(images) -> niqe_fitted of each. Raises MissingMetric."""
    model = read(settings.niqe_faces)
    return lambda images: [niqe(image, model, fitted_patch(image)) for image in images]


@functools.lru_cache(maxsize=4)
def read(path: str) -> Pristine:
    """A pristine model: the .npz that `save` or BasicSR writes, or MATLAB's .mat. Raises MissingMetric for anything else."""
    try:
        values = _read_mat(path) if path.endswith(".mat") else dict(np.load(path, allow_pickle=False))
        found = {key.replace("_param", "param"): value for key, value in values.items()}  # mu_prisparam, mu_pris_param
        model = Pristine(found["mu_prisparam"].reshape(36), found["cov_prisparam"].reshape(36, 36))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise MissingMetric(f"{path} holds no pristine model of NIQE ({error}); fetch {PUBLISHED}") from error
    return model


def _read_mat(path: str) -> dict:
    from scipy.io import loadmat

    return loadmat(path)


def save(model: Pristine, path: str | Path, source: str) -> None:
    """An .npz, with a sentence on what the model was fitted on. Raises OSError."""
    data = io.BytesIO()
    np.savez(data, mu_pris_param=model.mean, cov_pris_param=model.covariance, source=source)
    write_atomically(Path(path), data.getvalue())
