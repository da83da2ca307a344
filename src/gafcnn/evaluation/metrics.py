"""What a model is judged by: its rows and trades as figures that can be resampled.

Every function returns figures by name, made of arrays over the bars of the test set's period.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation.backtest import DAY
from gafcnn.evaluation.calibration import bins_of
from gafcnn.evaluation.figures import Auc, Drawdown, Figure, Ratio, Sharpe, Sortino
from gafcnn.evaluation.positions import confidence, positions, threshold_of
from gafcnn.evaluation.regimes import TRENDS, VOLATILITIES
from gafcnn.evaluation.statistics import CLIP, Floats
from gafcnn.evaluation.test_set import TestSet, Traded

SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""The most confident shares of the test rows for which the win rate is computed."""

Rows: TypeAlias = NDArray[np.bool_]
Part: TypeAlias = tuple[dict[str, Any], Rows]
"""The description of some of the test rows, and which they are."""


def score_figures(rows: TestSet, model: str) -> dict[str, Figure]:
    """Return accuracy, AUC, log loss and Brier score of all, of moved and of labelled rows.

    An unchanged price counts as "not up" among all rows.
    """
    every = np.ones(len(rows.test), dtype=bool)
    return {
        **_score_figures(rows, model, rows.up, every, ""),
        **_score_figures(rows, model, rows.up, rows.moved, "_moved"),
        **_score_figures(rows, model, rows.label_up, rows.labelled, "_labelled"),
    }


def trade_figures(rows: TestSet, traded: Traded) -> dict[str, Figure]:
    """Return what the trades earn: rates, means, and annualised ratios."""
    bars = traded.backtest.per_bar()
    returns, trades, every = bars["ret"], bars["trades"], np.ones(len(bars["ret"]))
    per_day = DAY / rows.interval / traded.backtest.slices
    return {
        "win_rate_gross": Ratio(bars["wins_gross"], trades),
        "win_rate_net": Ratio(bars["wins_net"], trades),
        "net_bps": Ratio(bars["net"], trades, 1e4),
        "gross_bps": Ratio(bars["gross"], trades, 1e4),
        "break_even_bps": Ratio(bars["gross"], bars["traded"], 1e4),
        "profit_factor": Ratio(bars["gains"], bars["losses"]),
        "sharpe": Sharpe(returns, rows.periods),
        "sortino": Sortino(returns, rows.periods),
        "max_drawdown": Drawdown(returns),
        "exposure": Ratio(bars["exposure"], every),
        "turnover": Ratio(bars["traded"], every, per_day),
        "coverage": Ratio(
            rows.on_bars(traded.position != 0), rows.on_bars(np.ones(len(rows.test)))
        ),
    }


def part_figures(rows: TestSet, model: str, inside: Rows) -> dict[str, Figure]:
    """Return figures of some rows, each as a trade of its own; they overlap.

    `win_rate` and `gross_bps` are before costs, `win_rate_net` and `net_bps` after.
    """
    side = positions(rows.test[model].to_numpy(), 0.0)
    trips = rows.fills.trips(side)
    gross, net = trips.gross, trips.net
    taken = inside & (side != 0)
    made = rows.on_bars(taken)
    return {
        "win_rate": Ratio(rows.on_bars(taken & (gross > 0)), made),
        "win_rate_net": Ratio(rows.on_bars(taken & (net > 0)), made),
        "gross_bps": Ratio(rows.on_bars(np.where(taken, gross, 0.0)), made, 1e4),
        "net_bps": Ratio(rows.on_bars(np.where(taken, net, 0.0)), made, 1e4),
    }


def share_up(rows: TestSet, inside: Rows) -> Ratio:
    """Return the share of some rows that went up."""
    return Ratio(rows.on_bars(inside & rows.up), rows.on_bars(inside))


def parts(
    rows: TestSet, model: str, traded: Traded, regimes: pd.DataFrame
) -> dict[str, list[Part]]:
    """Return the parts of the test rows that are judged separately, by the table they are in."""
    return {
        "coverage": [*_most_confident(rows, model), _by_threshold(traded)],
        "sides": [*_by_side(rows, model, traded)],
        "regimes": [*_by_regime(rows, regimes)],
        "calibration": [*_by_forecast(rows, model)],
    }


def _most_confident(rows: TestSet, model: str) -> Iterator[Part]:
    """The most confident shares of the test rows, ranked within their fold.

    Ranks are known only when all test rows are, so this shows where a model is right, not what
    could have been earned.
    """
    p = rows.test[model].to_numpy()
    for share in SHARES:
        limit = np.empty(len(p))
        for inside in rows.folds.values():
            limit[inside] = threshold_of(p[inside], share)
        threshold = float(limit[0]) if len(rows.folds) == 1 else None
        yield {"share": share, "threshold": threshold}, confidence(p) >= limit


def _by_threshold(traded: Traded) -> Part:
    """The rows that the threshold chosen on validation trades."""
    choices = list(traded.choices.values())
    threshold = choices[0].threshold if len(choices) == 1 else None
    return {"share": None, "threshold": threshold}, traded.position != 0


def _by_side(rows: TestSet, model: str, traded: Traded) -> Iterator[Part]:
    """The rows that a model would buy on and those that it would sell on: all, and the traded."""
    p = rows.test[model].to_numpy()
    for side, predicted, number in (("long", p > 0.5, 1), ("short", p < 0.5, -1)):
        yield {"side": side, "of": "all rows"}, predicted
        yield {"side": side, "of": "traded rows"}, traded.position == number


def _by_forecast(rows: TestSet, model: str) -> Iterator[Part]:
    """The rows of each bin of the reliability table."""
    p = rows.test[model].to_numpy()
    bins = bins_of(p)
    for number in range(bins.max() + 1):
        yield {"forecast": float(p[bins == number].mean())}, bins == number


def _by_regime(rows: TestSet, regimes: pd.DataFrame) -> Iterator[Part]:
    """The rows of each volatility and trend, then of each month."""
    regimes = regimes.loc[pd.DatetimeIndex(rows.test["time"])]
    for volatility in VOLATILITIES:
        for trend in TRENDS:
            inside = (regimes["volatility"] == volatility) & (regimes["trend"] == trend)
            description = {"volatility": volatility, "trend": trend, "month": None}
            yield description, inside.to_numpy(dtype=bool)
    for month in sorted(regimes["month"].unique()):
        inside = (regimes["month"] == month).to_numpy(dtype=bool)
        yield {"volatility": None, "trend": None, "month": month}, inside


def _score_figures(
    rows: TestSet, model: str, up: Rows, inside: Rows, suffix: str
) -> dict[str, Figure]:
    p = rows.test[model].to_numpy()
    true = np.clip(np.where(up, p, 1 - p), CLIP, 1 - CLIP)
    per_row: dict[str, Floats] = {
        "accuracy": ((p > 0.5) == up).astype(np.float64),
        "log_loss": -np.log(true),
        "brier": (p - up) ** 2,
    }
    n = rows.on_bars(inside)
    figures: dict[str, Figure] = {
        f"{name}{suffix}": Ratio(rows.on_bars(np.where(inside, values, 0.0)), n)
        for name, values in per_row.items()
    }
    ranked = Auc(rows.on_bars(p), rows.on_bars(up).astype(bool), n.astype(bool))
    return figures | {f"auc{suffix}": ranked}
