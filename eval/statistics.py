"""Statistics: bootstrap confidence interval of a mean, Fréchet distance between sets of features.

Bootstrap: the percentile interval of B. Efron, "Bootstrap methods: another look at the jackknife" (1979).
Fréchet distance: D. Dowson and B. Landau (1982), the formula of FID (Heusel et al., NeurIPS 2017, eq. 6).
"""

import numpy as np


def bootstrap_interval(
    values: np.ndarray,  # [n]
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """(low, high) of the mean over images, by sampling with replacement.

    The same seed and n sample the same images, so that intervals of paired differences use the same resamples as those of the
    means. NaN if a value is not finite (the PSNR of identical images).
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng, n = np.random.default_rng(seed), len(values)
    rows = max(1, 1_000_000 // n)  # resamples per chunk: 8 MB of indices for any n
    means = np.concatenate(
        [
            values[rng.integers(0, n, (min(rows, resamples - start), n))].mean(axis=1)  # [rows]
            for start in range(0, resamples, rows)
        ]
    )  # [resamples]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def frechet_distance(
    a: np.ndarray,  # [n, d]
    b: np.ndarray,  # [m, d]
) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) with unbiased covariances, in float64.

    With centred features X [n, d], C = X^T X / (n - 1); let C_a = R^T R and C_b = S^T S. The eigenvalues of C_a C_b are the
    squared singular values of R S^T, so that tr (C_a C_b)^1/2 is the sum of the singular values. This is valid for covariances of
    any rank: fewer images than dimensions need no regularisation (pytorch-fid adds 1e-6 to the diagonals). The estimate is biased
    upwards, and is comparable only between sets of equal size. Raises ValueError for fewer than two rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError("A Fréchet distance needs at least two images in each set.")
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    mean = a.mean(axis=0) - b.mean(axis=0)  # [d]
    return float(mean @ mean + (root_a**2).sum() + (root_b**2).sum() - 2 * cross)


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R [min(n, d), d] with R^T R = covariance of features [n, d]."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))
