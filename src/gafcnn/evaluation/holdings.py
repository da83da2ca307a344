"""What the symbols of a portfolio return between its decisions, whatever the portfolio holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import FUNDING, bars_per_year, interval_of, rolling_volatility
from gafcnn.data.cross_section import traded_value
from gafcnn.data.windows import close_times
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.statistics import Floats

Ints = NDArray[np.int64]
Times = NDArray[np.datetime64]
Bars: TypeAlias = Mapping[str, pd.DataFrame]

CLOSED, OPEN, ENDED = 0, 1, 2
"""Whether a symbol can be traded: it has no bar at the moment, it has one, its bars have ended."""


@dataclass(frozen=True, eq=False)
class Market:
    """What N symbols return between K decisions.

    The entry of a decision is the open of the next bar of any symbol. It holds until the entry of
    the next decision. If there is none within the horizon, everything is sold one horizon after
    the decision, at the close of that bar or of the last one.

    Attributes:
        symbols: N names.
        rows: Position of each decision on the timeline, shape (K,).
        times: K decision times.
        returns: Return of each symbol from the entry to the end of the holding, shape (K, N). A
            symbol without a bar is valued at its last close.
        funding: What a long position pays until then, as a share of its value at the entry, (K, N).
        state: `CLOSED`, `OPEN` or `ENDED` at the entry, shape (K, N).
        sold: Whether everything is sold at the end, shape (K,).
        first: The oldest decision whose slice is held, shape (K,).
        slices: Slices that the capital is divided into: the horizon in decisions, at least 1.
        volatility: Standard deviation of one-bar log returns up to the decision time, (K, N), or
            None.
        value: Value traded in the bar of the entry, in the currency of the prices, shape (K, N).
        per_year: Decisions in a year.
    """

    symbols: tuple[str, ...]
    rows: Ints
    times: pd.DatetimeIndex
    returns: Floats
    funding: Floats
    state: NDArray[np.int8]
    sold: NDArray[np.bool_]
    first: Ints
    slices: int
    volatility: Floats | None
    value: Floats
    per_year: float

    @classmethod
    def align(
        cls, bars: Bars, timeline: Times, rows: Ints, ahead: int, over: pd.Timedelta | None = None
    ) -> Self:
        """Return the market at decisions, by their positions on the timeline (none is the last).

        The timeline has the close times of the bars of any symbol, in order; `ahead` is the horizon
        in bars, and `over` the lookback of the volatility, if it is needed.

        Raises:
            ConfigError: The lookback is not a multiple of the interval, of three bars or more.
        """
        step = int(np.median(np.diff(rows))) if len(rows) > 1 else ahead
        sold = np.diff(rows, append=rows[-1] + ahead + 1) > ahead
        last = np.minimum(rows + ahead, len(timeline) - 1)
        stop = np.where(sold, last, np.roll(rows, -1)) + 1  # the bar after the last of the holding
        frames, entry, start = [*bars.values()], rows + 1, rows[0]
        part, times = timeline[start : stop[-1]], [close_times(frame) for frame in frames]

        def wide(columns: Iterable[Any]) -> Floats:
            """Return columns on a part of the timeline, NaN without a bar: shape (T, N)."""
            found = np.full((len(part), len(times)), np.nan)
            for k, (time, column) in enumerate(zip(times, columns, strict=True)):
                begin = np.searchsorted(time, part[0])
                end = np.searchsorted(time, part[-1], "right")
                inside = np.asarray(column)[begin:end]
                found[np.searchsorted(part, time[begin:end]), k] = inside
            return found

        opens = wide(frame["open"] for frame in frames)[entry - start]
        closes = pd.DataFrame(wide(frame["close"] for frame in frames)).ffill().to_numpy()
        has_bar, ended = ~np.isnan(opens), np.array([time[-1] for time in times])
        price = np.where(has_bar, opens, closes[rows - start])
        end = np.where(sold[:, None], closes[last - start], np.roll(price, -1, axis=0))
        is_over = timeline[entry][:, None] > ended
        slices = max(1, round(ahead / step))
        oldest = np.searchsorted(rows, rows - ahead, side="right")
        funding, volatility = np.zeros(price.shape), None
        if any(FUNDING in frame for frame in frames):
            rate = wide(frame.get(FUNDING, np.zeros(len(frame))) for frame in frames)
            funding = np.nan_to_num(_sums(rate * closes, entry - start, stop - start) / price)
        if over is not None:
            key = "portfolio.volatility_over"
            known = wide(rolling_volatility(frame, key, over) for frame in frames)
            volatility = known[rows - start]
        return cls(
            symbols=tuple(bars),
            rows=rows,
            times=pd.DatetimeIndex(timeline[rows], name="time").tz_localize("UTC"),
            returns=np.nan_to_num(end / price - 1),
            funding=funding,
            state=np.where(is_over, ENDED, np.where(has_bar, OPEN, CLOSED)).astype(np.int8),
            sold=sold,
            first=np.maximum(oldest, np.arange(len(rows)) - slices + 1),
            slices=slices,
            volatility=volatility,
            value=wide(traded_value(one, interval_of(one)) for one in frames)[entry - start],
            per_year=bars_per_year(frames[0]) / step,
        )


def positions_of(timeline: Times, times: Any) -> Ints:
    """Return the positions of decision times on the timeline: shape (n,).

    Raises:
        PredictionsError: A time is not on it.
    """
    wanted = pd.DatetimeIndex(pd.to_datetime(times, utc=True)).to_numpy("datetime64[ns]")
    at = np.searchsorted(timeline, wanted).astype(np.int64)
    off = timeline[np.minimum(at, len(timeline) - 1)] != wanted
    if off.any():
        raise PredictionsError(
            f"no bar closes at {off.sum():,} decision times, first {wanted[off][0]} UTC",
            expected="close times of the bars",
            instead="pass the bars that the predictions were made from",
        )
    return at


def _sums(values: Floats, starts: Ints, stops: Ints) -> Floats:
    """Return the sums of the rows from each start to its stop (exclusive), NaN as 0: (K, N)."""
    padded = np.vstack([np.nan_to_num(values), np.zeros(values.shape[1])])
    # every other sum is from a stop to the next start
    return np.add.reduceat(padded, np.column_stack([starts, stops]).ravel())[::2]
