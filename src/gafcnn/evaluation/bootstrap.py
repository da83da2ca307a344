"""Confidence intervals by the stationary bootstrap, paired over models.

Blocks of consecutive observations of random length are drawn with replacement until a timeline is
as long as the observed one (Politis and Romano, "The Stationary Bootstrap", JASA, 1994), which
keeps the dependence in time. An observation is a bin of bars as long as the horizon, because
outcomes within it overlap anyway. Every figure of every model is computed on the same timelines, so
that differences between models are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from operator import methodcaller
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gafcnn.errors import ConfigError
from gafcnn.evaluation.figures import Auc, Drawdown, Figure, MeanRatio, Ratio, value_of
from gafcnn.evaluation.resampling import BinPaths, BinSums, RankedRows, Resamples, SumTable
from gafcnn.evaluation.statistics import Floats

K = TypeVar("K")

LEAST_BINS = 10
"""Bins that a figure needs for an interval: with two trades won, every resample says 100 %."""

_BATCH = 256  # timelines at a time: with 13,334 bins, their counts take 27 MB
_FEWEST = 12  # bins that the choice of the block length needs


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: The figure on the observed data; None if undefined.
        low: Lower end of the interval; None if there is none.
        high: Upper end of the interval.
        n: Rows or trades that the figure is computed from.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the estimate, ready for JSON."""
        return asdict(self)


class Bootstrap:
    """Draws timelines of bins of bars, always the same ones, and computes figures on them.

    Args:
        bin: Bars per bin: those of the horizon.
        n: Bars of the timeline. The last bin may be shorter.
        block: Mean length of a block, in bins (see `block_length`).
        resamples: Number of timelines; with 0 there are no intervals.
        seed: Seed of the draws.
        level: Confidence level of the intervals (see `estimate`).

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(
        self,
        bin: int,  # noqa: A002  the statistical term
        n: int,
        block: float,
        resamples: int = 2000,
        seed: int = 0,
        level: float = 0.95,
    ) -> None:
        least = {"bin": (bin, 1), "n": (n, 1), "block": (block, 1), "resamples": (resamples, 0)}
        for key, (value, lowest) in least.items():
            if not value >= lowest:
                raise ConfigError(
                    f"the bootstrap's {key} is {value}",
                    expected=f"{lowest} or more",
                    instead=f"set judging.{key} to {lowest} or more",
                )
        self.bin, self.n, self.block = bin, n, float(block)
        self.resamples, self.seed, self.level = resamples, seed, level

    def distributions(
        self, figures: Mapping[K, Figure], advance: Callable[[int], None] | None = None
    ) -> dict[K, Floats]:
        """Compute each figure on each timeline: arrays of shape (resamples,), NaN if undefined.

        Only sums over bins of a figure's series are kept in memory.

        Args:
            figures: Figures of `n` bars each.
            advance: Called with the number of timelines that were finished.

        Raises:
            PredictionsError: A figure has another number of bars.
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
                on_resamples = methodcaller("on", Resamples(picks, sums))
                found = pool.map(on_resamples, binned.values())
                for key, drawn in zip(binned, found, strict=True):
                    values[key][part] = drawn
                if advance:
                    advance(len(picks))
        return values

    def trusted(
        self, figures: Mapping[K, Figure], advance: Callable[[int], None] | None = None
    ) -> dict[K, Floats]:
        """As `distributions`, but NaN for figures that rest on fewer than `LEAST_BINS` bins."""
        return {
            key: draws if bins_of_figure(figures[key], self.bin) >= LEAST_BINS else draws * np.nan
            for key, draws in self.distributions(figures, advance).items()
        }

    def _batches(self, bins: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield positions of resamples, and the bins drawn for each: shape (batch, bins)."""
        # arch imports statsmodels, which takes seconds
        from arch.bootstrap import StationaryBootstrap

        # the mean length may be fractional, despite the annotation
        length: Any = self.block
        draws = StationaryBootstrap(length, np.arange(bins), seed=self.seed).bootstrap(
            self.resamples
        )
        for start in range(0, self.resamples, _BATCH):
            part = slice(start, min(start + _BATCH, self.resamples))
            yield part, np.stack([next(draws)[0][0] for _ in range(part.stop - start)])


def bins_of_figure(figure: Figure, bin: int) -> int:  # noqa: A002
    """Return how many bins a figure rests on: those with a row, a trade or a return."""
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
    """Return the figure with its percentile interval.

    Args:
        figure: The figure.
        distribution: The figure on each timeline (see `Bootstrap.distributions`).
        n: Rows or trades that it is computed from.
        level: Share of the timelines between the two ends.

    Returns:
        An estimate; without an interval if the figure, or more than half of the timelines' values,
        are undefined.
    """
    return _estimate(value_of(figure), distribution, n, level)


def exact(share: Estimate, level: float = 0.95) -> Estimate:
    """Return a share with the interval of Clopper and Pearson, Biometrika, 1934.

    If all rows agree, every resample does, and a percentile interval would be a point. This one
    assumes independent rows.
    """
    from scipy.stats import binomtest

    if share.value is None or not share.n:
        return share
    found = binomtest(round(share.value * share.n), share.n).proportion_ci(level, method="exact")
    return replace(share, low=float(found.low), high=float(found.high))


def difference(
    a: Figure, b: Figure, dist_a: Floats, dist_b: Floats, n: int, level: float = 0.95
) -> Estimate:
    """Return `a - b` with its percentile interval, paired on the same timelines."""
    value_a, value_b = value_of(a), value_of(b)
    value = None if value_a is None or value_b is None else value_a - value_b
    return _estimate(value, dist_a - dist_b, n, level)


def block_length(series: Iterable[NDArray[Any]], bin: int) -> float:  # noqa: A002
    """Return the mean block length that suits the most dependent of these series, in bins.

    Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric
    Reviews, 2004, as corrected by Patton, Politis and White, 2009; on sums over bins.

    Args:
        series: One number per bar, arrays of shape (n,): returns of a strategy, hits of a forecast.
            Constant series are ignored.
        bin: Bars per bin.

    Returns:
        At least 1 (independent bins), at most a quarter of the bins.
    """
    from arch.bootstrap import optimal_block_length  # see _batches
    from threadpoolctl import threadpool_limits

    longest = 1.0
    for one in series:
        sums = np.add.reduceat(np.asarray(one, np.float64), np.arange(0, len(one), bin))
        if len(sums) < _FEWEST or np.ptp(sums) == 0:
            continue
        # hundreds of short products: threads of BLAS would only wait for each other
        with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
            length = float(optimal_block_length(sums)["stationary"].iloc[0])
        if np.isfinite(length):
            longest = max(longest, min(length, len(sums) / 4))
    return longest


def _binned(figure: Figure, table: SumTable) -> BinSums | BinPaths | RankedRows:
    table.check(figure)
    if isinstance(figure, Auc):
        return RankedRows(figure, table.bin_of_bars())
    if isinstance(figure, Drawdown):
        return BinPaths(figure, table.starts)
    return BinSums(figure, table)


def _estimate(value: float | None, distribution: Floats, n: int, level: float) -> Estimate:
    finite = distribution[np.isfinite(distribution)]
    if value is None or not len(finite) or 2 * len(finite) < len(distribution):
        return Estimate(value, None, None, n)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)
