"""What trades are compared with: holding, and a coin that trades at the same times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gafcnn.evaluation.backtest import Backtest, RoundTrips, keep_books
from gafcnn.evaluation.fills import (
    LONG,
    SHORT,
    Fills,
    Floats,
    gross_return,
    net_return,
    outcomes,
    rows_of,
)
from gafcnn.evaluation.trading_rules import Rules


@dataclass(frozen=True)
class Spread:
    """A figure over all draws of a coin.

    Attributes:
        mean: Its mean.
        low: What 2.5 % of the draws are below.
        high: What 2.5 % of the draws are above.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Coin:
    """What the same trades come to when a coin chooses their sides. All None without trades.

    Attributes:
        net_bps: The mean net return of a trade, in basis points.
        win_rate_net: The share of trades with a gain after costs.
        win_rate_gross: The share of trades with a gain before costs.
        p_value: How often the coin's trades earned at least as much as the backtest's, the backtest
            itself counted among the draws, so that it is never 0.
    """

    net_bps: Spread | None
    win_rate_net: Spread | None
    win_rate_gross: Spread | None
    p_value: float | None


def buy_and_hold(
    bars: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp, rules: Rules
) -> Backtest:
    """Buy once, at the open after `first`, and sell at the close at `last`; both cost.

    It holds through gaps; barriers and sides do not concern it. The holding that a backtest is
    compared with is from its first decision time to `backtest.returns.index[-1]`.

    Args:
        bars: Bars, indexed by close time.
        first: Close time (UTC) of the last bar before the purchase.
        last: Close time (UTC) of the bar of the sale.
        rules: For its costs.

    Raises:
        PredictionsError: One of the times is not that of a bar, or they do not increase.
    """
    rows = rows_of(bars, [first, last])
    bought, sold = rows[:1], rows[1:]
    trips = RoundTrips(
        decided=bought,
        side=np.array([LONG], dtype=np.int8),
        entry=bars["open"].to_numpy(np.float64)[bought + 1],
        exit_bar=sold,
        exit=bars["close"].to_numpy(np.float64)[sold],
    )
    period = slice(bought[0] + 1, sold[0] + 1)
    return keep_books(bars, trips, period, rules.cost_bps, 1, last - first)


def coin(
    backtest: Backtest, bars: pd.DataFrame, rules: Rules, draws: int = 1000, seed: int = 0
) -> Coin:
    """Make the backtest's trades again, many times, with sides drawn by a fair coin.

    Times, costs and the longest holding are the same; with barriers a trade ends where its own side
    would have ended. Both sides are drawn whatever `rules.sides` is. It is a randomisation test of
    the sides: `p_value` = (1 + draws that earned as much) / (1 + draws) (Phipson and Smyth, 2010).

    Args:
        backtest: The trades.
        bars: The bars that it was made on.
        rules: The rules that it was made by.
        draws: How many times.
        seed: Of the random numbers.
    """
    side = backtest.trades["side"].to_numpy()
    if not len(side):
        return Coin(None, None, None, None)
    fills = outcomes(bars, backtest.trades["decided"], backtest.horizon, rules)
    short = _earned(fills, SHORT, rules)
    gained = _earned(fills, LONG, rules) - short
    rng = np.random.default_rng(seed)
    tosses = (rng.integers(0, 2, len(side), dtype=np.bool_) for _ in range(draws))
    sums = short.sum(axis=1) + np.array([gained @ is_long for is_long in tosses])
    own = short.sum(axis=1) + gained @ (side == LONG)
    as_good = int((sums[:, 0] >= own[0]).sum())
    net, wins_net, wins_gross = (_spread(column) for column in sums.T / len(side))
    return Coin(net, wins_net, wins_gross, (1 + as_good) / (1 + draws))


def _earned(fills: Fills, side: int, rules: Rules) -> Floats:
    """Net return in bps, and whether it and the gross return are gains, of one side: (3, m)."""
    sides = np.full(len(fills.entry), side, dtype=np.int8)
    ratio = fills.exits(sides).price / fills.entry
    net = net_return(sides, ratio, rules.cost_bps)
    return np.stack([net * 1e4, net > 0, gross_return(sides, ratio) > 0], dtype=np.float64)


def _spread(figures: Floats) -> Spread:
    low, high = np.quantile(figures, [0.025, 0.975])
    return Spread(float(figures.mean()), float(low), float(high))
