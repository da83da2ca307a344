"""The target table: each verdict by hand, and no target met by luck or by silence."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.targets import (
    ENSEMBLE_OVER_WINDOW,
    TARGETS,
    TWO_STAGE_OVER_XGBOOST,
    Target,
    targets,
    verdict,
)

LUCK = "not to be told apart from luck"


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (None, None, None, "not measured"),
        (0.70, 0.66, 0.74, "met"),
        (0.65, 0.60, 0.70, "met"),  # luck is ruled out, and the value is there
        (0.70, 0.45, 0.90, LUCK),
        (0.70, 0.50, 0.90, LUCK),
        (0.60, 0.40, 0.80, LUCK),
        (0.60, 0.55, 0.66, "not met"),  # skill, but not enough
        (0.52, 0.49, 0.55, "not met"),  # whatever else it may be, it is not 0.65
        (0.70, None, None, LUCK),
        (0.60, None, None, "not met"),
    ],
)
def test_verdicts_on_a_win_rate(
    value: float | None, low: float | None, high: float | None, said: str
) -> None:
    assert verdict(value, low, high, least=0.65, luck=0.5) == said


@given(value=st.floats(-9, 9), below=st.floats(0, 9), above=st.floats(0, 9))
def test_met_is_only_what_is_enough_and_not_luck(value: float, below: float, above: float) -> None:
    low, high = value - below, value + above
    said = verdict(value, low, high, least=2.0, luck=0.0)
    assert (said == "met") == (value >= 2.0 and low > 0)


def row(name: str, rows: list[dict]) -> dict:
    return next(one for one in rows if one["target"] == name)


def test_a_study_that_measured_nothing_met_nothing() -> None:
    rows = targets({}, {})
    assert [one["verdict"] for one in rows] == ["not measured"] * len(TARGETS)
    assert {one["n"] for one in rows} == {0}


def test_figures_come_from_the_headline_and_differences_from_the_pairs() -> None:
    headline = {
        "win_rate_gross": Estimate(0.52, 0.49, 0.55, 900),
        "sharpe": Estimate(2.2, 0.4, 4.0, 90_000),
        "sortino": Estimate(3.1, -0.4, 6.0, 90_000),
        "accuracy": Estimate(0.9, 0.9, 0.9, 1),
    }
    pairs = {
        ENSEMBLE_OVER_WINDOW: ("mean less 30m", Estimate(0.003, -0.004, 0.01, 9000)),
        TWO_STAGE_OVER_XGBOOST: ("two_stage less xgboost", Estimate(0.06, 0.01, 0.11, 500)),
    }
    rows = targets(headline, pairs, "mean", deflated=0.97)
    assert [(one["model"], one["figure"], one["value"], one["verdict"]) for one in rows] == [
        ("mean", "win_rate_gross", 0.52, "not met"),
        ("mean", "pattern_accuracy", None, "not measured"),
        ("mean", "sharpe", 2.2, "met"),
        ("mean", "sortino", 3.1, LUCK),
        ("mean less 30m", "accuracy", 0.003, "not met"),
        ("two_stage less xgboost", "win_rate_gross", 0.06, "met"),
    ]


def test_a_row_is_whole_and_strict_json() -> None:
    rows = targets({"sharpe": Estimate(-1.5, -3.0, 0.1, 70)}, {}, "mean")
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert row("Sharpe ratio", rows) == {
        "target": "Sharpe ratio",
        "goal": "2.0 to 2.5",
        "model": "mean",
        "figure": "sharpe",
        "least": 2.0,
        "value": -1.5,
        "low": -3.0,
        "high": 0.1,
        "n": 70,
        "verdict": "not met",
    }


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.target)
def test_no_target_is_met_by_luck(target: Target) -> None:
    assert target.least > target.luck
    assert verdict(target.luck, target.luck, inf, target.least, target.luck) == LUCK


@pytest.mark.parametrize(("deflated", "said"), [(0.97, "met"), (0.94, LUCK), (None, LUCK)])
def test_a_sharpe_ratio_is_met_only_where_the_best_of_all_trials_would_not_show_it(
    deflated: float | None, said: str
) -> None:
    rows = targets({"sharpe": Estimate(2.2, 0.4, 4.0, 900)}, {}, "mean", deflated)
    assert row("Sharpe ratio", rows)["verdict"] == said
