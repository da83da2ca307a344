"""What models of a direction are judged by: figures that can be resampled, and rows of tables.

The tables are about parts of the test rows, folds, benchmarks and equity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation import statistics
from gafcnn.evaluation.backtest import DAY, Backtest, buy_and_hold, coin
from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.figures import Auc, Counted, Drawdown, Figure, ratio, sharpe, sortino
from gafcnn.evaluation.positions import confidence, threshold_of
from gafcnn.evaluation.regimes import TRENDS, VOLATILITIES
from gafcnn.evaluation.statistics import Floats, bins_of, log_losses
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, folds_of

REGIME = ("volatility", "trend", "month")
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""The most confident shares of the test rows for which the win rate is computed."""

Rows: TypeAlias = NDArray[np.bool_]
Part: TypeAlias = tuple[dict[str, Any], Rows]
"""The description of some of the test rows, and which they are."""


def score_figures(panel: Panel, p: Floats) -> dict[str, Counted]:
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


def _most_confident(panel: Panel, p: Floats) -> Iterator[Part]:
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


POINTS = 1000  # of an equity curve, at most
LEAST_PERIOD = pd.Timedelta(days=30)  # needed for an annual return
HOLD = "buy_and_hold"

Row: TypeAlias = dict[str, Any]


def plain(value: float | None, n: int) -> Row:
    """Return a figure without a confidence interval, ready for JSON."""
    return Estimate(value, None, None, n).as_dict()


def growth(returns: Floats, panel: Panel) -> dict[str, float | None]:
    """Return total return, annual return and Calmar ratio of returns over the bars of a panel."""
    # a few days' return, compounded over a year, means nothing
    is_long = len(returns) * panel.interval >= LEAST_PERIOD
    return {
        "total_return": statistics.total_return(returns),
        "annual_return": statistics.annual_return(returns, panel.periods) if is_long else None,
        "calmar": statistics.calmar(returns, panel.periods) if is_long else None,
    }


def class_shares(panel: Panel) -> dict[str, Row]:
    """Return the share of rows that went up: of all rows, those that moved, those labelled."""
    moved, labelled = panel.up[panel.moved], panel.label_up[panel.labelled]
    return {
        name: {"up": float(up.mean()) if len(up) else None, "n": len(up)}
        for name, up in (("all", panel.up), ("moved", moved), ("labelled", labelled))
    }


def confusion(panel: Panel, p: Floats) -> dict[str, list[list[int]]]:
    """Return counts by outcome (rows) and prediction (columns), of all and of labelled rows."""
    predicted, inside = p > 0.5, panel.labelled
    return {
        "all": statistics.confusion(predicted, panel.up, 2).tolist(),
        "labelled": statistics.confusion(predicted[inside], panel.label_up[inside], 2).tolist(),
    }


def part_row(
    kind: str, panel: Panel, model: Candidate, part: Part, estimates: Mapping[str, Estimate]
) -> Row:
    """Return a row of the table `kind` for some of the test rows.

    Args:
        kind: coverage, sides, regimes or calibration.
        panel: Test rows.
        model: The model.
        part: Description of the rows, and which they are.
        estimates: By figure: `observed` for calibration, else those of `part_figures`.
    """
    description, inside = part
    main = estimates["observed" if kind == "calibration" else "win_rate"]
    row = {"model": model.name, **description, "n": int(inside.sum())}
    row |= {"low": main.low, "high": main.high}
    row |= {name: one.value for name, one in estimates.items()}
    if kind == "calibration":
        return row
    p, up = model.p[inside], panel.up[inside]
    row["trades"] = int((p != 0.5).sum())
    if kind == "coverage":
        return row | {"chosen": row["share"] is None, "realised": float(inside.mean())}
    scores = statistics.score(p, up)
    return row | {name: scores[name] for name in ("accuracy", "majority", "auc")}


def fold_rows(panel: Panel, model: Candidate) -> Iterator[Row]:
    """Yield the results of each test block of a walk-forward; nothing for a single split."""
    for fold, inside in folds_of(panel.test).items():
        if fold is None:
            return
        blocks = [
            rows.of_fold(fold, traded)
            for rows, traded in zip(panel.sets, model.traded, strict=True)
            if fold in rows.folds
        ]
        block = Panel([rows for rows, _ in blocks])
        alone = Candidate(block, model.name, [traded for _, traded in blocks])
        scores, figures = statistics.score(alone.p, block.up), trade_figures(block, alone)
        times = panel.test.loc[inside, "time"]
        choices = [choice for _, traded in blocks for choice in traded.choices.values()]
        yield {
            "model": model.name,
            "fold": fold,
            "first": times.min().isoformat(),
            "last": times.max().isoformat(),
            **{name: scores[name] for name in ("n", "accuracy", "majority", "auc", "log_loss")},
            "trades": alone.trades,
            **{name: figures[name][0].value for name in ("win_rate_gross", "net_bps", "sharpe")},
            "threshold": alone.threshold,
            "coverage": choices[0].coverage if len(choices) == 1 else None,
        }


def hold(rows: TestSet) -> Backtest:
    """Return buy-and-hold over the period."""
    last: Any = rows.period[-1]
    return buy_and_hold(rows.bars, rows.test["time"].iloc[0], last, rows.rules)


def hold_figures(panel: Panel, backtests: Sequence[Backtest]) -> dict[str, Row]:
    """Return the figures of holding all symbols in equal shares."""
    if len(backtests) == 1:
        figures = backtests[0].summary()
    else:
        returns = panel.mean_return(backtests)
        figures = {
            "sharpe": statistics.sharpe(returns, panel.periods),
            "sortino": statistics.sortino(returns, panel.periods),
            "max_drawdown": statistics.max_drawdown(returns),
            "total_return": statistics.total_return(returns),
        }
    return {name: plain(value, 1) for name, value in figures.items()}


def coin_row(rows: TestSet, model: Candidate, seed: int) -> Row:
    """Return the results of a coin that trades when a model does, on one symbol."""
    tossed = coin(model.traded[0].backtest, rows.bars, rows.rules, seed=seed)
    row: Row = {"p_value": tossed.p_value}
    for name in ("net_bps", "win_rate_gross", "win_rate_net"):
        mean, low, high = getattr(tossed, name) or (None, None, None)
        row[name] = Estimate(mean, low, high, model.trades).as_dict()
    return row


def equity(returns: Floats, times: pd.DatetimeIndex) -> Row:
    """Return at most `POINTS` points of an equity curve, the last one included: times, values."""
    at = np.linspace(0, len(returns) - 1, min(len(returns), POINTS)).round().astype(int)
    at = np.unique(at)
    return {
        "time": [time.isoformat() for time in times[at]],
        "value": np.cumprod(1 + returns)[at].tolist(),
    }
