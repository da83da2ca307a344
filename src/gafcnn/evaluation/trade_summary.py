"""What a backtest comes to: in figures, and bar by bar in what the figures are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import DurationLike, parse_duration
from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.backtest import Backtest

Floats = NDArray[np.float64]

DAY = pd.Timedelta(days=1)
YEAR = pd.Timedelta(days=365)


def per_bar(backtest: Backtest) -> dict[str, Floats]:
    """All that a figure is made of, bar by bar, so that any ratio is a sum over a sum.

    Returns:
        Arrays of shape (n_bars,): `ret` (net return) and `exposure`; and of the trades that end in
        the bar, each counted whole whatever its slice: `trades` (how many), `wins_gross`,
        `wins_net`, `gross` and `net` (sums), `traded` (sum of 1 + x), `gains` and `losses` (sums
        of net, both positive). Turnover is the sum of `traded` over `slices`.
    """
    trades = backtest.trades
    gross, net = trades["gross"].to_numpy(), trades["net"].to_numpy()
    last = backtest.returns.index.get_indexer(pd.DatetimeIndex(trades["left"]))
    ended = {
        "trades": np.ones(len(trades)),
        "wins_gross": gross > 0,
        "wins_net": net > 0,
        "gross": gross,
        "net": net,
        "traded": (1 + trades["exit"] / trades["entry"]).to_numpy(),
        "gains": np.maximum(net, 0),
        "losses": np.maximum(-net, 0),
    }
    n_bars = len(backtest.returns)
    return {
        "ret": backtest.returns.to_numpy(),
        "exposure": backtest.exposure.to_numpy(),
        **{
            name: np.bincount(last, weights, n_bars).astype(np.float64)
            for name, weights in ended.items()
        },
    }


def summary(backtest: Backtest, interval: DurationLike) -> dict[str, float | None]:
    """A backtest in figures; None for a ratio that has nothing to divide by.

    Years are 365 days of bars, as this market never closes.

    Args:
        backtest: What to summarise.
        interval: The time between two bars.

    Returns:
        `trades`; `win_rate_gross` and `win_rate_net`, shares; `net_bps` and `gross_bps`, means per
        trade; `break_even_bps`, per side; `profit_factor`; `sharpe`, `sortino`, `calmar`,
        annualised; `max_drawdown`, `annual_return`, `total_return`, fractions; `turnover`, notional
        per day in equities; `exposure`, the mean share of equity in the market.
    """
    bar = parse_duration("market.interval", interval)
    returns = backtest.returns.to_numpy()
    gross, net = (backtest.trades[name].to_numpy() for name in ("gross", "net"))
    traded = (1 + backtest.trades["exit"] / backtest.trades["entry"]).to_numpy()
    annualised: dict[str, Callable[[Floats, float], float | None]] = {
        "sharpe": measures.sharpe,
        "sortino": measures.sortino,
        "calmar": measures.calmar,
        "annual_return": measures.annual_return,
    }
    return {
        "trades": len(net),
        "win_rate_gross": measures.win_rate(gross),
        "win_rate_net": measures.win_rate(net),
        "net_bps": measures.mean_bps(net),
        "gross_bps": measures.mean_bps(gross),
        "break_even_bps": measures.break_even_bps(gross, traded),
        "profit_factor": measures.profit_factor(net),
        **{name: measure(returns, YEAR / bar) for name, measure in annualised.items()},
        "max_drawdown": measures.max_drawdown(returns),
        "total_return": measures.total_return(returns),
        "turnover": backtest.turnover / len(returns) * (DAY / bar),
        "exposure": float(backtest.exposure.mean()),
    }
