"""Statistics of a table: the bootstrap interval of a mean, the Fréchet distance between sets of features.

Bootstrap: the percentile interval of B. Efron, "Bootstrap methods: another look at the jackknife" (1979).
Fréchet distance: D. Dowson and B. Landau (1982), the formula behind FID (Heusel et al., NeurIPS 2017, eq. 6).
"""

import numpy as np


def bootstrap_interval(
    values: np.ndarray,  # [n]
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """(low, high) of the mean over images: draw n of the n values with replacement, `resamples` times.

    The same seed and n draw the same images, so intervals of paired differences use the resamples of the
    means themselves. Values that are not all finite (the PSNR of identical images) have no interval: NaN.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng, n = np.random.default_rng(seed), len(values)
    rows = max(1, 1_000_000 // n)  # resamples drawn at a time: 8 MB of indices whatever n is
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

    With centred features X [n, d], C = X^T X / (n - 1); write C_a = R^T R and C_b = S^T S. The eigenvalues of
    C_a C_b are the squared singular values of R S^T, so tr (C_a C_b)^1/2 is their sum. This holds for
    covariances of any rank, so fewer images than dimensions need no ridge (pytorch-fid adds 1e-6 to the
    diagonals there); the estimate then stays biased upwards, and compares only between sets of equal size.
    Raises ValueError for fewer than two rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError("a Fréchet distance needs at least two images in each set")
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    mean = a.mean(axis=0) - b.mean(axis=0)  # [d]
    return float(mean @ mean + (root_a**2).sum() + (root_b**2).sum() - 2 * cross)


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R [min(n, d), d] with R^T R = the covariance of features [n, d]."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))
