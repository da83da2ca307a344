"""Judge models of a direction: scores, trades and their uncertainty, for one or many symbols.

Several symbols are judged together: rows of all symbols count alike, trades form a portfolio with
equal shares, and the bootstrap resamples moments, with the rows and returns of every symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.durations import format_duration
from gafcnn.evaluation import breakdowns, statistics
from gafcnn.evaluation.bootstrap import Bootstrap, Estimate, block_length, difference, estimate
from gafcnn.evaluation.breakdowns import Row
from gafcnn.evaluation.calibration import expected_calibration_error, reliability
from gafcnn.evaluation.comparisons import COMPARED, Pair, finding, pairs
from gafcnn.evaluation.figures import Auc, Figure, Ratio
from gafcnn.evaluation.metrics import part_figures, parts, score_figures, share_up, trade_figures
from gafcnn.evaluation.statistics import Floats
from gafcnn.evaluation.targets import targets
from gafcnn.evaluation.test_set import TestSet, Traded

ORACLE = "oracle"
"""The model that is a simulated market's own probability; it is not a trial."""


@dataclass(frozen=True)
class Study:
    """What is judged.

    Attributes:
        test_sets: Test rows of each symbol, models side by side.
        members: The windows.
        models: All models, in the order of the tables.
        baseline: Name of the baseline; None if there is none.
        foreign: Models that were not trained here.
        headline: The model that the verdict is about.
        regimes: Of every test row of each symbol, by decision time.
        trials: Number of trainings that were tried.
    """

    test_sets: Mapping[str, TestSet]
    members: Sequence[str]
    models: Sequence[str]
    baseline: str | None
    foreign: Sequence[str]
    headline: str
    regimes: Mapping[str, pd.DataFrame]
    trials: int

    @cached_property
    def traded(self) -> dict[str, list[Traded]]:
        """The trades of each model, by symbol."""
        return {
            model: [Traded.by(rows, model) for rows in self.test_sets.values()]
            for model in self.models
        }

    @property
    def first(self) -> TestSet:
        """The test set of the first symbol."""
        return next(iter(self.test_sets.values()))

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """Close times of the bars of all symbols' periods: shape (n,)."""
        periods = [rows.period for rows in self.test_sets.values()]
        return reduce(lambda one, other: pd.DatetimeIndex(one.union(other)), periods)

    @cached_property
    def _places(self) -> list[NDArray[np.intp]]:
        return [self.times.get_indexer(rows.period) for rows in self.test_sets.values()]

    def side_by_side(self, series: Iterable[NDArray[Any]]) -> Floats:
        """Return one number per bar of each symbol: shape (n, symbols), 0 without such a bar."""
        placed = np.zeros((len(self.times), len(self.test_sets)))
        for number, (places, values) in enumerate(zip(self._places, series, strict=True)):
            placed[places, number] = values
        return placed

    def pool(self, figures: Sequence[Figure]) -> Figure:
        """Return a figure of all symbols: sums added, rows ranked together, returns averaged."""

        def column(name: str) -> Floats:
            return self.side_by_side([getattr(figure, name) for figure in figures])

        if len(figures) == 1:
            return figures[0]
        match figures[0]:
            case Ratio() as ratio:
                top, bottom = (column(name).sum(axis=1) for name in ("numerator", "denominator"))
                return replace(ratio, numerator=top, denominator=bottom)
            case Auc():
                up, counted = (column(name).astype(bool) for name in ("up", "counted"))
                return Auc(column("score"), up, counted)
            case returns:
                return replace(returns, returns=column("returns").mean(axis=1))  # pyright: ignore[reportCallIssue]

    def portfolio(self, backtests: Iterable[Any]) -> Floats:
        """Return the mean return over symbols of each bar: shape (n,)."""
        returns = self.side_by_side([one.returns.to_numpy() for one in backtests])
        return returns[:, 0] if returns.shape[1] == 1 else returns.mean(axis=1)


@dataclass(frozen=True)
class _Judged:
    """The results of one model; figures and distributions only of those that are compared."""

    figures: Mapping[str, Figure]
    distributions: Mapping[str, Floats]
    estimates: Mapping[str, Estimate]


