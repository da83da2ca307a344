"""Figures that are given with a confidence interval, as functions of what happened bar by bar.

A figure holds series over the n bars of a timeline, so that the bars can be resampled. Ratios,
means of ratios, Sharpe and Sortino ratios are functions of sums over the bars; the area under the
ROC curve is a function of ranks, and the drawdown of the order of the bars.

All raise PredictionsError if a value is not finite, or if the lengths of the series differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics
from gafcnn.evaluation.statistics import Floats, divide

Series: TypeAlias = NDArray[Any]
"""One number per bar, shape (n,); booleans count as 0 and 1."""


@dataclass(frozen=True, eq=False)
class OfSums:
    """A figure that is a function of sums over the bars.

    Attributes:
        series: Series to sum.
        of: The figure from the sums, of any shape; NaN if undefined.
        rests: At which bars there is anything that the figure is computed from, shape (n,).
        value: The figure on the observed bars; None if undefined.
    """

    series: tuple[Series, ...]
    of: Callable[..., Floats]
    rests: NDArray[np.bool_]
    value: float | None

    def __post_init__(self) -> None:
        _check(*self.series)


def ratio(numerator: Series, denominator: Series, scale: float = 1.0) -> OfSums:
    """Return `scale * sum(numerator) / sum(denominator)`: a share, a mean, a profit factor."""
    series = (numerator, denominator)

    def of(top: Floats, bottom: Floats) -> Floats:
        return scale * divide(top, bottom)

    return OfSums(series, of, denominator != 0, _observed(of, series))


def mean_ratio(
    numerators: Sequence[Series], denominators: Sequence[Series], scale: float = 1.0
) -> OfSums:
    """Return `scale * mean(sum(numerator) / sum(denominator))` over classes, such as a mean recall.

    A class that does not occur (its denominator sums to 0 on the observed timeline) is left out. On
    a resampled timeline that lacks a class which does occur the mean is undefined, because it would
    be of fewer classes.
    """
    occurring = [k for k, one in enumerate(denominators) if np.any(one)]
    series = (*numerators, *denominators)

    def of(*sums: Floats) -> Floats:
        ratios = [divide(sums[k], sums[len(numerators) + k]) for k in occurring]
        return scale * np.mean(ratios, axis=0) if ratios else np.full(np.shape(sums[0]), np.nan)

    rests = np.any([one != 0 for one in denominators], axis=0)
    return OfSums(series, of, rests, _observed(of, series))


def sharpe(returns: Floats, periods: float) -> OfSums:
    """Return the Sharpe ratio of returns per bar, annualised; a year has `periods` bars."""
    of = partial(statistics.sharpe_from_sums, periods=periods)
    series = (np.ones(len(returns)), returns, returns**2)
    return OfSums(series, of, returns != 0, statistics.sharpe(returns, periods))


def sortino(returns: Floats, periods: float) -> OfSums:
    """Return the Sortino ratio of returns per bar, annualised; a year has `periods` bars."""
    of = partial(statistics.sortino_from_sums, periods=periods)
    series = (np.ones(len(returns)), returns, np.minimum(returns, 0.0) ** 2)
    return OfSums(series, of, returns != 0, statistics.sortino(returns, periods))


@dataclass(frozen=True, eq=False)
class Drawdown:
    """The largest fall of the equity from its running maximum, a fraction from -1 to 0.

    Args:
        returns: One fraction per bar, shape (n,).
    """

    returns: Floats

    def __post_init__(self) -> None:
        _check(self.returns)

    @property
    def rests(self) -> NDArray[np.bool_]:
        """Bars with a return: shape (n,)."""
        return self.returns != 0

    @property
    def value(self) -> float | None:
        """The drawdown on the observed bars; None without bars."""
        return statistics.max_drawdown(self.returns)


@dataclass(frozen=True, eq=False)
class Auc:
    """Area under the ROC curve: P(a row that went up has the higher score), ties counted half.

    Args:
        score: The forecast of each row, shape (rows,).
        up: Whether the price went up, booleans of the same shape.
        places: The bar of each row; rows of several symbols may share one.
        n: Bars of the timeline.
    """

    score: Floats
    up: NDArray[np.bool_]
    places: NDArray[np.int64]
    n: int

    def __post_init__(self) -> None:
        _check(self.score, self.up, self.places)

    @property
    def rests(self) -> NDArray[np.bool_]:
        """Bars with a row: shape (n,)."""
        return np.bincount(self.places, minlength=self.n) > 0

    @cached_property
    def value(self) -> float | None:
        """The area on the observed bars; None with one class only."""
        return statistics.auc(self.score, self.up)


Figure: TypeAlias = OfSums | Drawdown | Auc
Counted: TypeAlias = tuple[Figure, int]
"""A figure, and the number of rows or trades that it is computed from."""


def _observed(of: Callable[..., Floats], series: Sequence[Series]) -> float | None:
    found = of(*(np.sum(one, keepdims=True, dtype=float) for one in series))[0]
    return None if np.isnan(found) else float(found)


def _check(*series: Series) -> None:
    if len({one.shape for one in series}) > 1 or series[0].ndim != 1:
        raise PredictionsError(
            f"the series of a figure have shape {' and '.join(str(one.shape) for one in series)}",
            expected="one number per bar in each, shape (n,)",
            instead="place them on the bars of one timeline",
        )
    for one in series:
        if not (finite := np.isfinite(one)).all():
            bar = int(np.argmin(finite))
            raise PredictionsError(
                f"the series of a figure has {one[bar]} at position {bar:,} of {len(one):,}",
                expected="finite numbers",
                instead="put 0 where nothing happened",
            )
