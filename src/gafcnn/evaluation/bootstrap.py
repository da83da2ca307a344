"""How sure a figure is: intervals by the stationary bootstrap, paired over models.

Blocks of consecutive observations, of random length, are drawn with replacement until a timeline
is as long as the observed one (Politis and Romano, "The Stationary Bootstrap", JASA, 1994), so that
what hangs together in time stays together. An observation is a bin of bars, as long as the horizon:
within it outcomes overlap anyway. Every figure of every model is computed on the same timelines,
so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from operator import methodcaller
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from gafcnn.errors import ConfigError
from gafcnn.evaluation.figures import Auc, Drawdown, Figure, Floats, MeanRatio, Ratio, value_of
from gafcnn.evaluation.resampling import BinPaths, BinTotals, RankedRows, Resamples, SumTable

K = TypeVar("K")

LEAST_BINS = 10
"""Bins that a figure needs for an interval: of two trades won, every resample says 100 %."""

_BATCH = 256  # timelines at a time: of 13,334 bins, their counts are 27 MB
_FEWEST = 12  # bins, below which the lags that the block length looks at do not fit


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval, and the number of rows or trades that it rests on.

    Attributes:
        value: The figure of the data itself; None where it is undefined.
        low: Lower end of the interval; None where there is none.
        high: Upper end of the interval.
        n: Rows or trades.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The estimate, ready for JSON."""
        return asdict(self)


class Bootstrap:
    """Draws timelines of bins of bars, always the same ones, and computes figures on them.

    Args:
        bin: Bars to a bin: those of the horizon.
        n: Bars of the timeline. The last bin holds what is left of them.
        block: Mean length of a block, in bins (see `block_length`).
        resamples: Timelines to draw; with 0 there are no intervals.
        seed: Of the draws.
        level: The share of the timelines that an interval is to hold (see `estimate`).

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(
        self,
        bin: int,  # noqa: A002  the field's word
        n: int,
        block: float,
        resamples: int = 2000,
        seed: int = 0,
        level: float = 0.95,
    ) -> None:
        _check_least("bin", bin, 1, "bars")
        _check_least("n", n, 1, "bars")
        _check_least("block", block, 1, "bins")
        _check_least("resamples", resamples, 0, "timelines")
        self.bin, self.n, self.block = bin, n, float(block)
        self.resamples, self.seed, self.level = resamples, seed, level

    def distributions(
        self, figures: Mapping[K, Figure], advance: Callable[[int], None] | None = None
    ) -> dict[K, Floats]:
        """Each figure on each timeline: arrays of shape (resamples,), NaN where it is undefined.

        Only sums over bins are kept of a figure's series, so a mapping that makes its figures one
        by one needs little memory.

        Args:
            figures: Figures of `n` bars each.
            advance: Told, now and then, how many timelines more are done.

        Raises:
            PredictionsError: A figure to be resampled is of another number of bars.
        """
        if not self.resamples:
            return {key: np.empty(0) for key in figures}
        starts = np.arange(0, self.n, self.bin)
        table = SumTable(starts, self.n)
        binned = {key: _binned(figure, table) for key, figure in figures.items()}
        sums = table.matrix()
        values = {key: np.empty(self.resamples) for key in binned}
        with ThreadPoolExecutor() as pool:
            for part, picks in self._batches(len(starts)):
                on_drawn = methodcaller("on", Resamples(picks, sums))
                for key, found in zip(binned, pool.map(on_drawn, binned.values()), strict=True):
                    values[key][part] = found
                if advance:
                    advance(len(picks))
        return values

    def trusted(
        self, figures: Mapping[K, Figure], advance: Callable[[int], None] | None = None
    ) -> dict[K, Floats]:
        """As `distributions`, but NaN throughout for what rests on fewer than `LEAST_BINS` bins."""
        return {
            key: draws if bins_of_figure(figures[key], self.bin) >= LEAST_BINS else draws * np.nan
            for key, draws in self.distributions(figures, advance).items()
        }

    def _batches(self, bins: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Which resamples, and the bins drawn for each: shape (batch, bins)."""
        from arch.bootstrap import StationaryBootstrap  # a training need not wait for statsmodels

        # a mean length need not be whole, whatever its annotation says
        bootstrap = StationaryBootstrap(self.block, np.arange(bins), seed=self.seed)  # pyright: ignore[reportArgumentType]
        draws = bootstrap.bootstrap(self.resamples)
        for start in range(0, self.resamples, _BATCH):
            part = slice(start, min(start + _BATCH, self.resamples))
            yield part, np.stack([next(draws)[0][0] for _ in range(part.stop - start)])


