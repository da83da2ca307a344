"""What a model is judged by: its rows and its trades as figures that can be resampled.

Every function gives figures by name, made of arrays over the bars of the ground's period.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation.backtest import DAY
from gafcnn.evaluation.calibration import bins_of
from gafcnn.evaluation.figures import Auc, Drawdown, Figure, Floats, Ratio, Sharpe, Sortino
from gafcnn.evaluation.positions import confidence, threshold_of
from gafcnn.evaluation.regimes import TRENDS, VOLATILITIES
from gafcnn.evaluation.statistics import CLIP
from gafcnn.evaluation.test_set import Ground, RowTrades, Traded

SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""The most confident shares of the test rows that the win rate is told for."""

Rows = NDArray[np.bool_]
Part = tuple[dict[str, Any], Rows]
"""Some of the test rows, and what they are called."""


def scores(ground: Ground, model: str) -> dict[str, Figure]:
    """Accuracy, AUC, log loss and Brier score: on all rows, those that moved, those labelled.

    A price that did not move counts as "not up" among all rows; a model that knows quiet hours
    looks as if it knew directions.
    """
    every = np.ones(len(ground.test), dtype=bool)
    return {
        **_scores(ground, model, ground.up, every, ""),
        **_scores(ground, model, ground.up, ground.moved, "_moved"),
        **_scores(ground, model, ground.label_up, ground.labelled, "_labelled"),
    }


def money(ground: Ground, traded: Traded) -> dict[str, Figure]:
    """What the trades earn: rates, means, and ratios that are annualised."""
    bars = traded.backtest.per_bar()
    returns, periods = bars["ret"], ground.periods
    trades, every = bars["trades"], np.ones(len(returns))
    a_day = DAY / ground.interval / traded.backtest.slices
    return {
        "win_rate_gross": Ratio(bars["wins_gross"], trades),
        "win_rate_net": Ratio(bars["wins_net"], trades),
        "net_bps": Ratio(bars["net"], trades, 1e4),
        "gross_bps": Ratio(bars["gross"], trades, 1e4),
        "break_even_bps": Ratio(bars["gross"], bars["traded"], 1e4),
        "profit_factor": Ratio(bars["gains"], bars["losses"]),
        "sharpe": Sharpe(returns, periods),
        "sortino": Sortino(returns, periods),
        "max_drawdown": Drawdown(returns),
        "exposure": Ratio(bars["exposure"], every),
        "turnover": Ratio(bars["traded"], every, a_day),
        "coverage": Ratio(
            ground.on_bars(traded.position != 0), ground.on_bars(np.ones(len(ground.test)))
        ),
    }


def as_trades(ground: Ground, trades: RowTrades, rows: Rows) -> dict[str, Figure]:
    """Some rows, each as a trade of its own; they overlap.

    `win_rate` and `gross_bps` are before costs, `net_bps` after.
    """
    gross, net = trades.gross, trades.net
    taken = rows & (trades.side != 0)
    made = ground.on_bars(taken)
    return {
        "win_rate": Ratio(ground.on_bars(taken & (gross > 0)), made),
        "win_rate_net": Ratio(ground.on_bars(taken & (net > 0)), made),
        "gross_bps": Ratio(ground.on_bars(np.where(taken, gross, 0.0)), made, 1e4),
        "net_bps": Ratio(ground.on_bars(np.where(taken, net, 0.0)), made, 1e4),
    }


def share_up(ground: Ground, rows: Rows) -> Ratio:
    """The share of some rows that went up."""
    return Ratio(ground.on_bars(rows & ground.up), ground.on_bars(rows))


def most_confident(ground: Ground, model: str) -> Iterator[Part]:
    """The most confident shares of the test rows, ranked within their fold.

    Ranks are known only when all test rows are: this tells where a model is right, not what could
    have been earned.
    """
    p = ground.test[model].to_numpy()
    for share in SHARES:
        limit = np.empty(len(p))
        for rows in ground.folds.values():
            limit[rows] = threshold_of(p[rows], share)
        threshold = float(limit[0]) if len(ground.folds) == 1 else None
        yield {"share": share, "threshold": threshold}, confidence(p) >= limit


def by_threshold(traded: Traded) -> Part:
    """The rows that the threshold chosen on validation trades."""
    choices = list(traded.choices.values())
    threshold = choices[0].threshold if len(choices) == 1 else None
    return {"share": None, "threshold": threshold}, traded.position != 0


def by_side(ground: Ground, model: str, traded: Traded) -> Iterator[Part]:
    """The rows that a model would buy on and those that it would sell on: all, and the traded."""
    p = ground.test[model].to_numpy()
    for side, called, number in (("long", p > 0.5, 1), ("short", p < 0.5, -1)):
        yield {"side": side, "of": "all rows"}, called
        yield {"side": side, "of": "traded rows"}, traded.position == number


def by_forecast(ground: Ground, model: str) -> Iterator[Part]:
    """The rows of each bin of the reliability table (see `gafcnn.evaluation.calibration`)."""
    p = ground.test[model].to_numpy()
    bins = bins_of(p)
    for number in range(bins.max() + 1):
        yield {"forecast": float(p[bins == number].mean())}, bins == number


def by_regime(ground: Ground, regimes: pd.DataFrame) -> Iterator[Part]:
    """The rows of each volatility and trend, then of each month.

    Args:
        ground: Whose test rows they are.
        regimes: Of every test row, by decision time (see `gafcnn.evaluation.regimes`).
    """
    regimes = regimes.loc[pd.DatetimeIndex(ground.test["time"])]
    for volatility in VOLATILITIES:
        for trend in TRENDS:
            inside = (regimes["volatility"] == volatility) & (regimes["trend"] == trend)
            yield _regime(volatility, trend, None), inside.to_numpy(dtype=bool)
    for month in sorted(regimes["month"].unique()):
        yield _regime(None, None, month), (regimes["month"] == month).to_numpy(dtype=bool)


def _scores(ground: Ground, model: str, up: Rows, rows: Rows, suffix: str) -> dict[str, Figure]:
    p = ground.test[model].to_numpy()
    given = np.clip(np.where(up, p, 1 - p), CLIP, 1 - CLIP)
    per_row: dict[str, Floats] = {
        "accuracy": ((p > 0.5) == up).astype(np.float64),
        "log_loss": -np.log(given),
        "brier": (p - up) ** 2,
    }
    n = ground.on_bars(rows)
    of_rows: dict[str, Figure] = {
        f"{name}{suffix}": Ratio(ground.on_bars(np.where(rows, values, 0.0)), n)
        for name, values in per_row.items()
    }
    ranked = Auc(ground.on_bars(p), ground.on_bars(up).astype(bool), n.astype(bool))
    return of_rows | {f"auc{suffix}": ranked}


def _regime(volatility: str | None, trend: str | None, month: str | None) -> dict[str, Any]:
    return {"volatility": volatility, "trend": trend, "month": month}
