"""The models of a study of several symbols, judged on all of them together.

Rows of all symbols count alike. The trades of the symbols are those of a portfolio that holds the
same share of its equity in each: its return over a bar is the mean of theirs. Symbols move
together, so what is resampled is time: the same moments of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gafcnn.evaluation import breakdowns as tables
from gafcnn.evaluation import statistics as measures
from gafcnn.evaluation.bootstrap import Bootstrap, Estimate, block_length, estimate
from gafcnn.evaluation.calibration import expected_calibration_error, reliability
from gafcnn.evaluation.comparisons import COMPARED, pairs
from gafcnn.evaluation.figures import Auc, Figure, Floats, Ratio
from gafcnn.evaluation.judge import (
    Judged,
    Row,
    Study,
    about,
    compared,
    deflated_ratios,
    pair_row,
    told,
)
from gafcnn.evaluation.metrics import money, scores
from gafcnn.evaluation.test_set import Ground, Traded


class Pool:
    """The bars of several symbols on one timeline: those of the period of any of them.

    Args:
        grounds: The test rows of each symbol, and its bars.
    """

    def __init__(self, grounds: Sequence[Ground]) -> None:
        self.grounds = grounds
        periods = [ground.period for ground in grounds]
        self.times = reduce(lambda one, other: pd.DatetimeIndex(one.union(other)), periods)
        self._places = [self.times.get_indexer(period) for period in periods]

    def side_by_side(self, series: Sequence[NDArray[Any]]) -> Floats:
        """One number a bar of each symbol: shape (n, symbols), 0 where it has no such bar."""
        placed = np.zeros((len(self.times), len(series)))
        for number, (places, values) in enumerate(zip(self._places, series, strict=True)):
            placed[places, number] = values
        return placed

    def together(self, figures: Sequence[Figure]) -> Figure:
        """One figure of each symbol's: sums add up, all rows are ranked, returns averaged."""

        def of(name: str) -> Floats:
            return self.side_by_side([getattr(figure, name) for figure in figures])

        match figures[0]:
            case Ratio() as ratio:
                top, bottom = (of(name).sum(axis=1) for name in ("numerator", "denominator"))
                return replace(ratio, numerator=top, denominator=bottom)
            case Auc():
                return Auc(of("score"), of("up").astype(bool), of("counted").astype(bool))
            case returns:
                return replace(returns, returns=of("returns").mean(axis=1))

    def mean(self, returns: Sequence[Floats]) -> Floats:
        """The return of each bar on equal shares of all symbols: shape (n,)."""
        return self.side_by_side(returns).mean(axis=1)


def judge_pooled(
    studies: Mapping[str, Study],
    *,
    resamples: int = 2000,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Judge the models of several symbols on the test rows of all.

    Args:
        studies: Of each symbol, all of the same models.
        resamples: Of the stationary bootstrap; 0 for no intervals.
        seed: Of the resamples.
        advance: Told how many models more are done.

    Returns:
        Plain dicts, lists, texts and numbers, as `judge` gives them of one symbol, as far as they
        have a meaning for several.
    """
    study = next(iter(studies.values()))
    pool = Pool([one.ground for one in studies.values()])
    traded = {model: [one.traded[model] for one in studies.values()] for model in study.models}
    returns = {
        model: pool.mean([one.backtest.returns.to_numpy() for one in of_symbols])
        for model, of_symbols in traded.items()
    }
    hits = (
        pool.side_by_side([ground.hits(model) for ground in pool.grounds]).sum(axis=1)
        for model in study.models
    )
    block = block_length([*hits, *returns.values()], study.ground.bin)
    bootstrap = Bootstrap(study.ground.bin, len(pool.times), block, resamples, seed)
    judged = {}
    for model in study.models:
        judged[model] = _judge(pool, model, traded[model], returns[model], bootstrap)
        if advance:
            advance(1)
    val = pd.concat([ground.val for ground in pool.grounds], ignore_index=True)
    differences = compared(judged, pairs(val, study.members, study.baseline), bootstrap.level)
    classes = _classes(pool)
    held = pool.mean([tables.held_over(ground).returns.to_numpy() for ground in pool.grounds])
    return {
        "rows": {name: classes[name]["n"] for name in ("all", "labelled")},
        "classes": classes,
        "cost_bps": study.ground.rules.cost_bps,
        "threshold": study.ground.rules.threshold,
        "bootstrap": about(bootstrap, study.ground),
        "models": told(judged, deflated_ratios(returns, study.trials)),
        "benchmarks": {tables.HOLD: _held(held, study.ground.periods)},
        "pairs": [pair_row(*found) for found in differences],
        "equity": {
            name: tables.thinned(pd.Series(np.cumprod(1 + one), pool.times))
            for name, one in {**returns, tables.HOLD: held}.items()
        },
    }


def _judge(
    pool: Pool, model: str, traded: Sequence[Traded], returns: Floats, bootstrap: Bootstrap
) -> Judged:
    """All figures of one model, resampled together."""
    grounds = pool.grounds
    by_symbol = [
        scores(ground, model) | money(ground, one)
        for ground, one in zip(grounds, traded, strict=True)
    ]
    figures = {name: pool.together([one[name] for one in by_symbol]) for name in by_symbol[0]}
    drawn = bootstrap.trusted(figures)
    n = {
        name: sum(
            tables.rests_on(ground, one, name) for ground, one in zip(grounds, traded, strict=True)
        )
        for name in (*figures, *tables.RETURNS, "trades", "calibration_error")
    }
    estimates = {
        name: estimate(figure, drawn[name], n[name], bootstrap.level)
        for name, figure in figures.items()
    }
    p, up = (
        np.concatenate(parts)
        for parts in zip(*((one.test[model].to_numpy(), one.up) for one in grounds), strict=True)
    )
    values = {
        "trades": n["trades"],
        **tables.grown(returns, grounds[0]),
        "calibration_error": expected_calibration_error(reliability(p, up)),
    }
    estimates |= {name: Estimate(value, None, None, n[name]) for name, value in values.items()}
    return Judged(
        {name: figures[name] for name in COMPARED},
        {name: drawn[name] for name in COMPARED},
        estimates,
        {},
    )


def _held(returns: Floats, periods: float) -> Row:
    """What holding all symbols in equal shares comes to."""
    figures = {
        "sharpe": measures.sharpe(returns, periods),
        "sortino": measures.sortino(returns, periods),
        "max_drawdown": measures.max_drawdown(returns),
        "total_return": measures.total_return(returns),
    }
    return {name: Estimate(value, None, None, 1).as_dict() for name, value in figures.items()}


def _classes(pool: Pool) -> dict[str, Row]:
    """As `tables.classes`, of the rows of all symbols."""
    of_symbols = [tables.classes(ground) for ground in pool.grounds]
    found = {}
    for name in of_symbols[0]:
        parts = [one[name] for one in of_symbols]
        n = sum(part["n"] for part in parts)
        up = sum(round(part["up"] * part["n"]) for part in parts if part["n"])
        found[name] = {"up": up / n if n else None, "n": n}
    return found
