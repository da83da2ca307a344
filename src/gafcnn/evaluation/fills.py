"""Fills: the prices and costs at which every row could be traded, on either side."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.data.bars import ensure_bars, interval_of
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.costs import cost_per_side
from gafcnn.evaluation.trading_rules import TradingRules as Rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sides = NDArray[np.int8]

LONG, SHORT = 1, -1


@dataclass(frozen=True)
class RoundTrips:
    """n trades, as arrays of shape (n,), in the order of their decisions.

    Attributes:
        decided: Position of the bar that closes at `t`; the trade begins with the next one.
        side: 1 long, -1 short.
        entry: Open of the next bar.
        entry_cost: Cost of the entry, in basis points.
        exit_bar: Position of the bar in which the trade ends.
        exit: Price of the exit.
        exit_cost: Cost of the exit, in basis points.
    """

    decided: Ints
    side: Sides
    entry: Floats
    entry_cost: Floats
    exit_bar: Ints
    exit: Floats
    exit_cost: Floats

    @classmethod
    def at(
        cls, bars: pd.DataFrame, decided: Ints, side: int, exits: tuple[Ints, Floats], rules: Rules
    ) -> Self:
        """Return trades of one side, entered after `decided`, from the bars and prices of exits."""
        entry_cost, exit_cost = (
            cost_per_side(rules.cost_model, bars, rows) for rows in (decided + 1, exits[0])
        )
        entry = bars["open"].to_numpy(np.float64)[decided + 1]
        sides = np.full(len(decided), side, dtype=np.int8)
        return cls(decided, sides, entry, entry_cost, *exits, exit_cost)

    def __getitem__(self, rows: NDArray[Any]) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def ratio(self) -> Floats:
        """Price at exit over price at entry, x."""
        return self.exit / self.entry

    @property
    def gross(self) -> Floats:
        """Returns before costs, s (x - 1), relative to the equity at entry."""
        return self.side * (self.ratio - 1)

    @property
    def net(self) -> Floats:
        """Returns after costs, s (x - 1) - c_entry - c_exit x: each side costs a share of it."""
        return self.gross - (self.entry_cost + self.exit_cost * self.ratio) / 1e4


@dataclass(frozen=True)
class Fills:
    """The trades that n rows could make.

    Attributes:
        long: Purchases.
        short: Short sales.
        ahead: Horizon in bars.
        horizon: Horizon.
    """

    long: RoundTrips
    short: RoundTrips
    ahead: int
    horizon: pd.Timedelta

    @property
    def decided(self) -> Ints:
        """Position of the bar that closes at `t`, shape (n,)."""
        return self.long.decided

    def trips(self, side: Sides) -> RoundTrips:
        """Return the trades of the given sides, shape (n,)."""
        ends = {
            name: np.where(side == SHORT, getattr(self.short, name), getattr(self.long, name))
            for name in ("exit_bar", "exit", "exit_cost")
        }
        return replace(self.long, side=side, **ends)


def compute_fills(bars: pd.DataFrame, times: Any, horizon: DurationLike, rules: Rules) -> Fills:
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
    if rules.take_profit_bps is None and rules.stop_loss_bps is None:
        end = decided + ahead
        ends = end, bars["close"].to_numpy(np.float64)[end]
        long = RoundTrips.at(bars, decided, LONG, ends, rules)
        return Fills(long, replace(long, side=-long.side), ahead, horizon)
    long, short = (
        RoundTrips.at(bars, decided, side, _exits(bars, decided, side, ahead, rules), rules)
        for side in (LONG, SHORT)
    )
    return Fills(long, short, ahead, horizon)


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


def _exits(
    bars: pd.DataFrame, decided: Ints, side: int, ahead: int, rules: Rules
) -> tuple[Ints, Floats]:
    """Return bar and price of the exits at the first barrier or the horizon."""
    # prices are multiplied by the side, so that up is a gain
    names = ("open", "high", "low", "close")
    opens, highs, lows, closes = (side * bars[name].to_numpy(np.float64) for name in names)
    best, worst = (highs, lows) if side == LONG else (lows, highs)
    entry = opens[decided + 1]
    take = entry * (1 + side * _fraction(rules.take_profit_bps))
    stop = entry * (1 - side * _fraction(rules.stop_loss_bps))
    bar = decided + ahead
    price = closes[bar]
    for step in range(ahead, 0, -1):  # backwards, so that the earliest bar is written last
        at = decided + step
        for reached, fill in (
            (best[at] >= take, np.maximum(take, opens[at])),
            (worst[at] <= stop, np.minimum(stop, opens[at])),
        ):
            bar[reached], price[reached] = at[reached], fill[reached]
    return bar, side * price


def _fraction(bps: float | None) -> float:
    return np.inf if bps is None else bps / 1e4


def _utc(time: Any) -> str:
    return f"{pd.Timestamp(time)} UTC"
