"""Frechet distance between sets of features, the formula of FID (Heusel et al., NeurIPS 2017, equation 6)."""

from __future__ import annotations

import numpy as np

from gpen.errors import GPENError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between normal distributions fitted to features [n, d] and [m, d] (Dowson and Landau, 1982), n, m >= 2.

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2), in float64. With C_a = R^T R and C_b = S^T S the eigenvalues of C_a C_b
    are the squared singular values of R S^T: no regularisation is needed for fewer images than dimensions. The estimate is biased
    upwards then, and comparable only between sets of equal size. Raises GPENError for fewer than two rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise GPENError("A Frechet distance needs at least two images in each set.")
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    mean = a.mean(axis=0) - b.mean(axis=0)  # [d]
    return float(mean @ mean + (root_a**2).sum() + (root_b**2).sum() - 2 * cross)


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R [min(n, d), d] with R^T R = the covariance of features [n, d]."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))
