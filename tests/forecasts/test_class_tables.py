"""Tables of several classes are checked, joined, averaged and combined as those of a direction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gafcnn.errors import PredictionsError
from gafcnn.evaluation.ensembles import mean_of_classes
from gafcnn.evaluation.joining import average_seeds, join, probabilities
from gafcnn.evaluation.predictions import (
    check_predictions,
    classes_of,
    read_predictions,
    write_predictions,
)

CLASSES = ("none", "star", "hammer")
P = ["p_none", "p_star", "p_hammer"]


def table(
    n: int = 40, *, window: str = "15m", seed: int = 1, fold: int | None = None
) -> pd.DataFrame:
    """Recognised patterns of n bars, the first half validation; every tenth bar has several."""
    label = pd.array(np.arange(n) % 3, dtype="Int8")
    label[::10] = pd.NA
    start = pd.Timestamp("2025-06-20", tz="UTC") + pd.Timedelta(days=fold or 0)
    time = pd.date_range(start, periods=n, freq="1min").as_unit("ns")
    p = np.random.default_rng([seed, int(window[:2])]).dirichlet(np.ones(3), n)
    return pd.DataFrame(
        {
            "symbol": pd.array(["BNBUSDT"] * n, dtype="str"),
            "time": time,
            "window": pd.array([window] * n, dtype="str"),
            "fold": pd.array([fold] * n, dtype="Int64"),
            "seed": np.full(n, seed, dtype=np.int64),
            "split": pd.array(np.where(np.arange(n) < n // 2, "val", "test"), dtype="str"),
            "label": label,
            "forward_return": np.nan,
            "known_at": time,
            **dict(zip(P, p.T, strict=True)),
        }
    )


def test_a_table_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", table())
    again = read_predictions(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(again, table())
    assert classes_of(again) == CLASSES


def test_which_of_both_a_table_is_its_columns_say(predictions: Callable[..., pd.DataFrame]) -> None:
    direction = predictions()
    assert classes_of(direction) == ()
    assert classes_of(direction.assign(p_star=0.5, p_hammer=0.5)) == ()
    for lone in (table().drop(columns=P), table().drop(columns=P[1:])):
        with pytest.raises(PredictionsError, match="there is no column p_up"):
            check_predictions(lone, "15m")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("label", 3, "label is out of range in 1 of 40 rows"),
        ("p_star", 1.5, "p_star is not a probability in 1 of 40 rows"),
        ("p_hammer", np.nan, "p_hammer is not a probability in 1 of 40 rows"),
        (
            "p_none",
            0.9,
            "the probabilities of 3 classes do not sum to 1 in 1 of 40 rows, first BNB",
        ),
        ("forward_return", np.inf, "forward_return is infinite in 1 of 40 rows"),
        ("known_at", pd.Timestamp("2020-01-01", tz="UTC"), "known_at is before the decision time"),
        ("split", "train", "split is unknown in 1 of 40 rows"),
    ],
)
def test_a_row_at_fault_is_named(column: str, value: object, told: str) -> None:
    frame = table()
    frame.loc[7, P] = [0.25, 0.25, 0.5]
    frame.loc[7, column] = value
    with pytest.raises(PredictionsError, match=told):
        check_predictions(frame, "15m")


def test_a_direction_must_still_have_its_return_and_its_future(
    predictions: Callable[..., pd.DataFrame],
) -> None:
    frame = predictions()
    with pytest.raises(PredictionsError, match="forward_return is not finite in 40 of 40 rows"):
        check_predictions(frame.assign(forward_return=np.nan), "15m")
    with pytest.raises(PredictionsError, match="known_at is not after the decision time"):
        check_predictions(frame.assign(known_at=frame["time"]), "15m")


def test_two_classes_are_several() -> None:
    frame = table().drop(columns="p_hammer")
    frame["p_star"] = 1 - frame["p_none"]
    frame["label"] = frame["label"].where(frame["label"] != 2)
    assert classes_of(check_predictions(frame, "15m")) == CLASSES[:2]


def test_what_rounds_in_float32_still_sums_to_one() -> None:
    frame = table()
    frame[P] = frame[P].astype(np.float32).astype(np.float64)
    check_predictions(frame, "15m")


def test_members_meet_by_what_they_are_about_and_keep_their_probabilities() -> None:
    frames = {name: table(window=name) for name in ("15m", "30m")}
    shuffled = {"15m": frames["15m"], "30m": frames["30m"].sample(frac=1, random_state=0)}
    joined = join(shuffled)
    for name, frame in frames.items():
        np.testing.assert_array_equal(probabilities(joined, name, CLASSES), frame[P])


def test_the_mean_is_that_of_the_members_class_by_class() -> None:
    frames = {name: table(window=name) for name in ("15m", "30m", "60m")}
    combined = mean_of_classes(join(frames), ["15m", "30m"], CLASSES)
    expected = (frames["15m"][P].to_numpy() + frames["30m"][P].to_numpy()) / 2
    found = probabilities(combined, "mean", CLASSES)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_seeds_are_averaged_fold_by_fold() -> None:
    runs = [table(seed=seed, fold=fold) for seed in (1, 2) for fold in (0, 1)]
    averaged = average_seeds(runs)
    check_predictions(averaged, "15m")
    assert classes_of(averaged) == CLASSES
    assert set(averaged["seed"]) == {-1}
    second = averaged[averaged["fold"] == 1]
    expected = (runs[1][P].to_numpy() + runs[3][P].to_numpy()) / 2
    np.testing.assert_allclose(second[P], expected)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (table(window="30m").rename(columns={"p_star": "p_doji"}), "tell of different classes"),
        (table(60, window="30m"), "30m lacks 10 of the 40 decision"),
        (table(window="30m").assign(label=pd.array([1] * 40, dtype="Int8")), "disagree on label"),
    ],
)
def test_members_that_are_about_something_else_are_refused_by_name(
    other: pd.DataFrame, told: str
) -> None:
    with pytest.raises(PredictionsError, match=told):
        join({"15m": table(), "30m": other})


def test_a_direction_and_patterns_are_not_joined(predictions: Callable[..., pd.DataFrame]) -> None:
    told = "15m and 30m tell of different classes, p_none, p_star, p_hammer and p_up"
    with pytest.raises(PredictionsError, match=told):
        join({"15m": table(), "30m": predictions(window="30m")})
