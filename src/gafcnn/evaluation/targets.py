"""The targets of the system that this library grew from, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["met", "not met", "not statistically significant", "not measured"]
Row: TypeAlias = dict[str, Any]

SURE = 0.95
"""The deflated Sharpe ratio from which a Sharpe ratio is more than the luck of many trials."""


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        target: What it is about.
        goal: What was to be reached, in words.
        figure: Name of the figure in the estimates.
        least: The least value that reaches it.
        luck: The value of the figure without skill.
        of_pair: Whether the figure is a difference between two models.
    """

    target: str
    goal: str
    figure: str
    least: float
    luck: float = 0.0
    of_pair: bool = False


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
) -> Verdict:
    """Return whether a target is met, as far as its interval shows.

    It is met if the value is at least `least` and the whole interval above `luck`, the value
    without skill. It is not met if the whole interval is below `least`, and not significant if the
    interval contains luck, or if a value that is high enough has no interval.
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
        if not target.of_pair:
            rows.append(target_row(target, headline, figures.get(target.figure)))
        elif found := by_goal.get(target.goal):
            rows.append(target_row(target, f"{found['a']} less {found['b']}", found))
        else:
            rows.append(target_row(target, target.target, None))
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
    found = found or {"value": None, "low": None, "high": None, "n": 0}
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
