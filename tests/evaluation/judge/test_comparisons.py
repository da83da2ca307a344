"""Comparisons: determined by validation rows, and worded by their intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from gafcnn.evaluation.comparisons import (
    ENSEMBLE_OVER_WINDOW,
    TWO_STAGE_OVER_XGBOOST,
    Pair,
    Study,
    finding,
    pairs,
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
