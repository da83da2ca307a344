"""Figures that are given with a confidence interval, as functions of what happened bar by bar.

A figure holds series over the n bars of a timeline, so that the bars can be resampled in bins.
Ratios, means of ratios, Sharpe and Sortino ratios are functions of sums over the bars: they need
only how often each bin was drawn. So does the area under the ROC curve, a function of ranks, once
the rows are sorted by score. A drawdown needs the order of the bins and four numbers for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.evaluation import statistics
from gafcnn.evaluation.statistics import Floats, divide
from gafcnn.kernels import compiled

Series: TypeAlias = NDArray[Any]
"""One finite number per bar, shape (n,); booleans count as 0 and 1."""

_ROUNDING = 1e-12  # a variance below this share of the mean square is a rounding error


class Resamples:
    """A batch of resampled timelines.

    Args:
        picks: The bins of each timeline, in order, shape (batch, bins).
        sums: Sums of series over bins, shape (bins, columns).
    """

    def __init__(self, picks: NDArray[np.int64], sums: Floats) -> None:
        self.picks = picks
        # how often each bin was drawn, shape (batch, bins)
        self.counts = np.array(
            [np.bincount(drawn, minlength=picks.shape[1]) for drawn in picks], np.float64
        )
        # the sums of each timeline, shape (batch, columns)
        self.totals: Floats = self.counts @ sums


Compute = Callable[[Resamples], Floats]
"""Computes a figure on each timeline of a batch: shape (batch,), NaN where it is undefined."""


@dataclass(frozen=True, eq=False)
class OfSums:
    """A figure that is a function of sums over the bars."""

    series: tuple[Series, ...]  # series to sum
    of: Callable[..., Floats]  # the figure from the sums, of any shape; NaN if undefined
    # at which bars there is anything that the figure is computed from, shape (n,)
    rests: NDArray[np.bool_]

    @cached_property
    def value(self) -> float | None:
        """The figure on the observed bars; None if undefined."""
        sums = (np.sum(one, keepdims=True, dtype=float) for one in self.series)
        found = float(self.of(*sums)[0])
        return None if np.isnan(found) else found


def ratio(numerator: Series, denominator: Series) -> OfSums:
    """Return `sum(numerator) / sum(denominator)`: a share, a mean, a profit factor."""
    return OfSums((numerator, denominator), divide, denominator != 0)


def mean_ratio(numerators: Sequence[Series], denominators: Sequence[Series]) -> OfSums:
    """Return `mean(sum(numerator) / sum(denominator))` over classes, such as a mean recall.

    A class that does not occur (its denominator sums to 0 on the observed timeline) is left out. On
    a resampled timeline that lacks a class which does occur the mean is undefined, because it would
    be of fewer classes.
    """
    occurring = [k for k, one in enumerate(denominators) if np.any(one)]

    def of(*sums: Floats) -> Floats:
        ratios = [divide(sums[k], sums[len(numerators) + k]) for k in occurring]
        return np.mean(ratios, axis=0) if ratios else np.full(np.shape(sums[0]), np.nan)

    rests = np.any([one != 0 for one in denominators], axis=0)
    return OfSums((*numerators, *denominators), of, rests)


def sharpe(returns: Floats, periods: float) -> OfSums:
    """Return mean over standard deviation (ddof=1) of returns per bar, annualised (Sharpe, 1994).

    A year has `periods` bars. The ratio of constant returns is undefined.
    """

    def of(n: Floats, total: Floats, squares: Floats) -> Floats:
        variance = divide(squares - total**2 / n, n - 1)
        varies = variance > _ROUNDING * squares / n
        return divide(total / n, np.sqrt(np.where(varies, variance, 0.0))) * np.sqrt(periods)

    return OfSums((np.ones(len(returns)), returns, returns**2), of, returns != 0)


def sortino(returns: Floats, periods: float) -> OfSums:
    """Return mean over downside deviation, the root mean square of min(r, 0), annualised.

    Sortino and Price, Performance Measurement in a Downside Risk Framework (1994), target 0.
    """

    def of(n: Floats, total: Floats, losses: Floats) -> Floats:
        return divide(total / n, np.sqrt(losses / n)) * np.sqrt(periods)

    downside = np.minimum(returns, 0.0) ** 2
    return OfSums((np.ones(len(returns)), returns, downside), of, returns != 0)


@dataclass(frozen=True, eq=False)
class Drawdown:
    """The largest fall of the equity from its running maximum, from -1 to 0; one return per bar."""

    returns: Floats

    @property
    def rests(self) -> NDArray[np.bool_]:
        """Bars with a return: shape (n,)."""
        return self.returns != 0

    @property
    def value(self) -> float:
        """The drawdown on the observed bars."""
        return statistics.max_drawdown(self.returns)

    def prepare(self, starts: NDArray[np.int64]) -> Compute:
        """Return what computes the drawdown on timelines of bins that begin at these bars."""
        edges = np.append(starts, len(self.returns))
        return lambda drawn: _drawdowns(self.returns, edges, drawn.picks)


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

    @property
    def rests(self) -> NDArray[np.bool_]:
        """Bars with a row: shape (n,)."""
        return np.bincount(self.places, minlength=self.n) > 0

    @cached_property
    def value(self) -> float | None:
        """The area on the observed bars; None with one class only."""
        return statistics.auc(self.score, self.up)

    def prepare(self, starts: NDArray[np.int64]) -> Compute:
        """Return what computes the area on timelines of bins that begin at these bars."""
        order = np.argsort(self.score, kind="stable")
        score, up = self.score[order], self.up[order].astype(np.float64)
        bins = np.searchsorted(starts, self.places[order], side="right") - 1
        ends_level = np.append(score[1:] != score[:-1], [True] * bool(len(score)))
        return lambda drawn: _areas(bins, up, ends_level, drawn.counts)


Figure: TypeAlias = OfSums | Drawdown | Auc
Counted: TypeAlias = tuple[Figure, int]
"""A figure, and the number of rows or trades that it is computed from."""


def trade_figures(
    bars: Mapping[str, Floats], returns: Floats, periods: float, turns: float
) -> dict[str, Figure]:
    """Return what trades earn: rates, means, and annualised ratios.

    `bars` is what happened bar by bar, see `Backtest.per_bar`; sums for several symbols. A year has
    `periods` bars, a day `turns`, of each of the accounts that the equity is divided into.
    """
    trades = bars["trades"]
    return {
        "win_rate_gross": ratio(bars["wins_gross"], trades),
        "win_rate_net": ratio(bars["wins_net"], trades),
        "net_bps": ratio(1e4 * bars["net"], trades),
        "gross_bps": ratio(1e4 * bars["gross"], trades),
        "break_even_bps": ratio(1e4 * bars["gross"], bars["traded"]),
        "profit_factor": ratio(bars["gains"], bars["losses"]),
        "sharpe": sharpe(returns, periods),
        "sortino": sortino(returns, periods),
        "max_drawdown": Drawdown(returns),
        "exposure": ratio(bars["exposure"], bars["every"]),
        "turnover": ratio(turns * bars["traded"], bars["every"]),
    }


@compiled
def _drawdowns(returns: Floats, edges: NDArray[np.int64], picks: NDArray[np.int64]) -> Floats:
    """Return the largest fall from the running maximum on every timeline."""
    values = np.empty(len(picks))
    for r in range(len(picks)):
        equity, highest, deepest = 1.0, 1.0, 1.0
        for b in picks[r]:
            for bar in range(edges[b], edges[b + 1]):
                equity *= 1 + returns[bar]
                highest = max(highest, equity)
                deepest = min(deepest, equity / highest)
        values[r] = deepest - 1
    return values


@compiled
def _areas(
    bins: NDArray[np.int64], up: Floats, ends_level: NDArray[np.bool_], counts: Floats
) -> Floats:
    """Return the area under the ROC curve on every timeline, from rows sorted by score.

    A row that ends a level is the last one of its score.
    """
    values = np.empty(len(counts))
    for r in range(len(counts)):
        pairs, ups, downs, level_ups, level_downs = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(len(bins)):
            count = counts[r, bins[k]]
            level_ups += count * up[k]
            level_downs += count * (1 - up[k])
            if ends_level[k]:
                pairs += level_ups * (downs + level_downs / 2)
                ups, downs = ups + level_ups, downs + level_downs
                level_ups, level_downs = 0.0, 0.0
        both = ups * downs
        values[r] = pairs / both if both else np.nan
    return values
