"""Trades, and the equity that they make, bar by bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.bars import interval_of
from gafcnn.durations import DurationLike
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.fills import (
    Fills,
    Floats,
    Ints,
    Sides,
    gross_return,
    net_return,
    outcomes,
)
from gafcnn.evaluation.trading_rules import Rules


@dataclass(frozen=True)
class RoundTrips:
    """m trades that were made, as arrays of shape (m,), in the order in which they were decided.

    Attributes:
        decided: The number of the bar that closes at `t`; the trade begins with the next one.
        side: 1 long, -1 short.
        entry: Price.
        exit_bar: The number of the bar in which the trade ends.
        exit: Price.
    """

    decided: Ints
    side: Sides
    entry: Floats
    exit_bar: Ints
    exit: Floats

    def __getitem__(self, rows: NDArray[Any]) -> RoundTrips:
        return RoundTrips(
            self.decided[rows],
            self.side[rows],
            self.entry[rows],
            self.exit_bar[rows],
            self.exit[rows],
        )


@dataclass(frozen=True)
class Backtest:
    """What trading by one column of positions would have come to.

    Series have one value per bar of the period, by close time: from the first bar after the first
    decision time to the bar that closes a horizon after the last one.

    Attributes:
        trades: One row per trade, by decision time: `decided`, `entered` (open time of the bar
            entered at), `left` (close time of the bar left in), `side` (1 or -1), `entry` and
            `exit` (prices), `gross` and `net` (fractions of the equity at entry).
        returns: Net return of the equity over the bar.
        equity: At the close of the bar, in initial equities; open trades at the bar's close.
        exposure: Share of the equity that was in the market during the bar, from 0 to 1.
        turnover: Notional bought and sold over the period, in equities.
        slices: How many accounts the equity is divided into: 1, or the bars of the horizon.
        horizon: The longest that a trade lasts.
    """

    trades: pd.DataFrame
    returns: pd.Series
    equity: pd.Series
    exposure: pd.Series
    turnover: float
    slices: int
    horizon: pd.Timedelta


def backtest(
    bars: pd.DataFrame, times: Any, position: ArrayLike, horizon: DurationLike, rules: Rules
) -> Backtest:
    """Trade positions, one at a time or in overlapping slices.

    One at a time: a trade is made where none is open, which is from the close of the bar that the
    last one ended in; other positions are passed over. Overlapping: a row whose bar has the number
    i trades the account i mod K, K the bars of the horizon; the equity is the mean of the accounts,
    which are never brought into balance. An account that has lost everything stays at 0.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC), increasing: n of them.
        position: 1 long, -1 short, 0 none: n of them (see `positions`).
        horizon: A multiple of the bars' interval.
        rules: Costs, barriers, and whether trades overlap. Thresholds and sides are in `position`.

    Raises:
        PredictionsError: Positions are none or not as many as times, or see `outcomes`.
        ConfigError: The horizon is no multiple of the bars' interval.
    """
    return trade(bars, outcomes(bars, times, horizon, rules), position, rules)


def trade(bars: pd.DataFrame, fills: Fills, position: ArrayLike, rules: Rules) -> Backtest:
    """Trade positions at fills that are known already (see `backtest`).

    Raises:
        PredictionsError: Positions are none, or not as many as fills.
    """
    side = _checked(np.asarray(position), len(fills.decided))
    exits = fills.exits(side)
    every = RoundTrips(fills.decided, side, fills.entry, exits.bar, exits.price)
    taken = np.flatnonzero(side)
    if not rules.overlapping:
        taken = taken[_one_at_a_time(fills.decided[taken], exits.bar[taken])]
    period = slice(fills.decided[0] + 1, fills.decided[-1] + fills.ahead + 1)
    slices = fills.ahead if rules.overlapping else 1
    return keep_books(bars, every[taken], period, rules.cost_bps, slices, fills.horizon)


def keep_books(
    bars: pd.DataFrame,
    trips: RoundTrips,
    period: slice,
    cost_bps: float,
    slices: int,
    horizon: pd.Timedelta,
) -> Backtest:
    """The equity, and all that is told of it, from trades that were made.

    Args:
        bars: Bars, indexed by close time.
        trips: The trades; within an account (`decided % slices`) no two at a time.
        period: The bars whose returns are told; all trades are in it.
        cost_bps: Per side.
        slices: The number of accounts.
        horizon: The longest that a trade lasts.
    """
    close = bars["close"].to_numpy(np.float64)[period]
    account = trips.decided % slices
    equity = np.zeros(len(close))
    for number in range(slices):
        equity += _account(trips[account == number], close, period.start, cost_bps)
    equity /= slices
    index = bars.index[period]
    ratio = trips.exit / trips.entry
    return Backtest(
        trades=_table(bars, trips, net_return(trips.side, ratio, cost_bps)),
        returns=pd.Series(_returns(equity), index, name="return"),
        equity=pd.Series(equity, index, name="equity"),
        exposure=pd.Series(_open_trades(trips, period) / slices, index, name="exposure"),
        turnover=float((1 + ratio).sum() / slices),
        slices=slices,
        horizon=horizon,
    )


def _checked(position: NDArray[Any], n: int) -> Sides:
    if position.shape != (n,):
        raise PredictionsError(
            f"there are {position.size:,} positions and {n:,} decision times",
            expected="one position for each time",
            instead="take both from the same rows",
        )
    bad = ~np.isin(position, (-1, 0, 1))
    if bad.any():
        raise PredictionsError(
            f"{int(bad.sum()):,} of {n:,} positions are none, the first is {position[bad][0]}",
            expected="1 (long), -1 (short) or 0 (none)",
            instead="make them of probabilities with `positions`",
        )
    return position.astype(np.int8)


def _one_at_a_time(decided: Ints, exit_bar: Ints) -> Ints:
    """Which of the trades are made if each waits for the last one to end: increasing indices."""
    following = np.searchsorted(decided, exit_bar).tolist()
    made, at = [], 0
    while at < len(following):
        made.append(at)
        at = following[at]
    return np.array(made, dtype=np.int64)


def _account(trips: RoundTrips, close: Floats, first: int, cost_bps: float) -> Floats:
    """The equity of one account at the close of every bar, shape (n_bars,), from 1.

    E0 (1 + s (close / entry - 1) - c) while a trade is open, E0 (1 + net) once it has ended, with
    E0 the equity at entry and c the cost per side.
    """
    n_bars = len(close)
    begun = np.cumsum(np.bincount(trips.decided + 1 - first, minlength=n_bars))
    ended = np.cumsum(np.bincount(trips.exit_bar - first, minlength=n_bars))
    net = net_return(trips.side, trips.exit / trips.entry, cost_bps)
    equity = np.cumprod(np.r_[1.0, 1 + net])[ended]
    is_open = begun > ended
    current = ended[is_open]
    moved = gross_return(trips.side[current], close[is_open] / trips.entry[current])
    equity[is_open] *= 1 + moved - cost_bps / 1e4
    return equity * np.logical_and.accumulate(equity > 0)


def _returns(equity: Floats) -> Floats:
    before = np.r_[1.0, equity[:-1]]
    return np.divide(equity, before, out=np.ones(len(equity)), where=before > 0) - 1


def _open_trades(trips: RoundTrips, period: slice) -> Ints:
    """How many trades are open during every bar of the period."""
    n_bars = period.stop - period.start
    begun = np.bincount(trips.decided + 1 - period.start, minlength=n_bars + 1)
    over = np.bincount(trips.exit_bar + 1 - period.start, minlength=n_bars + 1)
    return np.cumsum(begun - over)[:n_bars]


def _table(bars: pd.DataFrame, trips: RoundTrips, net: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "decided": bars.index[trips.decided],
            "entered": bars.index[trips.decided + 1] - interval_of(bars),
            "left": bars.index[trips.exit_bar],
            "side": trips.side,
            "entry": trips.entry,
            "exit": trips.exit,
            "gross": gross_return(trips.side, trips.exit / trips.entry),
            "net": net,
        }
    )
