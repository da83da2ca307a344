"""Figures that are given with a confidence interval, as functions of what happened bar by bar.

A figure holds series over the n bars of a timeline, so that the bars can be resampled. Ratios,
means of ratios, Sharpe and Sortino ratios are functions of sums over the bars; the area under the
ROC curve is a function of ranks, and the drawdown of the order of the bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics
from gafcnn.evaluation.statistics import Floats, divide


@dataclass(frozen=True, eq=False)
class Ratio:
    """`scale * sum(numerator) / sum(denominator)`: a share, a mean, a profit factor.

    Args:
        numerator: One number per bar, shape (n,); booleans count as 0 and 1.
        denominator: The same; the ratio is undefined if it sums to 0.
        scale: Factor of the ratio: 1e4 for basis points.

    Raises:
        PredictionsError: A value is not finite, or the lengths differ.
    """

    numerator: NDArray[Any]
    denominator: NDArray[Any]
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self, self.numerator, self.denominator)

    def __len__(self) -> int:
        return len(self.numerator)

    def series(self) -> tuple[NDArray[Any], ...]:
        """Return the series to sum over the bars: two arrays of shape (n,)."""
        return self.numerator, self.denominator

    def of(self, top: Floats, bottom: Floats) -> Floats:
        """Return the ratio from the two sums, of any shape; NaN if undefined."""
        return self.scale * divide(top, bottom)


@dataclass(frozen=True, eq=False)
class MeanRatio:
    """`scale * mean(sum(numerator) / sum(denominator))` over classes: a mean recall, a mean F1.

    A class that does not occur (its denominator sums to 0 on the observed timeline) is left out. On
    a resampled timeline that lacks a class which does occur the mean is undefined, because it would
    be of fewer classes.

    Args:
        numerators: One number per bar for each class, arrays of shape (n,).
        denominators: The same.
        scale: Factor of the mean.

    Raises:
        PredictionsError: A value is not finite, or the lengths differ.
    """

    numerators: Sequence[NDArray[Any]]
    denominators: Sequence[NDArray[Any]]
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self, *self.series())

    def __len__(self) -> int:
        return len(self.numerators[0])

    def series(self) -> tuple[NDArray[Any], ...]:
        """Return the series to sum over the bars: numerators, then denominators."""
        return (*self.numerators, *self.denominators)

    def of(self, *sums: Floats) -> Floats:
        """Return the mean from the sums, each of any shape; NaN if undefined."""
        classes = len(self.numerators)
        occurring = [k for k, one in enumerate(self.denominators) if np.any(one)]
        if not occurring:
            return np.full(np.shape(sums[0]), np.nan)
        ratios = [divide(sums[k], sums[classes + k]) for k in occurring]
        return self.scale * np.mean(ratios, axis=0)


@dataclass(frozen=True, eq=False)
class _OfReturns:
    """A figure of returns: one fraction per bar, shape (n,); the risk-free rate is 0.

    Raises:
        PredictionsError: A return is not finite.
    """

    returns: Floats

    def __post_init__(self) -> None:
        _check(self, self.returns)

    def __len__(self) -> int:
        return len(self.returns)


@dataclass(frozen=True, eq=False)
class Sharpe(_OfReturns):
    """Sharpe ratio, annualised: `mean / standard deviation (ddof=1) * sqrt(periods)`.

    Args:
        returns: One fraction per bar, shape (n,).
        periods: Bars per year.
    """

    periods: float

    def series(self) -> tuple[Floats, ...]:
        """Return the series to sum over the bars: three arrays of shape (n,)."""
        return np.ones(len(self)), self.returns, self.returns**2

    def of(self, n: Floats, total: Floats, squares: Floats) -> Floats:
        """Return the ratio from the three sums, of any shape; NaN for constant returns."""
        return statistics.sharpe_from_sums(n, total, squares, self.periods)


@dataclass(frozen=True, eq=False)
class Sortino(_OfReturns):
    """Sortino ratio, annualised: `mean / sqrt(mean(min(return, 0)^2)) * sqrt(periods)`.

    Args:
        returns: One fraction per bar, shape (n,).
        periods: Bars per year.
    """

    periods: float

    def series(self) -> tuple[Floats, ...]:
        """Return the series to sum over the bars: three arrays of shape (n,)."""
        return np.ones(len(self)), self.returns, np.minimum(self.returns, 0.0) ** 2

    def of(self, n: Floats, total: Floats, losses: Floats) -> Floats:
        """Return the ratio from the three sums, of any shape; NaN without losses."""
        return statistics.sortino_from_sums(n, total, losses, self.periods)


@dataclass(frozen=True, eq=False)
class Drawdown(_OfReturns):
    """The largest fall of the equity from its running maximum, a fraction from -1 to 0."""


@dataclass(frozen=True, eq=False)
class Auc:
    """Area under the ROC curve: P(a bar that went up has the higher score), ties counted half.

    Args:
        score: The forecast made at each bar, shape (n,), or for several symbols (n, symbols).
        up: Whether the price went up, booleans of the same shape.
        counted: Where there is a forecast to judge, booleans of the same shape.

    Raises:
        PredictionsError: A score that counts is not finite, or the shapes differ.
    """

    score: Floats
    up: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    def __post_init__(self) -> None:
        score = np.where(self.counted, self.score, 0.0)
        _check(self, *(np.ravel(one) for one in (score, self.up, self.counted)))

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def area(self) -> float | None:
        """The area itself; None with one class only."""
        return statistics.auc(self.score[self.counted], self.up[self.counted])


OfSums: TypeAlias = Ratio | MeanRatio | Sharpe | Sortino
"""The figures that are functions of sums over the bars."""

Figure: TypeAlias = OfSums | Drawdown | Auc
"""Any figure."""


def value_of(figure: Figure) -> float | None:
    """Return the figure on the observed bars; None if undefined."""
    match figure:
        case Auc():
            return figure.area
        case Drawdown(returns=returns):
            return statistics.max_drawdown(returns)
        case Sharpe(returns=returns, periods=periods):
            return statistics.sharpe(returns, periods)
        case Sortino(returns=returns, periods=periods):
            return statistics.sortino(returns, periods)
        case Ratio() | MeanRatio():
            ratio = figure.of(*(np.sum(one, keepdims=True, dtype=float) for one in figure.series()))
            return None if np.isnan(ratio[0]) else float(ratio[0])


def _check(figure: Any, *series: NDArray[Any]) -> None:
    kind = type(figure).__name__
    if len({np.shape(one) for one in series}) > 1 or np.ndim(series[0]) != 1:
        shapes = " and ".join(str(np.shape(one)) for one in series)
        raise PredictionsError(
            f"the series of a {kind} have shape {shapes}",
            expected="one number per bar in each, shape (n,)",
            instead="place them on the bars of one timeline",
        )
    for one in series:
        if not (finite := np.isfinite(one)).all():
            bar = int(np.argmin(finite))
            raise PredictionsError(
                f"a {kind} has {one[bar]} at bar {bar:,} of {len(one):,}",
                expected="a finite number at each bar",
                instead="put 0 where nothing happened",
            )
