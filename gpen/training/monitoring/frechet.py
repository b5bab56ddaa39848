"""Frechet distance between sets of features, the formula of FID (Heusel et al., NeurIPS 2017, equation 6)."""

from __future__ import annotations

import numpy as np

from gpen.errors import GPENError

Statistics = tuple[np.ndarray, np.ndarray]  # mean [d], covariance [d, d]


def frechet_distance(
    features: np.ndarray,  # [n, d], n >= 2
    reference: np.ndarray | Statistics,  # features [m, d], m >= 2, or statistics of a set of images
) -> float:
    """Frechet distance between normal distributions fitted to two sets (Dowson and Landau, 1982), at least 0.

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2), in float64. With C_a = R^T R and C_b = S^T S the eigenvalues of C_a C_b
    are the squared singular values of R S^T: the distance is real, and few or constant features need no regularisation. With
    fewer images than dimensions the estimate is biased upwards, and comparable only between sets of equal size. Raises GPENError
    for fewer than two rows, for values that are not finite, for different dimensions and for values whose squares overflow.
    """
    mean_a, root_a = _moments(features)
    mean_b, root_b = _reference_moments(*reference) if isinstance(reference, tuple) else _moments(reference)
    if mean_a.shape != mean_b.shape:
        raise GPENError(
            f"The features have {len(mean_a)} dimensions and the reference has {len(mean_b)}; compute both with one network."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scale = max(abs(root_a).max(), abs(root_b).max(), abs(mean_a - mean_b).max())
        if scale == 0:
            return 0.0
        root_a, root_b, mean = root_a / scale, root_b / scale, (mean_a - mean_b) / scale  # squares do not overflow or vanish
        cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
        distance = float(scale * scale * max(0.0, mean @ mean + (root_a**2).sum() + (root_b**2).sum() - 2 * cross))
    if not np.isfinite(distance):
        raise GPENError(f"The Frechet distance of features up to {scale:.0e} is too large for float64; scale the features.")
    return distance


def checked_features(features: np.ndarray) -> np.ndarray:
    """The features [n, d] in float64. Raises GPENError for fewer than two rows and for values that are not finite."""
    features = np.asarray(features, np.float64)
    if len(features) < 2:
        raise GPENError(f"A distance between sets needs at least two images in each set, not {len(features)}; add images.")
    if bad := int((~np.isfinite(features)).any(axis=1).sum()):
        raise GPENError(f"The features of {bad} of {len(features)} images are not finite; check the images and the network.")
    return features


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean [d], R [min(n, d), d] with R^T R = the covariance) of features [n, d]."""
    features = checked_features(features)
    mean = features.mean(axis=0)
    return mean, np.asarray(np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r"))


def _reference_moments(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean [d], S [d, d] with S^T S = the covariance); negative eigenvalues are rounding errors and become 0."""
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise GPENError("The statistics of the reference set contain values that are not finite; compute them again.")
    values, vectors = np.linalg.eigh(covariance)  # [d], [d, d]
    return mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
