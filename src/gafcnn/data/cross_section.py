"""Cross-sections: symbols compared with each other at the same decision time.

A label of a cross-section is a target that depends on the returns of all symbols from `t` to
`t + horizon`: which of them will do better than the others, whatever the market does. Models of it
forecast a score, of which only the order among the symbols of a decision time means anything (Gu,
Kelly and Xiu, "Empirical Asset Pricing via Machine Learning", Review of Financial Studies, 2020).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gafcnn.data.bars import calendar_of, interval_of
from gafcnn.data.labels import Outcomes, forward_outcomes, register_label
from gafcnn.data.windows import close_times
from gafcnn.durations import Duration, format_duration, multiple_of
from gafcnn.errors import ConfigError, SamplesError
from gafcnn.settings import settings

Floats = NDArray[np.float64]
Rows: TypeAlias = Sequence[NDArray[Any]]  # of integers
Times = NDArray[np.datetime64]

_FEW_DELISTED = 0.01  # of the symbols, each year; of US stocks it is some 5 %


class _Relation:
    """What the labels of a cross-section have in common."""

    classes: tuple[str, ...] = ()
    horizon: pd.Timedelta

    def outcomes(self, bars: pd.DataFrame, rows: NDArray[np.int64]) -> Outcomes:
        """Return the return to the close one horizon later, see `forward_outcomes`."""
        return forward_outcomes(bars, rows, self.horizon)


@register_label("relative")
@settings("label")
class Relative(_Relation):
    """The return over the horizon less that of the market, in units of its dispersion.

        (r_i - mean_j r_j) / sd_j r_j,    clipped to [-clip, clip]

    with the mean and the standard deviation (ddof=1) over all symbols that are decided at `t` and
    have a known return. A decision time with one of them has no target.

    Args:
        horizon: A multiple of the bars' interval.
        market: Symbol whose return is subtracted in place of the mean; None for the mean.
        clip: The largest target.
    """

    horizon: Duration = pd.Timedelta("1D")
    market: str | None = None
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0

    def relate(self, returns: Floats, times: Times, symbols: NDArray[np.str_]) -> Floats:
        """Return the targets of samples, NaN where they are unknown: shape (n,).

        They follow from the forward returns, decision times and symbols, each of shape (n,), of all
        samples of some decision times.
        """
        found: Any = pd.Series(returns)
        by_time = found.groupby(times)
        level = by_time.transform("mean")
        if self.market is not None:
            of_market = symbols == self.market
            level = pd.Series(returns[of_market], times[of_market]).reindex(times).to_numpy()
        dispersion = by_time.transform("std")
        target = (found - level) / dispersion.where(dispersion > 0)
        return target.clip(-self.clip, self.clip).to_numpy()


@register_label("rank")
@settings("label")
class Rank(_Relation):
    """The quantile of the return over the horizon among all symbols, from -0.5 to 0.5.

    Of n symbols decided at `t`, the k-th lowest return has the target `(k - 0.5) / n - 0.5`; equal
    returns share the mean of their ranks. A decision time with one symbol has no target. The
    horizon is a multiple of the bars' interval.
    """

    horizon: Duration = pd.Timedelta("1D")

    def relate(self, returns: Floats, times: Times, symbols: NDArray[np.str_]) -> Floats:
        """Return the targets of samples, see `Relative.relate`."""
        by_time: Any = pd.Series(returns).groupby(times)
        n = by_time.transform("count")
        return ((by_time.rank() - 0.5) / n - 0.5).where(n > 1).to_numpy()


@register_label("above_median")
@settings("label")
class AboveMedian(_Relation):
    """Whether the return over the horizon is above (1) or below (0) the median of all symbols.

    A return that equals the median has no label. The horizon is a multiple of the bars' interval.
    """

    classes = ("below", "above")
    horizon: Duration = pd.Timedelta("1D")

    def relate(self, returns: Floats, times: Times, symbols: NDArray[np.str_]) -> Floats:
        """Return 1, 0 or NaN for each sample, see `Relative.relate`."""
        found = pd.Series(returns)
        apart = found - found.groupby(times).transform("median")
        return np.where(apart == 0, np.nan, np.where(apart.isna(), np.nan, apart > 0))


def check_market(label: Any, symbols: Sequence[str]) -> None:
    """Raise a ConfigError if there is one symbol, or not the market that a label compares with."""
    if len(symbols) < 2:
        raise ConfigError(
            f"the label {getattr(label, 'kind', label)} for bars of {len(symbols)} symbol",
            expected="bars of several symbols, which it compares",
            instead="read several, as in market.path=[a.csv,b.csv], or set label=direction",
        )
    market = getattr(label, "market", None)
    if market is not None and market not in symbols:
        raise ConfigError(
            f"label.market is {market}",
            expected=f"one of the symbols, {', '.join(symbols[:9])}",
            instead="correct it, or leave it out for the mean of all symbols",
        )


@settings("universe")
class Universe:
    """Which symbols are compared at a decision time: those that are traded most.

    A symbol needs its lookback in any case, and with a quantile above 0 the bars of `over`.

    Args:
        quantile: Share of the symbols, those with the smallest traded value, that is left out.
        over: Trading time up to `t` over which the traded value (close times volume) of a bar is
            averaged; a multiple of the bars' interval.
    """

    quantile: Annotated[float, Field(ge=0, lt=1)] = 0.0
    over: Duration = pd.Timedelta("30D")

    def select(self, bars: Sequence[pd.DataFrame], rows: Rows) -> list[NDArray[Any]]:
        """Return the rows of each symbol's bars at which it is in the universe."""
        if not self.quantile:
            return [*rows]
        values = [traded_value(frame, self.over)[at] for frame, at in zip(bars, rows, strict=True)]
        times = [close_times(frame)[at] for frame, at in zip(bars, rows, strict=True)]
        share: Any = pd.Series(np.concatenate(values)).groupby(np.concatenate(times)).rank(pct=True)
        inside = (share > self.quantile).to_numpy()
        if not inside.any():
            raise SamplesError(
                f"no decision follows bars of {format_duration(self.over)} with a traded value",
                expected="bars with a volume, and more of them than universe.over",
                instead="use more bars, a shorter universe.over, or universe.quantile=0",
            )
        ends = np.cumsum([len(at) for at in rows])[:-1]
        return [at[kept] for at, kept in zip(rows, np.split(inside, ends), strict=True)]


