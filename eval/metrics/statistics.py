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
