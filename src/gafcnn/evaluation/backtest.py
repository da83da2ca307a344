"""Trades, the equity they make bar by bar, and their statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.bars import interval_of
from gafcnn.durations import DurationLike
from gafcnn.errors import PredictionsError
from gafcnn.evaluation import statistics
from gafcnn.evaluation.fills import Fills, Floats, Ints, RoundTrips, Sides, compute_fills
from gafcnn.evaluation.trading_rules import TradingRules

DAY = pd.Timedelta(days=1)
YEAR = pd.Timedelta(days=365)


@dataclass(frozen=True)
class Backtest:
    """The result of trading one column of positions.

    Series have one value per bar of the period, by close time: from the first bar after the first
    decision time to the bar that closes a horizon after the last one.

    Attributes:
        trades: One row per trade, by decision time: `decided`, `entered` (open time of the bar of
            entry), `left` (close time of the bar of exit), `side` (1 or -1), `entry` and `exit`
            (prices), `gross` and `net` (returns, as fractions of the equity at entry).
        returns: Net return of the equity over the bar.
        equity: Equity at the close of the bar, from 1; open trades are valued at the close.
        exposure: Share of the equity in the market during the bar, from 0 to 1.
        turnover: Notional bought and sold over the period, in equities.
        slices: Number of accounts the equity is divided into: 1, or the bars of the horizon.
        horizon: Longest duration of a trade.
        interval: Time between two bars.
    """

    trades: pd.DataFrame
    returns: pd.Series
    equity: pd.Series
    exposure: pd.Series
    turnover: float
    slices: int
    horizon: pd.Timedelta
    interval: pd.Timedelta

    def summary(self) -> dict[str, float | None]:
        """Return statistics of the trades; None for a ratio that is undefined.

        A year is 365 days of bars, as crypto markets never close.

        Returns:
            `trades`; `win_rate_gross` and `win_rate_net`, shares; `net_bps` and `gross_bps`, means
            per trade; `break_even_bps`, per side; `profit_factor`; `sharpe`, `sortino`, `calmar`,
            annualised; `max_drawdown`, `annual_return`, `total_return`, fractions; `turnover`,
            notional per day in equities; `exposure`, the mean share of equity in the market.
        """
        returns, periods = self.returns.to_numpy(), YEAR / self.interval
        gross, net = (self.trades[name].to_numpy() for name in ("gross", "net"))
        annualised: dict[str, Callable[[Floats, float], float | None]] = {
            "sharpe": statistics.sharpe,
            "sortino": statistics.sortino,
            "calmar": statistics.calmar,
            "annual_return": statistics.annual_return,
        }
        return {
            "trades": len(net),
            "win_rate_gross": statistics.win_rate(gross),
            "win_rate_net": statistics.win_rate(net),
            "net_bps": statistics.mean_bps(net),
            "gross_bps": statistics.mean_bps(gross),
            "break_even_bps": statistics.break_even_bps(gross, self._traded()),
            "profit_factor": statistics.profit_factor(net),
            **{name: ratio(returns, periods) for name, ratio in annualised.items()},
            "max_drawdown": statistics.max_drawdown(returns),
            "total_return": statistics.total_return(returns),
            "turnover": self.turnover / len(returns) * (DAY / self.interval),
            "exposure": float(self.exposure.mean()),
        }

    def per_bar(self) -> dict[str, Floats]:
        """Return what statistics are made of, bar by bar, so that ratios are sums over sums.

        Returns:
            Arrays of shape (n_bars,): `ret` (net return) and `exposure`; and of the trades that end
            in the bar, each counted in full whatever its slice: `trades` (count), `wins_gross`,
            `wins_net`, `gross` and `net` (sums), `traded` (sum of 1 + x), `gains` and `losses`
            (sums of net, both positive). Turnover is the sum of `traded` over `slices`.
        """
        gross, net = (self.trades[name].to_numpy() for name in ("gross", "net"))
        last = self.returns.index.get_indexer(pd.DatetimeIndex(self.trades["left"]))
        ended = {
            "trades": np.ones(len(net)),
            "wins_gross": gross > 0,
            "wins_net": net > 0,
            "gross": gross,
            "net": net,
            "traded": self._traded(),
            "gains": np.maximum(net, 0),
            "losses": np.maximum(-net, 0),
        }
        sums = {
            name: np.bincount(last, weights, len(self.returns)).astype(np.float64)
            for name, weights in ended.items()
        }
        return {"ret": self.returns.to_numpy(), "exposure": self.exposure.to_numpy(), **sums}

    def _traded(self) -> Floats:
        return (1 + self.trades["exit"] / self.trades["entry"]).to_numpy()


def backtest(
    bars: pd.DataFrame, times: Any, position: ArrayLike, horizon: DurationLike, rules: TradingRules
) -> Backtest:
    """Trade positions, one at a time or in overlapping slices.

    One at a time: a trade is made if none is open; a new one can be decided at the close of the bar
    in which the last one ended. Other positions are skipped. Overlapping: a row whose bar has the
    position i trades the account i mod K, where K is the number of bars of the horizon; the equity
    is the mean of the accounts, which are never rebalanced. An account that loses everything stays
    at 0.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC), increasing, n of them.
        position: 1 long, -1 short, 0 none, n of them (see `positions`).
        horizon: Multiple of the bars' interval.
        rules: Costs, barriers, and whether trades overlap; `position` already reflects thresholds
            and sides.

    Raises:
        PredictionsError: Positions are invalid or not as many as times, or see `compute_fills`.
        ConfigError: The horizon is not a multiple of the bars' interval, or a cost is invalid.
    """
    return trade(bars, compute_fills(bars, times, horizon, rules), position, rules)


def trade(bars: pd.DataFrame, fills: Fills, position: ArrayLike, rules: TradingRules) -> Backtest:
    """Trade positions at known fills (see `backtest`).

    Raises:
        PredictionsError: Positions are invalid, or not as many as fills.
    """
    side = _check_positions(np.asarray(position), len(fills.decided))
    trips = fills.trips(side)
    taken = np.flatnonzero(side)
    if not rules.overlapping:
        taken = taken[_one_at_a_time(fills.decided[taken], trips.exit_bar[taken])]
    period = slice(fills.decided[0] + 1, fills.decided[-1] + fills.ahead + 1)
    slices = fills.ahead if rules.overlapping else 1
    return account_for(bars, trips[taken], period, slices, fills.horizon)


def account_for(
    bars: pd.DataFrame, trips: RoundTrips, period: slice, slices: int, horizon: pd.Timedelta
) -> Backtest:
    """Return the equity and other results of trades.

    Args:
        bars: Bars, indexed by close time.
        trips: Trades; those of one account (`decided % slices`) do not overlap.
        period: Bars of the result; they contain all trades.
        slices: Number of accounts.
        horizon: Longest duration of a trade.
    """
    close = bars["close"].to_numpy(np.float64)[period]
    account = trips.decided % slices
    equity = np.zeros(len(close))
    for number in range(slices):
        equity += _account(trips[account == number], close, period.start)
    equity /= slices
    index, interval = bars.index[period], interval_of(bars)
    trades = {
        "decided": bars.index[trips.decided],
        "entered": bars.index[trips.decided + 1] - interval,
        "left": bars.index[trips.exit_bar],
        "side": trips.side,
        "entry": trips.entry,
        "exit": trips.exit,
        "gross": trips.gross,
        "net": trips.net,
    }
    return Backtest(
        trades=pd.DataFrame(trades),
        returns=pd.Series(_returns(equity), index, name="return"),
        equity=pd.Series(equity, index, name="equity"),
        exposure=pd.Series(_open_trades(trips, period) / slices, index, name="exposure"),
        turnover=float((1 + trips.ratio).sum() / slices),
        slices=slices,
        horizon=horizon,
        interval=interval,
    )


def _check_positions(position: NDArray[Any], n: int) -> Sides:
    if position.shape != (n,):
        raise PredictionsError(
            f"{position.size:,} positions and {n:,} decision times",
            expected="one position for each time",
            instead="take both from the same rows",
        )
    bad = ~np.isin(position, (-1, 0, 1))
    if bad.any():
        raise PredictionsError(
            f"{int(bad.sum()):,} of {n:,} positions are invalid, the first is {position[bad][0]}",
            expected="1 (long), -1 (short) or 0 (none)",
            instead="convert probabilities with `positions`",
        )
    return position.astype(np.int8)


def _one_at_a_time(decided: Ints, exit_bar: Ints) -> Ints:
    """Return the trades that are made if each waits for the last one to end: increasing indices."""
    following = np.searchsorted(decided, exit_bar).tolist()
    made, at = [], 0
    while at < len(following):
        made.append(at)
        at = following[at]
    return np.array(made, dtype=np.int64)


def _account(trips: RoundTrips, close: Floats, first: int) -> Floats:
    """Return the equity of one account at the close of every bar, from 1: shape (n_bars,).

    E0 (1 + s (close / entry - 1) - c_entry) while a trade is open, E0 (1 + net) after it, where E0
    is the equity at entry.
    """
    n_bars = len(close)
    begun = np.cumsum(np.bincount(trips.decided + 1 - first, minlength=n_bars))
    ended = np.cumsum(np.bincount(trips.exit_bar - first, minlength=n_bars))
    equity = np.cumprod(np.r_[1.0, 1 + trips.net])[ended]
    is_open = begun > ended
    current = trips[ended[is_open]]
    moved = current.side * (close[is_open] / current.entry - 1)
    equity[is_open] *= 1 + moved - current.entry_cost / 1e4
    return equity * np.logical_and.accumulate(equity > 0)


def _returns(equity: Floats) -> Floats:
    before = np.r_[1.0, equity[:-1]]
    return np.divide(equity, before, out=np.ones(len(equity)), where=before > 0) - 1


def _open_trades(trips: RoundTrips, period: slice) -> Ints:
    """Return the number of trades that are open during every bar of the period."""
    n_bars = period.stop - period.start
    begun = np.bincount(trips.decided + 1 - period.start, minlength=n_bars + 1)
    over = np.bincount(trips.exit_bar + 1 - period.start, minlength=n_bars + 1)
    return np.cumsum(begun - over)[:n_bars]
