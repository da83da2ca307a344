"""Comparisons, targets and the verdict: worded by their intervals, and nothing is met by luck."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.data.labels import PATTERNS
from gafcnn.evaluation.comparisons import (
    ENSEMBLE_OVER_WINDOW,
    PATTERN_RECOGNITION,
    TARGETS,
    TWO_STAGE_OVER_XGBOOST,
    Pair,
    Study,
    Target,
    finding,
    pairs,
    sentences,
    target_row,
    targets,
    verdict,
)
from gafcnn.evaluation.statistics import estimate, score_rows

WINDOWS = ["15m", "30m", "60m"]
MODELS = [*WINDOWS, "mean", "vote", "xgboost", "two_stage"]


def compare(
    joined: pd.DataFrame, members: list[str] = WINDOWS, models: list[str] = MODELS, **changed: Any
) -> list[Pair]:
    options: dict[str, Any] = {"baseline": "xgboost", "foreign": []} | changed
    return list(
        pairs(
            Study(
                joined, {}, pd.Timedelta("15min"), members, models,
                headline=models[0], trials=1, resamples=0, seed=0, advance=lambda _: None,
                **options,
            )
        )
    )  # fmt: skip


def names(found: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.a, pair.b) for pair in found]


def test_ensembles_are_compared_with_the_best_window_and_all_with_the_baseline(
    joined: pd.DataFrame,
) -> None:
    found = compare(joined, foreign=["mine"])
    assert names(found) == [
        ("mean", "30m"),
        ("vote", "30m"),
        ("30m", "xgboost"),
        ("mean", "xgboost"),
        ("two_stage", "xgboost"),
        ("mine", "xgboost"),
        ("mine", "30m"),
    ]
    assert {(pair.a, pair.b): pair.target for pair in found if pair.target} == {
        ("mean", "30m"): ENSEMBLE_OVER_WINDOW,
        ("two_stage", "xgboost"): TWO_STAGE_OVER_XGBOOST,
    }


def test_the_best_window_has_the_highest_auc_on_labelled_validation_rows(
    joined: pd.DataFrame,
) -> None:
    val = joined[joined["split"] == "val"]
    auc = {name: score_rows(val, name)["labelled"]["auc"] for name in WINDOWS}
    assert max(auc, key=lambda name: auc[name] or 0) == "30m"
    assert compare(joined.rename(columns={"30m": "60m", "60m": "30m"}))[0].b == "60m"


@given(value=st.floats(-1, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_a_finding_claims_no_more_than_its_interval(
    value: float, below: float, above: float
) -> None:
    by = estimate(value, 9, value - below, value + above)
    found = finding(Pair("a", "b"), "AUC", by)
    assert ("higher" in found) == (value - below > 0)
    assert ("lower" in found) == (value + above < 0)
    assert ("not statistically significant" in found) == (value - below <= 0 <= value + above)


Row = dict[str, Any]


def estimated(value: float | None, low: float | None = None, high: float | None = None) -> Row:
    return {"value": value, "low": low, "high": high, "n": 1000}


def metrics(**changed: Any) -> Row:
    """Metrics of a model m with skill but no profit, except for the changes."""
    figures = {
        "auc": estimated(0.53, 0.51, 0.55),
        "accuracy_moved": estimated(0.52, 0.50, 0.54),
        "trades": estimated(1234),
        "win_rate_gross": estimated(0.56, 0.53, 0.59),
        "net_bps": estimated(-17.0, -18.2, -15.9),
        "break_even_bps": estimated(1.5, 0.9, 2.1),
        "sharpe": estimated(-9.0, -12.0, -6.0),
        "deflated_sharpe": estimated(0.25),
        "total_return": estimated(-0.25),
        "max_drawdown": estimated(-0.3),
    }
    held = {"total_return": estimated(0.1), "max_drawdown": estimated(-0.05)}
    pair = {"a": "m", "b": "xgboost", "figure": "auc", "finding": "the finding"}
    found = {
        "task": "direction",
        "headline": "m",
        "trials": 9,
        "first": "2025-01-01",
        "last": "2025-03-01",
        "models": {"m": figures | {key: changed.pop(key) for key in figures if key in changed}},
        "rows": {"all": 1000, "labelled": 800},
        "classes": {"moved": {"up": changed.pop("up", 0.48), "n": 970}},
        "costs": "10 bps a side",
        "threshold": None,
        "chosen": True,
        "benchmarks": {"buy_and_hold": held},
        "pairs": [pair | estimated(0.01, -0.01, 0.03), pair | estimated(1) | {"figure": "sharpe"}],
    }
    return found | changed


def test_a_verdict_by_hand() -> None:
    assert sentences(metrics()) == [
        "m ranks the 1,000 test rows with an AUC of 0.530 [0.510, 0.550]: better than chance.",
        "It predicts 52.0% [50.0%, 54.0%] of the 970 moves correctly; always predicting down is "
        "correct in 52.0%.",
        "At the threshold chosen on validation, 56.0% [53.0%, 59.0%] of 1,234 trades win before "
        "costs, and the mean trade returns -17.0 [-18.2, -15.9] bps after 10 bps a side: a loss "
        "after costs. The break-even cost is 1.5 [0.9, 2.1] bps a side.",
        "The Sharpe ratio is -9.00 [-12.00, -6.00]; the probability that it is higher than that of "
        "the best of 9 trainings without skill is 25.0%; 95% would be convincing.",
        "In all, it lost 25.0% with a maximum drawdown of 30.0% after costs; buy and hold gained "
        "10.0% with a maximum drawdown of 5.0%.",
        "The finding (+0.010 [-0.010, +0.030]).",
    ]


def test_no_figure_of_a_year_is_claimed_for_a_few_days() -> None:
    found = " ".join(sentences(metrics() | {"last": "2025-01-09"}))
    assert "Sharpe" not in found
    assert "8.0 days" in found


@given(value=st.floats(0, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_skill_and_profit_are_claimed_only_if_the_interval_excludes_chance(
    value: float, below: float, above: float
) -> None:
    low, high = value - below, value + above
    skill = sentences(metrics(auc=estimated(value, low, high)))[0]
    money = sentences(metrics(net_bps=estimated(value - 0.5, low - 0.5, high - 0.5)))[2]
    for sentence, more, less in (
        (skill, "better than chance", "worse than chance"),
        (money, "a profit after costs", "a loss after costs"),
    ):
        assert (more in sentence) == (low > 0.5)
        assert (less in sentence) == (high < 0.5)
        assert ("not statistically significant" in sentence) == (low <= 0.5 <= high)


def test_without_an_interval_nothing_is_claimed() -> None:
    found = sentences(metrics(auc=estimated(0.9), net_bps=estimated(50.0)))
    for sentence in (found[0], found[2]):
        assert "no confidence interval" in sentence
        assert not re.search("better|a profit|a loss", sentence)


LUCK = "not statistically significant"
LOSE = "met, but the trades lose money"


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


def targets_of(
    figures: dict[str, Any], pairs: Sequence[Any] = (), last: str = "2025-03-01", **changed: Any
) -> list[dict[str, Any]]:
    earned = {"net_bps": estimated(1, 0, 2), "total_return": estimated(0.1, 0, 0.2)}
    found = {"deflated_sharpe": {"value": 0.97}, **earned, **figures}
    metrics = {"headline": "mean", "models": {"mean": found}, "pairs": pairs, "last": last}
    return targets({"task": "direction", "first": "2025-01-01", **metrics, **changed})


def test_figures_come_from_the_headline_and_differences_from_pairs() -> None:
    headline = {
        "win_rate_gross": estimated(0.52, 0.49, 0.55),
        "sharpe": estimated(2.2, 0.4, 4.0),
        "sortino": estimated(3.1, -0.4, 6.0),
        "accuracy": estimated(0.9, 0.9, 0.9),
    }
    pairs = [
        {"a": "mean", "b": "30m", "expected": None, **estimated(9, 9, 9)},
        {"a": "mean", "b": "30m", "expected": ENSEMBLE_OVER_WINDOW.goal}
        | estimated(0.003, -0.004, 0.01),
        {"a": "two_stage", "b": "xgboost", "expected": TWO_STAGE_OVER_XGBOOST.goal}
        | estimated(0.06, 0.01, 0.11),
    ]
    rows = targets_of(headline, pairs)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [(row["model"], row["figure"], row["value"], row["verdict"]) for row in rows] == [
        ("mean", "win_rate_gross", 0.52, "not met"),
        ("mean", "balanced_accuracy", None, "not measured"),
        ("mean", "sharpe", 2.2, "met"),
        ("mean", "sortino", 3.1, LUCK),
        ("mean less 30m", "accuracy", 0.003, "not met"),
        ("two_stage less xgboost", "win_rate_gross", 0.06, "met"),
    ]
    of_rankings = targets_of(headline, [], task="ranking")
    assert [row["figure"] for row in of_rankings] == ["win_rate_gross", "sharpe", "sortino"]


@pytest.mark.parametrize(("deflated", "expected"), [(0.97, "met"), (0.94, LUCK), (None, LUCK)])
def test_a_sharpe_ratio_must_exceed_the_best_of_all_trials(
    deflated: float | None, expected: str
) -> None:
    figures = {"sharpe": estimated(2.2, 0.4, 4.0), "deflated_sharpe": {"value": deflated}}
    rows = targets_of(figures)
    assert rows[-1]["model"] == "", "two models that were not compared"
    [row] = [row for row in rows if row["figure"] == "sharpe"]
    assert row["verdict"] == expected


@pytest.mark.parametrize(
    ("last", "lost", "rate", "ratio"),
    [
        ("2025-03-01", "", "met", "met"),
        ("2025-03-01", "net_bps", LOSE, LOSE),
        ("2025-03-01", "total_return", LOSE, LOSE),
        ("2025-01-03", "", "met", "too few days"),
        ("2025-01-03", "net_bps", LOSE, "too few days"),
    ],
)
def test_losses_meet_no_target_and_few_days_no_ratio(
    last: str, lost: str, rate: str, ratio: str
) -> None:
    figures = {
        "win_rate_gross": estimated(0.7, 0.6, 0.8),
        "sharpe": estimated(2.2, 0.4, 4.0),
        "sortino": estimated(3.2, 0.4, 6.0),
        **({lost: estimated(-0.85, -3, 1)} if lost else {}),
    }
    found = {row["target"]: row["verdict"] for row in targets_of(figures, last=last)}
    assert (found["win rate"], found["Sharpe ratio"]) == (rate, ratio)
    assert found["Sortino ratio"] == ratio


def test_chance_of_patterns_is_that_of_the_classes_that_occur() -> None:
    for occurring, expected in ((9, "met"), (2, LUCK)):
        counts = {name: int(k < occurring) for k, name in enumerate(PATTERNS)}
        figures = {"balanced_accuracy": estimated(0.95, 0.5, 1.0)}
        found = targets_of(figures, task="classification", classes=counts)
        assert [row["verdict"] for row in found] == [expected]


@pytest.mark.parametrize(("classes", "expected"), [(9, "met"), (2, LUCK)])
def test_patterns_must_be_recognised_better_than_by_guessing(classes: int, expected: str) -> None:
    target = replace(PATTERN_RECOGNITION, luck=1 / classes)
    row = target_row(target, "15m", estimated(0.95, 0.5, 1.0))
    assert (row["figure"], row["least"], row["verdict"]) == ("balanced_accuracy", 0.9, expected)
