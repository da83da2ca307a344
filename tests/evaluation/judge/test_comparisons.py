"""Comparisons: determined by validation rows, and worded by their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.bootstrap import Estimate
from gafcnn.evaluation.comparisons import Pair, finding, pairs
from gafcnn.evaluation.statistics import score_rows
from gafcnn.evaluation.targets import ENSEMBLE_OVER_WINDOW, TWO_STAGE_OVER_XGBOOST

WINDOWS = ["15m", "30m", "60m"]
MODELS = [*WINDOWS, "mean", "vote", "xgboost", "two_stage"]


@pytest.fixture(scope="module")
def val(joined: pd.DataFrame) -> pd.DataFrame:
    return joined[joined["split"] == "val"]


def names(found: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.a, pair.b) for pair in found]


def test_ensembles_are_compared_with_the_best_window_and_all_with_the_baseline(
    val: pd.DataFrame,
) -> None:
    found = list(pairs(val, WINDOWS, "xgboost", MODELS, ["mine"]))
    assert names(found) == [
        ("mean", "30m"),
        ("vote", "30m"),
        ("30m", "xgboost"),
        ("mean", "xgboost"),
        ("two_stage", "xgboost"),
        ("mine", "xgboost"),
        ("mine", "30m"),
    ]
    assert {names([pair])[0]: pair.target for pair in found if pair.target} == {
        ("mean", "30m"): ENSEMBLE_OVER_WINDOW,
        ("two_stage", "xgboost"): TWO_STAGE_OVER_XGBOOST,
    }


def test_without_ensembles_baseline_or_windows_less_is_compared(val: pd.DataFrame) -> None:
    assert names(list(pairs(val, ["60m"], "xgboost", ["60m", "xgboost"]))) == [("60m", "xgboost")]
    assert names(list(pairs(val, WINDOWS, None, MODELS))) == [("mean", "30m"), ("vote", "30m")]
    assert list(pairs(val, [], "xgboost", MODELS)) == []


def test_the_best_window_has_the_highest_auc_on_labelled_validation_rows(
    val: pd.DataFrame,
) -> None:
    auc = {name: score_rows(val, name)["labelled"]["auc"] for name in WINDOWS}
    assert max(auc, key=lambda name: auc[name] or 0) == "30m"
    swapped = val.rename(columns={"30m": "60m", "60m": "30m"})
    assert next(pairs(swapped, WINDOWS, None, MODELS)).b == "60m"


def test_windows_that_cannot_be_ranked_are_compared(val: pd.DataFrame) -> None:
    one_class = val.assign(label=pd.array([1] * len(val), dtype="Int8"))
    assert next(pairs(one_class, WINDOWS, None, MODELS)).b == "15m"
    absent = val.assign(**{"15m": np.nan})  # predictions that have no validation rows
    assert next(pairs(absent, WINDOWS, None, MODELS)).b == "30m"
    assert next(pairs(val[:0], WINDOWS, None, MODELS)).b == "15m"


@given(value=st.floats(-1, 1), below=st.floats(0, 1), above=st.floats(0, 1))
def test_a_finding_claims_no_more_than_its_interval(
    value: float, below: float, above: float
) -> None:
    by = Estimate(value, value - below, value + above, 9)
    found = finding(Pair("a", "b"), "AUC", by)
    assert ("higher" in found) == (value - below > 0)
    assert ("lower" in found) == (value + above < 0)
    assert ("not statistically significant" in found) == (value - below <= 0 <= value + above)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (Estimate(None, None, None, 0), "undefined"),
        (Estimate(0.1, None, None, 9), "no confidence interval"),
    ],
)
def test_without_an_interval_nothing_is_claimed(by: Estimate, words: str) -> None:
    found = finding(Pair("a", "b"), "Sharpe ratio", by)
    assert words in found
    assert not any(claim in found for claim in ("higher", "lower", "significant"))
