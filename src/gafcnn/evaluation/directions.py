"""Judge models of a direction: scores, trades and their uncertainty, for one or more symbols.

Several symbols are judged together: rows of all symbols count alike, trades form a portfolio with
equal shares, and the bootstrap resamples moments, with the rows and returns of every symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gafcnn.data.bars import interval_of
from gafcnn.data.samples import Samples
from gafcnn.evaluation import metrics
from gafcnn.evaluation.bootstrap import Bootstrap, block_length
from gafcnn.evaluation.comparisons import COMPARED, Judged, Study, pair_rows, pairs, targets
from gafcnn.evaluation.figures import Counted
from gafcnn.evaluation.metrics import HOLD, Row, plain
from gafcnn.evaluation.regimes import regimes
from gafcnn.evaluation.statistics import Floats, deflated_sharpe, expected_calibration_error
from gafcnn.evaluation.test_set import Candidate, Panel, TestSet
from gafcnn.evaluation.trading_rules import TradingRules

ORACLE = "oracle"
"""The model that is a simulated market's own probability; it is not a trial."""

_LOOKBACK_BARS = 60  # of regimes, if no samples are given


def judge_directions(
    study: Study, rules: TradingRules, of_folds: Sequence[Samples]
) -> dict[str, Any]:
    """Judge all models of a study on its test rows.

    Args:
        study: What to judge.
        rules: Trading rules.
        of_folds: Samples of each fold, for regimes; may be empty.

    Returns:
        Plain dicts, lists, strings and numbers, None for what is undefined.
    """
    test_sets = {
        symbol: TestSet.of(
            study.joined.loc[study.joined["symbol"] == symbol], frame, study.horizon, rules
        )
        for symbol, frame in study.bars.items()
    }
    sets = [*test_sets.values()]
    panel = Panel(sets)
    models = {
        name: Candidate(panel, name, [rows.trade(name) for rows in sets]) for name in study.models
    }
    length = panel.sets[0].fills.ahead
    dependent = [series for one in models.values() for series in (one.hits, one.returns)]
    block = block_length(dependent, length)
    bootstrap = Bootstrap(length, len(panel.times), block, study.resamples, study.seed)
    by_row = pd.concat([_regimes(*one, of_folds) for one in test_sets.items()], ignore_index=True)
    returns = {name: model.returns for name, model in models.items()}
    deflated = deflated_ratios(returns, study.trials)
    judged: dict[str, Judged] = {}
    estimates: dict[str, Row] = {}
    tables: dict[str, list[Row]] = {}
    for name, model in models.items():
        judged[name], found = _judge(bootstrap, panel, model, by_row)
        for kind, rows in found.items():
            tables.setdefault(kind, []).extend(rows)
        estimates[name] = _estimates(panel, model, judged[name], deflated[name])
        study.advance(1)
    differences = pair_rows(pairs(study), judged, COMPARED)
    classes = metrics.class_shares(panel)
    held = [metrics.hold(rows) for rows in sets]
    returns[HOLD] = panel.mean_return(held)
    benchmarks: Row = {HOLD: metrics.hold_figures(panel, held)}
    if len(sets) == 1:
        benchmarks["coin"] = {
            name: metrics.coin_row(sets[0], model, study.seed) for name, model in models.items()
        }
    return {
        **_costs(sets),
        "threshold": rules.threshold,
        "rows": {name: classes[name]["n"] for name in ("all", "labelled")},
        "classes": classes,
        "bootstrap": bootstrap.describe(panel.interval),
        "models": estimates,
        "benchmarks": benchmarks,
        "confusion": {name: metrics.confusion(panel, model.p) for name, model in models.items()},
        "pairs": differences,
        **tables,
        "folds": [row for model in models.values() for row in metrics.fold_rows(panel, model)],
        "targets": targets(study.headline, estimates[study.headline], differences),
        "equity": {name: metrics.equity(one, panel.times) for name, one in returns.items()},
    }


