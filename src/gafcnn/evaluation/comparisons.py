"""Which models are compared with which, and what the comparison shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gafcnn.data.bars import interval_of
from gafcnn.evaluation.bootstrap import Bootstrap, Estimate, difference, estimate
from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.evaluation.figures import Counted, Figure
from gafcnn.evaluation.joining import TWO_STAGE
from gafcnn.evaluation.statistics import Floats, score_rows
from gafcnn.evaluation.targets import ENSEMBLE_OVER_WINDOW, TWO_STAGE_OVER_XGBOOST, Target

ENSEMBLE = "mean"
"""The ensemble that targets and verdict refer to; nothing in it is fitted."""

COMPARED = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "accuracy_labelled": "accuracy on labelled rows",
    "auc_labelled": "AUC on labelled rows",
    "win_rate_gross": "win rate before costs",
    "net_bps": "net return per trade",
    "sharpe": "Sharpe ratio",
}
"""The figures in which models are compared, and their names in sentences."""


@dataclass(frozen=True)
class Study:
    """What is judged.

    Attributes:
        joined: Predictions, models side by side (see `join`).
        bars: Bars of each symbol.
        horizon: Horizon of the label, and the longest duration of a trade.
        members: Models that are neither the baseline nor foreign: the windows.
        models: All models, in the order of the tables.
        baseline: Model that the others are compared with; None if there is none.
        foreign: Models whose tables had no outcomes.
        headline: Model that the verdict is about.
        trials: Number of trainings that were tried.
        resamples: Resamples of the bootstrap; 0 for no intervals.
        seed: Seed of the resamples, and of the coin.
        advance: Called with the number of models that were finished.
    """

    joined: pd.DataFrame
    bars: Mapping[str, pd.DataFrame]
    horizon: pd.Timedelta
    members: Sequence[str]
    models: Sequence[str]
    baseline: str | None
    foreign: Sequence[str]
    headline: str
    trials: int
    resamples: int
    seed: int
    advance: Callable[[int], None]

    @property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(next(iter(self.bars.values())))


@dataclass(frozen=True)
class Judged:
    """The resampled figures of one model.

    Attributes:
        figures: Those that are compared, by name.
        drawn: Their values on the resampled timelines.
        estimates: All figures with their intervals.
    """

    figures: Mapping[Any, Figure]
    drawn: Mapping[Any, Floats]
    estimates: Mapping[Any, Estimate]

    @classmethod
    def by(
        cls, bootstrap: Bootstrap, counted: Mapping[Any, Counted], compared: Iterable[str]
    ) -> Judged:
        """Resample figures, which are given with the number of rows or trades of each."""
        figures = {name: figure for name, (figure, _) in counted.items()}
        drawn = bootstrap.trusted(figures)
        found = {name: estimate(one, drawn[name], n) for name, (one, n) in counted.items()}
        kept = [*compared]
        return cls({k: figures[k] for k in kept}, {k: drawn[k] for k in kept}, found)


@dataclass(frozen=True)
class Pair:
    """Two models on the same rows: `a` is expected to be better than `b`, by `target` if any."""

    a: str
    b: str
    target: Target | None = None


def pairs(study: Study) -> Iterator[Pair]:
    """Yield the comparisons of a study of directions.

    Ensembles are compared with the best member, which has the highest AUC on labelled validation
    rows; members, ensembles and foreign models are compared with the baseline.
    """
    members, models, baseline = study.members, study.models, study.baseline
    val = study.joined.loc[study.joined["split"] == "val"]
    best = max(members, key=lambda name: _validation_auc(val, name)) if members else None
    if best is not None and len(members) > 1:
        for name in ENSEMBLES:
            if name in models:
                yield Pair(name, best, ENSEMBLE_OVER_WINDOW if name == ENSEMBLE else None)
    if best is not None and baseline is not None:
        yield Pair(best, baseline)
        if ENSEMBLE in models and len(members) > 1:
            yield Pair(ENSEMBLE, baseline)
        if TWO_STAGE in models:
            yield Pair(TWO_STAGE, baseline, TWO_STAGE_OVER_XGBOOST)
    for name in study.foreign:
        for other in (baseline, best):
            if other not in (None, name):
                yield Pair(name, other)


def pair_rows(
    asked: Iterable[Pair], judged: Mapping[str, Judged], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the difference of each pair in each figure, ready for JSON.

    Args:
        asked: Pairs of models.
        judged: The results of the models.
        names: The figures that are compared, and their names in sentences.
    """
    rows = []
    for pair in asked:
        a, b = judged[pair.a], judged[pair.b]
        for figure, name in names.items():
            n = min(a.estimates[figure].n, b.estimates[figure].n)
            drawn = a.drawn[figure], b.drawn[figure]
            by = difference(a.figures[figure], b.figures[figure], *drawn, n)
            is_target = pair.target is not None and pair.target.figure == figure
            row = {"a": pair.a, "b": pair.b, "figure": figure, **by.as_dict()}
            row["expected"] = pair.target.goal if pair.target and is_target else None
            rows.append(row | {"finding": finding(pair, name, by)})
    return rows


def finding(pair: Pair, name: str, by: Estimate) -> str:
    """Return what the interval of a difference shows, as a sentence without its full stop.

    Args:
        pair: The models.
        name: Name of the figure in sentences.
        by: The difference.
    """
    if by.value is None:
        return f"the {name} of {pair.a} and {pair.b} cannot be compared: one is undefined"
    if by.low is None or by.high is None:
        return f"the difference in {name} of {pair.a} and {pair.b} has no confidence interval"
    if by.low > 0:
        return f"{pair.a} has a higher {name} than {pair.b}"
    if by.high < 0:
        return f"{pair.a} has a lower {name} than {pair.b}"
    return f"the difference in {name} of {pair.a} and {pair.b} is not statistically significant"


def _validation_auc(val: pd.DataFrame, name: str) -> float:
    found = score_rows(val.loc[val[name].notna()], name)["labelled"]["auc"]
    return 0.5 if found is None else found
