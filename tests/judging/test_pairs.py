"""Comparisons: fixed by validation before test is looked at, and worded by their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.comparisons import Pair, finding, pairs
from gafcnn.evaluation.scores import score_rows
from gafcnn.evaluation.targets import ENSEMBLE_OVER_WINDOW, TWO_STAGE_OVER_XGBOOST
from gafcnn.evaluation.test_set import Ground

Make = Callable[..., Ground]
WINDOWS = ["15m", "30m", "60m"]


def names(found: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.a, pair.b) for pair in found]


def test_ensembles_meet_the_best_window_and_all_meet_the_baseline(ground: Ground) -> None:
    assert names(list(pairs(ground.val, WINDOWS, "xgboost"))) == [
        ("mean", "30m"),
        ("vote", "30m"),
        ("30m", "xgboost"),
        ("mean", "xgboost"),
        ("two_stage", "xgboost"),
    ]


def test_two_of_them_are_what_targets_speak_of(ground: Ground) -> None:
    found = {pair.target: pair for pair in pairs(ground.val, WINDOWS, "xgboost") if pair.target}
    assert set(found) == {ENSEMBLE_OVER_WINDOW, TWO_STAGE_OVER_XGBOOST}
    assert found[ENSEMBLE_OVER_WINDOW].expects == "accuracy"
    assert found[TWO_STAGE_OVER_XGBOOST].expects == "win_rate_gross"
    assert found[TWO_STAGE_OVER_XGBOOST].expected == "+5 to +10 % win rate"


def test_one_window_has_no_ensemble(ground: Ground) -> None:
    found = list(pairs(ground.val, ["60m"], "xgboost"))
    assert names(found) == [("60m", "xgboost"), ("two_stage", "xgboost")]


def test_without_a_baseline_or_without_windows_less_is_compared(ground: Ground) -> None:
    assert names(list(pairs(ground.val, WINDOWS, None))) == [("mean", "30m"), ("vote", "30m")]
    assert list(pairs(ground.val, [], "xgboost")) == []


def test_the_best_window_is_that_of_the_highest_auc_on_labelled_validation(ground: Ground) -> None:
    auc = {name: score_rows(ground.val, name)["labelled"]["auc"] for name in WINDOWS}
    assert max(auc, key=lambda name: auc[name] or 0) == "30m"
    swapped = ground.val.rename(columns={"30m": "60m", "60m": "30m"})
    assert next(pairs(swapped, WINDOWS, None)).b == "60m"


def test_the_best_window_is_not_moved_by_test_rows(ground_of: Make, joined: pd.DataFrame) -> None:
    """60m knows the future of the test, 30m the opposite: neither matters."""
    changed, test = joined.copy(), joined["split"] == "test"
    up = joined.loc[test, "forward_return"] > 0
    changed.loc[test, "60m"] = np.where(up, 0.99, 0.01)
    changed.loc[test, "30m"] = np.where(up, 0.01, 0.99)
    assert names(list(pairs(ground_of(changed).val, WINDOWS, "xgboost"))) == names(
        list(pairs(ground_of(joined).val, WINDOWS, "xgboost"))
    )


def test_windows_that_cannot_be_ranked_are_compared_all_the_same(ground: Ground) -> None:
    one_class = ground.val.assign(label=pd.array([1] * len(ground.val), dtype="Int8"))
    assert next(pairs(one_class, WINDOWS, None)) == Pair.of("mean", "15m", ENSEMBLE_OVER_WINDOW)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "a has a higher AUC than b"),
        (-0.03, -0.01, "a has a lower AUC than b"),
        (-0.01, 0.03, "a and b are not to be told apart by AUC"),
        (0.0, 0.03, "a and b are not to be told apart by AUC"),
        (0.0, 0.0, "a and b are not to be told apart by AUC"),
    ],
)
def test_findings_by_hand(low: float, high: float, said: str) -> None:
    assert finding(Pair("a", "b"), "auc", Estimate((low + high) / 2, low, high, 9)) == said


def test_what_was_not_computed_is_not_judged() -> None:
    pair = Pair("a", "b")
    assert finding(pair, "sharpe", Estimate(None, None, None, 0)) == (
        "the Sharpe ratio of a and b cannot be compared: one has none"
    )
    assert finding(pair, "auc", Estimate(0.1, None, None, 9)) == (
        "how sure the difference in AUC of a and b is was not computed"
    )


@given(value=st.floats(-1, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_a_finding_says_no_more_than_its_interval(value: float, below: float, above: float) -> None:
    said = finding(Pair("a", "b"), "auc", Estimate(value, value - below, value + above, 9))
    assert ("higher" in said) == (value - below > 0)
    assert ("lower" in said) == (value + above < 0)