def judge_directions(
    study: Study, resamples: int, seed: int, advance: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Judge all models of a study on its test rows.

    Args:
        study: What to judge.
        resamples: Of the stationary bootstrap; 0 for no intervals.
        seed: Seed of the resamples, and of the coin.
        advance: Called with the number of models that were finished.

    Returns:
        Plain dicts, lists, strings and numbers, None for what is undefined.
    """
    test_sets = list(study.test_sets.values())
    returns = {
        model: study.portfolio(one.backtest for one in traded)
        for model, traded in study.traded.items()
    }
    hits = (
        study.side_by_side([rows.hits(model) for rows in test_sets]).sum(axis=1)
        for model in study.models
    )
    block = block_length([*hits, *returns.values()], study.first.bin)
    bootstrap = Bootstrap(study.first.bin, len(study.times), block, resamples, seed)
    judged, tables = {}, {}
    for model in study.models:
        judged[model] = _judge(study, model, returns[model], bootstrap)
        if len(test_sets) == 1:
            tables[model] = _part_tables(study, model, bootstrap)
        if advance:
            advance(1)
    deflated = _deflated(returns, study.trials)
    val = pd.concat([rows.val for rows in test_sets], ignore_index=True)
    asked = pairs(val, study.members, study.baseline, study.models, study.foreign)
    differences = _differences(judged, asked, bootstrap.level)
    classes = breakdowns.class_shares(test_sets)
    held = study.portfolio(breakdowns.hold(rows) for rows in test_sets)
    metrics = {
        "rows": {name: classes[name]["n"] for name in ("all", "labelled")},
        "classes": classes,
        "bootstrap": {
            "resamples": resamples,
            "block": bootstrap.block,
            "bin": format_duration(study.first.horizon),
            "level": bootstrap.level,
            "seed": seed,
        },
        "models": {
            name: {figure: found.as_dict() for figure, found in one.estimates.items()}
            | {"deflated_sharpe": deflated[name]}
            for name, one in judged.items()
        },
        "benchmarks": {breakdowns.HOLD: _hold_figures(study, held)},
        "pairs": [_pair_row(*found) for found in differences],
        "equity": {
            name: breakdowns.thin(pd.Series(np.cumprod(1 + one), study.times))
            for name, one in {**returns, breakdowns.HOLD: held}.items()
        },
        "targets": targets(
            judged[study.headline].estimates,
            {
                pair.target: (f"{pair.a} less {pair.b}", by)
                for pair, figure, by in differences
                if pair.target and figure == pair.expects
            },
            study.headline,
            deflated[study.headline]["value"],
        ),
    }
    return metrics | (_single(study, tables, seed) if len(test_sets) == 1 else {})


def _single(study: Study, tables: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The tables that exist for one symbol only."""
    rows, traded = study.first, {model: one[0] for model, one in study.traded.items()}
    held = breakdowns.hold(rows)
    curves = {name: one.backtest.equity for name, one in traded.items()}
    return {
        "benchmarks": {
            breakdowns.HOLD: {
                name: Estimate(value, None, None, 1).as_dict()
                for name, value in held.summary().items()
            },
            "coin": breakdowns.coin_rows(rows, traded, seed),
        },
        "confusion": {name: breakdowns.confusion(rows, name) for name in study.models},
        **{
            kind: [row for name in study.models for row in tables[name][kind]]
            for kind in ("coverage", "sides", "regimes", "calibration")
        },
        "folds": [
            row for name in study.models for row in breakdowns.fold_rows(rows, name, traded[name])
        ],
        "equity": {
            name: breakdowns.thin(curve)
            for name, curve in {**curves, breakdowns.HOLD: held.equity}.items()
        },
    }


def _judge(study: Study, model: str, returns: Floats, bootstrap: Bootstrap) -> _Judged:
    """All figures of one model, resampled together."""
    test_sets, traded = list(study.test_sets.values()), study.traded[model]
    each = list(zip(test_sets, traded, strict=True))
    by_symbol = [score_figures(rows, model) | trade_figures(rows, one) for rows, one in each]
    figures = {name: study.pool([one[name] for one in by_symbol]) for name in by_symbol[0]}
    drawn = bootstrap.trusted(figures)

    def count(name: str) -> int:
        return sum(breakdowns.count_of(rows, one, name) for rows, one in each)

    estimates = {
        name: estimate(figure, drawn[name], count(name), bootstrap.level)
        for name, figure in figures.items()
    }
    p = np.concatenate([rows.test[model].to_numpy() for rows in test_sets])
    up = np.concatenate([rows.up for rows in test_sets])
    thresholds = [choice.threshold for one in traded for choice in one.choices.values()]
    values = {
        "trades": count("trades"),
        **breakdowns.growth(returns, study.first),
        "threshold": thresholds[0] if len(thresholds) == 1 else None,
        "calibration_error": expected_calibration_error(reliability(p, up)),
    }
    estimates |= {name: Estimate(value, None, None, count(name)) for name, value in values.items()}
    return _Judged(
        {name: figures[name] for name in COMPARED},
        {name: drawn[name] for name in COMPARED},
        estimates,
    )


def _part_tables(study: Study, model: str, bootstrap: Bootstrap) -> dict[str, list[Row]]:
    """The tables of parts of the test rows of one symbol: coverage, sides, regimes, calibration."""
    rows, [symbol] = study.first, study.test_sets
    by_kind = parts(rows, model, study.traded[model][0], study.regimes[symbol])
    figures: dict[tuple[str, int, str], Figure] = {
        (kind, number, name): figure
        for kind, of_kind in by_kind.items()
        for number, (_, inside) in enumerate(of_kind)
        for name, figure in (
            {"observed": share_up(rows, inside)}
            if kind == "calibration"
            else part_figures(rows, model, inside)
        ).items()
    }
    drawn = bootstrap.trusted(figures)
    found: dict[tuple[str, int], dict[str, Estimate]] = {}
    for (kind, number, name), figure in figures.items():
        one = estimate(figure, drawn[kind, number, name], 0, bootstrap.level)
        found.setdefault((kind, number), {})[name] = one
    return {
        kind: [
            breakdowns.part_row(kind, rows, model, part, found[kind, number])
            for number, part in enumerate(of_kind)
        ]
        for kind, of_kind in by_kind.items()
    }


def _deflated(returns: Mapping[str, Floats], trials: int) -> dict[str, Row]:
    """The deflated Sharpe ratio of each model.

    The variance of the trials' Sharpe ratios is estimated from the models at hand, but is at least
    1 / n, its value for n bars without skill: otherwise models that resemble each other would make
    the hurdle low.
    """
    ratios = [
        one.mean() / one.std(ddof=1)
        for name, one in returns.items()
        if name != ORACLE and np.ptp(one) > 0
    ]
    n = len(next(iter(returns.values())))
    variance = max(float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0, 1 / n)
    return {
        name: Estimate(
            statistics.deflated_sharpe(one, max(trials, 1), variance), None, None, n
        ).as_dict()
        for name, one in returns.items()
    }


def _differences(
    judged: Mapping[str, _Judged], asked: Iterable[Pair], level: float
) -> list[tuple[Pair, str, Estimate]]:
    """The difference of each pair in each of the figures that are compared."""
    found = []
    for pair in asked:
        a, b = judged[pair.a], judged[pair.b]
        for figure in COMPARED:
            n = min(a.estimates[figure].n, b.estimates[figure].n)
            drawn = a.distributions[figure], b.distributions[figure]
            by = difference(a.figures[figure], b.figures[figure], *drawn, n, level)
            found.append((pair, figure, by))
    return found


def _pair_row(pair: Pair, figure: str, by: Estimate) -> Row:
    return {
        "a": pair.a,
        "b": pair.b,
        "figure": figure,
        **by.as_dict(),
        "expected": pair.expected if figure == pair.expects else None,
        "finding": finding(pair, figure, by),
    }


def _hold_figures(study: Study, returns: Floats) -> Row:
    """Holding all symbols in equal shares."""
    periods = study.first.periods
    figures = {
        "sharpe": statistics.sharpe(returns, periods),
        "sortino": statistics.sortino(returns, periods),
        "max_drawdown": statistics.max_drawdown(returns),
        "total_return": statistics.total_return(returns),
    }
    return {name: Estimate(value, None, None, 1).as_dict() for name, value in figures.items()}
