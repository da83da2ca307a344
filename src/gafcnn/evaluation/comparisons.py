"""Which models are compared with which, and what the comparison shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.ensembles import ENSEMBLES
from gafcnn.evaluation.joining import TWO_STAGE
from gafcnn.evaluation.statistics import score_rows
from gafcnn.evaluation.targets import ENSEMBLE_OVER_WINDOW, TARGETS, TWO_STAGE_OVER_XGBOOST

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
class Pair:
    """Two models on the same rows.

    Attributes:
        a: The model that is expected to be better.
        b: The model that it is compared with.
        target: The target that it is measured by, of `gafcnn.evaluation.targets`.
        expects: The figure that the target is about.
        expected: What was to be reached, in words.
    """

    a: str
    b: str
    target: str | None = None
    expects: str | None = None
    expected: str | None = None

    @classmethod
    def of(cls, a: str, b: str, name: str) -> Pair:
        """Return the pair that a target is about."""
        target = next(target for target in TARGETS if target.pair == name)
        return cls(a, b, name, target.figure, target.goal)


def pairs(
    val: pd.DataFrame,
    members: Sequence[str],
    baseline: str | None,
    models: Sequence[str],
    foreign: Sequence[str] = (),
) -> Iterator[Pair]:
    """Yield the comparisons of a study.

    The best member is the one with the highest AUC on labelled validation rows.

    Args:
        val: Validation rows, models side by side.
        members: The windows.
        baseline: Name of the baseline, if there is one.
        models: Names of all models.
        foreign: Models that were not trained here; compared with baseline and best member.
    """
    best = max(members, key=lambda name: _auc(val, name)) if members else None
    for name in ENSEMBLES:
        if best is not None and name in models and len(members) > 1:
            is_target = name == ENSEMBLE
            yield Pair.of(name, best, ENSEMBLE_OVER_WINDOW) if is_target else Pair(name, best)
    if best is not None and baseline is not None:
        yield Pair(best, baseline)
        if ENSEMBLE in models and len(members) > 1:
            yield Pair(ENSEMBLE, baseline)
        if TWO_STAGE in models:
            yield Pair.of(TWO_STAGE, baseline, TWO_STAGE_OVER_XGBOOST)
    for name in foreign:
        for other in (baseline, best):
            if other is not None:
                yield Pair(name, other)


def finding(
    pair: Pair, figure: str, difference: Estimate, names: Mapping[str, str] = COMPARED
) -> str:
    """Return what the interval of a difference shows, as a sentence without its full stop."""
    name = names[figure]
    if difference.value is None:
        return f"the {name} of {pair.a} and {pair.b} cannot be compared: one is undefined"
    if difference.low is None or difference.high is None:
        return f"the difference in {name} of {pair.a} and {pair.b} has no confidence interval"
    if difference.low > 0:
        return f"{pair.a} has a higher {name} than {pair.b}"
    if difference.high < 0:
        return f"{pair.a} has a lower {name} than {pair.b}"
    return f"the difference in {name} of {pair.a} and {pair.b} is not statistically significant"


def _auc(val: pd.DataFrame, name: str) -> float:
    found = score_rows(val, name)["labelled"]["auc"]
    return 0.5 if found is None else found
