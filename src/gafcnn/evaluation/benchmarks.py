"""Benchmarks of trades: buy and hold, and a coin that trades at the same times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from gafcnn.data.bars import ensure_bars
from gafcnn.evaluation.backtest import Backtest, account_for
from gafcnn.evaluation.fills import LONG, Floats, RoundTrips, compute_fills, find_rows
from gafcnn.evaluation.trading_rules import TradingRules


class Spread(NamedTuple):
    """Mean, 2.5 % and 97.5 % quantile of a statistic over all draws of a coin."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Coin:
    """The same trades with random sides. All None without trades.

    Attributes:
        net_bps: Mean net return of a trade, in basis points.
        win_rate_net: Share of trades with a gain after costs.
        win_rate_gross: Share of trades with a gain before costs.
        p_value: Share of draws that earn at least as much as the backtest, which is counted as one
            of the draws, so that the share is never 0.
    """

    net_bps: Spread | None
    win_rate_net: Spread | None
    win_rate_gross: Spread | None
    p_value: float | None


def buy_and_hold(
    bars: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp, rules: TradingRules
) -> Backtest:
    """Buy once, at the open after `first`, and sell at the close at `last`, with costs.

    The position is held through gaps; barriers and sides do not apply. To compare with a backtest,
    hold from its first decision time to `backtest.returns.index[-1]`.

    Args:
        bars: Bars, indexed by close time.
        first: Close time (UTC) of the last bar before the purchase.
        last: Close time (UTC) of the bar of the sale.
        rules: Costs.

    Raises:
        PredictionsError: A time is not that of a bar, or they do not increase.
    """
    rows = find_rows(ensure_bars(bars), [first, last])
    bought, sold = rows[:1], rows[1:]
    ends = sold, bars["close"].to_numpy(np.float64)[sold]
    trips = RoundTrips.at(bars, bought, LONG, ends, rules)
    return account_for(bars, trips, slice(bought[0] + 1, sold[0] + 1), 1, last - first)


def coin(
    backtest: Backtest, bars: pd.DataFrame, rules: TradingRules, draws: int = 1000, seed: int = 0
) -> Coin:
    """Repeat the trades of a backtest many times, with sides drawn by a fair coin.

    Times, costs and horizon stay the same; with barriers, a trade ends where its drawn side would
    have ended. Both sides are drawn whatever `rules.sides` is. This is a randomisation test of the
    sides: `p_value` = (1 + draws that earn as much) / (1 + draws) (Phipson and Smyth, 2010).

    Args:
        backtest: Trades.
        bars: Bars of the backtest.
        rules: Rules of the backtest.
        draws: Number of draws.
        seed: Seed of the random numbers.
    """
    side = backtest.trades["side"].to_numpy()
    if not len(side):
        return Coin(None, None, None, None)
    fills = compute_fills(bars, backtest.trades["decided"], backtest.horizon, rules)
    short = _results(fills.short)
    gain = _results(fills.long) - short
    rng = np.random.default_rng(seed)
    tosses = (rng.integers(0, 2, len(side), dtype=np.bool_) for _ in range(draws))
    sums = short.sum(axis=1) + np.array([gain @ is_long for is_long in tosses])
    observed = short.sum(axis=1) + gain @ (side == LONG)
    as_good = int((sums[:, 0] >= observed[0]).sum())
    net, wins_net, wins_gross = (_spread(column) for column in sums.T / len(side))
    return Coin(net, wins_net, wins_gross, (1 + as_good) / (1 + draws))


def _results(trips: RoundTrips) -> Floats:
    """Return net return in bps, and whether it and the gross return are gains, as (3, n)."""
    return np.stack([trips.net * 1e4, trips.net > 0, trips.gross > 0], dtype=np.float64)


def _spread(values: Floats) -> Spread:
    low, high = np.quantile(values, [0.025, 0.975])
    return Spread(float(values.mean()), float(low), float(high))
