"""Rows of the tables of a judgement: parts of the test rows, folds, benchmarks, equity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation import statistics
from gafcnn.evaluation.backtest import Backtest
from gafcnn.evaluation.benchmarks import buy_and_hold, coin
from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.metrics import Part, trade_figures
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet, folds_of

POINTS = 1000  # of an equity curve, at most
LEAST_PERIOD = pd.Timedelta(days=30)  # needed for an annual return
HOLD = "buy_and_hold"

Row: TypeAlias = dict[str, Any]


def plain(value: float | None, n: int) -> Row:
    """Return a figure without a confidence interval, ready for JSON."""
    return Estimate(value, None, None, n).as_dict()


def growth(returns: NDArray[np.float64], panel: Panel) -> dict[str, float | None]:
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
    parts = {
        "all": panel.up,
        "moved": panel.up[panel.moved],
        "labelled": panel.label_up[panel.labelled],
    }
    return {
        name: {"up": float(up.mean()) if len(up) else None, "n": len(up)}
        for name, up in parts.items()
    }


def confusion(panel: Panel, p: NDArray[np.float64]) -> dict[str, list[list[int]]]:
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
    first, last = (
        rows.test["time"].iloc[0],
        rows.bars.index[rows.fills.decided[-1] + rows.fills.ahead],
    )
    return buy_and_hold(rows.bars, first, last, rows.rules)


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
        spread = getattr(tossed, name)
        row[name] = plain(None, model.trades)
        if spread is not None:
            row[name] = Estimate(spread.mean, spread.low, spread.high, model.trades).as_dict()
    return row


def equity(returns: NDArray[np.float64], times: pd.DatetimeIndex) -> Row:
    """Return at most `POINTS` points of an equity curve, the last one included: times, values."""
    at = np.linspace(0, len(returns) - 1, min(len(returns), POINTS)).round().astype(int)
    at = np.unique(at)
    return {
        "time": [time.isoformat() for time in times[at]],
        "value": np.cumprod(1 + returns)[at].tolist(),
    }
