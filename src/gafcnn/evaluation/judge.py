"""All that is told of a study's models: figures, how sure they are, and against what.

Every figure is of the same test rows, and every interval of the same resamples, so that a
difference between two models is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gafcnn.durations import format_duration
from gafcnn.evaluation import breakdowns as tables
from gafcnn.evaluation.bootstrap import (
    Bootstrap,
    Estimate,
    block_length,
    difference,
    estimate,
)
from gafcnn.evaluation.comparisons import COMPARED, Pair, finding, pairs
from gafcnn.evaluation.figures import Figure, Floats
from gafcnn.evaluation.metrics import (
    Part,
    as_trades,
    by_forecast,
    by_regime,
    by_side,
    by_threshold,
    money,
    most_confident,
    scores,
    share_up,
)
from gafcnn.evaluation.statistics import deflated_sharpe
from gafcnn.evaluation.targets import targets
from gafcnn.evaluation.test_set import Ground, RowTrades, Traded

TABLES = ("coverage", "sides", "regimes", "calibration")
"""The tables of parts of the test rows that are looked at by themselves."""

ORACLE = "oracle"
"""The column of what a simulated market knows itself: a measure for the others, and no trial."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What is judged.

    Attributes:
        ground: Test rows, and the bars on which they are traded.
        members: The windows.
        models: All models, in the order in which they are shown.
        baseline: The column of the baseline; None where there is none.
        headline: The model that the verdict speaks of, named before anything was seen.
        regimes: Of every test row, by decision time (see `gafcnn.evaluation.regimes`).
        trials: The trainings that the study's ledger counts.
    """

    ground: Ground
    members: Sequence[str]
    models: Sequence[str]
    baseline: str | None
    headline: str
    regimes: pd.DataFrame
    trials: int

    @cached_property
    def traded(self) -> dict[str, Traded]:
        """What each model's forecasts come to when they are traded."""
        return {model: Traded.by(self.ground, model) for model in self.models}


