"""Standard errors of a statistic of votes, by a two-way bootstrap over raters and faces.

Votes of one rater are correlated, and so are votes on one face. The variance over both has the first-order form

    V = V(raters) + V(faces) - V(rater x face)

where each term is a one-way bootstrap that resamples whole groups of votes (A. C. Cameron, J. B. Gelbach and D. L. Miller,
"Robust inference with multiway clustering", JBES 2011). The product of resampled raters and resampled faces, the pigeonhole
bootstrap of A. B. Owen ("The pigeonhole bootstrap", AOAS 2007), has the expectation V(raters) + V(faces) + V(rater x face): it
counts the noise of single votes three times, and its intervals are too wide where that noise is large. python -m bench.intervals
measures the coverage of both.

Each term is multiplied by g / (g - 1) for g groups, and intervals use Student's t with min(raters, faces) - 1 degrees of freedom.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

RESAMPLES = 1000
MAX_WEIGHTS = 4_000_000  # weights in memory at once
Statistic = Callable[[np.ndarray], np.ndarray]  # weights [b, n] of n votes -> values [b, k]


@dataclass(frozen=True)
class Spread:
    """Covariances [c, k, k] of k values, NaN for a single rater or face, and their degrees of freedom.

    The variance of a value, or of a difference, is the largest of the c estimates: the difference of variances of the two-way
    estimate can be too small by chance, and the two-way variance is at least that over raters alone and over faces alone.
    """

    covariances: np.ndarray
    dof: int

    def standard_errors(self) -> np.ndarray:
        """Standard errors [k] of the values."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2).max(axis=0))

    def difference_standard_errors(self) -> np.ndarray:
        """Standard errors [k, k] of the differences of two values."""
        variance = np.diagonal(self.covariances, axis1=1, axis2=2)  # [c, k]
        of_differences = variance[:, :, None] + variance[:, None] - 2 * self.covariances  # [c, k, k]
        return np.sqrt(np.maximum(of_differences.max(axis=0), 0))

    def t_quantile(self, level: float = 0.95) -> float:
        """Half width of a confidence interval in standard errors: a quantile of Student's t."""
        return float(special.stdtrit(self.dof, (1 + level) / 2)) if self.dof > 0 else float("nan")

    def margins(self) -> np.ndarray:
        """Half widths [k] of the 95% intervals of the values."""
        return self.t_quantile() * self.standard_errors()


def spread(statistic: Statistic, rater: np.ndarray, face: np.ndarray | None, resamples: int = RESAMPLES, seed: int = 0) -> Spread:
    """Spread of a statistic of n votes.

    rater, face: indices [n]. Without faces, the spread is over raters alone, for the faces of the votes. A value of the statistic
    that is NaN for some resamples, such as the mean of a method without votes in them, is averaged over the others.
    """
    rng = np.random.default_rng(seed)
    raters = _dense(rater)
    if face is None:
        return Spread(_one_way(statistic, raters, resamples, rng)[None], int(raters.max()))
    faces = _dense(face)
    over_raters, over_faces, over_cells = (
        _one_way(statistic, group, resamples, rng) for group in (raters, faces, _dense(raters * (faces.max() + 1) + faces))
    )
    covariances = np.stack([over_raters + over_faces - over_cells, over_raters, over_faces])
    return Spread(covariances, int(min(raters.max(), faces.max())))


def _dense(group: np.ndarray) -> np.ndarray:
    """Indices [n] from 0 to the number of groups - 1."""
    return np.unique(group, return_inverse=True)[1].ravel()


def _one_way(statistic: Statistic, group: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap covariance [k, k] over groups [n]."""
    groups = int(group.max()) + 1
    if groups < 2:
        k = statistic(np.ones((1, len(group)))).shape[1]
        return np.full((k, k), np.nan)
    step = max(1, MAX_WEIGHTS // len(group))
    values = []
    for start in range(0, resamples, step):
        draws = rng.multinomial(groups, np.full(groups, 1 / groups), min(step, resamples - start))  # [b, g]
        values.append(statistic(draws[:, group].astype(float)))
    resampled = np.ma.masked_invalid(np.concatenate(values))  # [resamples, k]
    covariance = np.ma.cov(resampled, rowvar=False) if resampled.mask.any() else np.cov(resampled.data, rowvar=False)
    return np.atleast_2d(np.ma.filled(covariance, np.nan)) * groups / (groups - 1)


def mean_interval(values: np.ndarray, rater: np.ndarray, face: np.ndarray | None) -> tuple[float, float | None, float | None]:
    """(mean, low, high) of values [n]; the 95% interval is None for a single rater or face."""
    mean, low, high = column_means(values, np.zeros(len(values), int), rater, face)
    return float(mean[0]), finite(low[0]), finite(high[0])


def column_means(
    values: np.ndarray,  # [n]
    column: np.ndarray,  # [n], 0 to k - 1
    rater: np.ndarray,  # [n]
    face: np.ndarray | None,  # [n]
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) [k] of the values of each column, with 95% intervals, NaN for a single rater or face."""
    members = np.eye(int(column.max()) + 1)[column]  # [n, k]
    sums = members * values[:, None]

    def means(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ sums) / (weights @ members)

    mean = means(np.ones((1, len(values))))[0]
    margin = spread(means, rater, face, resamples, seed).margins()
    return mean, mean - margin, mean + margin


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
