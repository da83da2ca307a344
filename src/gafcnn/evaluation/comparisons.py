"""Which models are compared, what the comparison shows, and whether targets are met.

The targets are those of the system that this library grew from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from gafcnn.data.bars import interval_of
from gafcnn.evaluation.bootstrap import Sampled
from gafcnn.evaluation.ensembles import ENSEMBLE, ENSEMBLES, TWO_STAGE
from gafcnn.evaluation.statistics import Row, estimate, score_rows

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
    """What is judged."""

    joined: pd.DataFrame  # predictions, models side by side (see `join`)
    bars: Mapping[str, pd.DataFrame]  # bars of each symbol
    horizon: pd.Timedelta  # horizon of the label, and the longest duration of a trade
    members: Sequence[str]  # models that are neither the baseline nor foreign: the windows
    models: Sequence[str]  # all models, in the order of the tables
    baseline: str | None  # model that the others are compared with; None if there is none
    foreign: Sequence[str]  # models whose tables had no outcomes
    headline: str  # model that the verdict is about
    trials: int  # number of trainings that were tried
    resamples: int  # resamples of the bootstrap; 0 for no intervals
    seed: int  # seed of the resamples, and of the coin
    advance: Callable[[int], None]  # called with the number of models that were finished

    @property
    def interval(self) -> pd.Timedelta:
        """Time between two bars."""
        return interval_of(next(iter(self.bars.values())))


class Pair(NamedTuple):
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

    def validation_auc(name: str) -> float:
        found = score_rows(val.loc[val[name].notna()], name)["labelled"]["auc"]
        return 0.5 if found is None else found

    best = max(members, key=validation_auc) if members else None
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
    asked: Iterable[Pair],
    sampled: Mapping[str, Mapping[Any, Sampled]],
    names: Mapping[str, str],
) -> list[Row]:
    """Return the difference of each pair in each figure, ready for JSON.

    Args:
        asked: Pairs of models.
        sampled: The figures of each model.
        names: The figures that are compared, and their names in sentences.
    """
    rows = []
    for pair in asked:
        for figure, name in names.items():
            by = (sampled[pair.a][figure] - sampled[pair.b][figure]).estimate()
            is_target = pair.target is not None and pair.target.figure == figure
            row = {"a": pair.a, "b": pair.b, "figure": figure, **by}
            row["expected"] = pair.target.goal if pair.target and is_target else None
            rows.append(row | {"finding": finding(pair, name, by)})
    return rows


def finding(pair: Pair, name: str, by: Row) -> str:
    """Return what a difference shows, an estimate, as a sentence without its full stop.

    Args:
        pair: The models.
        name: Name of the figure in sentences.
        by: The difference.
    """
    value, low, high = (by[key] for key in ("value", "low", "high"))
    if value is None:
        return f"the {name} of {pair.a} and {pair.b} cannot be compared: one is undefined"
    if low is None:
        return f"the difference in {name} of {pair.a} and {pair.b} has no confidence interval"
    if low <= 0 <= high:
        return f"the difference in {name} of {pair.a} and {pair.b} is not statistically significant"
    return f"{pair.a} has a {'higher' if low > 0 else 'lower'} {name} than {pair.b}"


SURE = 0.95
"""The deflated Sharpe ratio from which a Sharpe ratio is more than the luck of many trials."""


@dataclass(frozen=True)
class Target:
    """A target."""

    target: str  # what it is about
    goal: str  # what was to be reached, in words
    figure: str  # name of the figure in the estimates
    least: float  # the least value that reaches it
    luck: float = 0.0  # the value of the figure without skill
    of_pair: bool = False  # whether the figure is a difference between two models


PATTERNS = Target("pattern recognition", "> 90 % accuracy", "pattern_accuracy", 0.9, luck=0.5)
ENSEMBLE_OVER_WINDOW = Target(
    "ensemble over its best single window", "+2 to +5 % accuracy", "accuracy", 0.02, of_pair=True
)
TWO_STAGE_OVER_XGBOOST = Target(
    "two-stage over XGBoost", "+5 to +10 % win rate", "win_rate_gross", 0.05, of_pair=True
)
TARGETS = (
    Target("win rate", "65 to 70 %", "win_rate_gross", 0.65, luck=0.5),
    PATTERNS,  # not measured in a study of directions
    Target("Sharpe ratio", "2.0 to 2.5", "sharpe", 2.0),
    Target("Sortino ratio", "3.0 to 3.5", "sortino", 3.0),
    ENSEMBLE_OVER_WINDOW,
    TWO_STAGE_OVER_XGBOOST,
)


def verdict(
    value: float | None, low: float | None, high: float | None, least: float, luck: float
) -> str:
    """Return whether a target is met, as far as its interval shows.

    It is met if the value is at least `least` and the whole interval above `luck`, the value
    without skill. It is not met if the whole interval is below `least`, and not significant if the
    interval contains luck, or if a value that is high enough has no interval.
    """
    if value is None:
        return "not measured"
    if high is not None and high < least:
        return "not met"
    if low is not None and low <= luck:
        return "not statistically significant"
    if value < least:
        return "not met"
    return "met" if low is not None else "not statistically significant"


def targets(
    headline: str, figures: Mapping[str, Row], pairs: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """Return a row per target of a direction: figure, estimate and verdict.

    Args:
        headline: Name of the headline model.
        figures: Its estimates, by figure. The Sharpe ratio is not met if `deflated_sharpe` is
            below `SURE`.
        pairs: Differences between models; `expected` of a row is the goal of a target.
    """
    by_goal = {row["expected"]: row for row in pairs if row["expected"]}
    rows = []
    for target in TARGETS:
        found = by_goal.get(target.goal) if target.of_pair else figures.get(target.figure)
        of_pair = f"{found['a']} less {found['b']}" if found and target.of_pair else ""
        rows.append(target_row(target, of_pair if target.of_pair else headline, found))
    deflated = figures.get("deflated_sharpe", {}).get("value") or 0.0
    for row in rows:
        if row["figure"] == "sharpe" and row["verdict"] == "met" and deflated < SURE:
            row["verdict"] = "not statistically significant"
    return rows


def pattern_target(headline: str, balanced: Mapping[str, Any], classes: int) -> Row:
    """Return the target of pattern recognition, which refers to the balanced accuracy.

    The accuracies that it stems from are of equally many samples of each class (Chen and Tsai,
    Financial Innovation, 2020); guessing is right in one of `classes`.
    """
    target = replace(PATTERNS, figure="balanced_accuracy", luck=1 / classes)
    return target_row(target, headline, balanced)


def target_row(target: Target, model: str, found: Mapping[str, Any] | None) -> Row:
    """Return the row of a target; `found` is the estimate of its figure, None if not measured."""
    found = found or estimate(None, 0)
    value, low, high = (found[key] for key in ("value", "low", "high"))
    return {
        "target": target.target,
        "goal": target.goal,
        "model": model,
        "figure": target.figure,
        "least": target.least,
        **{key: found[key] for key in ("value", "low", "high", "n")},
        "verdict": verdict(value, low, high, target.least, target.luck),
    }
