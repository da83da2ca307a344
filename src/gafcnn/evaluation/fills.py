"""Fills: the prices and costs at which every row could be traded, on either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import ensure_bars, interval_of
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.costs import cost_per_side
from gafcnn.evaluation.trading_rules import TradingRules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sides = NDArray[np.int8]

LONG, SHORT = 1, -1


@dataclass(frozen=True)
class Exits:
    """Where n trades end.

    Attributes:
        bar: Position of the bar, shape (n,), int64.
        price: Price of the exit, shape (n,).
        cost: Cost of the exit, in basis points, shape (n,).
    """

    bar: Ints
    price: Floats
    cost: Floats


@dataclass(frozen=True)
class Fills:
    """The prices and costs of the trades that n rows could make.

    Attributes:
        decided: Position of the bar that closes at `t`, shape (n,), int64.
        entry: Open of the next bar, shape (n,).
        entry_cost: Cost of the entry, in basis points, shape (n,).
        long: Exits of purchases.
        short: Exits of short sales.
        ahead: Horizon in bars.
        horizon: Horizon.
    """

    decided: Ints
    entry: Floats
    entry_cost: Floats
    long: Exits
    short: Exits
    ahead: int
    horizon: pd.Timedelta

    @property
    def entry_bar(self) -> Ints:
        """Position of the bar at whose open a trade is entered, shape (n,)."""
        return self.decided + 1

    def exits(self, side: Sides) -> Exits:
        """Return the exits of trades of the given sides, 1 or -1, shape (n,)."""
        return Exits(
            bar=np.where(side == SHORT, self.short.bar, self.long.bar),
            price=np.where(side == SHORT, self.short.price, self.long.price),
            cost=np.where(side == SHORT, self.short.cost, self.long.cost),
        )

    def returns(self, side: Sides) -> tuple[Floats, Floats]:
        """Return the gross and net returns of trades of the given sides; 0 for side 0."""
        exits = self.exits(side)
        ratio = exits.price / self.entry
        net = net_return(side, ratio, self.entry_cost, exits.cost)
        return gross_return(side, ratio), np.where(side == 0, 0.0, net)


def gross_return(side: Sides, ratio: Floats) -> Floats:
    """Return s (x - 1): returns before costs, where x = exit / entry."""
    return side * (ratio - 1)


def net_return(side: Sides, ratio: Floats, entry_bps: Floats, exit_bps: Floats) -> Floats:
    """Return s (x - 1) - c_entry - c_exit x: each side costs a share of its notional."""
    return gross_return(side, ratio) - (entry_bps + exit_bps * ratio) / 1e4


def compute_fills(
    bars: pd.DataFrame, times: Any, horizon: DurationLike, rules: TradingRules
) -> Fills:
    """Return what a trade of either side would be filled at, for every row.

    Orders fill completely, at the prices of the bars. A barrier is reached by the first bar, from
    the entry on, whose high or low touches it, and fills at the barrier, or at the bar's open if it
    opens beyond. A bar that reaches both barriers counts as a stop, as the order is unknown.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC), increasing, n of them.
        horizon: Multiple of the bars' interval.
        rules: Barriers and costs.

    Raises:
        PredictionsError: Times do not increase or are not among the bars, or a bar up to the
            horizon is missing.
        ConfigError: The horizon is not a multiple of the bars' interval, or a cost is invalid.
    """
    horizon = parse_duration("label.horizon", horizon)
    ahead = multiple_of("label.horizon", horizon, interval_of(ensure_bars(bars)))
    decided = find_rows(bars, times)
    _check_complete(bars, decided, ahead, horizon)
    entry = bars["open"].to_numpy(np.float64)[decided + 1]
    entry_cost = cost_per_side(rules.cost_model, bars, decided + 1)
    if rules.take_profit_bps is None and rules.stop_loss_bps is None:
        end = decided + ahead
        cost = cost_per_side(rules.cost_model, bars, end)
        long = short = Exits(end, bars["close"].to_numpy(np.float64)[end], cost)
    else:
        long = _exits_at_barriers(bars, decided, entry, LONG, ahead, rules)
        short = _exits_at_barriers(bars, decided, entry, SHORT, ahead, rules)
    return Fills(decided, entry, entry_cost, long, short, ahead, horizon)


def find_rows(bars: pd.DataFrame, times: Any) -> Ints:
    """Return the positions of the bars that close at the given times: shape (n,), increasing.

    Raises:
        PredictionsError: There are no times, they do not increase, or one is not among the bars.
    """
    wanted = pd.DatetimeIndex(pd.to_datetime(times, utc=True)).to_numpy("datetime64[ns]")
    if not len(wanted):
        raise PredictionsError(
            "there are no decision times",
            expected="at least one prediction to trade on",
            instead="pass a part of the predictions that has rows",
        )
    back = np.flatnonzero(~(np.diff(wanted) > np.timedelta64(0)))
    if len(back):
        raise PredictionsError(
            f"decision time {back[0] + 1} is {_utc(wanted[back[0] + 1])}, "
            f"after {_utc(wanted[back[0]])}",
            expected="times that increase from row to row",
            instead="sort by time, and trade one symbol and one fold at a time",
        )
    closes = bars.index.to_numpy("datetime64[ns]")
    rows = np.searchsorted(closes, wanted)
    absent = np.flatnonzero(closes[np.minimum(rows, len(closes) - 1)] != wanted)
    if len(absent):
        raise PredictionsError(
            f"{len(absent):,} of {len(wanted):,} decision times are not among the bars, "
            f"first {_utc(wanted[absent[0]])}",
            expected="close times of bars",
            instead="pass the bars that the predictions were made from",
        )
    return rows


def _check_complete(bars: pd.DataFrame, decided: Ints, ahead: int, horizon: pd.Timedelta) -> None:
    closes = bars.index.to_numpy("datetime64[ns]")
    end = np.minimum(decided + ahead, len(closes) - 1)
    missing = np.flatnonzero(closes[end] - closes[decided] != horizon.to_timedelta64())
    if len(missing):
        raise PredictionsError(
            f"bars are missing after {len(missing):,} of {len(decided):,} decision times, first "
            f"after {_utc(closes[decided[missing[0]]])}",
            expected=f"every bar up to the horizon, {format_duration(horizon)}",
            instead="drop the rows that are followed by a gap or by the end of the bars",
        )


def _exits_at_barriers(
    bars: pd.DataFrame, decided: Ints, entry: Floats, side: int, ahead: int, rules: TradingRules
) -> Exits:
    """Return exits at the first barrier or the horizon; prices are multiplied by the side."""
    names = ("open", "high", "low", "close")
    opens, highs, lows, closes = (side * bars[name].to_numpy(np.float64) for name in names)
    best, worst = (highs, lows) if side == LONG else (lows, highs)
    take = side * entry * (1 + side * _fraction(rules.take_profit_bps))
    stop = side * entry * (1 - side * _fraction(rules.stop_loss_bps))
    bar = decided + ahead
    price = closes[bar]
    for step in range(ahead, 0, -1):  # backwards, so that the earliest bar is written last
        at = decided + step
        for reached, fill in (
            (best[at] >= take, np.maximum(take, opens[at])),
            (worst[at] <= stop, np.minimum(stop, opens[at])),
        ):
            bar[reached], price[reached] = at[reached], fill[reached]
    return Exits(bar, side * price, cost_per_side(rules.cost_model, bars, bar))


def _fraction(bps: float | None) -> float:
    return np.inf if bps is None else bps / 1e4


def _utc(time: Any) -> str:
    return f"{pd.Timestamp(time)} UTC"
