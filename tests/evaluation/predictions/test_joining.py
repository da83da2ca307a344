"""Predictions are joined by symbol, time, fold and split, never by row number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.ensembles import ensemble
from gafcnn.evaluation.joining import average_seeds, join, probabilities
from gafcnn.evaluation.predictions import check_predictions, classes_of
from gafcnn.evaluation.statistics import score_rows

Make = Callable[..., pd.DataFrame]
Members = dict[str, pd.DataFrame]
WINDOWS = ["15m", "30m", "60m"]
SHARED = ["symbol", "time", "fold", "split", "label", "forward_return", "known_at"]
CLASSES = ("none", "star", "hammer")


def error_of(members: Members) -> str:
    with pytest.raises(PredictionsError) as error:
        join(members)
    return error.value.found


def test_columns_and_rows(members: Members) -> None:
    joined = join(members)
    assert list(joined.columns) == [*SHARED, *WINDOWS]
    for name, frame in members.items():
        pd.testing.assert_frame_equal(joined.filter(SHARED), frame.filter(SHARED))
        np.testing.assert_array_equal(joined[name], frame["p_up"])


@settings(max_examples=8)
@given(data=st.data())
def test_the_order_of_rows_does_not_matter(predictions: Make, data: st.DataObject) -> None:
    folds = {
        name: pd.concat([predictions(8, window=name, fold=fold) for fold in (0, 1)])
        for name in WINDOWS
    }
    shuffled = {
        name: frame.iloc[data.draw(st.permutations(range(16)), label=name)]
        for name, frame in folds.items()
    }
    pd.testing.assert_frame_equal(join(shuffled), join(folds))


def test_ensembles_are_joined_by_time_never_by_row(predictions: Make) -> None:
    """Windows that lost different rows are refused; all rows in any order are combined by time."""
    rng = np.random.default_rng(0)
    whole = {
        name: predictions(2000, window=name, seed=seed, skill=0.08)
        for seed, name in enumerate(WINDOWS)
    }
    cut = {
        name: frame.iloc[np.sort(rng.choice(2000, 1600, replace=False))]
        for name, frame in whole.items()
    }
    assert "30m lacks " in error_of(cut)
    alone = [score_rows(frame, "p_up")["all"]["accuracy"] for frame in whole.values()]
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in whole.items()}
    by_time = ensemble(join({**shuffled, "15m": whole["15m"]}), WINDOWS, ["mean"])
    assert score_rows(by_time, "mean")["all"]["accuracy"] > max(alone)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (0.01, 0.01 * (1 + 1e-10), True),
        (0.01, 0.01 * (1 + 1e-7), False),
        (0.0, 1e-13, True),  # close / close - 1 on another processor
        (0.0, 1e-10, False),
    ],
)
def test_members_with_different_returns(
    predictions: Make, ours: float, theirs: float, same: bool
) -> None:
    members = {name: predictions(window=name) for name in ("15m", "30m")}
    for frame, value in zip(members.values(), (ours, theirs), strict=True):
        frame.loc[20, "forward_return"] = value
    if same:
        join(members)
    else:
        assert "disagree on forward_return for 1 of 40" in error_of(members)


def test_members_with_different_labels(predictions: Make) -> None:
    frame = predictions(fold=3).assign(label=pd.array([1] * 40, dtype="Int8"))
    other = frame.assign(label=pd.array([1] * 30 + [None] * 9 + [0], dtype="Int8"))
    found = error_of({"15m": frame, "30m": other})
    for fact in ("label", "10 of 40", "00:30 UTC, fold 3, test", "(1 and null)"):
        assert fact in found


def test_members_with_different_rows(predictions: Make) -> None:
    frame = predictions()
    found = error_of({"15m": frame.iloc[3:], "30m": frame.drop(index=[7, 39])})
    for fact in ("30m lacks 2 of the 37", "15m lacks 3 of the 38", "first BNBUSDT 2025-06-20 00:0"):
        assert fact in found
    moved = frame.copy()
    moved.loc[19, "split"] = "test"
    others = moved, frame.assign(fold=pd.array([0] * 40, dtype="Int64")), predictions(symbol="BTC")
    for other, lacks in zip(others, (1, 40, 40), strict=True):
        assert f"30m lacks {lacks} of the 40" in error_of({"15m": frame, "30m": other})


def test_every_member_is_checked(members: Members) -> None:
    third = members["60m"].assign(known_at=members["60m"]["known_at"] + pd.Timedelta("45min"))
    assert "15m and 60m disagree on known_at" in error_of({**members, "60m": third})
    broken = members["30m"].assign(p_up=np.nan)
    assert error_of({**members, "30m": broken}).startswith("30m: p_up")
    assert "15m, 30m, 60m" in error_of({"all": pd.concat(members.values())})


def test_classes(class_predictions: Make, predictions: Make) -> None:
    frames = {name: class_predictions(name) for name in ("15m", "30m")}
    joined = join({**frames, "30m": frames["30m"].sample(frac=1, random_state=0)})
    for name, frame in frames.items():
        columns = [f"p_{one}" for one in CLASSES]
        np.testing.assert_array_equal(probabilities(joined, name, CLASSES), frame[columns])
    for other in (frames["30m"].rename(columns={"p_star": "p_doji"}), predictions(window="30m")):
        assert "different classes, p_none, p_star" in error_of({"15m": frames["15m"], "30m": other})


def test_average_of_seeds(predictions: Make, class_predictions: Make) -> None:
    runs = {(s, f): predictions(seed=s, fold=f) for s in (1, 2) for f in (0, 1)}
    averaged = average_seeds(frame.sample(frac=1, random_state=0) for frame in runs.values())
    for fold in (0, 1):
        expected = (runs[1, fold]["p_up"] + runs[2, fold]["p_up"]) / 2
        np.testing.assert_allclose(averaged["p_up"][averaged["fold"] == fold], expected, atol=1e-15)
    assert set(averaged["seed"]) == {-1}
    check_predictions(averaged, "15m")
    pd.testing.assert_frame_equal(average_seeds([runs[1, 0]]), runs[1, 0])
    classes = average_seeds([class_predictions(seed=1), class_predictions(seed=2)])
    assert classes_of(check_predictions(classes, "15m")) == CLASSES


def test_seeds_that_do_not_match(predictions: Make) -> None:
    runs = [predictions(seed=1, fold=0), predictions(seed=1, fold=1), predictions(seed=2, fold=0)]
    with pytest.raises(PredictionsError, match="15m with seed 2 lacks 40 of the 80"):
        average_seeds(runs)
    with pytest.raises(PredictionsError, match="15m with seed 42: a decision time occurs more"):
        average_seeds([predictions(), predictions()])
