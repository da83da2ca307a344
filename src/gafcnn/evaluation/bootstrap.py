"""Confidence intervals by the stationary bootstrap, paired over models.

Blocks of consecutive observations of random length are drawn with replacement until a timeline is
as long as the observed one (Politis and Romano, "The Stationary Bootstrap", JASA, 1994), which
keeps the dependence in time. An observation is a bin of bars as long as the horizon, because
outcomes within it overlap anyway. Every figure of every model is computed on the same timelines, so
that differences between models are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.durations import format_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.figures import Compute, Figure, OfSums, Resamples
from gafcnn.evaluation.statistics import Floats
from gafcnn.settings import settings

K = TypeVar("K")

LEVEL = 0.95
"""Confidence level of the intervals."""

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


@settings("judging")
class Bootstrap:
    """Draws timelines of bins of bars, always the same ones, and computes figures on them.

    Args:
        bin: Bars per bin: those of the horizon.
        n: Bars of the timeline. The last bin may be shorter.
        block: Mean length of a block, in bins (see `block_length`).
        resamples: Number of timelines; with 0 there are no intervals.
        seed: Seed of the draws.

    Raises:
        ConfigError: A number is out of its range.
    """

    bin: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=1)]
    block: Annotated[float, Field(ge=1)]
    resamples: Annotated[int, Field(ge=0)] = 2000
    seed: int = 0

    @property
    def starts(self) -> NDArray[np.int64]:
        """First bar of each bin, shape (bins,)."""
        return np.arange(0, self.n, self.bin)

    def distributions(self, figures: Mapping[K, Figure]) -> dict[K, Floats]:
        """Compute each figure on each timeline: arrays of shape (resamples,), NaN if undefined.

        Only sums over bins of a figure's series are kept in memory.

        Args:
            figures: Figures of `n` bars each.

        Raises:
            PredictionsError: A figure has another number of bars.
        """
        if not self.resamples:
            return {key: np.empty(0) for key in figures}
        columns: dict[bytes, tuple[int, Floats]] = {}
        compute = {key: self._prepare(figure, columns) for key, figure in figures.items()}
        sums = np.reshape([one for _, one in columns.values()], (-1, len(self.starts))).T
        values = {key: np.empty(self.resamples) for key in figures}
        with ThreadPoolExecutor() as pool:
            for part, picks in self._batches():
                drawn = Resamples(picks, sums)
                found = [pool.submit(one, drawn) for one in compute.values()]
                for key, one in zip(compute, found, strict=True):
                    values[key][part] = one.result()
        return values

    def trusted(self, figures: Mapping[K, Figure]) -> dict[K, Floats]:
        """As `distributions`, but NaN for figures that rest on fewer than `LEAST_BINS` bins."""
        drawn = self.distributions(figures)
        for key, figure in figures.items():
            if np.count_nonzero(np.add.reduceat(figure.rests, self.starts)) < LEAST_BINS:
                drawn[key] = drawn[key] * np.nan
        return drawn

    def describe(self, interval: pd.Timedelta) -> dict[str, Any]:
        """Return how intervals were computed, ready for JSON; `interval` is that of the bars."""
        return {
            "resamples": self.resamples,
            "block": self.block,
            "bin": format_duration(self.bin * interval),
            "level": LEVEL,
            "seed": self.seed,
        }

    def _prepare(self, figure: Figure, columns: dict[bytes, tuple[int, Floats]]) -> Compute:
        """Add the sums that a figure needs to the columns, and return what computes it.

        Equal series share a column. This also keeps equal figures exactly equal, which a matrix
        product of two columns does not guarantee.
        """
        if len(figure.rests) != self.n:
            raise PredictionsError(
                f"a figure has {len(figure.rests):,} bars",
                expected=f"the {self.n:,} bars of the bootstrap",
                instead="place every figure on one timeline",
            )
        if not isinstance(figure, OfSums):
            return figure.prepare(self.starts)
        numbers = []
        for series in figure.series:
            sums = np.add.reduceat(np.asarray(series, np.float64), self.starts)
            key = hashlib.sha256(sums.tobytes()).digest()
            numbers.append(columns.setdefault(key, (len(columns), sums))[0])
        return lambda drawn: figure.of(*(drawn.totals[:, number] for number in numbers))

    def _batches(self) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield positions of resamples, and the bins drawn for each: shape (batch, bins)."""
        # arch imports statsmodels, which takes seconds
        from arch.bootstrap import StationaryBootstrap

        # the mean length may be fractional, despite the annotation
        length: Any = self.block
        bootstrap = StationaryBootstrap(length, np.arange(len(self.starts)), seed=self.seed)
        draws = bootstrap.bootstrap(self.resamples)
        for start in range(0, self.resamples, _BATCH):
            part = slice(start, min(start + _BATCH, self.resamples))
            yield part, np.stack([next(draws)[0][0] for _ in range(part.stop - start)])


def estimate(figure: Figure, distribution: Floats, n: int) -> Estimate:
    """Return the figure with its percentile interval.

    Args:
        figure: The figure.
        distribution: The figure on each timeline (see `Bootstrap.distributions`).
        n: Rows or trades that it is computed from.

    Returns:
        An estimate; without an interval if the figure, or more than half of the timelines' values,
        are undefined.
    """
    return _estimate(figure.value, distribution, n)


def difference(a: Figure, b: Figure, dist_a: Floats, dist_b: Floats, n: int) -> Estimate:
    """Return `a - b` with its percentile interval, paired on the same timelines."""
    value = None if a.value is None or b.value is None else a.value - b.value
    return _estimate(value, dist_a - dist_b, n)


def exact(share: Estimate) -> Estimate:
    """Return a share with the interval of Clopper and Pearson, Biometrika, 1934.

    If all rows agree, every resample does, and a percentile interval would be a point. This one
    assumes independent rows.
    """
    from scipy.stats import binomtest

    if share.value is None or not share.n:
        return share
    found = binomtest(round(share.value * share.n), share.n).proportion_ci(LEVEL, method="exact")
    return replace(share, low=float(found.low), high=float(found.high))


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

    longest = 1.0
    for one in series:
        sums = np.add.reduceat(np.asarray(one, np.float64), np.arange(0, len(one), bin))
        if len(sums) < _FEWEST or np.ptp(sums) == 0:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            length = float(optimal_block_length(sums)["stationary"].iloc[0])
        if np.isfinite(length):
            longest = max(longest, min(length, len(sums) / 4))
    return longest


def _estimate(value: float | None, distribution: Floats, n: int) -> Estimate:
    finite = distribution[np.isfinite(distribution)]
    if value is None or not len(finite) or 2 * len(finite) < len(distribution):
        return Estimate(value, None, None, n)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), n)
