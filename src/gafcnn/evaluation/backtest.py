"""Fills, trades, the equity that they make bar by bar, and benchmarks of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gafcnn.data.bars import bars_per_day, bars_per_year, ensure_bars, interval_of
from gafcnn.data.windows import stretch_starts
from gafcnn.durations import DurationLike, format_duration, multiple_of, parse_duration
from gafcnn.errors import PredictionsError
from gafcnn.evaluation.figures import trade_figures
from gafcnn.evaluation.statistics import Floats, Row, estimate, growth, interval
from gafcnn.evaluation.trading_rules import TradingRules, cost_per_side

Ints = NDArray[np.int64]
Sides = NDArray[np.int8]

LONG, SHORT = 1, -1


@dataclass(frozen=True)
class RoundTrips:
    """n trades, as arrays of shape (n,), in the order of their decisions."""

    decided: Ints  # position of the bar that closes at `t`; the trade begins with the next one
    side: Sides  # 1 long, -1 short
    entry: Floats  # open of the next bar
    entry_cost: Floats  # in basis points, as `exit_cost`
    exit_bar: Ints  # position of the bar in which the trade ends
    exit: Floats  # price of the exit
    exit_cost: Floats

    @classmethod
    def at(
        cls,
        bars: pd.DataFrame,
        decided: Ints,
        side: int,
        exits: tuple[Ints, Floats],
        rules: TradingRules,
    ) -> Self:
        """Return trades of one side, entered after `decided`, from the bars and prices of exits."""
        entry_cost, exit_cost = (
            cost_per_side(rules.cost_model, bars, rows) for rows in (decided + 1, exits[0])
        )
        entry = bars["open"].to_numpy(np.float64)[decided + 1]
        sides = np.full(len(decided), side, dtype=np.int8)
        return cls(decided, sides, entry, entry_cost, *exits, exit_cost)

    def __getitem__(self, rows: NDArray[Any]) -> Self:
        return type(self)(*(getattr(self, one.name)[rows] for one in fields(self)))

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
    """The trades that n rows could make."""

    long: RoundTrips  # purchases
    short: RoundTrips  # short sales
    ahead: int  # horizon in bars
    horizon: pd.Timedelta  # horizon

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


def compute_fills(
    bars: pd.DataFrame, times: Any, horizon: DurationLike, rules: TradingRules
) -> Fills:
    """Return what a trade of either side would be filled at, for every row.

    The n decision times (UTC) increase; the horizon is a multiple of the bars' interval. Orders
    fill completely, at the prices of the bars. A barrier is reached by the first bar, from the
    entry on, whose high or low touches it, and fills at the barrier, or at the bar's open if it
    opens beyond. A bar that reaches both barriers counts as a stop, as the order is unknown.

    Raises:
        PredictionsError: Times do not increase or are not among the bars, or a bar up to the
            horizon is missing.
        ConfigError: The horizon is not a multiple of the bars' interval, or a cost is invalid.
    """
    horizon = parse_duration("label.horizon", horizon)
    ahead = multiple_of("label.horizon", horizon, interval_of(bars))
    decided = find_rows(bars, times)
    end = np.minimum(decided + ahead, len(bars) - 1)
    missing = np.flatnonzero((end < decided + ahead) | (stretch_starts(bars)[end] > decided))
    if len(missing):
        raise PredictionsError(
            f"bars are missing after {len(missing):,} of {len(decided):,} decision times, first "
            f"after {bars.index[decided[missing[0]]]}",
            expected=f"every bar up to the horizon, {format_duration(horizon)}",
            instead="drop the rows that are followed by a gap or by the end of the bars",
        )
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
    wanted = pd.DatetimeIndex(pd.to_datetime(times, utc=True))
    rows = bars.index.get_indexer(wanted).astype(np.int64)
    bad = np.flatnonzero(np.minimum(rows + 1, np.diff(rows, prepend=-1)) <= 0)
    if len(bad) or not len(rows):
        first = f", first {wanted[bad[0]]}" if len(bad) else ""
        raise PredictionsError(
            f"{len(bad):,} of {len(rows):,} decision times cannot be traded{first}",
            expected="close times of these bars that increase from row to row",
            instead="sort by time, trade one symbol and one fold at a time, and pass the bars that "
            "the predictions were made from",
        )
    return rows


def _exits(
    bars: pd.DataFrame, decided: Ints, side: int, ahead: int, rules: TradingRules
) -> tuple[Ints, Floats]:
    """Return bar and price of the exits at the first barrier or the horizon."""
    # prices are multiplied by the side, so that up is a gain
    names = ("open", "high", "low", "close")
    opens, highs, lows, closes = (side * bars[name].to_numpy(np.float64) for name in names)
    best, worst = (highs, lows) if side == LONG else (lows, highs)
    entry = opens[decided + 1]
    take = entry * (1 + side * (rules.take_profit_bps or np.inf) / 1e4)
    stop = entry * (1 - side * (rules.stop_loss_bps or np.inf) / 1e4)
    bar = decided + ahead
    price = closes[bar]
    has_barrier = rules.take_profit_bps is not None or rules.stop_loss_bps is not None
    # backwards, so that the earliest bar is written last
    for step in range(ahead, 0, -1) if has_barrier else ():
        at = decided + step
        for reached, fill in (
            (best[at] >= take, np.maximum(take, opens[at])),
            (worst[at] <= stop, np.minimum(stop, opens[at])),
        ):
            bar[reached], price[reached] = at[reached], fill[reached]
    return bar, side * price


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
        slices: Number of accounts the equity is divided into: 1, or the bars of the horizon.
        horizon: Longest duration of a trade.
        bars_per_year: Number of bars in a year of trading.
        bars_per_day: Number of bars in a day of trading.
    """

    trades: pd.DataFrame = field(repr=False)
    returns: pd.Series = field(repr=False)
    equity: pd.Series = field(repr=False)
    exposure: pd.Series = field(repr=False)
    slices: int
    horizon: pd.Timedelta
    bars_per_year: float
    bars_per_day: float

    def summary(self) -> dict[str, float | None]:
        """Return statistics of the trades; None for a ratio that is undefined.

        A year has 365 days of bars where trading never stops, else its sessions.

        Returns:
            `trades`; `win_rate_gross` and `win_rate_net`, shares; `net_bps` and `gross_bps`, means
            per trade; `break_even_bps`, the cost per side at which they earn nothing in total;
            `profit_factor`, gains over losses; `sharpe`, `sortino`, `calmar`, annualised;
            `max_drawdown`, `annual_return`, `total_return`, fractions; `turnover`, notional per day
            in equities; `exposure`, the mean share of equity in the market.
        """
        returns, periods = self.returns.to_numpy(), self.bars_per_year
        turns = self.bars_per_day / self.slices
        figures = trade_figures(self.per_bar(), returns, periods, turns)
        found = {name: one.value for name, one in figures.items()}
        return {"trades": len(self.trades), **found, **growth(returns, periods)}

    def per_bar(self) -> dict[str, Floats]:
        """Return what figures are made of, bar by bar (see `trade_figures`).

        Returns:
            Arrays of shape (n_bars,): `every` (1), `exposure`; and of the trades that end in the
            bar, each counted in full whatever its slice: `trades` (count), `wins_gross`,
            `wins_net`, `gross` and `net` (sums), `traded` (sum of 1 + x), `gains` and `losses`
            (sums of net, both positive).
        """
        gross, net = (self.trades[name].to_numpy() for name in ("gross", "net"))
        last = self.returns.index.get_indexer(pd.DatetimeIndex(self.trades["left"]))
        ended = {
            "trades": np.ones(len(net)),
            "wins_gross": gross > 0,
            "wins_net": net > 0,
            "gross": gross,
            "net": net,
            "traded": (1 + self.trades["exit"] / self.trades["entry"]).to_numpy(),
            "gains": np.maximum(net, 0),
            "losses": np.maximum(-net, 0),
        }
        n_bars = len(self.returns)
        sums = {name: np.bincount(last, of, n_bars).astype(float) for name, of in ended.items()}
        return {"every": np.ones(n_bars), "exposure": self.exposure.to_numpy(), **sums}


