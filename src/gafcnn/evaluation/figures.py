"""The figures that are given with an interval, each as a function of what happened bar by bar.

A figure holds series over the n bars of a timeline, so that the bars can be drawn again. A ratio,
a mean of ratios, a Sharpe and a Sortino ratio are functions of totals over the bars; the area under
the ROC curve is one of ranks, and the drawdown one of the order of the bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.statistics import auc

Floats = NDArray[np.float64]

_ROUNDING = 1e-12  # a variance below this share of the mean square is what sums leave of none


@dataclass(frozen=True, eq=False)
class Ratio:
    """`scale * sum(numerator) / sum(denominator)`: a share, a mean, a profit factor.

    Args:
        numerator: One number a bar, ndarray of shape (n,); booleans count as 0 and 1.
        denominator: The same; the ratio is undefined where it sums to 0.
        scale: What the ratio is multiplied by: 1e4 to have it in basis points.

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
        """What is to be summed over the bars: two arrays of shape (n,)."""
        return self.numerator, self.denominator

    def of(self, top: Floats, bottom: Floats) -> Floats:
        """The ratio from the two totals, of any shape; NaN where it is undefined."""
        return self.scale * _over(top, bottom)


@dataclass(frozen=True, eq=False)
class MeanRatio:
    """`scale * mean(sum(numerator) / sum(denominator))` over classes: a mean recall, a mean F1.

    A class that does not occur, as its denominator sums to 0 on the observed timeline, is left out
    of the mean. On a drawn timeline without one that does occur the mean is undefined: it would be
    of fewer classes than the figure, and chance another.

    Args:
        numerators: One number a bar for each class, ndarrays of shape (n,).
        denominators: The same.
        scale: What the mean is multiplied by.

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
        """What is to be summed over the bars: the numerators, then the denominators."""
        return (*self.numerators, *self.denominators)

    def of(self, *totals: Floats) -> Floats:
        """The mean from the totals, each of any shape; NaN where a class that occurs is not."""
        classes = len(self.numerators)
        occurring = [k for k, one in enumerate(self.denominators) if np.any(one)]
        if not occurring:
            return np.full(np.shape(totals[0]), np.nan)
        ratios = [_over(totals[k], totals[classes + k]) for k in occurring]
        return self.scale * np.mean(ratios, axis=0)


@dataclass(frozen=True, eq=False)
class Sharpe:
    """Sharpe ratio, annualised: `mean / standard deviation (ddof=1) * sqrt(periods)`.

    Args:
        returns: One fraction a bar, ndarray of shape (n,); the risk-free rate is 0.
        periods: Bars a year.

    Raises:
        PredictionsError: A return is not finite.
    """

    returns: Floats
    periods: float

    def __post_init__(self) -> None:
        _check(self, self.returns)

    def __len__(self) -> int:
        return len(self.returns)

    def series(self) -> tuple[Floats, ...]:
        """What is to be summed over the bars: three arrays of shape (n,)."""
        return np.ones(len(self)), self.returns, self.returns**2

    def of(self, n: Floats, total: Floats, squares: Floats) -> Floats:
        """The ratio from the three totals, of any shape; NaN where nothing varies."""
        variance = _over(squares - total**2 / n, n - 1)
        varies = variance > _ROUNDING * squares / n
        deviation = np.sqrt(np.where(varies, variance, 0.0))
        return _over(total / n, deviation) * np.sqrt(self.periods)


@dataclass(frozen=True, eq=False)
class Sortino:
    """Sortino ratio, annualised: `mean / sqrt(mean(min(return, 0)^2)) * sqrt(periods)`.

    Args:
        returns: One fraction a bar, ndarray of shape (n,).
        periods: Bars a year.

    Raises:
        PredictionsError: A return is not finite.
    """

    returns: Floats
    periods: float

    def __post_init__(self) -> None:
        _check(self, self.returns)

    def __len__(self) -> int:
        return len(self.returns)

    def series(self) -> tuple[Floats, ...]:
        """What is to be summed over the bars: three arrays of shape (n,)."""
        return np.ones(len(self)), self.returns, np.minimum(self.returns, 0.0) ** 2

    def of(self, n: Floats, total: Floats, losses: Floats) -> Floats:
        """The ratio from the three totals, of any shape; NaN where nothing is lost."""
        return _over(total / n, np.sqrt(losses / n)) * np.sqrt(self.periods)


@dataclass(frozen=True, eq=False)
class Drawdown:
    """The deepest fall of the equity below its highest point before, a fraction from -1 to 0.

    Args:
        returns: One fraction a bar, ndarray of shape (n,); the equity starts at 1.

    Raises:
        PredictionsError: A return is not finite.
    """

    returns: Floats

    def __post_init__(self) -> None:
        _check(self, self.returns)

    def __len__(self) -> int:
        return len(self.returns)


@dataclass(frozen=True, eq=False)
class Auc:
    """Area under the ROC curve: P(a bar that went up has the higher score), ties a half.

    Args:
        score: The forecast made at each bar, ndarray of shape (n,), or of several symbols at each
            bar, of shape (n, symbols).
        up: Whether it went up, booleans of the same shape.
        counted: Where there is a forecast to be judged, booleans of the same shape.

    Raises:
        PredictionsError: A score that counts is not finite, or the lengths differ.
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
        """The area itself; None unless both classes are there. It is asked for in every pair."""
        return auc(self.score[self.counted], self.up[self.counted])


Totals: TypeAlias = Ratio | MeanRatio | Sharpe | Sortino
"""The figures that are functions of totals over the bars."""

Figure: TypeAlias = Totals | Drawdown | Auc
"""What can be estimated."""


def value_of(figure: Figure) -> float | None:
    """The figure of the bars as they were; None where it is undefined."""
    match figure:
        case Auc():
            return figure.area
        case Drawdown(returns=returns):
            return measures.max_drawdown(returns)
        case Sharpe(returns=returns, periods=periods):
            return measures.sharpe(returns, periods)
        case Sortino(returns=returns, periods=periods):
            return measures.sortino(returns, periods)
        case Ratio() | MeanRatio():
            ratio = figure.of(*(np.sum(one, keepdims=True, dtype=float) for one in figure.series()))
            return None if np.isnan(ratio[0]) else float(ratio[0])


def _over(top: Floats, bottom: Floats) -> Floats:
    """`top / bottom`, NaN where the bottom is 0."""
    bottom = np.asarray(bottom)
    undefined = np.full(np.broadcast_shapes(np.shape(top), bottom.shape), np.nan)
    return np.divide(top, bottom, out=undefined, where=bottom != 0)


def _check(figure: Figure, *series: NDArray[Any]) -> None:
    kind = type(figure).__name__
    if len({np.shape(one) for one in series}) > 1 or np.ndim(series[0]) != 1:
        shapes = " and ".join(str(np.shape(one)) for one in series)
        raise PredictionsError(
            f"the series of a {kind} are of shape {shapes}",
            expected="one number a bar in each, shape (n,)",
            instead="place them on the bars of one timeline",
        )
    for one in series:
        if not (finite := np.isfinite(one)).all():
            bar = int(np.argmin(finite))
            raise PredictionsError(
                f"a {kind} has {one[bar]} at bar {bar:,} of {len(one):,}",
                expected="a finite number at each bar that counts",
                instead="put 0 where nothing happened",
            )
