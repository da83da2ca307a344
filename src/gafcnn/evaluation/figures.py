"""Figures that are given with a confidence interval, as functions of what happened bar by bar.

A figure holds series over the n bars of a timeline, so that the bars can be resampled in bins.
Ratios, means of ratios, Sharpe and Sortino ratios are functions of sums over the bars: they need
only how often each bin was drawn. So does the area under the ROC curve, a function of ranks, once
the rows are sorted by score. A drawdown needs the order of the bins and four numbers for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gafcnn.evaluation import statistics
from gafcnn.evaluation.statistics import Floats, divide
from gafcnn.kernels import compiled

Series: TypeAlias = NDArray[Any]
"""One finite number per bar, shape (n,); booleans count as 0 and 1."""

_ROUNDING = 1e-12  # a variance below this share of the mean square is a rounding error


class Bins:
    """Bins of the bars of a timeline, and the sums of series over them."""

    def __init__(self, starts: NDArray[np.int64]) -> None:
        self.starts = starts  # first bar of each bin, shape (bins,)
        self._columns: dict[bytes, tuple[int, Floats]] = {}  # by their content

    def add(self, series: Series) -> int:
        """Add the sums of a series, and return their column.

        Equal series share a column. This also keeps equal figures exactly equal, which a matrix
        product of two columns does not guarantee.
        """
        sums = np.add.reduceat(np.asarray(series, np.float64), self.starts)
        return self._columns.setdefault(sums.tobytes(), (len(self._columns), sums))[0]

    def resample(self, picks: NDArray[np.int64]) -> Resamples:
        """Return timelines from the bins of each, in order, shape (batch, bins)."""
        n = len(self.starts)
        counts = np.array([np.bincount(drawn, minlength=n) for drawn in picks], np.float64)
        sums = np.reshape([one for _, one in self._columns.values()], (-1, n))
        return Resamples(picks, counts, counts @ sums.T)


class Resamples(NamedTuple):
    """A batch of resampled timelines."""

    picks: NDArray[np.int64]  # the bins of each timeline, in order, shape (batch, bins)
    counts: Floats  # how often each bin was drawn, of the same shape
    totals: Floats  # the sums of all series, shape (batch, columns)


Compute = Callable[[Resamples], Floats]
"""Computes a figure on each timeline of a batch: shape (batch,), NaN where it is undefined."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of the observed bars, which can be computed on resampled timelines as well."""

    value: float | None  # on the observed bars; None if undefined
    # at which bars there is anything that the figure is computed from, shape (n,)
    rests: NDArray[np.bool_]
    prepare: Callable[[Bins], Compute]  # returns what computes it on timelines of these bins


Counted: TypeAlias = tuple[Figure, int]
"""A figure, and the number of rows or trades that it is computed from."""


def of_sums(
    series: Sequence[Series], of: Callable[..., Floats], rests: NDArray[np.bool_]
) -> Figure:
    """Return the figure that `of` computes from the sums of series, of any shape; NaN if undefined.

    `rests` are the bars at which there is anything that it is computed from, shape (n,).
    """

    def prepare(bins: Bins) -> Compute:
        columns = [bins.add(one) for one in series]
        return lambda drawn: of(*(drawn.totals[:, column] for column in columns))

    value = float(of(*(np.sum(one, keepdims=True, dtype=float) for one in series))[0])
    return Figure(None if np.isnan(value) else value, rests, prepare)


def ratio(numerator: Series, denominator: Series) -> Figure:
    """Return `sum(numerator) / sum(denominator)`: a share, a mean, a profit factor."""
    return of_sums((numerator, denominator), divide, denominator != 0)


def mean_ratio(numerators: Sequence[Series], denominators: Sequence[Series]) -> Figure:
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
    return of_sums((*numerators, *denominators), of, rests)


def sharpe(returns: Floats, periods: float, known: Series | None = None) -> Figure:
    """Return mean over standard deviation (ddof=1) of returns per bar, annualised (Sharpe, 1994).

    A year has `periods` bars. The ratio of constant returns is undefined. Returns are those of the
    bars that are `known`, by default all; they are 0 at the others.
    """
    known = np.ones(len(returns)) if known is None else known

    def of(n: Floats, total: Floats, squares: Floats) -> Floats:
        mean, mean_square = divide(total, n), divide(squares, n)
        variance = divide(squares - divide(total**2, n), n - 1)
        varies = variance > _ROUNDING * mean_square
        return divide(mean, np.sqrt(np.where(varies, variance, 0.0))) * np.sqrt(periods)

    return of_sums((known, returns, returns**2), of, returns != 0)


def sortino(returns: Floats, periods: float) -> Figure:
    """Return mean over downside deviation, the root mean square of min(r, 0), annualised.

    Sortino and Price, Performance Measurement in a Downside Risk Framework (1994), target 0.
    """

    def of(n: Floats, total: Floats, losses: Floats) -> Floats:
        return divide(total / n, np.sqrt(losses / n)) * np.sqrt(periods)

    downside = np.minimum(returns, 0.0) ** 2
    return of_sums((np.ones(len(returns)), returns, downside), of, returns != 0)


def drawdown(returns: Floats) -> Figure:
    """Return the largest fall of the equity from its running maximum, -1 to 0; one return a bar."""

    def prepare(bins: Bins) -> Compute:
        edges = np.append(bins.starts, len(returns))
        return lambda drawn: _drawdowns(returns, edges, drawn.picks)

    return Figure(statistics.max_drawdown(returns), returns != 0, prepare)


def auc(score: Floats, up: NDArray[np.bool_], places: NDArray[np.int64], n: int) -> Figure:
    """Return the area under the ROC curve, see `statistics.auc`.

    Forecasts and whether prices went up have shape (rows,); `places` are the bars of the rows, of
    which several symbols may share one, and `n` counts those of the timeline.
    """

    def prepare(bins: Bins) -> Compute:
        order = np.argsort(score, kind="stable")
        ordered, ups = score[order], up[order].astype(np.float64)
        at = np.searchsorted(bins.starts, places[order], side="right") - 1
        ends_level = np.append(ordered[1:] != ordered[:-1], [True] * bool(len(ordered)))
        return lambda drawn: _areas(at, ups, ends_level, drawn.counts)

    return Figure(statistics.auc(score, up), np.bincount(places, minlength=n) > 0, prepare)


def held_figures(returns: Floats, periods: float) -> dict[str, float | None]:
    """Return what a benchmark that is always held earns."""
    ratios = {"sharpe": sharpe(returns, periods).value, "sortino": sortino(returns, periods).value}
    total = statistics.growth(returns, periods)["total_return"]
    return ratios | {"max_drawdown": statistics.max_drawdown(returns), "total_return": total}


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
        "max_drawdown": drawdown(returns),
        "exposure": ratio(bars["exposure"], bars["every"]),
        "turnover": ratio(turns * bars["traded"], bars["every"]),
    }


@compiled
def _drawdowns(returns: Floats, edges: NDArray[np.int64], picks: NDArray[np.int64]) -> Floats:
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