def bins_of_figure(figure: Figure, bin: int) -> int:  # noqa: A002
    """How many bins a figure rests on: those with a row, a trade or a return in them."""
    match figure:
        case Auc(counted=counted):
            rests = np.any(counted.reshape(len(counted), -1), axis=1)
        case Ratio(denominator=denominator):
            rests = denominator != 0
        case MeanRatio(denominators=denominators):
            rests = np.any([one != 0 for one in denominators], axis=0)
        case _:
            rests = figure.returns != 0
    return int(np.count_nonzero(np.add.reduceat(rests, np.arange(0, len(rests), bin))))


def estimate(figure: Figure, distribution: Floats, n: int, level: float = 0.95) -> Estimate:
    """The figure with its percentile interval.

    Args:
        figure: What is estimated.
        distribution: The figure on each timeline (see `Bootstrap.distributions`).
        n: Rows or trades that it rests on.
        level: The share of the timelines between the two ends.

    Returns:
        An estimate without an interval where the figure, or more than half of the timelines' ones,
        are undefined.
    """
    return _estimate(value_of(figure), distribution, n, level)


def exact(share: Estimate, level: float = 0.95) -> Estimate:
    """The share with the interval of Clopper and Pearson, Biometrika, 1934, of independent rows.

    Where all rows agree, every resample says the same, and a percentile interval would be a point:
    this one tells what so many rows without a miss, or without a hit, leave possible.
    """
    if share.value is None or not share.n:
        return share
    found = binomtest(round(share.value * share.n), share.n).proportion_ci(level, method="exact")
    return replace(share, low=float(found.low), high=float(found.high))


def difference(
    a: Figure, b: Figure, dist_a: Floats, dist_b: Floats, n: int, level: float = 0.95
) -> Estimate:
    """`a - b` with its percentile interval, paired: both on the same timelines (see `estimate`)."""
    value_a, value_b = value_of(a), value_of(b)
    value = None if value_a is None or value_b is None else value_a - value_b
    return _estimate(value, dist_a - dist_b, n, level)


def block_length(series: Iterable[NDArray[Any]], bin: int) -> float:  # noqa: A002
    """The mean length of a block that suits the most dependent of these series, in bins.

    Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric
    Reviews, 2004, as corrected by Patton, Politis and White, 2009; on sums over bins.

    Args:
        series: One number a bar, arrays of shape (n,): the returns of a strategy, a forecast's
            hits. Those that do not vary are passed over.
        bin: Bars to a bin.

    Returns:
        At least 1 (independent bins), at most a quarter of the bins.
    """
    from arch.bootstrap import optimal_block_length  # as above

    longest = 1.0
    for one in series:
        sums = np.add.reduceat(np.asarray(one, np.float64), np.arange(0, len(one), bin))
        if len(sums) < _FEWEST or np.ptp(sums) == 0:
            continue
        # hundreds of short products: several threads of BLAS only wait for each other on them
        with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
            length = float(optimal_block_length(sums)["stationary"].iloc[0])
        if np.isfinite(length):
            longest = max(longest, min(length, len(sums) / 4))
    return longest


def _binned(figure: Figure, table: SumTable) -> BinTotals | BinPaths | RankedRows:
    table.check(figure)
    if isinstance(figure, Auc):
        return RankedRows(figure, table.bin_of_bars())
    if isinstance(figure, Drawdown):
        return BinPaths(figure, table.starts)
    return BinTotals(figure, table)


def _estimate(value: float | None, distribution: Floats, n: int, level: float) -> Estimate:
    finite = distribution[np.isfinite(distribution)]
    if value is None or not len(finite) or 2 * len(finite) < len(distribution):
        return Estimate(value, None, None, n)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)


def _check_least(key: str, value: float, least: int, unit: str) -> None:
    if not value >= least:
        raise ConfigError(
            f"the bootstrap's {key} is {value}",
            expected=f"{least} or more {unit}",
            instead="leave it out, or raise it",
        )
