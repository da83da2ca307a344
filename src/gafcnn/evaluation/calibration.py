"""Whether a probability means what it says: of the rows given 60 %, did 60 % go up?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def bins_of(p_up: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """Sort rows into bins of equal count by their forecast.

    Rows of equal forecast share a bin, whatever that does to the counts; a model that says only a
    few different things has as few bins.

    Args:
        p_up: Probabilities of up, ndarray of shape (n,).
        bins: How many bins, if forecasts differ enough.

    Returns:
        The bin of each row, ndarray of shape (n,): 0 for the lowest, without holes.
    """
    p = np.asarray(p_up, dtype=np.float64)
    if not len(p):
        return np.empty(0, np.int64)
    ranks = np.searchsorted(np.sort(p), p, side="left")
    return np.unique(ranks * bins // len(p), return_inverse=True)[1].astype(np.int64)


def reliability(p_up: ArrayLike, went_up: ArrayLike, bins: int = 10) -> pd.DataFrame:
    """The reliability table of one model.

    Args:
        p_up: Probabilities of up, ndarray of shape (n,).
        went_up: Whether it did, ndarray of shape (n,).
        bins: Bins of equal count (see `bins_of`).

    Returns:
        A row per bin, lowest first: `forecast` (mean P(up)), `observed` (share that went up), `n`.
    """
    p, up = np.asarray(p_up, dtype=np.float64), np.asarray(went_up, dtype=np.float64)
    which = bins_of(p, bins)
    n = np.bincount(which)
    forecast, observed = (np.bincount(which, weights=one) / n for one in (p, up))
    return pd.DataFrame({"forecast": forecast, "observed": observed, "n": n})


def expected_calibration_error(table: pd.DataFrame) -> float | None:
    """Mean distance of what was forecast from what was observed, over rows; None without any.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI, 2015. It is never negative, so chance alone makes it positive: about
    `sqrt(bins / (2 pi n))` for a calibrated model near 1/2.

    Args:
        table: A reliability table (see `reliability`).
    """
    if table.empty:
        return None
    distance = (table["forecast"] - table["observed"]).abs()
    return float(np.average(distance, weights=table["n"]))
