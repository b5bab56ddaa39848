"""NIQE: distance between the statistics of local contrast of an image and of pristine images.

A. Mittal, R. Soundararajan, A. Bovik, IEEE Signal Processing Letters 2013. Two metrics use this code. They differ in the pristine
model and are not comparable:

    niqe          the model published by the authors (125 natural photographs, patches of 96 px), given by the user; an image of
                  256 px has only four such patches
    niqe_fitted   a model fitted on sharp faces, from this project or from python -m eval fit-niqe

The luma is Y of BT.601 in 16..235, rounded, as in common Python implementations. The second scale is downsampled by 2 with an
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

from eval.metrics.pixel import luma
from eval.metrics.weights import MetricSettings, MissingMetric
from gpen.images import ReadableFile, write_atomically
from gpen.training.data.fingerprints import join_fingerprints

PUBLISHED = "https://github.com/XPixelGroup/BasicSR/raw/master/basicsr/metrics/niqe_pris_params.npz"
PUBLISHED_PATCH = 96  # px
FITTED_PATCH = 3 / 16  # of the image side: 96 px at 512 px
SHARP = 0.75  # minimum sharpness of a pristine patch, as a fraction of the sharpest patch (section II.B)
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # offsets of the products: horizontal, vertical, diagonals
gamma = np.vectorize(math.gamma, otypes=[float])
_WINDOW = np.exp(-0.5 * np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2) / (7 / 6) ** 2)  # Gaussian of 7 x 7 px
_WINDOW /= _WINDOW.sum()
_SHAPES = np.arange(0.2, 10.001, 0.001)  # of a generalised Gaussian, grid of the paper
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # increasing with the shape


@dataclass(frozen=True)
class PristineModel:
    """A multivariate Gaussian of patch features."""

    mean: np.ndarray  # [36]
    covariance: np.ndarray  # [36, 36]


def niqe(
    image: np.ndarray,  # uint8 RGB [h, w, 3]
    model: PristineModel,
    patch: int,  # px, even
) -> float:
    """The distance of eq. 10; lower is better. NaN with fewer than two patches that are not constant."""
    features = patch_features(image, patch)[0]
    features = features[np.isfinite(features).all(axis=1)]  # constant patches have NaN
    if len(features) < 2:
        return math.nan
    difference = model.mean - features.mean(axis=0)  # [36]
    pooled = (model.covariance + np.cov(features, rowvar=False)) / 2  # [36, 36]
    return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


def fit(images: Iterable[np.ndarray]) -> PristineModel:
    """Fit the pristine model on the sharp patches of images, uint8 RGB [h, w, 3].

    Raises ValueError for too few patches.
    """
    rows = []
    for image in images:
        features, sharpness = patch_features(image, face_patch_size(image))
        rows.append(features[(sharpness > SHARP * sharpness.max()) & np.isfinite(features).all(axis=1)])
    features = np.concatenate(rows) if rows else np.empty((0, 36))
    if len(features) <= 36:
        raise ValueError(f"{len(features)} sharp patches are too few for 36 features; give more images.")
    return PristineModel(features.mean(axis=0), np.cov(features, rowvar=False))


def face_patch_size(image: np.ndarray) -> int:
    """The side of a patch for `niqe_fitted`, px, even."""
    return 2 * max(2, round(min(image.shape[:2]) * FITTED_PATCH / 2))


def patch_features(image: np.ndarray, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """(features [p, 36], sharpness [p]) of the complete patches: 18 features at each of two scales."""
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    y = np.rint(luma(image))[: rows * patch, : columns * patch]  # [h, w]
    contrast, deviation = _local_contrast(y)
    features = [_scale_features(_patches(contrast, patch))]
    features.append(_scale_features(_patches(_local_contrast(downsample_2x(y))[0], patch // 2)))
    return np.concatenate(features, axis=1), _patches(deviation, patch).mean(axis=(1, 2))


def downsample_2x(y: np.ndarray) -> np.ndarray:
    """[h, w] -> [h / 2, w / 2]: bicubic (a = -1/2), widened for antialiasing, mirrored at the borders."""
    t = np.abs(np.arange(8) - 3.5) / 2  # distances of 8 px from the centre of the output pixel, in output pixels
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    taps = np.where(t <= 1, inner, outer)  # [8]
    taps /= taps.sum()
    # 3 px before the first input pixel of an output pixel, 4 px after it
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
    """Patches [p, s, s] -> [p, 18]: shape and scale of the values and of neighbour products."""
    shape, left, right = _asymmetric_gaussian(x)
    columns = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        shape, left, right = _asymmetric_gaussian(x * np.roll(x, shift, axis=(1, 2)))
        columns += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(columns, axis=1)


def _asymmetric_gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit asymmetric generalised Gaussians to x [p, s, s] by moments.

    Returns (shape, left scale, right scale), each [p]; NaN for a patch without values on one side. N. Lasmar, Y. Stitou, Y.
    Berthoumieu, ICIP 2009.
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


def _nearest(increasing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices of the entries of an increasing array that are nearest to the values."""
    after = np.clip(np.searchsorted(increasing, values), 1, len(increasing) - 1)
    return np.where(values - increasing[after - 1] <= increasing[after] - values, after - 1, after)