def _judge(
    bootstrap: Bootstrap, panel: Panel, model: Candidate, by_row: pd.DataFrame
) -> tuple[Judged, dict[str, list[Row]]]:
    """Return the figures of one model, and its rows in the tables of parts of the test rows."""
    by_kind = metrics.parts(panel, model, by_row)
    counted: dict[Any, Counted] = {
        (kind, number, name): (figure, 0)
        for kind, of_kind in by_kind.items()
        for number, (_, inside) in enumerate(of_kind)
        for name, figure in metrics.part_figures(panel, model, kind, inside).items()
    }
    counted |= metrics.score_figures(panel, model.p) | metrics.trade_figures(panel, model)
    judged = Judged.by(bootstrap, counted, COMPARED)

    def row(kind: str, number: int, part: metrics.Part) -> Row:
        found = {k[2]: one for k, one in judged.estimates.items() if k[:2] == (kind, number)}
        return metrics.part_row(kind, panel, model, part, found)

    return judged, {
        kind: [row(kind, number, part) for number, part in enumerate(of_kind)]
        for kind, of_kind in by_kind.items()
    }


def _estimates(panel: Panel, model: Candidate, judged: Judged, deflated: float | None) -> Row:
    """Return the figures of a model, ready for JSON, including those without an interval."""
    growth = metrics.growth(model.returns, panel)
    error = expected_calibration_error(model.p, panel.up)
    return {
        **{key: one.as_dict() for key, one in judged.estimates.items() if isinstance(key, str)},
        "trades": plain(model.trades, model.trades),
        **{key: plain(value, model.trades) for key, value in growth.items()},
        "threshold": plain(model.threshold, len(model.p)),
        "calibration_error": plain(error, len(model.p)),
        "deflated_sharpe": plain(deflated, len(panel.times)),
    }


def deflated_ratios(returns: Mapping[str, Floats], trials: int) -> dict[str, float | None]:
    """Return the deflated Sharpe ratio of each model.

    The variance of the trials' Sharpe ratios is estimated from the models at hand, but is at least
    1 / n, its value for n bars without skill: otherwise models that resemble each other would make
    the hurdle low.

    Args:
        returns: Return of each bar, by model.
        trials: Number of trainings that were tried.
    """
    ratios = [
        one.mean() / one.std(ddof=1)
        for name, one in returns.items()
        if name != ORACLE and np.ptp(one) > 0
    ]
    n = len(next(iter(returns.values())))
    variance = max(float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0, 1 / n)
    return {name: deflated_sharpe(one, max(trials, 1), variance) for name, one in returns.items()}


def _costs(sets: Sequence[TestSet]) -> dict[str, Any]:
    """Return the cost per side, on average if it varies, and how sentences state it."""
    costs = np.concatenate([rows.fills.long.entry_cost for rows in sets])
    varies = np.ptp(costs) > 0
    bps = float(costs.mean() if varies else costs[0])
    return {"cost_bps": bps, "costs": f"{bps:.4g} bps a side" + " on average" * bool(varies)}


def _regimes(symbol: str, rows: TestSet, of_folds: Sequence[Samples]) -> pd.DataFrame:
    """Return the regime of each test row, by the training samples of its fold."""
    found = []
    for fold, inside in rows.folds.items():
        times = pd.DatetimeIndex(rows.test.loc[inside, "time"])
        samples = next((one for one in of_folds if one.split.fold == fold), None)
        if samples is None:
            reference = pd.DatetimeIndex(rows.bars.loc[: times[0]].index)[:-1]
            lookback = _LOOKBACK_BARS * interval_of(rows.bars)
        else:
            part = samples if len(samples.symbols) == 1 else samples.of(symbol)
            reference = pd.DatetimeIndex(part.times[part.split.train]).tz_localize("UTC")
            lookback = max(samples.lookback, 3 * interval_of(rows.bars))
        found.append(regimes(rows.bars, times, reference, lookback))
    return pd.concat(found).loc[pd.DatetimeIndex(rows.test["time"])]