def traded_value(bars: pd.DataFrame, over: pd.Timedelta) -> Floats:
    """Return the mean value traded in a bar, over the time up to each bar: shape (n_bars,).

    It is in the currency of the prices, and NaN for the first bars.
    """
    value: Any = bars["quote_volume"] if "quote_volume" in bars else bars["close"] * bars["volume"]
    length = multiple_of("universe.over", over, interval_of(bars))
    return value.rolling(length).mean().to_numpy(np.float64)


def on_schedule(
    bars: Sequence[pd.DataFrame], rows: Rows, every: pd.Timedelta
) -> list[NDArray[Any]]:
    """Return the rows of each symbol's bars that are on the schedule of `split.every`."""
    interval = interval_of(bars[0])
    step = multiple_of("split.every", every, interval)
    times = [close_times(frame) for frame in bars]
    if calendar_of(bars[0]) is None:  # bars may close off the multiples of their interval
        numbers = [one.astype(np.int64) // interval.value for one in times]
    else:
        all_times = np.unique(np.concatenate(times))
        numbers = [np.searchsorted(all_times, one) for one in times]
    return [at[number[at] % step == 0] for at, number in zip(rows, numbers, strict=True)]


def outcomes_together(label: Any, bars: Sequence[pd.DataFrame], rows: Rows) -> Outcomes:
    """Return the outcomes at the rows of each symbol's bars, one symbol after another.

    In a cross-section, a symbol without a bar at the horizon is sold at its next close, or at its
    last one if it ends before the others: otherwise the decisions before a halt or a delisting
    would be left out, and with them its losses. An outcome is known when those of all symbols
    decided at the same time are, as the target depends on all of them.
    """
    parts = [label.outcomes(frame, at.astype(int)) for frame, at in zip(bars, rows, strict=True)]
    if not hasattr(label, "relate"):
        return Outcomes.concatenate(parts)
    every = reduce(pd.Index.union, [frame.index for frame in bars])
    places = [every.searchsorted(frame.index[at]) for frame, at in zip(bars, rows, strict=True)]
    due, latest = np.full((2, len(every)), np.datetime64("NaT", "ns"))
    for at, part in zip(places, parts, strict=True):
        due[at] = np.fmin(due[at], part.known_at)
    for k, (at, part) in enumerate(zip(places, parts, strict=True)):
        returns, ends = _sold_late(bars[k], rows[k], due[at])
        cut = np.isnat(part.known_at) & ~np.isnat(due[at]) & ~np.isnat(ends)
        known_at = np.where(cut, ends, part.known_at)
        parts[k] = Outcomes(np.where(cut, returns, part.forward_return), known_at, part.value)
        latest[at] = np.fmax(latest[at], known_at)
    for at, part in zip(places, parts, strict=True):
        np.copyto(part.known_at, latest[at], where=~np.isnat(part.known_at))
    return Outcomes.concatenate(parts)


def _sold_late(bars: pd.DataFrame, rows: NDArray[np.int64], due: Times) -> tuple[Floats, Times]:
    """Return the return from each row's close to the first close from `due` on, and when that is.

    It is to the last close if there is none, and never known (NaT) if that is the row's own.
    """
    close, times = bars["close"].to_numpy(np.float64), close_times(bars)
    at = np.minimum(np.searchsorted(times, due), len(times) - 1)
    return close[at] / close[rows] - 1, np.where(at > rows, times[at], np.datetime64("NaT", "ns"))


def describe_universe(
    bars: Mapping[str, pd.DataFrame], times: Times, starts: Sequence[int], known_at: Times
) -> str:
    """Return how many symbols each year has; warn if hardly any ends before the last decision."""
    counts: Counter[int] = Counter()
    for first, stop in pairwise([*starts, len(times)]):
        counts.update(np.unique(times[first:stop].astype("datetime64[Y]").astype(int) + 1970))
    text = "symbols by year: " + ", ".join(f"{year} {n}" for year, n in sorted(counts.items()))
    decided = np.where(np.isnat(known_at), known_at, times)
    last = np.fmax.reduce(decided, initial=np.datetime64("NaT", "ns"))
    gone, years = sum(close_times(frame)[-1] <= last for frame in bars.values()), len(counts)
    if gone < _FEW_DELISTED * len(bars) * years:
        text += (
            f"; {len(bars) - gone} of {len(bars)} trade until the end: symbols that were delisted "
            "seem to be missing, which flatters results (survivorship bias)"
        )
    return text
