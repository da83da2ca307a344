"""Confidence intervals by the stationary bootstrap, paired over models.

Blocks of consecutive observations of random length are drawn with replacement until a timeline is
as long as the observed one (Politis and Romano, "The Stationary Bootstrap", JASA, 1994), which
keeps the dependence in time. An observation is a bin of bars as long as the horizon, because
outcomes within it overlap anyway. Every figure of every model is computed on the same timelines, so
that differences between models are paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import format_duration
from gafcnn.evaluation.figures import Bins, Counted, Figure
from gafcnn.evaluation.statistics import LEVEL, Floats, Row, estimate, interval

K = TypeVar("K")

# bins that a figure needs for an interval: with two trades won, every resample says 100 %
LEAST_BINS = 10
_BATCH = 256  # timelines at a time: with 13,334 bins, their counts take 27 MB
_FEWEST = 12  # bins that the choice of the block length needs


@dataclass(frozen=True)
class Sampled:
    """A figure on the observed timeline and on the resampled ones."""

    value: float | None  # on the observed timeline; None if undefined
    n: int  # rows or trades that it is computed from
    drawn: Floats  # on each resampled timeline, NaN if undefined: shape (resamples,)

    def __sub__(self, other: Sampled) -> Sampled:
        """Return the difference, paired on the same timelines."""
        one, two = self.value, other.value
        value = None if one is None or two is None else one - two
        return Sampled(value, min(self.n, other.n), self.drawn - other.drawn)

    def estimate(self) -> Row:
        """Return the figure with its percentile interval.

        It has none if the figure, or more than half of the timelines' values, are undefined.
        """
        finite = self.drawn[np.isfinite(self.drawn)]
        if self.value is None or not len(finite) or 2 * len(finite) < len(self.drawn):
            return estimate(self.value, self.n)
        return estimate(self.value, self.n, *interval(finite))


@dataclass(frozen=True)
class Bootstrap:
    """Draws timelines of bins of bars, always the same ones, and computes figures on them.

    Args:
        bin: Bars per bin: those of the horizon.
        n: Bars of the timeline. The last bin may be shorter.
        block: Mean length of a block, in bins (see `block_length`).
        resamples: Number of timelines; with 0 there are no intervals.
        seed: Seed of the draws.
    """

    bin: int
    n: int
    block: float
    resamples: int = 2000
    seed: int = 0

    @property
    def starts(self) -> NDArray[np.int64]:
        """First bar of each bin, shape (bins,)."""
        return np.arange(0, self.n, self.bin)

    def distributions(self, figures: Mapping[K, Figure]) -> dict[K, Floats]:
        """Compute each figure on each timeline: arrays of shape (resamples,), NaN if undefined.

        Only sums over bins of a figure's series are kept in memory.
        """
        from arch.bootstrap import StationaryBootstrap  # imports statsmodels, which takes seconds

        bins = Bins(self.starts)
        compute = {key: figure.prepare(bins) for key, figure in figures.items()}
        values = {key: np.empty(self.resamples) for key in figures}
        length: Any = self.block  # may be fractional, despite arch's annotation
        bootstrap = StationaryBootstrap(length, np.arange(len(self.starts)), seed=self.seed)
        draws = (picks for [picks], _ in bootstrap.bootstrap(self.resamples))
        with ThreadPoolExecutor() as pool:
            for start in range(0, self.resamples, _BATCH):
                drawn = bins.resample(np.stack([*islice(draws, _BATCH)]))
                found = [pool.submit(one, drawn) for one in compute.values()]
                for key, one in zip(compute, found, strict=True):
                    values[key][start : start + _BATCH] = one.result()
        return values

    def sample(self, figures: Mapping[K, Counted]) -> dict[K, Sampled]:
        """Compute figures, given with their rows or trades, on the observed and all timelines.

        Those that rest on fewer than `LEAST_BINS` bins are undefined on resampled timelines.
        """
        drawn = self.distributions({key: figure for key, (figure, _) in figures.items()})
        for key, (figure, _) in figures.items():
            if np.count_nonzero(np.add.reduceat(figure.rests, self.starts)) < LEAST_BINS:
                drawn[key] = drawn[key] * np.nan
        return {key: Sampled(one.value, n, drawn[key]) for key, (one, n) in figures.items()}

    def describe(self, interval: pd.Timedelta) -> dict[str, Any]:
        """Return how intervals were computed, ready for JSON; `interval` is that of the bars."""
        return {
            "resamples": self.resamples,
            "block": self.block,
            "bin": format_duration(self.bin * interval),
            "level": LEVEL,
            "seed": self.seed,
        }


def exact(share: Row) -> Row:
    """Return a share with the interval of Clopper and Pearson, Biometrika, 1934.

    If all rows agree, every resample does, and a percentile interval would be a point. This one
    assumes independent rows.
    """
    from scipy.stats import binomtest

    value, n = share["value"], share["n"]
    if value is None or not n:
        return share
    found = binomtest(round(value * n), n).proportion_ci(LEVEL, method="exact")
    return estimate(value, n, float(found.low), float(found.high))


def block_length(series: Iterable[NDArray[Any]], bin: int) -> float:  # noqa: A002
    """Return the mean block length that suits the most dependent of these series, in bins.

    Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric
    Reviews, 2004, as corrected by Patton, Politis and White, 2009; on sums over bins of as many
    bars as `bin`. It is at least 1 (independent bins), at most a quarter of the bins. Series have
    shape (n,), one number per bar; constant ones are ignored.
    """
    from arch.bootstrap import optimal_block_length  # takes seconds

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
