"""Calibration: of the rows with a forecast of 60 %, did 60 % go up?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bins_of(p_up: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """Sort rows into bins of equal count by their forecast.

    Rows with equal forecasts share a bin; a model with few distinct forecasts has as few bins.

    Args:
        p_up: P(up), shape (n,).
        bins: Number of bins, if forecasts differ enough.

    Returns:
        The bin of each row, shape (n,): consecutive numbers, 0 for the lowest.
    """
    p = np.asarray(p_up, dtype=np.float64)
    if not len(p):
        return np.empty(0, np.int64)
    ranks = np.searchsorted(np.sort(p), p, side="left")
    return np.unique(ranks * bins // len(p), return_inverse=True)[1].astype(np.int64)


def expected_calibration_error(p_up: ArrayLike, went_up: ArrayLike, bins: int = 10) -> float | None:
    """Return the mean distance between forecast and observed frequency; None without rows.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI, 2015. It is positive by chance alone: about `sqrt(bins / (2 pi n))` for a calibrated model
    near 1/2.

    Args:
        p_up: P(up), shape (n,).
        went_up: Whether the price went up, shape (n,).
        bins: Bins of equal count (see `bins_of`).
    """
    p, up = np.asarray(p_up, dtype=np.float64), np.asarray(went_up, dtype=np.float64)
    if not len(p):
        return None
    # n |mean forecast - observed frequency| of each bin
    return float(np.abs(np.bincount(bins_of(p, bins), weights=p - up)).sum() / len(p))