def patches_note(size: int) -> str:
    """The number of patches from which `niqe` is computed, for images of size x size px."""
    count = (size // PUBLISHED_PATCH) ** 2
    return (
        f"NIQE is computed from {count} patches of {PUBLISHED_PATCH} px for each image of {size} px (25 at 512 px): with few "
        "patches the values of single images vary strongly; compare means over many images."
    )


def load_published(settings: MetricSettings) -> Callable[[list[np.ndarray]], list[float]]:
    """Load niqe: images -> one value per image. Raises MissingMetric."""
    if not settings.niqe_parameters:
        raise MissingMetric(
            f"NIQE needs the pristine model published by its authors; download {PUBLISHED} (or the .mat of MATLAB) "
            "and give it with --niqe-parameters FILE or GPEN_NIQE_PARAMETERS=FILE."
        )
    model = read_model(settings.niqe_parameters)
    return lambda images: [niqe(image, model, PUBLISHED_PATCH) for image in images]


def load_fitted(settings: MetricSettings) -> Callable[[list[np.ndarray]], list[float]]:
    """Load niqe_fitted: images -> one value per image. Raises MissingMetric."""
    model = read_model(settings.niqe_faces)
    return lambda images: [niqe(image, model, face_patch_size(image)) for image in images]


@functools.lru_cache(maxsize=4)
def read_model(path: str) -> PristineModel:
    """Read a pristine model: .npz of `save_model` or BasicSR, or .mat of MATLAB.

    Raises MissingMetric for another file.
    """
    try:
        values = _read_mat(path) if path.endswith(".mat") else dict(np.load(path, allow_pickle=False))
        found = {key.replace("_param", "param"): value for key, value in values.items()}  # mu_prisparam, mu_pris_param
        model = PristineModel(found["mu_prisparam"].reshape(36), found["cov_prisparam"].reshape(36, 36))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise MissingMetric(f"{path} is not a pristine model of NIQE ({error}); download {PUBLISHED}.") from error
    return model


def _read_mat(path: str) -> dict:
    from scipy.io import loadmat

    return loadmat(path)


def save_model(model: PristineModel, path: str | Path, source: str, files: Iterable[ReadableFile] = ()) -> None:
    """Write an .npz with a description of the source images and the fingerprints of their files. Raises OSError."""
    data, chosen_on = io.BytesIO(), join_fingerprints(files)
    np.savez(data, mu_pris_param=model.mean, cov_pris_param=model.covariance, source=source, chosen_on=chosen_on)
    write_atomically(Path(path), data.getvalue())