def judge(
    study: Study,
    *,
    resamples: int = 2000,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Judge all models of a study on its test rows.

    Args:
        study: What to judge.
        resamples: Of the stationary bootstrap; 0 for no intervals.
        seed: Of the resamples, and of the coin.
        advance: Told how many models more are done.

    Returns:
        Plain dicts, lists, texts and numbers, None for what cannot be computed: the part of a
        study's metrics.json that rests on its test rows.
    """
    ground, traded = study.ground, study.traded
    block = block_length(_dependent(ground, traded), ground.bin)
    bootstrap = Bootstrap(ground.bin, ground.n_bars, block, resamples, seed)
    judged = {}
    for model, its_trades in traded.items():
        judged[model] = _judge(study, model, its_trades, bootstrap)
        if advance:
            advance(1)
    deflated = deflated_ratios(
        {name: one.backtest.returns.to_numpy() for name, one in traded.items()}, study.trials
    )
    differences = compared(
        judged, pairs(ground.val, study.members, study.baseline), bootstrap.level
    )
    return {
        "rows": {"all": len(ground.test), "labelled": int(ground.labelled.sum())},
        "classes": tables.classes(ground),
        "cost_bps": ground.rules.cost_bps,
        "threshold": ground.rules.threshold,
        "bootstrap": about(bootstrap, ground),
        "models": told(judged, deflated),
        "benchmarks": tables.benchmarks(ground, traded, seed),
        "confusion": {name: tables.confusion(ground, name) for name in study.models},
        "pairs": [pair_row(*found) for found in differences],
        **{kind: [row for one in judged.values() for row in one.rows[kind]] for kind in TABLES},
        "folds": [row for name in study.models for row in tables.folds(ground, name, traded[name])],
        "targets": targets(
            judged[study.headline].estimates,
            _for_targets(differences),
            study.headline,
            deflated[study.headline]["value"],
        ),
        "equity": tables.equity(ground, traded),
    }


@dataclass(frozen=True)
class Judged:
    """What is known of one model; of its figures, those that are compared with others'."""

    figures: Mapping[str, Figure]
    distributions: Mapping[str, Floats]
    estimates: Mapping[str, Estimate]
    rows: Mapping[str, list[Row]]


def about(bootstrap: Bootstrap, ground: Ground) -> Row:
    """How intervals came to be, for metrics.json."""
    return {
        "resamples": bootstrap.resamples,
        "block": bootstrap.block,
        "bin": format_duration(ground.horizon),
        "level": bootstrap.level,
        "seed": bootstrap.seed,
    }


def told(judged: Mapping[str, Judged], deflated: Mapping[str, Row]) -> Row:
    """The estimates of each model, ready for JSON."""
    return {
        name: {figure: found.as_dict() for figure, found in one.estimates.items()}
        | {"deflated_sharpe": deflated[name]}
        for name, one in judged.items()
    }


def _judge(study: Study, model: str, traded: Traded, bootstrap: Bootstrap) -> Judged:
    """All figures of one model, resampled together."""
    ground = study.ground
    parts = _parts(study, model, traded)
    whole = scores(ground, model) | money(ground, traded)
    figures: dict[Any, Figure] = whole | _figures_of_parts(ground, model, parts)
    drawn = bootstrap.trusted(figures)
    found = {
        key: estimate(figure, drawn[key], 0, bootstrap.level) for key, figure in figures.items()
    }
    rows = {
        kind: [
            tables.part_row(kind, ground, model, part, _of_part(found, kind, number))
            for number, part in enumerate(of_kind)
        ]
        for kind, of_kind in parts.items()
    }
    counted = {
        name: replace(found[name], n=tables.rests_on(ground, traded, name)) for name in whole
    }
    return Judged(
        {name: whole[name] for name in COMPARED},
        {name: drawn[name] for name in COMPARED},
        counted | tables.without_interval(ground, model, traded),
        rows,
    )


def _parts(study: Study, model: str, traded: Traded) -> dict[str, list[Part]]:
    """Parts of the test rows that are looked at by themselves, by the table they are told in."""
    ground = study.ground
    return {
        "coverage": [*most_confident(ground, model), by_threshold(traded)],
        "sides": [*by_side(ground, model, traded)],
        "regimes": [*by_regime(ground, study.regimes)],
        "calibration": [*by_forecast(ground, model)],
    }


def _figures_of_parts(
    ground: Ground, model: str, parts: Mapping[str, Sequence[Part]]
) -> dict[tuple[str, int, str], Figure]:
    trades = RowTrades.by(ground, model)
    return {
        (kind, number, name): figure
        for kind, of_kind in parts.items()
        for number, (_, rows) in enumerate(of_kind)
        for name, figure in (
            {"observed": share_up(ground, rows)}
            if kind == "calibration"
            else as_trades(ground, trades, rows)
        ).items()
    }


def _of_part(found: Mapping[Any, Estimate], kind: str, number: int) -> dict[str, Estimate]:
    return {key[2]: one for key, one in found.items() if key[:2] == (kind, number)}


def _dependent(ground: Ground, traded: Mapping[str, Traded]) -> Iterator[Floats]:
    """The series whose memory the blocks have to hold: hits and returns of every model."""
    for model, its_trades in traded.items():
        yield ground.hits(model)
        yield its_trades.backtest.returns.to_numpy()


def deflated_ratios(returns: Mapping[str, Floats], trials: int) -> dict[str, Row]:
    """The deflated Sharpe ratio of each model, by the bars of the period.

    The variance of the trials' Sharpe ratios is that over the models at hand, but not less than
    1 / n, what it is over n bars without skill: models that resemble each other would make the bar
    low.
    """
    ratios = [
        one.mean() / one.std(ddof=1)
        for name, one in returns.items()
        if name != ORACLE and np.ptp(one) > 0
    ]
    n = len(next(iter(returns.values())))
    variance = max(float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0, 1 / n)
    return {
        name: Estimate(deflated_sharpe(one, max(trials, 1), variance), None, None, n).as_dict()
        for name, one in returns.items()
    }


def compared(
    judged: Mapping[str, Judged], asked: Iterable[Pair], level: float
) -> list[tuple[Pair, str, Estimate]]:
    """What each pair's models differ by, in each of the figures that are compared."""
    found = []
    for pair in asked:
        a, b = judged[pair.a], judged[pair.b]
        for figure in COMPARED:
            both = min(a.estimates[figure].n, b.estimates[figure].n)
            by = difference(
                a.figures[figure], b.figures[figure],
                a.distributions[figure], b.distributions[figure], both, level,
            )  # fmt: skip
            found.append((pair, figure, by))
    return found


def pair_row(pair: Pair, figure: str, by: Estimate) -> Row:
    """A difference, ready for JSON."""
    expected = pair.expected if figure == pair.expects else None
    return {
        "a": pair.a,
        "b": pair.b,
        "figure": figure,
        **by.as_dict(),
        "expected": expected,
        "finding": finding(pair, figure, by),
    }


def _for_targets(
    differences: Sequence[tuple[Pair, str, Estimate]],
) -> dict[str, tuple[str, Estimate]]:
    return {
        pair.target: (f"{pair.a} less {pair.b}", by)
        for pair, figure, by in differences
        if pair.target and figure == pair.expects
    }
