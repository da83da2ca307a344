"""The targets of the system that this library grew from, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from gafcnn.evaluation.bootstrap import Estimate

Verdict: TypeAlias = Literal["met", "not met", "not statistically significant", "not measured"]


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        target: What it is about.
        goal: What was to be reached, in words.
        figure: Name of the figure in the estimates.
        least: The least value that reaches it.
        luck: The value of the figure without skill.
        pair: The pair of models whose difference is the figure, in words; None for a figure of the
            headline model.
    """

    target: str
    goal: str
    figure: str
    least: float
    luck: float
    pair: str | None = None


UNMEASURED = Estimate(None, None, None, 0)

SURE = 0.95
"""The deflated Sharpe ratio from which a Sharpe ratio is more than the luck of many trials."""

PATTERNS = "pattern recognition"
ENSEMBLE_OVER_WINDOW = "ensemble over its best single window"
TWO_STAGE_OVER_XGBOOST = "two-stage over XGBoost"

TARGETS = (
    Target("win rate", "65 to 70 %", "win_rate_gross", least=0.65, luck=0.5),
    # not measured in a study of directions; see `pattern_target`
    Target(PATTERNS, "> 90 % accuracy", "pattern_accuracy", least=0.9, luck=0.5),
    Target("Sharpe ratio", "2.0 to 2.5", "sharpe", least=2.0, luck=0.0),
    Target("Sortino ratio", "3.0 to 3.5", "sortino", least=3.0, luck=0.0),
    Target(
        ENSEMBLE_OVER_WINDOW,
        "+2 to +5 % accuracy",
        "accuracy",
        least=0.02,
        luck=0.0,
        pair=ENSEMBLE_OVER_WINDOW,
    ),
    Target(
        TWO_STAGE_OVER_XGBOOST,
        "+5 to +10 % win rate",
        "win_rate_gross",
        least=0.05,
        luck=0.0,
        pair=TWO_STAGE_OVER_XGBOOST,
    ),
)


def verdict(
    value: float | None, low: float | None, high: float | None, least: float, luck: float
) -> Verdict:
    """Return whether a target is met, as far as its interval shows.

    Args:
        value: The figure; None if it was not measured.
        low: Lower end of its interval; None if there is none.
        high: Upper end.
        least: The least value that meets the target.
        luck: The value of the figure without skill.

    Returns:
        "met" if the value is high enough and the whole interval above luck; "not met" if the whole
        interval is too low; "not statistically significant" if the interval contains luck, or a
        value that is high enough has no interval; otherwise "not met".
    """
    if value is None:
        return "not measured"
    if high is not None and high < least:
        return "not met"
    if low is None or high is None:
        return "not statistically significant" if value >= least else "not met"
    if low <= luck:
        return "not statistically significant"
    return "met" if value >= least else "not met"


def targets(
    headline: Mapping[str, Estimate],
    pairs: Mapping[str, tuple[str, Estimate]],
    model: str = "headline",
    deflated: float | None = None,
) -> list[dict[str, Any]]:
    """Return the table of targets.

    Args:
        headline: Estimates of the headline model, by figure.
        pairs: Differences by `Target.pair`, each with its models, such as "mean less 30m"; pairs
            that are missing were not measured.
        model: Name of the headline model.
        deflated: Its deflated Sharpe ratio; the Sharpe ratio is not met if this is below `SURE`.

    Returns:
        A row per target of `TARGETS`, ready for JSON: target, goal, model, figure, least, value,
        low, high, n, verdict.
    """
    rows = [_row(target, headline, pairs, model) for target in TARGETS]
    for row in rows:
        if row["figure"] == "sharpe" and row["verdict"] == "met" and (deflated or 0.0) < SURE:
            row["verdict"] = "not statistically significant"
    return rows


def pattern_target(balanced: Estimate, classes: int, model: str) -> dict[str, Any]:
    """Return the target of pattern recognition as a row like those of `targets`.

    The accuracies it refers to are of equally many samples of each class (Chen and Tsai, Financial
    Innovation, 2020), which corresponds to the balanced accuracy.

    Args:
        balanced: Balanced accuracy of the headline model.
        classes: Number of classes that occur; guessing is right in one of these.
        model: Name of the headline model.
    """
    target = next(target for target in TARGETS if target.target == PATTERNS)
    measured = replace(target, figure="balanced_accuracy", luck=1 / classes)
    return _row(measured, {"balanced_accuracy": balanced}, {}, model)


def _row(
    target: Target,
    headline: Mapping[str, Estimate],
    pairs: Mapping[str, tuple[str, Estimate]],
    model: str,
) -> dict[str, Any]:
    found = headline.get(target.figure, UNMEASURED)
    if target.pair is not None:
        model, found = pairs.get(target.pair, (target.pair, UNMEASURED))
    return {
        "target": target.target,
        "goal": target.goal,
        "model": model,
        "figure": target.figure,
        "least": target.least,
        **found.as_dict(),
        "verdict": verdict(found.value, found.low, found.high, target.least, target.luck),
    }
