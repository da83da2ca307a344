"""At which prices a trade would have been made, for every row and either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import interval_of
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.trading_rules import Rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sides = NDArray[np.int8]

LONG, SHORT = 1, -1


@dataclass(frozen=True)
class Exits:
    """Where n trades end.

    Attributes:
        bar: The number of the bar, counted in the bars: ndarray of shape (n,), int64.
        price: ndarray of shape (n,), float64.
    """

    bar: Ints
    price: Floats


@dataclass(frozen=True)
class Fills:
    """The prices of the trades that n rows could have made.

    Attributes:
        decided: The number, counted in the bars, of the bar that closes at `t`: shape (n,), int64.
        entry: The open of the next bar: ndarray of shape (n,), float64.
        long: Where a purchase ends.
        short: Where a short sale ends.
        ahead: The horizon, in bars.
        horizon: The horizon, as a length of time.
    """

    decided: Ints
    entry: Floats
    long: Exits
    short: Exits
    ahead: int
    horizon: pd.Timedelta

    @property
    def entry_bar(self) -> Ints:
        """The number of the bar at whose open a trade begins: ndarray of shape (n,)."""
        return self.decided + 1

    def exits(self, side: Sides) -> Exits:
        """Where the trades of these sides end: `side` is 1 or -1, ndarray of shape (n,)."""
        return Exits(
            bar=np.where(side == SHORT, self.short.bar, self.long.bar),
            price=np.where(side == SHORT, self.short.price, self.long.price),
        )


def gross_return(side: Sides, ratio: Floats) -> Floats:
    """What trades earn before costs: s (x - 1), with x = exit / entry."""
    return side * (ratio - 1)


def net_return(side: Sides, ratio: Floats, cost_bps: float) -> Floats:
    """What is left after costs of c on the notional of either end: s (x - 1) - c (1 + x)."""
    return gross_return(side, ratio) - cost_bps / 1e4 * (1 + ratio)


def outcomes(bars: pd.DataFrame, times: Any, horizon: DurationLike, rules: Rules) -> Fills:
    """What a trade of either side would have been filled at, for every row.

    Orders fill whole, at the prices the bars show. A barrier is reached by the first bar, from the
    entry on, whose high or low touches it, and fills there, or at the bar's open where the bar
    opens beyond it. A bar that reaches both barriers is a stop: its prices do not tell which came
    first.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC), increasing: n of them.
        horizon: A multiple of the bars' interval.
        rules: For its barriers.

    Raises:
        PredictionsError: Times are not increasing, not among the bars, or one of the bars up to
            the horizon is missing.
        ConfigError: The horizon is no multiple of the bars' interval.
    """
    horizon = parse_duration("label.horizon", horizon)
    ahead = multiple_of("label.horizon", horizon, interval_of(bars))
    decided = rows_of(bars, times)
    _check_whole(bars, decided, ahead, horizon)
    entry = bars["open"].to_numpy(np.float64)[decided + 1]
    if rules.take_profit_bps is None and rules.stop_loss_bps is None:
        end = decided + ahead
        long = short = Exits(end, bars["close"].to_numpy(np.float64)[end])
    else:
        long = _exits_at_barriers(bars, decided, entry, LONG, ahead, rules)
        short = _exits_at_barriers(bars, decided, entry, SHORT, ahead, rules)
    return Fills(decided, entry, long, short, ahead, horizon)


def rows_of(bars: pd.DataFrame, times: Any) -> Ints:
    """The numbers of the bars that close at these times: ndarray of shape (n,), increasing.

    Raises:
        PredictionsError: There are no times, they do not increase, or one is not among the bars.
    """
    wanted = pd.DatetimeIndex(pd.to_datetime(times, utc=True)).to_numpy("datetime64[ns]")
    if not len(wanted):
        raise PredictionsError(
            "there are no decision times",
            expected="at least one forecast to trade on",
            instead="give a part of the predictions that has rows",
        )
    back = np.flatnonzero(~(np.diff(wanted) > np.timedelta64(0)))
    if len(back):
        raise PredictionsError(
            f"decision time {back[0] + 1} is {_utc(wanted[back[0] + 1])}, "
            f"after {_utc(wanted[back[0]])}",
            expected="times that increase from row to row",
            instead="trade one symbol and one fold at a time, sorted by time",
        )
    closes = bars.index.to_numpy("datetime64[ns]")
    rows = np.searchsorted(closes, wanted)
    absent = np.flatnonzero(closes[np.minimum(rows, len(closes) - 1)] != wanted)
    if len(absent):
        raise PredictionsError(
            f"{len(absent):,} of {len(wanted):,} decision times are not among the bars, "
            f"first {_utc(wanted[absent[0]])}",
            expected="the close times of bars",
            instead="trade on the bars that the forecasts were made of",
        )
    return rows


def _check_whole(bars: pd.DataFrame, decided: Ints, ahead: int, horizon: pd.Timedelta) -> None:
    closes = bars.index.to_numpy("datetime64[ns]")
    end = np.minimum(decided + ahead, len(closes) - 1)
    missing = np.flatnonzero(closes[end] - closes[decided] != horizon.to_timedelta64())
    if len(missing):
        raise PredictionsError(
            f"the bars after {len(missing):,} of {len(decided):,} decision times are not all "
            f"there, first after {_utc(closes[decided[missing[0]]])}",
            expected=f"every bar up to the horizon, {format_duration(horizon)}",
            instead="leave out the rows whose future has a gap or has not come yet",
        )


def _exits_at_barriers(
    bars: pd.DataFrame, decided: Ints, entry: Floats, side: int, ahead: int, rules: Rules
) -> Exits:
    """The first barrier reached, or the horizon; in prices times the side, where up is a gain."""
    names = ("open", "high", "low", "close")
    opens, highs, lows, closes = (side * bars[name].to_numpy(np.float64) for name in names)
    best, worst = (highs, lows) if side == LONG else (lows, highs)
    take = side * entry * (1 + side * _distance(rules.take_profit_bps))
    stop = side * entry * (1 - side * _distance(rules.stop_loss_bps))
    bar = decided + ahead
    price = closes[bar]
    for step in range(ahead, 0, -1):  # backwards, so that the earliest bar is the last to write
        at = decided + step
        for reached, fill in (
            (best[at] >= take, np.maximum(take, opens[at])),
            (worst[at] <= stop, np.minimum(stop, opens[at])),
        ):
            bar[reached], price[reached] = at[reached], fill[reached]
    return Exits(bar, side * price)


def _distance(bps: float | None) -> float:
    return np.inf if bps is None else bps / 1e4


def _utc(time: Any) -> str:
    return f"{pd.Timestamp(time)} UTC"
