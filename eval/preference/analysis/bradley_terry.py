"""Strengths from paired comparisons with ties: the model of Davidson.

    P(i beats j) = e^(a_i - a_j)/2 / Z     P(tie) = nu / Z     Z = e^(a_i - a_j)/2 + e^(a_j - a_i)/2 + nu

R. R. Davidson, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments" (JASA 1970). Without
ties it is the model of Bradley and Terry (Biometrika 1952). The likelihood is concave in the strengths a and in log nu, so that
Newton's method converges to the unique maximum. Several tables are fitted as one batch.

A prior N(0, PRIOR_SD^2) on every strength keeps each estimate finite, also for a method that won or lost all comparisons, where
the maximum likelihood estimate is infinite (L. R. Ford, 1957); otherwise its effect is negligible. `half_wins` gives such a
method a strength of plausible size.
"""

from dataclasses import dataclass

import numpy as np

PRIOR_SD = 10.0  # standard deviation of a strength, natural log; e^10 is a ratio of 22,000 wins to one
LARGEST_STEP = 2.0  # limit of a Newton step, against overshooting
TOLERANCE = 1e-9
MAX_STEPS = 60


@dataclass(frozen=True)
class DavidsonFit:
    """strength [..., m], natural log, with mean zero; log_nu [...], minus infinity without ties."""

    strength: np.ndarray
    log_nu: np.ndarray


def fit(
    wins: np.ndarray,  # [..., m, m], number of wins of i against j
    ties: np.ndarray,  # [..., m, m], symmetric
) -> DavidsonFit:
    """Maximise the penalised likelihood for each table of a batch."""
    wins, ties = np.broadcast_arrays(np.asarray(wins, float), np.asarray(ties, float))
    shape, m = wins.shape[:-2], wins.shape[-1]
    wins, ties = wins.reshape(-1, m, m), ties.reshape(-1, m, m)  # [b, m, m]
    with_ties = bool(ties.any())
    theta = np.zeros((len(wins), m + with_ties))  # [b, m (+ 1 for log nu)]
    active = np.arange(len(wins))
    for _ in range(MAX_STEPS):
        gradient, information = _derivatives(theta[active], wins[active], ties[active], with_ties)
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        theta[active] += step * np.minimum(1, LARGEST_STEP / np.maximum(longest, 1e-300))
        active = active[longest[:, 0] > TOLERANCE]
        if not len(active):
            break
    strength = theta[:, :m] - theta[:, :m].mean(axis=1, keepdims=True)
    log_nu = theta[:, m] if with_ties else np.full(len(wins), -np.inf)
    return DavidsonFit(strength.reshape(*shape, m), log_nu.reshape(shape))


def _derivatives(theta: np.ndarray, wins: np.ndarray, ties: np.ndarray, with_ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gradient [b, k] and information [b, k, k] of the penalised log likelihood at theta [b, k]."""
    b, m = len(theta), wins.shape[-1]
    n = wins + wins.swapaxes(-1, -2) + ties  # [b, m, m]
    win, tie = _probabilities(theta[:, :m], theta[:, m] if with_ties else np.full(b, -np.inf))
    lose = win.swapaxes(-1, -2)
    gradient, information = np.empty_like(theta), np.zeros((b, theta.shape[1], theta.shape[1]))
    gradient[:, :m] = (wins + ties / 2 - n * (win + tie / 2)).sum(axis=2)
    weight = n * ((win + lose) - (win - lose) ** 2) / 4  # n times the variance of (wins - losses) / 2
    information[:, :m, :m] = -weight
    diagonal = np.arange(m)
    information[:, diagonal, diagonal] += weight.sum(axis=2)
    if with_ties:
        gradient[:, m] = (ties - n * tie).sum(axis=(1, 2)) / 2
        cross = -(n * tie * (win - lose) / 2).sum(axis=2)  # [b, m]
        information[:, :m, m] = information[:, m, :m] = cross
        information[:, m, m] = (n * tie * (1 - tie)).sum(axis=(1, 2)) / 2
    every = np.arange(theta.shape[1])
    information[:, every, every] += PRIOR_SD**-2
    return gradient - theta * PRIOR_SD**-2, information


def _probabilities(strength: np.ndarray, log_nu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(i beats j) and P(tie), [b, m, m] each, from strength [b, m] and log_nu [b]."""
    half = (strength[:, :, None] - strength[:, None, :]) / 2  # [b, m, m]
    top = np.maximum(np.abs(half), log_nu[:, None, None])  # for exponents of at most 0
    up, down, tie = np.exp(half - top), np.exp(-half - top), np.exp(log_nu[:, None, None] - top)
    total = up + down + tie
    return up / total, tie / total


def information_covariance(wins: np.ndarray, ties: np.ndarray, fitted: DavidsonFit) -> np.ndarray:
    """Covariance [m, m] of the strengths, with mean zero, from the information matrix.

    Fast, but ignores the correlation within raters.
    """
    with_ties = bool(np.isfinite(fitted.log_nu))
    theta = np.append(fitted.strength, fitted.log_nu if with_ties else [])[None]
    _, information = _derivatives(theta, wins[None], ties[None], with_ties)
    covariance = np.linalg.inv(information[0])[: len(wins), : len(wins)]
    centre = np.eye(len(wins)) - 1 / len(wins)
    return centre @ covariance @ centre


def information_standard_errors(wins: np.ndarray, ties: np.ndarray, fitted: DavidsonFit) -> np.ndarray:
    """Standard errors [m, m] of the differences, from the information matrix."""
    covariance = information_covariance(wins, ties, fitted)
    variance = np.diag(covariance)
    return np.sqrt(np.maximum(variance[:, None] + variance[None] - 2 * covariance, 0))


def components(edges: np.ndarray) -> list[list[int]]:
    """Connected components of the methods: edges [m, m], nonzero where i and j were compared."""
    return _groups(edges, "weak")


def bounded(wins: np.ndarray, ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(below, above) [m] each: whether the votes alone bound a strength.

    A strength is bounded from above if the method lost or tied against the other methods, directly or along a chain.
    """
    beats = (wins + ties) > 0
    below, above = np.ones(len(wins), bool), np.ones(len(wins), bool)
    for group in map(np.array, _groups(beats, "strong")):
        others = np.setdiff1d(np.arange(len(wins)), group)
        if len(others):
            below[group] = beats[np.ix_(group, others)].any()
            above[group] = beats[np.ix_(others, group)].any()
    return below, above


def half_wins(wins: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Wins [m, m] to add where the votes alone do not bound the difference of two methods that were compared.

    Half a win for each of the two, as F. J. Anscombe (Biometrika 1956) adds one half to both counts of a proportion that is 0 or
    1. The difference of two methods is bounded if each won or tied against the other, directly or along a chain.
    """
    group = np.empty(len(wins), int)
    for number, members in enumerate(_groups((wins + ties) > 0, "strong")):
        group[members] = number
    compared = (wins + wins.T + ties) > 0
    return 0.5 * (compared & (group[:, None] != group[None]))


def _groups(edges: np.ndarray, connection: str) -> list[list[int]]:
    from scipy.sparse.csgraph import connected_components

    count, labels = connected_components(np.asarray(edges) != 0, directed=True, connection=connection)
    return [np.flatnonzero(labels == label).tolist() for label in range(count)]
