"""The Sharpe ratio that is left when one remembers how it was found.

Bailey and Lopez de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
Overfitting and Non-Normality", Journal of Portfolio Management, 2014. All Sharpe ratios here are
per observation, not annualised; kurtosis is 3 for normal returns.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_FEWEST = 4  # observations, below which a kurtosis says nothing


def psr(
    sharpe: float, benchmark: float, n: int, skewness: float = 0.0, kurtosis: float = 3.0
) -> float | None:
    """Probabilistic Sharpe ratio: the probability that the true Sharpe ratio exceeds `benchmark`.

        Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skewness SR + (kurtosis - 1) / 4 SR^2))

    Args:
        sharpe: The observed ratio, per observation.
        benchmark: The ratio to be exceeded, per observation.
        n: Observations.
        skewness: Of the returns.
        kurtosis: Of the returns, not in excess of the normal distribution's 3.

    Returns:
        A probability; None with fewer than two observations, or moments that no returns have.
    """
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if n < 2 or not spread > 0:
        return None
    return float(stats.norm.cdf((sharpe - benchmark) * math.sqrt((n - 1) / spread)))


def expected_maximum(variance_of_trials: float | None, trials: int) -> float | None:
    """The Sharpe ratio that the best of several trials without skill is expected to show.

        sqrt(V) ((1 - gamma) Phi^-1(1 - 1/N) + gamma Phi^-1(1 - 1/(N e)))     gamma = 0.5772...

    Args:
        variance_of_trials: Variance of the trials' Sharpe ratios, per observation.
        trials: How many there were, taken as independent.

    Returns:
        0 for one trial, among which nothing was chosen; None without a trial or a variance.
    """
    if trials == 1:
        return 0.0
    if trials < 1 or variance_of_trials is None or not variance_of_trials >= 0:
        return None
    best, next_best = stats.norm.ppf([1 - 1 / trials, 1 - 1 / (trials * math.e)])
    weight = float(np.euler_gamma)
    return math.sqrt(variance_of_trials) * float((1 - weight) * best + weight * next_best)


def deflated_sharpe(
    returns: ArrayLike, trials: int, variance_of_trials: float | None
) -> float | None:
    """Deflated Sharpe ratio: `psr` against what the best of all trials would show without skill.

    Args:
        returns: Net returns, one an observation, ndarray of shape (n,).
        trials: How many strategies were tried before this one was shown, itself included.
        variance_of_trials: Variance of their Sharpe ratios, per observation of the same length.

    Returns:
        A probability; None with fewer than four returns, returns that do not vary, or where
        `expected_maximum` is None.
    """
    values = np.asarray(returns, dtype=np.float64)
    benchmark = expected_maximum(variance_of_trials, trials)
    if benchmark is None or len(values) < _FEWEST or np.ptp(values) == 0:
        return None
    sharpe = float(values.mean() / values.std(ddof=1))
    skewness, kurtosis = float(stats.skew(values)), float(stats.kurtosis(values, fisher=False))
    return psr(sharpe, benchmark, len(values), skewness, kurtosis)