def backtest(
    bars: pd.DataFrame, times: Any, position: ArrayLike, horizon: DurationLike, rules: TradingRules
) -> Backtest:
    """Trade positions, one at a time or in overlapping slices.

    One at a time: a trade is made if none is open; a new one can be decided at the close of the bar
    in which the last one ended. Other positions are skipped. Overlapping: a row whose bar has the
    position i trades the account i mod K, where K is the number of bars of the horizon; the equity
    is the mean of the accounts, which are never rebalanced. An account that loses all stays at 0.

    Args:
        bars: Bars, indexed by close time.
        times: Decision times (UTC), increasing, n of them.
        position: 1 long, -1 short, 0 none, n of them (see `positions`).
        horizon: Multiple of the bars' interval.
        rules: Costs, barriers and overlap; `position` already reflects thresholds and sides.

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
    side, n = np.asarray(position), len(fills.decided)
    if side.shape != (n,) or not np.isin(side, (-1, 0, 1)).all():
        raise PredictionsError(
            f"positions of shape {side.shape} with the values {np.unique(side)[:5]}",
            expected=f"{n:,}, one for each decision time: 1 (long), -1 (short) or 0 (none)",
            instead="convert probabilities with `positions`",
        )
    trips = fills.trips(side.astype(np.int8))
    taken = np.flatnonzero(side)
    if not rules.overlapping:
        taken = taken[_one_at_a_time(fills.decided[taken], trips.exit_bar[taken])]
    trips, slices = trips[taken], fills.ahead if rules.overlapping else 1
    first, end = fills.decided[0] + 1, fills.decided[-1] + fills.ahead + 1
    index, close = bars.index[first:end], bars["close"].to_numpy(np.float64)[first:end]
    n, account = len(close), trips.decided % slices
    equity = np.zeros(n)
    for number in range(slices):  # trades of one account do not overlap
        equity += _account(trips[account == number], close, first)
    equity /= slices
    entered = np.bincount(trips.decided + 1 - first, minlength=n)
    left = np.bincount(trips.exit_bar - first, minlength=n)
    exposure = (np.cumsum(entered - left) + left) / slices  # also during the bar of the exit
    before = np.r_[1.0, equity[:-1]]
    returns = np.divide(equity, before, out=np.ones(n), where=before > 0) - 1
    trades = {
        "decided": bars.index[trips.decided],
        "entered": bars.index[trips.decided + 1] - interval_of(bars),
        "left": bars.index[trips.exit_bar],
        **{name: getattr(trips, name) for name in ("side", "entry", "exit", "gross", "net")},
    }
    return Backtest(
        trades=pd.DataFrame(trades),
        returns=pd.Series(returns, index, name="return"),
        equity=pd.Series(equity, index, name="equity"),
        exposure=pd.Series(exposure, index, name="exposure"),
        slices=slices,
        horizon=fills.horizon,
        bars_per_year=bars_per_year(bars),
        bars_per_day=bars_per_day(bars),
    )


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


def buy_and_hold(
    bars: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp, rules: TradingRules
) -> Backtest:
    """Buy once, at the open after `first`, and sell at the close at `last`, with costs.

    The position is held through gaps; barriers and sides do not apply. To compare with a backtest,
    hold from its first decision time to `backtest.returns.index[-1]`.

    Raises:
        PredictionsError: A time is not that of a bar, or they do not increase.
    """
    rows = find_rows(ensure_bars(bars), [first, last])
    bought, sold = rows[:1], rows[1:]
    ends = sold, bars["close"].to_numpy(np.float64)[sold]
    trips = RoundTrips.at(bars, bought, LONG, ends, rules)
    fills = Fills(trips, trips, sold[0] - bought[0], last - first)
    return trade(bars, fills, [LONG], replace(rules, overlapping=False))


def coin(
    backtest: Backtest, bars: pd.DataFrame, rules: TradingRules, draws: int = 1000, seed: int = 0
) -> Row:
    """Repeat the trades of a backtest many times, with sides drawn by a fair coin.

    Times, costs and horizon stay the same; with barriers, a trade ends where its drawn side would
    have ended. Both sides are drawn whatever `rules.sides` is. This is a randomisation test of the
    sides: `p_value` = (1 + draws that earn as much) / (1 + draws) (Phipson and Smyth, 2010).

    Returns:
        `p_value`; `net_bps`, `win_rate_net` and `win_rate_gross`: the mean over all draws and the
        2.5 % and 97.5 % quantiles, see `estimate`. None without trades.
    """
    names, side = ("net_bps", "win_rate_net", "win_rate_gross"), backtest.trades["side"].to_numpy()
    n = len(side)
    if not n:
        return {"p_value": None, **{name: estimate(None, 0) for name in names}}
    fills = compute_fills(bars, backtest.trades["decided"], backtest.horizon, rules)
    short, long = (
        np.stack([trips.net * 1e4, trips.net > 0, trips.gross > 0], dtype=np.float64)
        for trips in (fills.short, fills.long)
    )
    rng = np.random.default_rng(seed)
    tosses = (rng.integers(0, 2, n, dtype=np.bool_) for _ in range(draws))
    gain, least = long - short, short.sum(axis=1)
    sums = least + np.array([gain @ is_long for is_long in tosses])
    as_good = int((sums[:, 0] >= (least + gain @ (side == LONG))[0]).sum())
    found = {
        name: estimate(float(means.mean()), n, *interval(means))
        for name, means in zip(names, sums.T / n, strict=True)
    }
    return {"p_value": (1 + as_good) / (1 + draws), **found}
