"""The table of targets: each verdict by hand, and no target is met by luck."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.comparisons import (
    ENSEMBLE_OVER_WINDOW,
    TARGETS,
    TWO_STAGE_OVER_XGBOOST,
    Target,
    pattern_target,
    targets,
    verdict,
)

LUCK = "not statistically significant"


def estimate(value: float, low: float, high: float, n: int = 900) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n}


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (None, None, None, "not measured"),
        (0.70, 0.66, 0.74, "met"),
        (0.65, 0.60, 0.70, "met"),
        (0.70, 0.45, 0.90, LUCK),
        (0.70, 0.50, 0.90, LUCK),
        (0.60, 0.40, 0.80, LUCK),
        (0.60, 0.55, 0.66, "not met"),  # skill, but not enough
        (0.52, 0.49, 0.55, "not met"),  # certainly below 0.65
        (0.70, None, None, LUCK),
        (0.60, None, None, "not met"),
    ],
)
def test_verdicts_on_a_win_rate(
    value: float | None, low: float | None, high: float | None, expected: str
) -> None:
    assert verdict(value, low, high, least=0.65, luck=0.5) == expected


@given(value=st.floats(-9, 9), below=st.floats(0, 9), above=st.floats(0, 9))
def test_a_target_is_met_only_by_enough_that_is_not_luck(
    value: float, below: float, above: float
) -> None:
    found = verdict(value, value - below, value + above, least=2.0, luck=0.0)
    assert (found == "met") == (value >= 2.0 and value - below > 0)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.target)
def test_no_target_is_met_by_luck(target: Target) -> None:
    assert target.least > target.luck
    assert verdict(target.luck, target.luck, inf, target.least, target.luck) == LUCK


def test_figures_come_from_the_headline_and_differences_from_pairs() -> None:
    headline = {
        "win_rate_gross": estimate(0.52, 0.49, 0.55),
        "sharpe": estimate(2.2, 0.4, 4.0),
        "sortino": estimate(3.1, -0.4, 6.0),
        "accuracy": estimate(0.9, 0.9, 0.9),
        "deflated_sharpe": estimate(0.97, 0, 1),
    }
    pairs = [
        {"a": "mean", "b": "30m", "expected": None, **estimate(9, 9, 9)},
        {"a": "mean", "b": "30m", "expected": ENSEMBLE_OVER_WINDOW.goal}
        | estimate(0.003, -0.004, 0.01),
        {"a": "two_stage", "b": "xgboost", "expected": TWO_STAGE_OVER_XGBOOST.goal}
        | estimate(0.06, 0.01, 0.11),
    ]
    rows = targets("mean", headline, pairs)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [(row["model"], row["figure"], row["value"], row["verdict"]) for row in rows] == [
        ("mean", "win_rate_gross", 0.52, "not met"),
        ("mean", "pattern_accuracy", None, "not measured"),
        ("mean", "sharpe", 2.2, "met"),
        ("mean", "sortino", 3.1, LUCK),
        ("mean less 30m", "accuracy", 0.003, "not met"),
        ("two_stage less xgboost", "win_rate_gross", 0.06, "met"),
    ]


@pytest.mark.parametrize(("deflated", "expected"), [(0.97, "met"), (0.94, LUCK), (None, LUCK)])
def test_a_sharpe_ratio_must_exceed_the_best_of_all_trials(
    deflated: float | None, expected: str
) -> None:
    figures = {"sharpe": estimate(2.2, 0.4, 4.0), "deflated_sharpe": {"value": deflated}}
    rows = targets("mean", figures, [])
    assert rows[-1]["model"] == "", "two models that were not compared"
    [row] = [row for row in rows if row["figure"] == "sharpe"]
    assert row["verdict"] == expected


@pytest.mark.parametrize(("classes", "expected"), [(9, "met"), (2, LUCK)])
def test_patterns_must_be_recognised_better_than_by_guessing(classes: int, expected: str) -> None:
    row = pattern_target("15m", estimate(0.95, 0.5, 1.0), classes)
    assert (row["figure"], row["least"], row["verdict"]) == ("balanced_accuracy", 0.9, expected)
