"""What is told of the test rows without being resampled, and the rows of the report's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.backtest import Backtest
from gafcnn.evaluation.benchmarks import Spread, buy_and_hold, coin
from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.calibration import expected_calibration_error, reliability
from gafcnn.evaluation.metrics import Part
from gafcnn.evaluation.statistics import auc, score
from gafcnn.evaluation.test_set import Ground, Traded, trade_rows

SCORES = ("accuracy", "auc", "log_loss", "brier", "calibration_error")
POINTS = 1000  # of an equity curve, at most

LEAST_PERIOD = pd.Timedelta(days=30)  # that a return a year is told of

RETURNS = ("total_return", "annual_return", "calmar")
HOLD = "buy_and_hold"

Row = dict[str, Any]


def rests_on(ground: Ground, traded: Traded, figure: str) -> int:
    """How many rows or trades a figure is made of."""
    if figure.endswith("_labelled"):
        return int(ground.labelled.sum())
    if figure.endswith("_moved"):
        return int(ground.moved.sum())
    if figure in SCORES or figure in ("coverage", "threshold"):
        return len(ground.test)
    return len(traded.backtest.trades)


def without_interval(ground: Ground, model: str, traded: Traded) -> dict[str, Estimate]:
    """Figures of the whole period that no resampling can tell the spread of."""
    whole = traded.backtest.summary()
    thresholds = [choice.threshold for choice in traded.choices.values()]
    values = {"trades": whole["trades"], **grown(traded.backtest.returns.to_numpy(), ground)}
    values["threshold"] = thresholds[0] if len(thresholds) == 1 else None
    table = reliability(ground.test[model].to_numpy(), ground.up)
    values["calibration_error"] = expected_calibration_error(table)
    return {
        name: Estimate(value, None, None, rests_on(ground, traded, name))
        for name, value in values.items()
    }


def grown(returns: NDArray[np.float64], ground: Ground) -> dict[str, float | None]:
    """What returns over the bars of a ground's period, or of several grounds', come to in all."""
    values = {"total_return": measures.total_return(returns), "annual_return": None, "calmar": None}
    # a few days' return to the power of a hundred is no figure
    if len(returns) * ground.interval >= LEAST_PERIOD:
        values["annual_return"] = measures.annual_return(returns, ground.periods)
        values["calmar"] = measures.calmar(returns, ground.periods)
    return values


def classes(ground: Ground) -> Row:
    """The share of rows that went up: of all rows, of those that moved, of the labelled ones."""
    parts = {
        "all": ground.up,
        "moved": ground.up[ground.moved],
        "labelled": ground.label_up[ground.labelled],
    }
    return {
        name: {"up": float(up.mean()) if len(up) else None, "n": len(up)}
        for name, up in parts.items()
    }


def confusion(ground: Ground, model: str) -> dict[str, list[list[int]]]:
    """Counts `[[down called down, down called up], [up called down, up called up]]`."""
    called_up, labelled = ground.test[model].to_numpy() > 0.5, ground.labelled
    return {
        "all": _counts(called_up, ground.up),
        "labelled": _counts(called_up[labelled], ground.label_up[labelled]),
    }


def part_row(
    kind: str, ground: Ground, model: str, part: Part, found: Mapping[str, Estimate]
) -> Row:
    """What some of the rows come to: a row of the table `kind`.

    Args:
        kind: coverage, sides, regimes or calibration.
        ground: What the rows are of.
        model: The column of P(up).
        part: What the rows are called, and which they are.
        found: Estimates of the part by figure: observed, or those of `as_trades`.
    """
    names, rows = part
    main = found["observed" if kind == "calibration" else "win_rate"]
    row = {"model": model, **names, "n": int(rows.sum()), "low": main.low, "high": main.high}
    if kind == "calibration":
        return row | {"observed": main.value}
    p, up = ground.test[model].to_numpy()[rows], ground.up[rows]
    row |= {
        "trades": int((p != 0.5).sum()),
        **{name: estimate.value for name, estimate in found.items()},
    }
    if kind == "coverage":
        return row | {"chosen": names["share"] is None, "realised": float(rows.mean())}
    share = float(up.mean()) if len(up) else None
    return row | {
        "accuracy": None if share is None else float(((p > 0.5) == up).mean()),
        "majority": None if share is None else max(share, 1 - share),
        "auc": auc(p, up),
    }


def folds(ground: Ground, model: str, traded: Traded) -> Iterator[Row]:
    """What a model does in each test block of a walk-forward; nothing for a single split."""
    for fold, rows in ground.folds.items():
        if fold is None:
            return
        scored = score(ground.test[model].to_numpy()[rows], ground.up[rows])
        block = trade_rows(ground, traded.position, rows).summary()
        times = ground.test.loc[rows, "time"]
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


def benchmarks(ground: Ground, traded: Mapping[str, Traded], seed: int) -> Row:
    """Buy-and-hold over the period, and for each model a coin that trades when it does."""
    held = held_over(ground).summary()
    return {
        HOLD: {name: Estimate(value, None, None, 1).as_dict() for name, value in held.items()},
        "coin": {name: _tossed(ground, one.backtest, seed) for name, one in traded.items()},
    }


def held_over(ground: Ground) -> Backtest:
    """Buy-and-hold over the period."""
    first = ground.test["time"].iloc[0]
    last = ground.bars.index[ground.fills.decided[-1] + ground.fills.ahead]
    return buy_and_hold(ground.bars, first, last, ground.rules)


def equity(ground: Ground, traded: Mapping[str, Traded]) -> Row:
    """Equity curves, thinned to at most a thousand points; the last one is always there."""
    curves = {name: one.backtest.equity for name, one in traded.items()} | {
        HOLD: held_over(ground).equity
    }
    return {name: thinned(curve) for name, curve in curves.items()}


def _counts(called_up: NDArray[np.bool_], up: NDArray[np.bool_]) -> list[list[int]]:
    return np.bincount(2 * up + called_up, minlength=4).reshape(2, 2).tolist()


def _tossed(ground: Ground, made: Backtest, seed: int) -> Row:
    tossed, n = coin(made, ground.bars, ground.rules, seed=seed), len(made.trades)
    figures = {
        name: getattr(tossed, name) for name in ("net_bps", "win_rate_gross", "win_rate_net")
    }
    return {name: _spread(figure, n) for name, figure in figures.items()} | {
        "p_value": tossed.p_value
    }


def _spread(figure: Spread | None, n: int) -> Row:
    if figure is None:
        return Estimate(None, None, None, n).as_dict()
    return Estimate(figure.mean, figure.low, figure.high, n).as_dict()


def thinned(curve: pd.Series) -> Row:
    """A curve in at most `POINTS` points, its times and values apart."""
    at = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int))
    shown = curve.iloc[at]
    return {
        "time": [time.isoformat() for time in pd.DatetimeIndex(shown.index)],
        "value": [float(value) for value in shown],
    }
