"""Tables of a judgement that are not resampled, and rows of its tables of parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation import statistics
from gafcnn.evaluation.backtest import Backtest
from gafcnn.evaluation.benchmarks import Spread, buy_and_hold, coin
from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.metrics import Part
from gafcnn.evaluation.test_set import TestSet, Traded

SCORES = ("accuracy", "auc", "log_loss", "brier", "calibration_error")
POINTS = 1000  # of an equity curve, at most

LEAST_PERIOD = pd.Timedelta(days=30)  # needed for an annual return

RETURNS = ("total_return", "annual_return", "calmar")
HOLD = "buy_and_hold"

Row: TypeAlias = dict[str, Any]


def count_of(rows: TestSet, traded: Traded, figure: str) -> int:
    """Return how many rows or trades a figure is computed from."""
    if figure.endswith("_labelled"):
        return int(rows.labelled.sum())
    if figure.endswith("_moved"):
        return int(rows.moved.sum())
    if figure in SCORES or figure in ("coverage", "threshold"):
        return len(rows.test)
    return len(traded.backtest.trades)


def growth(returns: NDArray[np.float64], rows: TestSet) -> dict[str, float | None]:
    """Return total return, annual return and Calmar ratio of returns over the bars of a period."""
    values = {"total_return": statistics.total_return(returns), "annual_return": None}
    values["calmar"] = None
    # a few days' return, compounded over a year, means nothing
    if len(returns) * rows.interval >= LEAST_PERIOD:
        values["annual_return"] = statistics.annual_return(returns, rows.periods)
        values["calmar"] = statistics.calmar(returns, rows.periods)
    return values


def class_shares(test_sets: Sequence[TestSet]) -> dict[str, Row]:
    """Return the share of rows that went up: of all rows, those that moved, those labelled."""
    parts: dict[str, list[NDArray[np.bool_]]] = {"all": [], "moved": [], "labelled": []}
    for rows in test_sets:
        parts["all"].append(rows.up)
        parts["moved"].append(rows.up[rows.moved])
        parts["labelled"].append(rows.label_up[rows.labelled])
    shares = {}
    for name, of_symbols in parts.items():
        up = np.concatenate(of_symbols)
        shares[name] = {"up": float(up.mean()) if len(up) else None, "n": len(up)}
    return shares


def confusion(rows: TestSet, model: str) -> dict[str, list[list[int]]]:
    """Return counts by outcome (rows) and prediction (columns), of all and of labelled rows."""
    predicted, labelled = rows.test[model].to_numpy() > 0.5, rows.labelled
    return {
        "all": statistics.confusion(predicted, rows.up, 2).tolist(),
        "labelled": statistics.confusion(predicted[labelled], rows.label_up[labelled], 2).tolist(),
    }


def part_row(
    kind: str, rows: TestSet, model: str, part: Part, estimates: Mapping[str, Estimate]
) -> Row:
    """Return a row of the table `kind` for some of the test rows.

    Args:
        kind: coverage, sides, regimes or calibration.
        rows: The test set.
        model: The column of P(up).
        part: Description of the rows, and which they are.
        estimates: By figure: `observed` for calibration, else those of `part_figures`.
    """
    names, inside = part
    main = estimates["observed" if kind == "calibration" else "win_rate"]
    row = {"model": model, **names, "n": int(inside.sum()), "low": main.low, "high": main.high}
    if kind == "calibration":
        return row | {"observed": main.value}
    p, up = rows.test[model].to_numpy()[inside], rows.up[inside]
    row |= {
        "trades": int((p != 0.5).sum()),
        **{name: one.value for name, one in estimates.items()},
    }
    if kind == "coverage":
        return row | {"chosen": names["share"] is None, "realised": float(inside.mean())}
    share = float(up.mean()) if len(up) else None
    return row | {
        "accuracy": None if share is None else float(((p > 0.5) == up).mean()),
        "majority": None if share is None else max(share, 1 - share),
        "auc": statistics.auc(p, up),
    }


def fold_rows(rows: TestSet, model: str, traded: Traded) -> Iterator[Row]:
    """Yield the results of each test block of a walk-forward; nothing for a single split."""
    for fold, inside in rows.folds.items():
        if fold is None:
            return
        scored = statistics.score(rows.test[model].to_numpy()[inside], rows.up[inside])
        block = traded.of_fold(rows, inside).summary()
        times = rows.test.loc[inside, "time"]
        choice = traded.choices[fold]
        yield {
            "model": model,
            "fold": fold,
            "first": times.iloc[0].isoformat(),
            "last": times.iloc[-1].isoformat(),
            **{name: scored[name] for name in ("n", "accuracy", "majority", "auc", "log_loss")},
            **{name: block[name] for name in ("trades", "win_rate_gross", "net_bps", "sharpe")},
            "threshold": choice.threshold,
            "coverage": choice.coverage,
        }


def hold(rows: TestSet) -> Backtest:
    """Return buy-and-hold over the period."""
    last = rows.bars.index[rows.fills.decided[-1] + rows.fills.ahead]
    return buy_and_hold(rows.bars, rows.test["time"].iloc[0], last, rows.rules)


def coin_rows(rows: TestSet, traded: Mapping[str, Traded], seed: int) -> dict[str, Row]:
    """Return, for each model, the results of a coin that trades when it does."""
    found = {}
    for name, one in traded.items():
        tossed, n = coin(one.backtest, rows.bars, rows.rules, seed=seed), len(one.backtest.trades)
        figures = ("net_bps", "win_rate_gross", "win_rate_net")
        found[name] = {figure: _spread(getattr(tossed, figure), n) for figure in figures}
        found[name]["p_value"] = tossed.p_value
    return found


def thin(curve: pd.Series) -> Row:
    """Return at most `POINTS` points of a curve, the last one included: times and values."""
    at = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int))
    shown = curve.iloc[at]
    return {
        "time": [time.isoformat() for time in pd.DatetimeIndex(shown.index)],
        "value": [float(value) for value in shown],
    }


def _spread(figure: Spread | None, n: int) -> Row:
    if figure is None:
        return Estimate(None, None, None, n).as_dict()
    return Estimate(figure.mean, figure.low, figure.high, n).as_dict()
