"""What models of a direction are judged by: figures, by name, that can be resampled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation.backtest import DAY
from gafcnn.evaluation.calibration import bins_of
from gafcnn.evaluation.figures import Auc, Counted, Drawdown, Figure, ratio, sharpe, sortino
from gafcnn.evaluation.positions import confidence, threshold_of
from gafcnn.evaluation.regimes import TRENDS, VOLATILITIES
from gafcnn.evaluation.statistics import log_losses
from gafcnn.evaluation.test_set import Candidate, Panel, folds_of

REGIME = ("volatility", "trend", "month")
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""The most confident shares of the test rows for which the win rate is computed."""

Rows: TypeAlias = NDArray[np.bool_]
Part: TypeAlias = tuple[dict[str, Any], Rows]
"""The description of some of the test rows, and which they are."""


def score_figures(panel: Panel, p: NDArray[np.float64]) -> dict[str, Counted]:
    """Return accuracy, AUC, log loss and Brier score of all, of moved and of labelled rows.

    An unchanged price counts as "not up" among all rows.
    """
    figures: dict[str, Counted] = {}
    for suffix, up, inside in (
        ("", panel.up, np.ones(len(p), dtype=bool)),
        ("_moved", panel.up, panel.moved),
        ("_labelled", panel.label_up, panel.labelled),
    ):
        scores = {
            "accuracy": (p > 0.5) == up,
            "log_loss": log_losses(p, up),
            "brier": (p - up) ** 2,
        }
        rows, n = panel.on_bars(inside), int(inside.sum())
        for name, values in scores.items():
            share = ratio(panel.on_bars(np.where(inside, values, 0.0)), rows)
            figures[name + suffix] = share, n
        area = Auc(p[inside], up[inside], panel.places[inside], len(rows))
        figures["auc" + suffix] = area, n
    return figures


def trade_figures(panel: Panel, model: Candidate) -> dict[str, Counted]:
    """Return what the trades earn: rates, means, and annualised ratios."""
    per_bar = [one.backtest.per_bar() for one in model.traded]
    bars = {name: panel.add(one[name] for one in per_bar) for name in per_bar[0]}
    trades, every = bars["trades"], panel.add(np.ones(len(one["ret"])) for one in per_bar)
    figures: dict[str, Figure] = {
        "win_rate_gross": ratio(bars["wins_gross"], trades),
        "win_rate_net": ratio(bars["wins_net"], trades),
        "net_bps": ratio(bars["net"], trades, 1e4),
        "gross_bps": ratio(bars["gross"], trades, 1e4),
        "break_even_bps": ratio(bars["gross"], bars["traded"], 1e4),
        "profit_factor": ratio(bars["gains"], bars["losses"]),
        "sharpe": sharpe(model.returns, panel.periods),
        "sortino": sortino(model.returns, panel.periods),
        "max_drawdown": Drawdown(model.returns),
        "exposure": ratio(bars["exposure"], every),
        "turnover": ratio(
            bars["traded"], every, DAY / panel.interval / model.traded[0].backtest.slices
        ),
    }
    coverage = ratio(panel.on_bars(model.position != 0), panel.on_bars(np.ones(len(model.p))))
    counted: dict[str, Counted] = {name: (one, model.trades) for name, one in figures.items()}
    return counted | {"coverage": (coverage, len(model.p))}


def part_figures(panel: Panel, model: Candidate, kind: str, inside: Rows) -> dict[str, Figure]:
    """Return figures of some rows, each as a trade of its own; they overlap.

    `win_rate` and `gross_bps` are before costs, `win_rate_net` and `net_bps` after. Those of the
    table `calibration` have only `observed`, the share of the rows that went up.
    """
    if kind == "calibration":
        return {"observed": ratio(panel.on_bars(inside & panel.up), panel.on_bars(inside))}
    taken = inside & (model.p != 0.5)
    gross, net = model.row_returns
    made = panel.on_bars(taken)
    return {
        "win_rate": ratio(panel.on_bars(taken & (gross > 0)), made),
        "win_rate_net": ratio(panel.on_bars(taken & (net > 0)), made),
        "gross_bps": ratio(panel.on_bars(np.where(taken, gross, 0.0)), made, 1e4),
        "net_bps": ratio(panel.on_bars(np.where(taken, net, 0.0)), made, 1e4),
    }


def parts(panel: Panel, model: Candidate, regimes: pd.DataFrame) -> dict[str, list[Part]]:
    """Return the parts of the test rows that are judged separately, by the table they are in.

    Args:
        panel: Test rows.
        model: The model.
        regimes: Regime of each row (see `gafcnn.evaluation.regimes`), in the order of the rows.
    """
    p, position = model.p, model.position
    by_threshold: Part = {"share": None, "threshold": model.threshold}, position != 0
    bins = bins_of(p)
    return {
        "coverage": [*_most_confident(panel, p), by_threshold],
        "sides": [
            ({"side": side, "of": of}, inside)
            for side, predicted, traded in (
                ("long", p > 0.5, position == 1),
                ("short", p < 0.5, position == -1),
            )
            for of, inside in (("all rows", predicted), ("traded rows", traded))
        ],
        "regimes": [*_by_regime(regimes)],
        "calibration": [
            ({"forecast": float(p[bins == k].mean())}, bins == k) for k in range(bins.max() + 1)
        ],
    }


def _most_confident(panel: Panel, p: NDArray[np.float64]) -> Iterator[Part]:
    """The most confident shares of the test rows, ranked within their fold.

    Ranks are known only when all test rows are, so this shows where a model is right, not what
    could have been earned.
    """
    folds = folds_of(panel.test)
    for share in SHARES:
        limit = np.empty(len(p))
        for inside in folds.values():
            limit[inside] = threshold_of(p[inside], share)
        threshold = float(limit[0]) if len(folds) == 1 else None
        yield {"share": share, "threshold": threshold}, confidence(p) >= limit


def _by_regime(regimes: pd.DataFrame) -> Iterator[Part]:
    """The rows of each volatility and trend, then of each month."""
    cells = [(volatility, trend, None) for volatility in VOLATILITIES for trend in TRENDS]
    months = [(None, None, month) for month in sorted(regimes["month"].unique())]
    for cell in [*cells, *months]:
        description: dict[str, Any] = dict(zip(REGIME, cell, strict=True))
        given = {name: value for name, value in description.items() if value is not None}
        inside = np.all([regimes[name] == value for name, value in given.items()], axis=0)
        yield description, inside
